//! What an answer that did not come, or came late, means.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const A: NodeId = match NodeId::new(0) {
    Ok(node) => node,
    Err(_) => panic!(),
};
const B: NodeId = match NodeId::new(1) {
    Ok(node) => node,
    Err(_) => panic!(),
};

fn both() -> NodeSet {
    NodeSet::from(A).with(B)
}

fn hold(up_to_date: NodeSet) -> Want {
    Want::Hold {
        up_to_date: Some(up_to_date),
        force: Force::No,
    }
}

/// Node A and the store, between which the test carries what is said.
struct Desk {
    claim: Claim<Duration>,
    now: Duration,
    stored: Option<(Revision, Record)>,
}

impl Desk {
    /// A holds the record, which says that both are up to date.
    fn held() -> Self {
        let mut desk = Self {
            claim: Claim::new(Arbitration::default(), A),
            now: SECOND,
            stored: None,
        };
        desk.agree(hold(both()));
        desk.agree(hold(both()));
        assert!(desk.claim.says(both()) && desk.claim.until().is_some());
        desk
    }

    /// What the store does with a query, now or late.
    fn set(&mut self, query: Query) -> Answer {
        match query {
            Query::Swap { expected, record } if expected == self.stored.map(|(r, _)| r) => {
                let revision = Revision::new(expected.map_or(1, |revision| revision.get() + 1));
                self.stored = Some((revision, record));
                Answer::Swapped(revision)
            }
            Query::Read | Query::Swap { .. } => Answer::Current(self.stored),
        }
    }

    fn agree(&mut self, want: Want) {
        let request = self.claim.ask(self.now, want).unwrap();
        let answer = self.set(request.query);
        assert!(self.claim.on_answer(self.now, request.id, answer));
    }

    /// Asks, and waits in vain. Returns what was asked.
    fn ask_in_vain(&mut self, want: Want) -> Query {
        let request = self.claim.ask(self.now, want).unwrap();
        self.pass(2 * SECOND);
        let late = Answer::Unavailable;
        assert!(!self.claim.on_answer(self.now, request.id, late));
        request.query
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.claim.expire(self.now);
        self.claim.on_timeout(self.now);
    }
}

#[test]
fn what_may_have_been_given_back_is_not_held() {
    let mut desk = Desk::held();
    let release = desk.ask_in_vain(Want::Free);
    assert_eq!(desk.claim.until(), None);
    desk.set(release);
    assert_eq!(desk.stored.unwrap().1.holder, None);
}

#[test]
fn a_swap_that_can_still_happen_is_not_relied_upon_not_to() {
    let mut desk = Desk::held();
    desk.agree(hold(A.into()));
    assert!(desk.claim.says(A.into()));
    // B is back, which the record is to say; that takes its time, and B is gone again.
    let late = desk.ask_in_vain(hold(both()));
    desk.pass(3 * SECOND);
    desk.agree(Want::Look);
    assert!(desk.claim.until().is_some());
    assert_eq!(desk.claim.record().unwrap().up_to_date, A.into());
    assert!(!desk.claim.says(A.into()), "B may be named at any time");
    desk.agree(hold(A.into()));
    assert!(desk.claim.says(A.into()));
    let before = desk.stored;
    desk.set(late);
    assert_eq!(desk.stored, before, "now it cannot happen any more");
}

#[test]
fn a_swap_that_happened_unheard_is_seen() {
    let mut desk = Desk::held();
    let late = desk.ask_in_vain(hold(A.into()));
    desk.set(late);
    desk.pass(3 * SECOND);
    desk.agree(Want::Look);
    assert!(desk.claim.says(A.into()), "no need to write it twice");
}

#[test]
fn the_fencing_token_is_known_while_the_record_is_not() {
    let mut desk = Desk::held();
    let token = desk.claim.token();
    assert!(token.is_some());
    desk.ask_in_vain(hold(A.into()));
    assert_eq!(desk.claim.record(), None);
    assert_eq!(desk.claim.token(), token);
}
