//! What must be true of all that clients heard and the log holds.

use core::time::Duration;
use std::collections::BTreeMap;
use std::time::Instant;

use libtest_mimic::Trial;

use super::client::Heard;
use super::network::Side;
use super::service::{Answer, Record};

/// A start of the service: its node, and its number.
type Start = (u8, u64);

/// From the first to the last acknowledgement of a start of the service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    pub(crate) start: Start,
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Acknowledgements that were heard.
    pub(crate) acknowledged: usize,
    /// Acknowledged records that are not in the log, in their place.
    pub(crate) lost: Vec<Record>,
    /// Pairs of starts that have acknowledged at overlapping times.
    pub(crate) double: Vec<[Term; 2]>,
}

/// The terms of all starts, by their first acknowledgement.
pub(crate) fn terms<'a>(heard: impl Iterator<Item = &'a Heard>) -> Vec<Term> {
    let mut terms: BTreeMap<Start, Term> = BTreeMap::new();
    for heard in heard.filter(|heard| heard.answer.is_stored) {
        let (at, start) = (heard.answer.at, (heard.answer.node, heard.answer.start));
        let term = terms.entry(start).or_insert(Term {
            start,
            first: at,
            last: at,
        });
        term.first = term.first.min(at);
        term.last = term.last.max(at);
    }
    let mut terms: Vec<_> = terms.into_values().collect();
    terms.sort_by_key(|term| term.first);
    terms
}

/// Which terms overlap with one before them.
pub(crate) fn overlaps(terms: &[Term]) -> Vec<[Term; 2]> {
    let mut found = Vec::new();
    let mut longest: Option<Term> = None;
    for term in terms {
        if let Some(before) = longest.filter(|before| before.last >= term.first) {
            found.push([before, *term]);
        }
        if longest.is_none_or(|before| before.last < term.last) {
            longest = Some(*term);
        }
    }
    found
}

/// Compares what the clients of both sides heard with the log.
///
/// # Panics
///
/// If the log does not hold each stream once and in order.
pub(crate) fn audit(heard: &BTreeMap<Side, Vec<Heard>>, log: &[Record]) -> Findings {
    let mut last: BTreeMap<u8, u64> = BTreeMap::new();
    for record in log {
        let before = last.insert(record.stream, record.number).unwrap_or(0);
        assert_eq!(record.number, before + 1, "{record:?} in the log");
    }
    let mut findings = Findings::default();
    for (side, heard) in heard {
        let stored = last.get(&side.id()).copied().unwrap_or(0);
        for (heard, number) in heard.iter().zip(1..) {
            assert_eq!(heard.number, number, "clients count");
            if heard.answer.is_stored {
                findings.acknowledged += 1;
            }
            // A refusal means that the service lacks what it had acknowledged.
            if !heard.answer.is_stored || number > stored {
                let stream = side.id();
                findings.lost.push(Record { stream, number });
            }
        }
    }
    findings.double = overlaps(&terms(heard.values().flatten()));
    findings
}

/// The audit itself finds what it is there for.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("the_audit_finds_what_is_lost", || {
            finds_what_is_lost();
            Ok(())
        }),
        Trial::test("the_audit_finds_double_service", || {
            finds_double_service();
            Ok(())
        }),
    ]
}

fn heard(number: u64, start: Start, at: u64) -> Heard {
    let answer = Answer {
        is_stored: true,
        node: start.0,
        start: start.1,
        at: Duration::from_millis(at),
    };
    let at = Instant::now();
    Heard { number, answer, at }
}

fn finds_what_is_lost() {
    let record = |number| Record { stream: 0, number };
    let answers = vec![heard(1, (0, 1), 1), heard(2, (0, 1), 2)];
    let all = BTreeMap::from([(Side::Alpha, answers.clone())]);
    let good = audit(&all, &[record(1), record(2), record(3)]);
    assert_eq!((good.acknowledged, good.lost.len()), (2, 0));
    assert_eq!(audit(&all, &[record(1)]).lost, [record(2)]);
    let mut refused = answers;
    refused[1].answer.is_stored = false;
    let all = BTreeMap::from([(Side::Alpha, refused)]);
    assert_eq!(audit(&all, &[record(1), record(2)]).lost, [record(2)]);
}

fn finds_double_service() {
    let (first, second, third) = ((0, 10), (1, 20), (0, 30));
    let apart = [
        heard(1, first, 1),
        heard(2, first, 4),
        heard(3, second, 5),
        heard(4, third, 9),
    ];
    let found = terms(apart.iter());
    assert_eq!(found.len(), 3);
    assert!(overlaps(&found).is_empty());
    // The first one goes on while the second serves, and after the third has begun.
    let late = [heard(5, first, 10)];
    let found = terms(apart.iter().chain(&late));
    let starts = overlaps(&found).into_iter();
    let starts: Vec<_> = starts.map(|terms| terms.map(|term| term.start)).collect();
    assert_eq!(starts, [[first, second], [first, third]]);
}
