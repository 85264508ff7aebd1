//! The primary's side of every recorded session, against this crate's secondary: the answers are
//! the recorded ones octet by octet, the replies are the recorded ones, and so are the data in
//! the end.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "common/recorded.rs"]
mod recorded;
#[path = "common/wire.rs"]
mod wire;

use core::time::Duration;

use bytes::BytesMut;
use hast_proto::decision::Rule;
use hast_proto::frame::{Decoder, Encoder, Phase, Segments};
use hast_proto::handshake::{Access, Connection, Established, SecondaryHandshake, accepting};
use hast_proto::message::{FirstAnswer, Opening, Refusal, Refused, Reply, SecondAnswer};
use hast_proto::secondary::{self, Secondary};
use hast_proto::{Consistency, Errno, Length, Role, Sealer, Token};
use recorded::{Provider, Session};
use wire::{assert_counted, frames, sessions};

const NOW: Duration = Duration::ZERO;

/// A node that is secondary for a while.
struct Node<'a> {
    session: &'a Session,
    node: &'a str,
    provider: Provider,
    consistency: Consistency,
    door: SecondaryHandshake<Duration>,
    running: Option<Secondary<Duration>>,
    sealer: Sealer,
    /// Everything sent on each connection.
    sent: Vec<(Connection, Segments)>,
    replies: Vec<Reply>,
    established: Option<Established>,
    rules: Vec<Rule>,
}

impl Node<'_> {
    fn drive(&mut self, input: accepting::Input) {
        self.door.handle(NOW, input);
        while let Some(output) = self.door.poll_output() {
            match output {
                accepting::Output::Answer(connection, mut answer) => {
                    // A pair that the original does not have, nor look for.
                    if let FirstAnswer::Welcome(welcome) = &mut answer {
                        assert!(core::mem::take(&mut welcome.reunion));
                    }
                    let segments = answer.encode(&mut Encoder::new());
                    self.sent.push((connection, segments));
                }
                accepting::Output::Decide(connection, version, answer) => {
                    let answer = answer.sealed(&mut self.sealer);
                    let segments = answer.encode(version, &mut Encoder::new());
                    self.sent.push((connection, segments));
                }
                accepting::Output::Prepare => {
                    self.stop();
                    let ready = accepting::Input::Ready {
                        metadata: self.provider.metadata(),
                        map: self.provider.map(),
                        consistency: self.consistency,
                    };
                    self.drive(ready);
                }
                accepting::Output::StoreMetadata(metadata) => {
                    self.provider.store(&metadata);
                    self.drive(accepting::Input::Stored(Ok(())));
                }
                accepting::Output::Established(established) => {
                    self.rules.push(established.rule);
                    self.established = Some(established);
                }
                // The original tells no map.
                accepting::Output::SplitBrain { peer, .. } => assert_eq!(peer, None),
                accepting::Output::Close(_) | accepting::Output::Refused(..) => {}
            }
        }
    }

    fn start(&mut self, established: &Established) {
        let layout = self.provider.metadata().layout;
        let mut config = secondary::Config::new(layout, established.source, self.consistency);
        config.keep_map = established.keep_map;
        if self.session.name != "maxphys-1m" {
            config.max_transfer = Length::MAX_TRANSFER;
        }
        let mut machine = Secondary::new(config);
        machine.handle(NOW, secondary::Input::Start);
        self.running = Some(machine);
    }

    fn step(&mut self, input: secondary::Input) {
        let Some(mut machine) = self.running.take() else {
            return;
        };
        let flush = match self.session.name.as_str() {
            "flush-not-supported" => Err(Errno::EOPNOTSUPP),
            _ => Ok(()),
        };
        machine.handle(NOW, input);
        let mut ended = false;
        while let Some(output) = machine.poll_output() {
            match output {
                secondary::Output::Disk(id, operation) => {
                    if let hast_proto::DiskOperation::StoreConsistency(mark) = operation {
                        self.consistency = mark;
                    }
                    let result = self.provider.execute(&operation, flush);
                    machine.handle(NOW, secondary::Input::Disk(id, result));
                }
                secondary::Output::Reply(reply) => self.replies.push(reply),
                secondary::Output::Ended(_) => ended = true,
                secondary::Output::Close | secondary::Output::Event(_) => {}
            }
        }
        if !ended {
            self.running = Some(machine);
        }
    }

    fn stop(&mut self) {
        self.step(secondary::Input::Stop);
        assert!(self.running.is_none(), "nothing is being executed");
    }
}

/// What has been seen over all sessions.
#[derive(Debug, Default)]
struct Seen {
    established: usize,
    answers: usize,
    replies: usize,
    data_areas: usize,
    rules: std::collections::BTreeSet<Rule>,
}

/// Replies in an order that does not depend on which disk was faster.
fn sorted(mut replies: Vec<Reply>) -> Vec<Reply> {
    replies.sort_by_key(|reply| {
        let received = matches!(reply, Reply::Received { .. });
        (reply.sequence(), !received)
    });
    replies
}

/// Takes the token that the recorded secondary gave.
fn recorded_token(session: &Session, connection: u64) -> Token {
    let octets = session.stream(connection, "s2c");
    match frames(&[Phase::Answer], &octets).first() {
        Some((frame, _)) => match FirstAnswer::decode(frame) {
            Ok(FirstAnswer::Welcome(welcome)) => welcome.token,
            _ => Token::new([0xee; 16]),
        },
        None => Token::new([0xee; 16]),
    }
}

/// The role of a node at a moment.
fn role(session: &Session, node: &str, at: f64) -> Role {
    let last = session.orders(node, "role", at).last();
    last.map_or(Role::Init, |order| {
        let word = wire::str_of(order, "op").split(' ').nth(1).unwrap();
        word.parse().unwrap()
    })
}

fn replay(session: &Session, node: &str, via: &str, seen: &mut Seen) {
    let Some(provider) = session.provider(node) else {
        return;
    };
    let mut state = Node {
        session,
        node,
        provider,
        consistency: Consistency::Consistent,
        door: SecondaryHandshake::new(accepting::Config::default()),
        running: None,
        sealer: Sealer::new(
            session.config(node, "compression").parse().unwrap(),
            session.config(node, "checksum").parse().unwrap(),
        ),
        sent: Vec::new(),
        replies: Vec::new(),
        established: None,
        rules: Vec::new(),
    };
    let connections = session.connections(via);
    for &(number, at) in &connections {
        let octets = session.stream(number, "c2s");
        let mut decoder = Decoder::new(Phase::Opening);
        let mut buffer = BytesMut::from(&octets[..]);
        // A header octet of 3, or a token of 8 octets: the original says nothing either.
        let opening = match decoder.decode(&mut buffer) {
            Ok(Some(frame)) => Opening::decode(&frame),
            _ => continue,
        };
        let Ok(opening) = opening else {
            continue;
        };
        if matches!(opening, Opening::First(_)) {
            follow(session, &mut state, at, number);
        }
        state.drive(accepting::Input::Role(role(session, node, at)));
        if opening.resource() != &state.provider.metadata().resource {
            // Who finds the resource finds that there is none.
            let refusal = FirstAnswer::Refused(Refused::from(Refusal::NotConfigured));
            let segments = refusal.encode(&mut Encoder::new());
            state.sent.push((Connection(number), segments));
            continue;
        }
        state.drive(accepting::Input::Opening {
            connection: Connection(number),
            opening,
            access: Access::Allowed,
            token: recorded_token(session, number),
        });
        let Some(established) = state.established.take() else {
            continue;
        };
        seen.established += 1;
        state.start(&established);
        let first = session.stream(established.first.0, "c2s");
        for (frame, _) in frames(&[Phase::Opening, Phase::Request], &first)
            .into_iter()
            .skip(1)
        {
            state.step(secondary::Input::Frame(frame));
        }
        compare_replies(session, &mut state, established.second.0, seen);
    }
    compare_answers(session, &state, &connections, seen);
    compare_data(session, &state, seen);
    seen.rules.extend(state.rules.iter().copied());
}

/// Makes up for what a node did as a primary: its own writes, its counters and its map are as
/// the recording says.
fn follow(session: &Session, state: &mut Node<'_>, at: f64, number: u64) {
    if session.orders(state.node, "role primary", at).count() == 0 {
        return;
    }
    // Whoever promoted it knew that it was in sync.
    state.consistency = Consistency::Consistent;
    let writes: Vec<_> = session.orders(state.node, "write", at).collect();
    for write in writes {
        let (offset, len): (u64, usize) = (
            wire::number(&write["offset"]),
            wire::number(&write["length"]),
        );
        let data = recorded::payload(&write["payload"], len);
        state.provider.write(hast_proto::Offset::new(offset), &data);
    }
    let answers = session.stream(number, "s2c");
    let Some((frame, _)) = frames(&[Phase::Answer], &answers).get(1).cloned() else {
        return;
    };
    let mut metadata = state.provider.metadata();
    let requests = session.stream(number + 1, "c2s");
    if let Ok(Opening::Second(step)) = Opening::decode(&frames(&[Phase::Opening], &requests)[0].0) {
        metadata.resource_id = step.resource_id;
    }
    match SecondAnswer::decode(&frame).unwrap() {
        SecondAnswer::Accepted(accepted) => {
            metadata.counters = accepted.standing.counters;
            if let Some(map) = accepted.map {
                let octets = map.open(map.size()).unwrap();
                let end = hast_proto::BLOCK_LEN + octets.len();
                state.provider.octets[hast_proto::BLOCK_LEN..end].copy_from_slice(&octets);
            }
        }
        SecondAnswer::Refused { standing, .. } => {
            metadata.counters = standing.unwrap().counters;
        }
    }
    state.provider.store(&metadata);
}

fn compare_replies(session: &Session, state: &mut Node<'_>, second: u64, seen: &mut Seen) {
    let octets = session.stream(second, "s2c");
    let recorded: Vec<Reply> = frames(&[Phase::Reply], &octets)
        .iter()
        .map(|(frame, _)| Reply::decode(frame).unwrap())
        .collect();
    let replies: Vec<Reply> = core::mem::take(&mut state.replies)
        .into_iter()
        .map(|reply| reply.sealed(&mut state.sealer))
        .collect();
    seen.replies += replies.len();
    let (replies, recorded) = (sorted(replies), sorted(recorded));
    let at = format!("{} connection {second}", session.name);
    for (ours, theirs) in replies.iter().zip(&recorded) {
        match (ours, theirs) {
            // Another compressor makes other octets of the same data.
            (Reply::Data { payload: a, .. }, Reply::Data { payload: b, .. }) => {
                assert_eq!(ours.sequence(), theirs.sequence(), "{at}");
                assert_eq!(a.compression(), b.compression(), "{at}");
                if a.wire_bytes() != b.wire_bytes() {
                    let len = u32::from_le_bytes(a.wire_bytes()[..4].try_into().unwrap());
                    let open = |it: &hast_proto::Payload| it.open(Length::new(len.into())).unwrap();
                    assert_eq!(open(a), open(b), "{at}");
                }
            }
            _ => assert_eq!(ours, theirs, "{at}"),
        }
    }
    // The recorded one was cut off, or the original has given up where this one goes on.
    let missing = replies.len() - recorded.len();
    let allowed = match session.name.as_str() {
        "inflight-write-lost" | "bad-requests" | "role-swap" => 1,
        "async" | "memsync" => 0,
        _ if session
            .operations()
            .iter()
            .any(|it| wire::str_of(it, "op").starts_with("network")) =>
        {
            1
        }
        _ => 0,
    };
    assert!(
        missing <= allowed,
        "{at}: {missing} replies more than recorded"
    );
}

fn compare_answers(
    session: &Session,
    state: &Node<'_>,
    connections: &[(u64, f64)],
    seen: &mut Seen,
) {
    for &(number, _) in connections {
        let octets = session.stream(number, "s2c");
        let opening = session.stream(number, "c2s");
        let mut buffer = BytesMut::from(&opening[..]);
        let is_first = match Decoder::new(Phase::Opening).decode(&mut buffer) {
            Ok(Some(frame)) => matches!(Opening::decode(&frame), Ok(Opening::First(_))),
            _ => false,
        };
        let mut start = 0;
        let mut sent = state.sent.iter().filter(|(it, _)| it.0 == number);
        if !is_first && !octets.is_empty() && sent.clone().next().is_none() {
            // Replies, which were compared.
            continue;
        }
        for (_, end) in frames(&[Phase::Answer], &octets) {
            let (_, segments) = sent.next().unwrap_or_else(|| {
                panic!("{} connection {number}: no answer", session.name);
            });
            let recorded = &octets[start..end];
            let list = 5 + segments.list.len();
            let at = format!("{} connection {number}", session.name);
            assert_eq!(segments.header, &recorded[..5], "{at}");
            let expected = wire::without_name_padding(&recorded[5..list]);
            assert_eq!(wire::hex(&segments.list), wire::hex(&expected), "{at}");
            assert_eq!(segments.payload, &recorded[list..], "{at}");
            seen.answers += 1;
            start = end;
        }
        assert!(
            sent.next().is_none(),
            "{} connection {number}",
            session.name
        );
    }
}

fn compare_data(session: &Session, state: &Node<'_>, seen: &mut Seen) {
    let was_primary = session.orders(state.node, "role primary", f64::MAX).count() != 0;
    let Some(sha256) = session.final_sha256(state.node) else {
        return;
    };
    // What it wrote as a primary before or after is not all known.
    if was_primary {
        return;
    }
    assert_eq!(state.provider.sha256(), sha256, "{}", session.name);
    // The original's metadata semantics: identity and counters, but not who wrote last.
    let file = session
        .path
        .join(format!("metadata-node{}.bin", state.node));
    let recorded = std::fs::read(file).unwrap();
    let theirs = hast_proto::Metadata::parse(&recorded[..hast_proto::BLOCK_LEN]).unwrap();
    let ours = state.provider.metadata();
    assert_eq!(ours.resource_id, theirs.resource_id, "{}", session.name);
    assert_eq!(ours.counters, theirs.counters, "{}", session.name);
    assert_eq!(ours.layout, theirs.layout, "{}", session.name);
    assert_eq!(
        state.provider.map(),
        &recorded[hast_proto::BLOCK_LEN..],
        "{}",
        session.name
    );
    seen.data_areas += 1;
}

#[test]
fn every_recorded_primary_finds_what_it_found() {
    let mut seen = Seen::default();
    for path in sessions() {
        let session = Session::load(&path);
        for (node, via) in [("B", "A->B"), ("A", "B->A")] {
            replay(&session, node, via, &mut seen);
        }
    }
    println!("{seen:?}");
    assert_counted("sessions of secondaries", seen.established, 21);
    assert_counted("answers alike", seen.answers, 64);
    assert_counted("replies alike", seen.replies, 208);
    assert_counted("data areas that end alike", seen.data_areas, 17);
    for rule in [Rule::BothNew, Rule::PrimaryAhead] {
        assert!(seen.rules.contains(&rule), "{seen:?}");
    }
}
