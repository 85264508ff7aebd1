//! The secondary's side of every recorded session, against this crate's primary, with the same
//! device requests: it opens the sessions with the recorded octets, asks for what the original
//! asked for, and ends with the same data on both nodes. Where the original loses a write, this
//! one does not.

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
use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use hast_proto::frame::{Decoder, Encoder, Frame, Phase, Segments};
use hast_proto::handshake::PrimaryHandshake;
use hast_proto::handshake::connecting::{self, Which};
use hast_proto::message::{Opening, Reply, Request};
use hast_proto::primary::{
    Config, DeviceRequest, Event, Input, Output, Primary, Provider as Start, RequestId, SessionId,
};
use hast_proto::{
    Checksum, Consistency, DiskOperation, Errno, Length, Offset, Payload, RequestSize, ResourceId,
    Role, Sealer, Sequence,
};
use recorded::{Provider, Session};
use serde_json::Value as Json;
use wire::{assert_counted, frames, number, sessions, str_of};

fn frame(phase: Phase, segments: &Segments) -> Frame {
    let mut buffer = BytesMut::from(&segments.concat()[..]);
    Decoder::new(phase).decode(&mut buffer).unwrap().unwrap()
}

/// A recorded session's requests, and the replies to each.
#[derive(Default)]
struct Script {
    openings: [Option<Frame>; 2],
    answers: VecDeque<Frame>,
    /// Requests that nobody has asked again yet, and their replies.
    requests: Vec<(Request, Vec<Reply>)>,
}

impl Script {
    fn load(session: &Session, first: u64, second: Option<u64>) -> Self {
        let client = session.stream(first, "c2s");
        let all = frames(&[Phase::Opening, Phase::Request], &client);
        let mut script = Self {
            answers: frames(&[Phase::Answer], &session.stream(first, "s2c"))
                .into_iter()
                .map(|(frame, _)| frame)
                .collect(),
            ..Self::default()
        };
        script.openings[0] = Some(all[0].0.clone());
        let Some(second) = second else {
            return script;
        };
        let opening = session.stream(second, "c2s");
        script.openings[1] = Some(frames(&[Phase::Opening], &opening)[0].0.clone());
        let mut replies: BTreeMap<u64, VecDeque<Reply>> = BTreeMap::new();
        for (frame, _) in frames(&[Phase::Reply], &session.stream(second, "s2c")) {
            let reply = Reply::decode(&frame).unwrap();
            let sequence = reply.sequence().map_or(0, Sequence::get);
            replies.entry(sequence).or_default().push_back(reply);
        }
        for (frame, _) in all.iter().skip(1) {
            let request = Request::decode(frame).unwrap();
            let Some(sequence) = request.sequence() else {
                continue;
            };
            let of = replies.entry(sequence.get()).or_default();
            let memsync = matches!(request, Request::Write { memsync: true, .. });
            let count = if memsync { 2 } else { 1 };
            let own = (0..count).filter_map(|_| of.pop_front()).collect();
            script.requests.push((request, own));
        }
        script
    }

    /// Takes the recorded request that is the same but for its number.
    fn take(&mut self, request: &Request) -> Option<Vec<Reply>> {
        let position = self
            .requests
            .iter()
            .position(|(recorded, _)| same(recorded, request))?;
        Some(self.requests.remove(position).1)
    }
}

fn same(recorded: &Request, request: &Request) -> bool {
    match (recorded, request) {
        (
            Request::Write {
                memsync: a,
                payload: left,
                ..
            },
            Request::Write {
                memsync: b,
                payload: right,
                length,
                ..
            },
        ) => {
            a == b
                && recorded.range() == request.range()
                && left.open(*length) == right.open(*length)
        }
        (Request::Read { .. }, Request::Read { .. })
        | (Request::Delete { .. }, Request::Delete { .. })
        | (Request::Flush { .. }, Request::Flush { .. }) => recorded.range() == request.range(),
        _ => false,
    }
}

/// The same reply to another number.
fn renumbered(reply: &Reply, sequence: Sequence) -> Reply {
    match reply {
        Reply::Received { .. } => Reply::Received { sequence },
        Reply::Done { .. } => Reply::Done { sequence },
        Reply::Data { payload, .. } => Reply::Data {
            sequence,
            payload: payload.clone(),
        },
        Reply::Failed {
            received, error, ..
        } => Reply::Failed {
            sequence: Some(sequence),
            received: *received,
            error: *error,
        },
    }
}

struct Node<'a> {
    session: &'a Session,
    now: Duration,
    machine: Primary<Duration>,
    own: Provider,
    /// Reads from here on fail.
    broken_from: u64,
    peer: Option<Provider>,
    scripts: VecDeque<(f64, Script)>,
    script: Option<Script>,
    attempt: Option<(SessionId, PrimaryHandshake<Duration>)>,
    id: Option<SessionId>,
    network: bool,
    flush: Result<(), Errno>,
    answered: BTreeMap<u64, Result<Vec<Bytes>, Errno>>,
    events: Vec<Event>,
    matched: usize,
    extra: usize,
    openings: usize,
}

impl Node<'_> {
    fn input(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            if let Some(output) = self.machine.poll_output() {
                self.act(output);
            } else if let Some(output) = self
                .attempt
                .as_mut()
                .and_then(|(_, attempt)| attempt.poll_output())
            {
                self.connect(output);
            } else {
                return;
            }
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Disk(id, operation) => {
                let fails = match &operation {
                    DiskOperation::Read { offset, length } => {
                        offset.get() + length.get() > self.broken_from
                    }
                    _ => false,
                };
                let result = if fails {
                    Err(Errno::EIO)
                } else {
                    self.own.execute(&operation, self.flush)
                };
                self.machine.handle(self.now, Input::Disk(id, result));
            }
            Output::Connect(id, header) => {
                let metadata = self.machine.metadata();
                let mut attempt = PrimaryHandshake::new(connecting::Config {
                    resource: metadata.resource.clone(),
                    layout: metadata.layout,
                    header,
                    timeout: Duration::from_secs(20),
                });
                attempt.handle(self.now, connecting::Input::Start);
                self.attempt = Some((id, attempt));
            }
            Output::Identity(_, identity) => {
                let (_, attempt) = self.attempt.as_mut().unwrap();
                attempt.handle(self.now, connecting::Input::Identity(identity));
            }
            Output::Send(id, request) => self.answer(id, request),
            Output::Disconnect(_) => {
                self.id = None;
                self.script = None;
            }
            Output::Completed(id, result) => drop(self.answered.insert(id.0, result)),
            Output::Event(event) => self.events.push(event),
            Output::Stopped => {}
        }
    }

    fn connect(&mut self, output: connecting::Output) {
        let (id, _) = *self
            .attempt
            .as_ref()
            .map(|(id, _)| (id, ()))
            .as_ref()
            .unwrap();
        let id = *id;
        let mut give = |input| {
            let (_, attempt) = self.attempt.as_mut().unwrap();
            attempt.handle(self.now, input);
        };
        match output {
            connecting::Output::Connect(Which::First) => {
                let due = self
                    .scripts
                    .front()
                    .is_some_and(|(at, _)| *at <= self.now.as_secs_f64() + 1.0);
                if !self.network || !due {
                    give(connecting::Input::Closed(Which::First));
                    return;
                }
                self.script = self.scripts.pop_front().map(|(_, script)| script);
                give(connecting::Input::Connected(Which::First));
            }
            connecting::Output::Connect(Which::Second) => {
                if self.script.as_ref().unwrap().openings[1].is_none() {
                    give(connecting::Input::Closed(Which::Second));
                    return;
                }
                give(connecting::Input::Connected(Which::Second));
            }
            connecting::Output::Send(which, version, opening) => {
                let script = self.script.as_mut().unwrap();
                let recorded = script.openings[usize::from(which == Which::Second)]
                    .as_ref()
                    .unwrap();
                // Octet by octet what the original has sent.
                let segments = opening.encode(version, &mut Encoder::new());
                let theirs = recorded.encode(&mut Encoder::new());
                let at = format!("{} {opening:?}", self.session.name);
                assert_eq!(segments.header, theirs.header, "{at}");
                assert_eq!(wire::hex(&segments.list), wire::hex(&theirs.list), "{at}");
                self.openings += 1;
                match script.answers.pop_front() {
                    Some(answer) => give(connecting::Input::Frame(Which::First, answer)),
                    None => give(connecting::Input::Closed(Which::First)),
                }
            }
            connecting::Output::NeedIdentity => {
                let recorded = self.script.as_ref().unwrap().openings[1].as_ref().unwrap();
                let Ok(Opening::Second(step)) = Opening::decode(recorded) else {
                    panic!("no second step");
                };
                let fresh = step.resource_id.unwrap_or(ResourceId::new(1).unwrap());
                self.machine.handle(self.now, Input::Identify(id, fresh));
            }
            connecting::Output::Established(session) => {
                self.id = Some(id);
                self.attempt = None;
                self.machine.handle(self.now, Input::Session(id, session));
            }
            // The original tells no map.
            connecting::Output::SplitBrain(map) => assert_eq!(map, None),
            connecting::Output::Failed(failure) => {
                self.attempt = None;
                self.machine
                    .handle(self.now, Input::ConnectFailed(id, failure));
            }
        }
    }

    /// Answers as recorded, or as a healthy secondary where nothing was recorded.
    fn answer(&mut self, id: SessionId, request: Request) {
        let mut sealer = Sealer::new(
            self.session.config("A", "compression").parse().unwrap(),
            self.session.config("A", "checksum").parse().unwrap(),
        );
        let request = request.sealed(&mut sealer);
        let Some(sequence) = request.sequence() else {
            return;
        };
        assert_ne!(sequence, Sequence::SYNCHRONISATION);
        let recorded = self.script.as_mut().and_then(|it| it.take(&request));
        let done = self.execute(&request);
        let replies = match recorded {
            Some(replies) => {
                self.matched += 1;
                replies.iter().map(|it| renumbered(it, sequence)).collect()
            }
            None => {
                self.extra += 1;
                match done {
                    Some(data) if !data.is_empty() => vec![Reply::Data {
                        sequence,
                        payload: Payload::plain(data).unwrap(),
                    }],
                    _ if matches!(request, Request::Write { memsync: true, .. }) => {
                        vec![Reply::Received { sequence }, Reply::Done { sequence }]
                    }
                    _ => vec![Reply::Done { sequence }],
                }
            }
        };
        for reply in replies {
            let segments = reply.encode(hast_proto::Version::V2, &mut Encoder::new());
            let frame = frame(Phase::Reply, &segments);
            self.machine.handle(self.now, Input::Frame(id, frame));
        }
    }

    fn execute(&mut self, request: &Request) -> Option<Bytes> {
        let peer = self.peer.as_mut()?;
        let operation = match request {
            Request::Write {
                offset,
                length,
                payload,
                ..
            } => DiskOperation::Write {
                offset: *offset,
                data: payload.open(*length).unwrap(),
            },
            Request::Read { offset, length, .. } => DiskOperation::Read {
                offset: *offset,
                length: *length,
            },
            _ => return None,
        };
        peer.execute(&operation, Ok(())).ok()
    }

    fn device(&mut self, operation: &Json) {
        let offset = || Offset::new(number(&operation["offset"]));
        let length = || Length::new(number(&operation["length"]));
        let len = || number::<usize>(&operation["length"]);
        let id = RequestId(self.answered.len() as u64);
        let request = match str_of(operation, "op").split(' ').next().unwrap() {
            "write" => DeviceRequest::Write {
                offset: offset(),
                data: recorded::payload(&operation["payload"], len()).into(),
            },
            "read" => DeviceRequest::Read {
                offset: offset(),
                length: length(),
            },
            "delete" => DeviceRequest::Delete {
                offset: offset(),
                length: length(),
            },
            "flush" => DeviceRequest::Flush,
            _ => return,
        };
        self.input(Input::Request(id, request));
        let answer = self.answered.get(&id.0);
        let at = format!("{} {operation}", self.session.name);
        let result = answer.unwrap_or_else(|| panic!("not answered: {at}"));
        // The original knows no other reason to fail a flush than that no side can do it.
        let flush = str_of(operation, "op") == "flush";
        if operation["result"] == 0 || flush {
            let data = result
                .as_ref()
                .unwrap_or_else(|error| panic!("{error}: {at}"));
            if let Some(sha256) = operation["data_sha256"].as_str() {
                let digest = hast_proto::Digest::compute(Checksum::Sha256, &data.concat()).unwrap();
                assert_eq!(wire::hex(digest.as_bytes()), sha256, "{at}");
            }
        }
    }

    fn advance(&mut self, now: Duration) {
        while let Some(deadline) = self.machine.poll_timeout().filter(|at| *at <= now) {
            self.now = self.now.max(deadline);
            self.input(Input::Timeout);
        }
        self.now = self.now.max(now);
    }
}

#[derive(Debug, Default)]
struct Seen {
    sessions: usize,
    openings: usize,
    matched: usize,
    extra: usize,
    data_areas: usize,
    refused: usize,
}

fn replay(session: &Session, seen: &mut Seen) {
    let scripted = session.json["notes"]
        .to_string()
        .contains("client end (c2s) is a script");
    let Some(own) = session.provider("A").filter(|_| !scripted) else {
        return;
    };
    let mut connections: VecDeque<(u64, f64)> = session.connections("A->B").into();
    let mut scripts = VecDeque::new();
    while let Some((first, at)) = connections.pop_front() {
        // A second one is there only if the first was welcome.
        let second = match connections.front() {
            Some(&(number, _)) if session.has_token(number) => {
                connections.pop_front();
                Some(number)
            }
            _ => None,
        };
        scripts.push_back((at, Script::load(session, first, second)));
    }
    let provider = Start {
        metadata: own.metadata(),
        map: own.map(),
        consistency: Consistency::Consistent,
    };
    let config = Config {
        replication: session.config("A", "replication").parse().unwrap(),
        request_size: match session.name.as_str() {
            "maxphys-1m" => RequestSize::MAX,
            _ => RequestSize::DEFAULT,
        },
        reconnect: Duration::from_millis(500),
        ..Config::default()
    };
    let mut node = Node {
        session,
        now: Duration::ZERO,
        machine: Primary::new(config, provider).unwrap(),
        own,
        broken_from: u64::MAX,
        peer: session.provider("B"),
        scripts,
        script: None,
        attempt: None,
        id: None,
        network: true,
        flush: match session.name.as_str() {
            "flush-not-supported" => Err(Errno::EOPNOTSUPP),
            _ => Ok(()),
        },
        answered: BTreeMap::new(),
        events: Vec::new(),
        matched: 0,
        extra: 0,
        openings: 0,
    };
    let mut changed = false;
    for operation in session.operations() {
        let t = operation["t"].as_f64().unwrap();
        node.advance(Duration::from_secs_f64(t));
        let op = str_of(operation, "op");
        let own = operation["node"] == "A";
        match op {
            "role primary" if own => node.input(Input::Start),
            _ if op.starts_with("network: both TCP connections closed") => {
                node.network = false;
                if let Some(id) = node.id {
                    node.input(Input::Closed(id));
                }
            }
            _ if op.starts_with("network: new connections allowed") => node.network = true,
            _ if op.starts_with("local component damaged") && own => {
                node.broken_from = if op.contains("2 MiB") { 2 << 20 } else { 0 };
            }
            _ if op.starts_with("local component re") && own => node.broken_from = u64::MAX,
            _ if op.starts_with("write-batch") && own => {
                for request in operation["items"].as_array().unwrap() {
                    let mut request = request.clone();
                    request["op"] = "write".into();
                    request["result"] = 0.into();
                    node.device(&request);
                }
            }
            _ if op.starts_with("role") => {
                changed |= node.openings != 0;
                if changed && own {
                    break;
                }
            }
            _ if own => node.device(operation),
            _ => {}
        }
    }
    let last = session.operations().last().unwrap()["t"].as_f64().unwrap();
    if !changed {
        node.advance(Duration::from_secs_f64(last));
    }
    finish(&node, changed, seen);
}

/// What must be so when a replay has ended.
fn finish(node: &Node<'_>, changed: bool, seen: &mut Seen) {
    let session = node.session;
    seen.sessions += 1;
    seen.openings += node.openings;
    seen.matched += node.matched;
    seen.extra += node.extra;
    seen.refused += node
        .events
        .iter()
        .filter(|event| matches!(event, Event::ConnectFailed(_)))
        .count();
    if changed {
        return;
    }
    // Every recorded device request was sent, too; steps and flushes may be others.
    if let Some(script) = &node.script {
        for (request, _) in &script.requests {
            let step = request.sequence() == Some(Sequence::SYNCHRONISATION);
            assert!(step, "{}: {request:?} was not sent", session.name);
        }
    }
    let Some(sha256) = session.final_sha256("A") else {
        return;
    };
    assert_eq!(node.own.sha256(), sha256, "{}", session.name);
    seen.data_areas += 1;
    if let (Some(peer), Some(sha256)) = (&node.peer, session.final_sha256("B")) {
        match session.name.as_str() {
            // The original has lost a write; here the nodes are equal.
            "inflight-write-lost" => {
                assert_ne!(peer.sha256(), sha256);
                assert_eq!(peer.sha256(), node.own.sha256());
            }
            "split-brain" => {}
            _ => assert_eq!(peer.sha256(), sha256, "{}", session.name),
        }
        seen.data_areas += 1;
    }
    let file = session.path.join("metadata-nodeA.bin");
    let recorded = std::fs::read(file).unwrap();
    let theirs = hast_proto::Metadata::parse(&recorded[..hast_proto::BLOCK_LEN]).unwrap();
    let ours = node.own.metadata();
    let at = &session.name;
    assert_eq!(ours.resource_id, theirs.resource_id, "{at}");
    assert_eq!(ours.counters, theirs.counters, "{at}");
    if ours.resource_id.is_some() {
        assert_eq!(ours.previous_role, Role::Primary, "{at}");
    }
}

#[test]
fn every_recorded_secondary_is_asked_for_what_it_was_asked_for() {
    let mut seen = Seen::default();
    for path in sessions() {
        let session = Session::load(&path);
        replay(&session, &mut seen);
    }
    println!("{seen:?}");
    assert_counted("sessions of primaries", seen.sessions, 17);
    assert_counted("openings alike", seen.openings, 48);
    assert_counted("requests asked for alike", seen.matched, 158);
    assert_counted("data areas that end alike", seen.data_areas, 29);
}
