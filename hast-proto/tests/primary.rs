//! A primary: the cells of its state tables, and the order of what must be on disk first.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "common/machine.rs"]
mod machine;

use core::time::Duration;

use bytes::Bytes;
use hast_proto::decision::AnswerError;
use hast_proto::frame::{Encoder, FrameError, Phase};
use hast_proto::handshake::connecting::{self, Which};
use hast_proto::handshake::{Identity, PrimaryHandshake, Session};
use hast_proto::message::{
    Accepted, FirstAnswer, Map, Progress, Refusal, Refused, Reply, Request, SecondAnswer, Standing,
    Welcome,
};
use hast_proto::primary::{
    Alone, Config, DeviceRequest, Event, Input, LocalCopy, Loss, Output, Partner, Primary,
    Provider, RequestId, SessionId, WishId,
};
use hast_proto::{
    Consistency, Counters, DiskOperation, Errno, Length, Metadata, Offset, OperationId, Payload,
    Replication, RequestSize, ResourceId, Sequence, SyncSource, Token, Version,
};
use machine::{received, small_layout, small_metadata};

const SECOND: Duration = Duration::from_secs(1);

fn config() -> Config {
    Config {
        request_size: RequestSize::MIN,
        timeout: 20 * SECOND,
        keepalive: 7 * SECOND,
        reconnect: 10 * SECOND,
        first_contact: 2 * SECOND,
        copy_window: 2,
        copy_window_busy: 1,
        ..Config::default()
    }
}

fn known() -> Metadata {
    let mut metadata = small_metadata();
    metadata.resource_id = ResourceId::new(77);
    metadata
}

/// What a peer answers to the second step.
#[derive(Clone, Copy)]
struct Peer {
    version: Version,
    counters: Counters,
    source: SyncSource,
    map: u8,
    virgin: bool,
}

const EVEN: Peer = Peer {
    version: Version::V2,
    counters: Counters {
        local: 0,
        remote: 0,
    },
    source: SyncSource::Primary,
    map: 0,
    virgin: false,
};

/// A primary, and what has come out of it but has not been answered.
struct Node {
    machine: Primary<Duration>,
    now: Duration,
    disk: Vec<(OperationId, DiskOperation)>,
    sent: Vec<Request>,
    words: Vec<String>,
    connect: Option<SessionId>,
    session: Option<SessionId>,
    identity: Option<Identity>,
    events: Vec<Event>,
    next: u64,
}

impl Node {
    fn new(config: Config, metadata: Metadata, consistency: Consistency) -> Self {
        let provider = Provider {
            map: vec![0; metadata.layout.map_len().to_usize().unwrap()].into(),
            metadata,
            consistency,
        };
        Self {
            machine: Primary::new(config, provider).unwrap(),
            now: Duration::ZERO,
            disk: Vec::new(),
            sent: Vec::new(),
            words: Vec::new(),
            connect: None,
            session: None,
            identity: None,
            events: Vec::new(),
            next: 1,
        }
    }

    /// Running without a peer.
    fn alone() -> Self {
        let partner = Partner::None;
        let mut node = Self::new(
            Config {
                partner,
                ..config()
            },
            known(),
            Consistency::Consistent,
        );
        node.input(Input::Start);
        node
    }

    /// In sync with a peer.
    fn up(config: Config) -> Self {
        let mut node = Self::new(config, known(), Consistency::Consistent);
        node.input(Input::Start);
        node.establish(EVEN);
        node.all_done();
        node.take();
        assert!(node.machine.is_connected());
        node
    }

    /// Copying from the peer, with nothing of it answered yet.
    fn catching() -> Self {
        let mut node = Self::new(config(), known(), Consistency::Consistent);
        node.input(Input::Start);
        node.establish(Peer {
            counters: Counters {
                local: 1,
                remote: 0,
            },
            source: SyncSource::Secondary,
            map: 0x80,
            ..EVEN
        });
        while node.has("map") || node.has("mark") || node.has("metadata") {
            node.disk_done(Ok(()));
        }
        assert_eq!(node.machine.copy(), LocalCopy::Catching);
        node.take();
        node
    }

    fn input(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Disk(id, operation) => {
                    self.words.push(word(&operation));
                    self.disk.push((id, operation));
                }
                Output::Connect(id, _) => self.connect = Some(id),
                Output::Identity(_, identity) => self.identity = Some(identity),
                Output::Send(_, request) => {
                    self.words.push(format!("> {}", request_word(&request)));
                    if request.sequence().is_some() {
                        self.sent.push(request);
                    }
                }
                Output::Disconnect(_) => {
                    self.words.push("disconnect".into());
                    self.session = None;
                    self.sent.clear();
                }
                Output::Completed(id, result) => self.words.push(match result {
                    Ok(_) => format!("{} ok", id.0),
                    Err(error) => format!("{} {}", id.0, error.name()),
                }),
                Output::Event(event) => self.events.push(event),
                Output::Stopped => self.words.push("stopped".into()),
            }
        }
    }

    fn take(&mut self) -> String {
        core::mem::take(&mut self.words).join(", ")
    }

    fn has(&self, what: &str) -> bool {
        self.disk.iter().any(|(_, it)| word(it).starts_with(what))
    }

    /// Ends the oldest disk operation.
    fn disk_done(&mut self, result: Result<(), Errno>) {
        self.end(0, result);
    }

    /// Ends the oldest disk operation of a kind.
    fn done(&mut self, what: &str, result: Result<(), Errno>) {
        let position = self
            .disk
            .iter()
            .position(|(_, it)| word(it).starts_with(what))
            .unwrap_or_else(|| panic!("no {what} in {:?}", self.disk));
        self.end(position, result);
    }

    fn end(&mut self, position: usize, result: Result<(), Errno>) {
        let (id, operation) = self.disk.remove(position);
        let data = match operation {
            DiskOperation::Read { length, .. } => vec![7; length.to_usize().unwrap()].into(),
            _ => Bytes::new(),
        };
        self.input(Input::Disk(id, result.map(|()| data)));
    }

    /// Answers the oldest request to the peer.
    fn reply(&mut self, result: Result<(), Errno>) {
        let request = self.sent.remove(0);
        let sequence = request.sequence().unwrap();
        let reply = match (&request, result) {
            (_, Err(error)) => Reply::Failed {
                sequence: Some(sequence),
                received: false,
                error,
            },
            (Request::Read { length, .. }, Ok(())) => {
                let data = vec![9; length.to_usize().unwrap()].into();
                let payload = Payload::plain(data).unwrap();
                Reply::Data { sequence, payload }
            }
            _ => Reply::Done { sequence },
        };
        self.give(&reply);
    }

    /// The first of memsync's answers to the oldest request.
    fn received(&mut self) {
        let sequence = self.sent.first().unwrap().sequence().unwrap();
        self.give(&Reply::Received { sequence });
    }

    fn give(&mut self, reply: &Reply) {
        let segments = reply.encode(Version::V2, &mut Encoder::new());
        let frame = received(Phase::Reply, &segments);
        self.input(Input::Frame(self.session.unwrap(), frame));
    }

    fn all_done(&mut self) {
        while !self.disk.is_empty() || !self.sent.is_empty() {
            if self.disk.is_empty() {
                if matches!(
                    self.sent.first(),
                    Some(Request::Write { memsync: true, .. })
                ) {
                    self.received();
                }
                self.reply(Ok(()));
            } else {
                self.disk_done(Ok(()));
            }
        }
    }

    fn request(&mut self, request: DeviceRequest) -> u64 {
        let id = self.next;
        self.next += 1;
        self.input(Input::Request(RequestId(id), request));
        id
    }

    fn write(&mut self, offset: u64) -> u64 {
        self.request(write(offset, 512))
    }

    fn read(&mut self, offset: u64) -> u64 {
        self.request(DeviceRequest::Read {
            offset: Offset::new(offset),
            length: Length::new(512),
        })
    }

    /// Runs the handshake with a peer, up to the session.
    fn handshake(&mut self, peer: Peer) -> (SessionId, Session) {
        let id = self.connect.take().unwrap();
        let mut attempt = PrimaryHandshake::new(connecting::Config {
            resource: known().resource,
            layout: small_layout(),
            header: Version::V1,
            timeout: SECOND,
        });
        let fresh = ResourceId::new(77).unwrap();
        self.input(Input::Identify(id, fresh));
        while self.identity.is_none() {
            self.done("metadata", Ok(()));
        }
        let welcome = FirstAnswer::Welcome(Welcome {
            version: Some(peer.version),
            token: Token::new([7; 16]),
            reunion: true,
        });
        let octets = vec![peer.map; 512].into();
        let accepted = SecondAnswer::Accepted(Accepted {
            standing: Standing {
                data_size: small_layout().data_len(),
                extent_size: small_layout().extent_size(),
                counters: peer.counters,
            },
            virgin: peer.virgin,
            source: peer.source,
            map: Map::new(512, Payload::plain(octets).unwrap()),
        });
        let encoder = &mut Encoder::new();
        let first = received(Phase::Answer, &welcome.encode(encoder));
        let second = received(Phase::Answer, &accepted.encode(peer.version, encoder));
        for input in [
            connecting::Input::Start,
            connecting::Input::Connected(Which::First),
            connecting::Input::Frame(Which::First, first),
            connecting::Input::Connected(Which::Second),
            connecting::Input::Identity(self.identity.take().unwrap()),
            connecting::Input::Frame(Which::First, second),
        ] {
            attempt.handle(self.now, input);
        }
        let mut outputs = core::iter::from_fn(|| attempt.poll_output());
        let session = outputs.find_map(|output| match output {
            connecting::Output::Established(session) => Some(session),
            _ => None,
        });
        (id, session.unwrap())
    }

    fn establish(&mut self, peer: Peer) {
        let (id, session) = self.handshake(peer);
        self.session = Some(id);
        self.input(Input::Session(id, session));
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.input(Input::Timeout);
    }

    /// The disk fails while the peer lacks something.
    fn fail_alone(&mut self) {
        self.write(0);
        self.done("map", Ok(()));
        self.done("write", Err(Errno::EIO));
        self.request(DeviceRequest::Flush);
        self.done("flush", Err(Errno::EIO));
        assert_eq!(self.machine.copy(), LocalCopy::Failed { complete: false });
    }

    fn lose(&mut self) {
        let id = self.session.unwrap();
        self.input(Input::Closed(id));
    }
}

fn write(offset: u64, len: usize) -> DeviceRequest {
    DeviceRequest::Write {
        offset: Offset::new(offset),
        data: vec![5; len].into(),
    }
}

fn delete(offset: u64) -> DeviceRequest {
    DeviceRequest::Delete {
        offset: Offset::new(offset),
        length: Length::new(512),
    }
}

fn word(operation: &DiskOperation) -> String {
    match operation {
        DiskOperation::Read { offset, .. } => format!("read {offset}"),
        DiskOperation::Write { offset, .. } => format!("write {offset}"),
        DiskOperation::Delete { offset, .. } => format!("delete {offset}"),
        DiskOperation::Flush => "flush".into(),
        DiskOperation::StoreMap { .. } => "map".into(),
        DiskOperation::StoreMetadata(metadata) => {
            let Counters { local, remote } = metadata.counters;
            format!("metadata {local} {remote}")
        }
        DiskOperation::StoreConsistency(mark) => format!("mark {mark:?}"),
    }
}

fn request_word(request: &Request) -> String {
    let offset = request.range().map_or(0, |(offset, _)| offset.get());
    match request {
        Request::Read { .. } => format!("read {offset}"),
        Request::Write { memsync: true, .. } => format!("memsync {offset}"),
        Request::Write { .. } => format!("write {offset}"),
        Request::Delete { .. } => format!("delete {offset}"),
        Request::Flush { .. } => "flush".into(),
        Request::Keepalive => "keepalive".into(),
        Request::Progress(Progress::Copying) => "copying".into(),
        Request::Progress(Progress::Agreed) => "agreed".into(),
    }
}

/// A session of which no node knows.
fn stranger() -> (SessionId, Session) {
    let mut node = Node::new(config(), known(), Consistency::Consistent);
    node.input(Input::Start);
    node.handshake(EVEN)
}

/// The five columns of the first table.
fn situation(column: usize) -> Node {
    match column {
        0 => Node::alone(),
        1 => Node::up(config()),
        2 => Node::catching(),
        3 => {
            let mut node = Node::up(config());
            node.write(0);
            node.done("map", Ok(()));
            node.done("write", Err(Errno::EIO));
            node.all_done();
            assert_eq!(node.machine.copy(), LocalCopy::Failed { complete: true });
            node
        }
        _ => {
            let mut node = Node::alone();
            node.fail_alone();
            node
        }
    }
}

#[test]
fn every_request_goes_where_the_table_says() {
    type Ask = fn(&mut Node) -> u64;
    let rows: [(&str, Ask, [&str; 5]); 4] = [
        (
            "READ",
            |node| node.read(16384),
            [
                "read 16384",
                "read 16384",
                "read 16384",
                "> read 16384",
                "EIO",
            ],
        ),
        (
            "WRITE",
            |node| node.write(16384),
            [
                "map, write 16384, metadata 1 0",
                "map, write 16384, > write 16384",
                "map, write 16384, > write 16384",
                "> write 16384",
                "EIO",
            ],
        ),
        (
            "DELETE",
            |node| node.request(delete(16384)),
            [
                "map, delete 16384, metadata 1 0",
                "map, delete 16384, > delete 16384",
                "map, delete 16384, > delete 16384",
                "> delete 16384",
                "EIO",
            ],
        ),
        (
            "FLUSH",
            |node| node.request(DeviceRequest::Flush),
            [
                "flush",
                "flush, > flush",
                "flush, > flush",
                "> flush",
                "EIO",
            ],
        ),
    ];
    for (what, ask, expected) in rows {
        for (column, expected) in expected.into_iter().enumerate() {
            let mut node = situation(column);
            // Only what this request causes is looked at.
            let (old_disk, old_sent) = (core::mem::take(&mut node.disk), node.sent.len());
            node.take();
            let id = ask(&mut node);
            let mut words = Vec::new();
            let mut sent = node.sent.split_off(old_sent.min(node.sent.len()));
            core::mem::swap(&mut sent, &mut node.sent);
            for _ in 0..20 {
                words.append(&mut node.words);
                if let Some(end) = words
                    .iter()
                    .find(|word| word.starts_with(&format!("{id} ")))
                {
                    let error = end.strip_prefix(&format!("{id} ")).unwrap().to_owned();
                    words.retain(|word| !word.starts_with(&format!("{id} ")));
                    if error != "ok" {
                        words.push(error);
                    }
                    break;
                }
                if node.disk.is_empty() {
                    node.reply(Ok(()));
                } else {
                    node.disk_done(Ok(()));
                }
            }
            words.retain(|word| word != "> copying");
            assert_eq!(words.join(", "), expected, "{what} in column {column}");
            drop((old_disk, sent));
        }
    }
}

#[test]
fn the_inputs_do_what_the_table_says() {
    let make = |state: usize| {
        let mut node = match state {
            0 => Node::new(config(), known(), Consistency::Consistent),
            _ => Node::up(config()),
        };
        if state >= 2 {
            node.write(0);
            node.input(Input::Stop);
        }
        if state == 3 {
            node.all_done();
        }
        node.take();
        node
    };
    type Act = fn(&mut Node);
    let rows: [(&str, Act, [&str; 4]); 15] = [
        (
            "Start",
            |node| {
                let connects = node.connect.is_none() && node.session.is_none();
                let idle = node.machine.poll_timeout().is_none() && connects;
                node.input(Input::Start);
                assert!(idle || node.connect.is_none());
            },
            ["", "", "", ""],
        ),
        (
            "Identify, of no attempt",
            |node| {
                let (id, _) = stranger();
                node.input(Input::Identify(id, ResourceId::new(1).unwrap()));
                assert_eq!(node.identity, None);
            },
            ["", "", "", ""],
        ),
        (
            "Session, of no attempt",
            |node| {
                let (id, session) = stranger();
                node.input(Input::Session(id, session));
            },
            ["disconnect", "disconnect", "disconnect", "disconnect"],
        ),
        (
            "ConnectFailed, of no attempt",
            |node| {
                let failure = hast_proto::handshake::Failure::TimedOut;
                node.input(Input::ConnectFailed(stranger().0, failure));
            },
            ["", "", "", ""],
        ),
        (
            "Frame, that answers nothing",
            |node| {
                let sequence = Sequence::new(1_000_000).unwrap();
                let reply = Reply::Done { sequence };
                let segments = reply.encode(Version::V2, &mut Encoder::new());
                let id = node.session.unwrap_or_else(|| stranger().0);
                node.input(Input::Frame(id, received(Phase::Reply, &segments)));
            },
            ["", "disconnect", "", ""],
        ),
        (
            "Configure",
            |node| node.input(Input::Configure(config())),
            ["", "", "", ""],
        ),
        (
            "Request",
            |node| {
                node.write(8192);
            },
            ["1 ENXIO", "map", "2 ENXIO", "2 ENXIO"],
        ),
        (
            "Request out of range",
            |node| {
                node.write(1 << 40);
            },
            ["1 ENXIO", "1 EINVAL", "2 ENXIO", "2 ENXIO"],
        ),
        (
            "Request out of line",
            |node| {
                node.write(100);
            },
            ["1 ENXIO", "1 EINVAL", "2 ENXIO", "2 ENXIO"],
        ),
        (
            "Disk",
            |node| {
                if !node.disk.is_empty() {
                    node.disk_done(Ok(()));
                }
            },
            ["", "", "stopped", ""],
        ),
        (
            "Timeout",
            |node| node.wait(Duration::ZERO),
            ["", "", "", ""],
        ),
        (
            "Stop",
            |node| node.input(Input::Stop),
            ["stopped", "disconnect, stopped", "", ""],
        ),
        (
            "Attach",
            |node| {
                let provider = Provider {
                    metadata: known(),
                    map: vec![0; 512].into(),
                    consistency: Consistency::Consistent,
                };
                node.input(Input::Attach(provider));
                assert_eq!(
                    node.events.contains(&Event::AttachRefused),
                    node.machine.is_connected()
                );
            },
            ["", "", "", ""],
        ),
        (
            "Closed",
            |node| {
                if let Some(id) = node.session {
                    node.input(Input::Closed(id));
                }
            },
            ["", "disconnect", "", ""],
        ),
        (
            "Invalid",
            |node| {
                if let Some(id) = node.session {
                    node.input(Input::Invalid(id, FrameError::EmptyList));
                    let loss = Loss::Frame(FrameError::EmptyList);
                    assert!(node.events.contains(&Event::Disconnected(loss)));
                }
            },
            ["", "disconnect", "", ""],
        ),
    ];
    for (what, act, expected) in rows {
        for (state, expected) in expected.into_iter().enumerate() {
            let mut node = make(state);
            act(&mut node);
            assert_eq!(node.take(), expected, "{what} in state {state}");
        }
    }
}

#[test]
fn an_absence_is_counted_on_disk_before_its_first_acknowledgement() {
    let mut node = Node::alone();
    node.write(0);
    node.write(512);
    assert_eq!(node.take(), "map");
    node.done("map", Ok(()));
    assert_eq!(node.take(), "write 0, write 512");
    node.done("write 0", Ok(()));
    node.done("write 512", Ok(()));
    assert_eq!(node.take(), "metadata 1 0");
    node.done("metadata", Ok(()));
    assert_eq!(node.take(), "1 ok, 2 ok");
    node.write(0);
    node.disk_done(Ok(()));
    assert_eq!(node.take(), "write 0, 3 ok", "one absence is counted once");
}

#[test]
fn a_second_write_waits_for_the_map_that_is_on_its_way_for_the_first() {
    let mut node = Node::alone();
    node.write(0);
    node.write(1024);
    node.write(8192);
    assert_eq!(node.take(), "map");
    node.done("map", Ok(()));
    // The first map does not mark the second extent: that goes with another one.
    assert_eq!(node.take(), "write 0, write 1024, map");
    node.done("map", Ok(()));
    assert_eq!(node.take(), "write 8192");
}

#[test]
fn only_what_overlaps_waits() {
    let mut node = Node::up(config());
    node.write(0);
    node.done("map", Ok(()));
    node.write(0);
    node.write(512);
    assert_eq!(
        node.take(),
        "map, write 0, > write 0, write 512, > write 512"
    );
    // As soon as the first is on the local disk: on the connection they keep their order.
    node.done("write 0", Ok(()));
    assert_eq!(node.take(), "write 0, > write 0");
}

#[test]
fn a_write_on_its_way_when_the_peer_is_lost_is_marked_and_counted() {
    let mut node = Node::up(config());
    node.write(0);
    node.done("map", Ok(()));
    node.done("write", Ok(()));
    node.take();
    node.lose();
    assert!(node.machine.map().differs(0));
    assert_eq!(node.take(), "disconnect, metadata 1 0");
    node.done("metadata", Ok(()));
    assert_eq!(node.take(), "1 ok");
    assert!(node.machine.map().differs(0), "and it stays marked");
}

#[test]
fn a_write_that_the_peer_refuses_is_marked_counted_and_tried_again() {
    let mut node = Node::up(config());
    node.write(0);
    node.done("map", Ok(()));
    node.done("write", Ok(()));
    node.take();
    node.reply(Err(Errno::EIO));
    assert!(node.machine.map().differs(0) && !node.machine.is_in_sync());
    assert_eq!(node.take(), "> copying, metadata 1 0");
    node.done("metadata", Ok(()));
    assert_eq!(node.take(), "1 ok");
    node.wait(10 * SECOND);
    node.all_done();
    assert!(node.machine.is_in_sync());
    assert_eq!(
        node.machine.metadata().counters.local,
        0,
        "they agree again"
    );
}

#[test]
fn the_modes_acknowledge_when_they_say() {
    let with = |replication| {
        let mut node = Node::up(Config {
            replication,
            ..config()
        });
        node.write(0);
        node.done("map", Ok(()));
        node.take();
        node
    };
    let mut node = with(Replication::Fullsync);
    node.reply(Ok(()));
    assert_eq!(node.take(), "");
    node.done("write", Ok(()));
    assert_eq!(node.take(), "1 ok");

    let mut node = with(Replication::Memsync);
    node.done("write", Ok(()));
    assert_eq!(node.take(), "");
    node.received();
    assert_eq!(node.take(), "1 ok");
    node.reply(Ok(()));
    assert_eq!(node.machine.map().busy(), 0);
    // There is no "received" for a DELETE.
    node.take();
    node.request(delete(512));
    node.done("delete", Ok(()));
    assert_eq!(node.take(), "delete 512, > delete 512");
    node.reply(Ok(()));
    assert_eq!(node.take(), "2 ok");

    let mut node = with(Replication::Async);
    node.done("write", Ok(()));
    assert_eq!(node.take(), "1 ok");
    assert_eq!(
        node.machine.map().busy(),
        1,
        "marked until the peer has it, too"
    );
    // The peer never gets it: that is as good as written alone.
    node.lose();
    assert_eq!(node.take(), "disconnect, metadata 1 0");

    // Nor does it if it refuses.
    let mut node = with(Replication::Async);
    node.done("write", Ok(()));
    node.take();
    node.reply(Err(Errno::EIO));
    assert_eq!(node.take(), "> copying, metadata 1 0");
}

#[test]
fn what_was_acknowledged_reaches_the_peer_before_the_end() {
    let stopping = || {
        let mut node = Node::up(Config {
            replication: Replication::Async,
            ..config()
        });
        node.write(0);
        node.done("map", Ok(()));
        node.done("write", Ok(()));
        node.write(0);
        node.done("write", Ok(()));
        node.read(0);
        node.take();
        node.input(Input::Stop);
        assert_eq!(node.take(), "3 ENXIO");
        node.done("read", Ok(()));
        node.reply(Ok(()));
        assert_eq!(node.take(), "");
        node
    };
    let mut node = stopping();
    node.reply(Ok(()));
    assert_eq!(node.take(), "disconnect, stopped");

    // It does not answer in time, or fails, or is lost: that is found out later.
    type Act = fn(&mut Node);
    let ends: [Act; 3] = [
        |node| {
            let due = node.machine.poll_timeout();
            assert_eq!(due, Some(SECOND));
            node.wait(SECOND);
        },
        |node| node.reply(Err(Errno::EIO)),
        Node::lose,
    ];
    for end in ends {
        // What the peer has in memory it writes even if it leaves, to be promoted.
        let mut node = Node::up(Config {
            replication: Replication::Memsync,
            ..config()
        });
        node.write(0);
        node.done("map", Ok(()));
        node.done("write", Ok(()));
        node.received();
        node.input(Input::Stop);
        node.take();
        end(&mut node);
        assert!(node.take().ends_with("disconnect, stopped"));

        let mut node = stopping();
        end(&mut node);
        let words = node.take();
        assert!(words.contains("disconnect"), "{words}");
        assert!(words.contains("metadata 1 0"), "{words}");
        assert!(!words.contains("stopped"), "{words}");
        node.done("metadata", Ok(()));
        assert_eq!(node.take(), "stopped");
    }
}

#[test]
fn memsync_is_not_asked_of_version_1_nor_acknowledged_after_a_failure() {
    let memsync = Config {
        replication: Replication::Memsync,
        ..config()
    };
    let mut node = Node::new(memsync.clone(), known(), Consistency::Consistent);
    node.input(Input::Start);
    node.establish(Peer {
        version: Version::V1,
        ..EVEN
    });
    node.all_done();
    node.take();
    node.write(0);
    node.done("map", Ok(()));
    assert_eq!(node.take(), "map, write 0, > write 0");

    // HAST §14.55: the local failure comes last.
    let mut node = Node::up(memsync);
    node.write(0);
    node.done("map", Ok(()));
    node.received();
    node.done("write", Err(Errno::EIO));
    node.done("mark", Ok(()));
    node.take();
    node.reply(Ok(()));
    assert_eq!(node.take(), "1 ok", "only when the peer has it on disk");
}

#[test]
fn a_local_failure_is_marked_before_the_peer_s_word_counts() {
    let mut node = Node::up(config());
    node.write(0);
    node.done("map", Ok(()));
    node.reply(Ok(()));
    node.take();
    node.done("write", Err(Errno::EIO));
    assert_eq!(node.take(), "mark Incomplete");
    node.done("mark", Ok(()));
    assert_eq!(node.take(), "1 ok");
    // It is attached again: everything is copied, and the mark goes last.
    node.input(Input::Attach(same_disk()));
    assert_eq!(node.machine.copy(), LocalCopy::Catching);
    assert_eq!(node.machine.map().to_copy(), 16);
    node.all_done();
    assert_eq!(node.machine.copy(), LocalCopy::Current);
    let words = node.take();
    let (flush, mark) = (
        words.find("flush").unwrap(),
        words.find("mark Consistent").unwrap(),
    );
    assert!(flush < mark, "{words}");
    assert_eq!(node.machine.stats().copied, 16 * 8192);
}

#[test]
fn a_local_failure_without_a_complete_peer_fails_requests() {
    let mut node = Node::up(config());
    node.lose();
    node.write(0);
    node.done("map", Ok(()));
    node.done("write", Ok(()));
    node.take();
    // Without the counter nobody would know that it wrote alone.
    node.done("metadata", Err(Errno::EIO));
    assert_eq!(node.take(), "1 EIO");
    assert_eq!(node.machine.copy(), LocalCopy::Failed { complete: false });
    node.input(Input::Attach(same_disk()));
    assert_eq!(node.machine.copy(), LocalCopy::Current);
    assert!(
        node.machine.map().differs(0),
        "what was marked stays marked"
    );
}

#[test]
fn the_only_copy_is_not_given_up_for_one_block() {
    // Nobody is there; or somebody is, who lacks this very write.
    for present in [false, true] {
        let mut node = Node::up(config());
        if !present {
            node.lose();
        }
        node.write(0);
        node.done("map", Ok(()));
        if present {
            node.reply(Err(Errno::EIO));
        }
        node.take();
        node.done("write", Err(Errno::EIO));
        assert_eq!(node.take(), "1 EIO");
        assert!(
            node.events.contains(&Event::LocalWriteFailed(Errno::EIO)),
            "{:?}",
            node.events
        );
        assert_eq!(node.machine.stats().write_errors, 1);
        // It is served further, from here, and nothing was acknowledged that the peer lacks.
        assert_eq!(node.machine.copy(), LocalCopy::Current);
        assert_eq!(node.machine.metadata().counters, Counters::default());
        let read = node.read(0);
        assert_eq!(node.take(), "read 0");
        node.disk_done(Ok(()));
        assert_eq!(node.take(), format!("{read} ok"));
        // What either has of it, they agree in the end.
        assert!(node.machine.map().differs(0) && !node.machine.is_in_sync());
        node.wait(10 * SECOND);
        if !present {
            node.establish(EVEN);
        }
        node.all_done();
        assert!(node.take().contains("read 0, "), "copied from here");
        assert!(node.machine.is_in_sync());
    }
}

/// The disk that has failed works again.
fn same_disk() -> Provider {
    Provider {
        metadata: known(),
        map: vec![0; 512].into(),
        consistency: Consistency::Consistent,
    }
}

/// The disk has failed while the peer was away, which has missed something; now that is back.
fn failed_alone(peer: Peer) -> Node {
    let mut node = Node::up(config());
    node.lose();
    node.fail_alone();
    node.wait(SECOND);
    node.take();
    node.establish(peer);
    assert!(node.machine.is_connected());
    node
}

#[test]
fn a_peer_that_has_missed_something_does_not_hear_that_it_agrees() {
    let mut node = failed_alone(EVEN);
    assert_eq!(node.take(), "> copying");
}

#[test]
fn a_peer_that_wrote_alone_is_complete_though_the_disk_failed_before() {
    let mut node = failed_alone(Peer {
        counters: Counters {
            local: 1,
            remote: 0,
        },
        source: SyncSource::Secondary,
        ..EVEN
    });
    assert_eq!(node.machine.copy(), LocalCopy::Failed { complete: true });
    assert_eq!(node.take(), "mark Incomplete, > agreed");
    node.read(0);
    assert_eq!(node.take(), "> read 0");
    node.all_done();
    // What is on the local disk is not copied over what the peer has.
    node.input(Input::Attach(same_disk()));
    assert_eq!(node.machine.copy(), LocalCopy::Catching);
}

#[test]
fn what_the_peer_has_marked_is_not_forgotten_for_want_of_a_disk() {
    let mut node = failed_alone(Peer { map: 0x80, ..EVEN });
    node.input(Input::Attach(same_disk()));
    assert_eq!(node.machine.copy(), LocalCopy::Current);
    assert!(node.machine.map().differs(0) && node.machine.map().differs(7));
}

#[test]
fn a_new_peer_does_not_stand_in_for_the_one_that_had_everything() {
    let new = Peer {
        virgin: true,
        map: 0xff,
        ..EVEN
    };
    let given_up = Event::GivenUp(Some(AnswerError::VirginNeeded));
    // The local disk has failed; and it is a mixture.
    let mut failed = situation(3);
    failed.lose();
    let mut mixture = Node::new(config(), known(), Consistency::Inconsistent);
    mixture.input(Input::Start);
    for mut node in [failed, mixture] {
        if node.connect.is_none() {
            node.wait(SECOND);
        }
        node.establish(new);
        assert!(node.events.contains(&given_up));
        // The next time it is not new any more, but has nothing all the same.
        node.wait(10 * SECOND);
        node.establish(Peer { map: 0, ..EVEN });
        assert!(!node.machine.is_connected());
        node.take();
        let id = node.read(0);
        assert_eq!(node.take(), format!("{id} EIO"));
    }
}

#[test]
fn a_replacement_is_marked_before_it_gets_an_identity() {
    let mut node = situation(3);
    let mut provider = same_disk();
    provider.metadata.resource_id = None;
    node.take();
    node.input(Input::Attach(provider.clone()));
    node.write(0);
    assert!(node.take().starts_with("mark Incomplete"));
    assert!(!node.has("metadata") && !node.has("write"));
    node.done("mark", Ok(()));
    assert!(node.has("metadata"));
    node.all_done();
    assert_eq!(node.machine.copy(), LocalCopy::Current);

    // The end comes though the metadata still wait for it.
    let mut node = situation(3);
    node.input(Input::Attach(provider.clone()));
    node.input(Input::Stop);
    while !node.disk.is_empty() {
        node.disk_done(Ok(()));
    }
    assert!(node.take().ends_with("stopped"));

    // If it cannot be marked, it is not used.
    let mut node = situation(3);
    node.input(Input::Attach(provider));
    node.done("mark", Err(Errno::EIO));
    assert_eq!(node.machine.copy(), LocalCopy::Failed { complete: true });
}

#[test]
fn nothing_replaces_a_disk_that_has_what_the_peer_lacks() {
    let mut new = same_disk();
    new.metadata.resource_id = None;
    let mut other = same_disk();
    other.metadata.resource_id = ResourceId::new(78);
    let mut mixture = same_disk();
    mixture.consistency = Consistency::Inconsistent;
    for provider in [new, other, mixture] {
        let mut node = situation(4);
        node.input(Input::Attach(provider));
        assert_eq!(node.machine.copy(), LocalCopy::Failed { complete: false });
        assert!(node.events.contains(&Event::AttachRefused));
    }
    // Nor one that has not been written to a disk that never met a peer.
    let mut unpaired = same_disk();
    unpaired.metadata.resource_id = None;
    let metadata = unpaired.metadata.clone();
    let partner = Partner::None;
    let alone = Config {
        partner,
        ..config()
    };
    let mut node = Node::new(alone, metadata, Consistency::Consistent);
    node.input(Input::Start);
    node.write(0);
    node.all_done();
    node.request(DeviceRequest::Flush);
    node.disk_done(Err(Errno::EIO));
    node.input(Input::Attach(unpaired.clone()));
    assert_eq!(node.machine.copy(), LocalCopy::Failed { complete: false });
    unpaired.metadata.counters.local = 1;
    node.input(Input::Attach(unpaired));
    assert_eq!(node.machine.copy(), LocalCopy::Current);
}

#[test]
fn a_step_of_before_the_failure_copies_nothing_after_it() {
    // The disk fails before a write is sent to the peer, or after.
    for is_sent in [false, true] {
        let mut node = Node::new(config(), known(), Consistency::Consistent);
        node.input(Input::Start);
        node.establish(Peer { map: 1, ..EVEN });
        node.done("map", Ok(()));
        while node.has("read") {
            node.done("read", Ok(()));
        }
        // Both halves of the extent are on their way to the peer when the disk fails, and works again.
        node.write(16384);
        if is_sent {
            node.done("map", Ok(()));
            node.done("write", Err(Errno::EIO));
            node.request(DeviceRequest::Flush);
            node.done("flush", Err(Errno::EIO));
        } else {
            node.done("map", Err(Errno::EIO));
        }
        node.input(Input::Attach(same_disk()));
        assert!(node.machine.map().differs(0));
        assert_eq!(node.sent.len(), if is_sent { 4 } else { 2 });
        node.sent.rotate_right(1);
        while !node.sent.is_empty() {
            node.reply(Ok(()));
        }
        // The new walk copies both anew, of which only one has ended.
        node.done("read 0", Ok(()));
        node.reply(Ok(()));
        assert!(node.has("read 4096") && node.machine.map().differs(0));
    }
}

#[test]
fn what_only_the_peer_can_do_waits_a_while_for_it_to_return() {
    type Make = fn() -> Node;
    let made: [Make; 2] = [Node::catching, || situation(3)];
    for make in made {
        let ask = |node: &mut Node| {
            [
                node.read(57344),
                node.write(0),
                node.write(16384),
                node.request(DeviceRequest::Flush),
            ]
        };
        let mut node = make();
        let mut asked = ask(&mut node).to_vec();
        while node.has("map") {
            node.done("map", Ok(()));
        }
        node.take();
        node.lose();
        while !node.disk.is_empty() {
            node.disk_done(Ok(()));
        }
        asked.extend(ask(&mut node));
        while !node.disk.is_empty() {
            node.disk_done(Ok(()));
        }
        assert!(!node.take().contains("EIO"), "nothing has failed yet");
        // It returns: everything is done.
        node.wait(SECOND);
        node.establish(Peer {
            counters: Counters {
                local: 1,
                remote: 0,
            },
            source: SyncSource::Secondary,
            map: 0x80,
            ..EVEN
        });
        node.all_done();
        let words = node.take();
        for id in &asked {
            assert!(words.contains(&format!("{id} ok")), "{id}: {words}");
        }

        // It does not: everything fails in time.
        let mut node = make();
        let asked = ask(&mut node);
        node.lose();
        node.wait(2 * SECOND);
        while !node.disk.is_empty() {
            node.disk_done(Ok(()));
        }
        let words = node.take();
        for id in asked {
            assert!(words.contains(&format!("{id} EIO")), "{id}: {words}");
        }
    }
}

#[test]
fn a_read_that_waits_for_a_session_ends_when_there_is_none() {
    let mut node = Node::up(config());
    node.lose();
    node.write(0);
    node.done("map", Ok(()));
    let read = node.read(8192);
    node.wait(SECOND);
    node.establish(EVEN);
    // The session waits for the write; the read fails here, and waits for the session.
    node.done("read", Err(Errno::EIO));
    assert!(!node.take().contains("EIO"));
    node.done("write", Ok(()));
    node.done("metadata", Ok(()));
    assert!(node.events.contains(&Event::GivenUp(None)));
    let words = node.take();
    assert!(words.contains(&format!("{read} EIO")), "{words}");
}

#[test]
fn a_mark_that_could_not_be_stored_is_tried_with_the_next_session() {
    let ahead = Peer {
        counters: Counters {
            local: 1,
            remote: 0,
        },
        source: SyncSource::Secondary,
        ..EVEN
    };
    let mut node = Node::new(config(), known(), Consistency::Consistent);
    node.input(Input::Start);
    node.establish(ahead);
    node.done("mark", Err(Errno::EIO));
    assert!(!node.machine.is_connected());
    while !node.disk.is_empty() {
        node.disk_done(Ok(()));
    }
    node.wait(SECOND);
    node.take();
    node.establish(ahead);
    assert!(node.take().contains("mark Inconsistent"));
    node.all_done();
    assert!(node.machine.is_connected());
}

#[test]
fn without_the_mark_a_failed_disk_acknowledges_nothing() {
    let mut node = Node::up(config());
    node.write(0);
    node.done("map", Ok(()));
    node.reply(Ok(()));
    node.done("write", Err(Errno::EIO));
    node.take();
    node.done("mark", Err(Errno::EIO));
    assert_eq!(node.take(), "1 EIO");
}

#[test]
fn stale_blocks_are_read_from_the_peer_until_they_are_copied() {
    let mut node = Node::catching();
    // The last of every eight extents differs: the eighth begins at 57344.
    node.sent.clear();
    node.read(57344);
    assert_eq!(node.take(), "> read 57344");
    node.reply(Ok(()));
    assert_eq!(node.take(), "1 ok");
    node.read(0);
    assert_eq!(node.take(), "read 0");
    // The peer is lost: what is stale cannot be read, nor anything be written.
    node.lose();
    node.wait(2 * SECOND);
    node.take();
    node.read(57344);
    assert_eq!(node.take(), "3 EIO");
    node.write(0);
    node.done("map", Ok(()));
    node.done("write", Ok(()));
    assert!(node.take().ends_with("4 EIO"));
}

#[test]
fn a_read_that_became_stale_while_it_was_read_is_read_again() {
    let mut node = Node::up(config());
    node.read(57344);
    node.lose();
    node.wait(SECOND);
    node.establish(Peer {
        counters: Counters {
            local: 1,
            remote: 0,
        },
        source: SyncSource::Secondary,
        map: 0x80,
        ..EVEN
    });
    while node.has("map") || node.has("mark") || node.has("metadata") {
        let what = ["map", "mark", "metadata"]
            .into_iter()
            .find(|it| node.has(it));
        node.done(what.unwrap(), Ok(()));
    }
    node.take();
    node.done("read", Ok(()));
    assert_eq!(node.take(), "> read 57344");
}

#[test]
fn a_failed_local_read_is_answered_by_the_peer_unless_that_lacks_the_block() {
    let mut node = Node::up(config());
    node.read(0);
    node.done("read", Err(Errno::EIO));
    assert_eq!(node.take(), "read 0, > read 0");
    node.reply(Ok(()));
    assert_eq!(node.take(), "1 ok");
    node.write(0);
    node.done("map", Ok(()));
    node.done("write", Ok(()));
    node.reply(Err(Errno::EIO));
    node.done("metadata", Ok(()));
    node.take();
    node.read(512);
    node.done("read", Err(Errno::EIO));
    assert_eq!(node.take(), "read 512, 3 EIO");
}

#[test]
fn large_writes_and_reads_are_split_for_the_peer_only() {
    let mut node = Node::up(config());
    node.request(write(0, 10_240));
    node.done("map", Ok(()));
    assert_eq!(
        node.take(),
        "map, write 0, > write 0, > write 4096, > write 8192"
    );
    node.done("write", Ok(()));
    node.reply(Ok(()));
    node.reply(Ok(()));
    assert_eq!(node.take(), "");
    node.reply(Ok(()));
    assert_eq!(node.take(), "1 ok");
    node.request(DeviceRequest::Read {
        offset: Offset::new(0),
        length: Length::new(8192),
    });
    node.done("read", Err(Errno::EIO));
    assert_eq!(node.take(), "read 0, > read 0, > read 4096");
}

#[test]
fn requests_wait_for_the_first_attempt_but_not_for_long() {
    let waiting = || {
        let mut node = Node::new(config(), known(), Consistency::Consistent);
        node.input(Input::Start);
        node.write(0);
        node.read(0);
        assert_eq!(node.take(), "");
        node
    };
    let mut node = waiting();
    node.wait(2 * SECOND);
    assert_eq!(node.take(), "read 0, map");

    let mut node = waiting();
    let id = node.connect.take().unwrap();
    let refused = Refused::from(Refusal::NotConfigured);
    let failure = hast_proto::handshake::Failure::Refused(refused);
    node.input(Input::ConnectFailed(id, failure));
    assert_eq!(node.take(), "read 0, map");

    // The peer is primary, too, and asks to wait: it is asked again and again, for longer than a
    // silent one is, and all that time nothing is done without it.
    let mut node = waiting();
    let refused = Refused::from(Refusal::Role(hast_proto::Role::Primary));
    let refuse = |node: &mut Node| {
        let id = node.connect.take().unwrap();
        let failure = hast_proto::handshake::Failure::Refused(refused.clone());
        node.input(Input::ConnectFailed(id, failure));
    };
    for _ in 0..199 {
        refuse(&mut node);
        assert_eq!(node.take(), "");
        node.wait(SECOND / 10);
    }
    // But not for ever.
    refuse(&mut node);
    node.wait(SECOND / 10);
    assert_eq!(node.take(), "read 0, map");
}

#[test]
fn a_session_agreed_on_false_counters_is_given_up() {
    let mut node = Node::new(config(), known(), Consistency::Consistent);
    node.input(Input::Start);
    let (id, session) = node.handshake(EVEN);
    // Nobody has waited for the answer.
    node.wait(2 * SECOND);
    node.write(0);
    node.done("map", Ok(()));
    node.done("write", Ok(()));
    node.done("metadata", Ok(()));
    node.take();
    node.input(Input::Session(id, session));
    assert_eq!(node.take(), "disconnect");
    assert!(node.events.contains(&Event::GivenUp(None)));
    assert!(node.connect.is_some(), "and asked again at once");
    assert!(!node.machine.is_connected());
}

#[test]
fn nothing_is_written_while_a_session_opens() {
    let mut node = Node::new(config(), known(), Consistency::Consistent);
    node.input(Input::Start);
    let (id, session) = node.handshake(EVEN);
    node.wait(2 * SECOND);
    node.write(0);
    node.done("map", Ok(()));
    node.input(Input::Session(id, session));
    node.session = Some(id);
    node.write(16384);
    node.take();
    // The first write ends, and counts: that is enough to give the session up.
    node.done("write", Ok(()));
    assert_eq!(node.take(), "metadata 1 0");
    node.done("metadata", Ok(()));
    assert!(node.take().starts_with("1 ok, disconnect"));
}

#[test]
fn a_new_identifier_is_on_disk_before_it_is_sent() {
    let mut node = Node::new(config(), small_metadata(), Consistency::Consistent);
    node.input(Input::Start);
    let id = node.connect.take().unwrap();
    node.input(Input::Identify(id, ResourceId::new(5).unwrap()));
    assert_eq!(node.take(), "metadata 0 0");
    assert_eq!(node.identity, None);
    node.done("metadata", Ok(()));
    let identity = node.identity.unwrap();
    assert_eq!(identity.resource_id.get(), 5);
    assert_eq!(identity.virgin, hast_proto::decision::Virgin::Yes);
}

#[test]
fn a_silent_peer_is_asked_for_a_sign_of_life_and_then_given_up() {
    let mut node = Node::up(config());
    node.wait(7 * SECOND);
    assert_eq!(node.take(), "> keepalive");
    node.wait(3 * SECOND);
    assert_eq!(node.take(), "> read 0");
    node.reply(Ok(()));
    node.wait(10 * SECOND);
    assert_eq!(node.take(), "> read 0");
    node.write(0);
    node.done("map", Ok(()));
    node.done("write", Ok(()));
    node.take();
    node.wait(10 * SECOND);
    assert!(node.events.contains(&Event::Disconnected(Loss::Silent)));
    node.done("metadata", Ok(()));
    assert!(node.take().ends_with("1 ok"), "nobody waits any longer");
}

#[test]
fn a_request_that_is_never_answered_ends_the_session_though_others_are() {
    let mut node = Node::up(config());
    node.write(0);
    node.done("map", Ok(()));
    node.done("write", Ok(()));
    let stuck = node.sent.remove(0);
    // The peer is there all the time, and answers signs of life.
    for _ in 0..19 {
        node.wait(SECOND);
        node.read(512);
        node.done("read", Ok(()));
        while !node.sent.is_empty() {
            node.reply(Ok(()));
        }
    }
    assert!(node.machine.is_connected());
    node.take();
    node.wait(SECOND);
    assert!(node.events.contains(&Event::Disconnected(Loss::Unanswered)));
    assert!(node.take().contains("disconnect, metadata 1 0"));
    node.done("metadata", Ok(()));
    assert_eq!(node.take(), "1 ok");
    drop(stuck);

    // One that is slow, but answers one after the other, is not given up.
    let mut node = Node::up(config());
    for request in 0..4 {
        node.write(request * 512);
    }
    node.done("map", Ok(()));
    for _ in 0..4 {
        node.wait(19 * SECOND);
        node.reply(Ok(()));
    }
    assert!(node.machine.is_connected());
}

#[test]
fn replies_that_fit_nothing_end_the_session() {
    let sequence = Sequence::new(1_000_000).unwrap();
    let data = Reply::Data {
        sequence,
        payload: Payload::plain(Bytes::from_static(b"x")).unwrap(),
    };
    for reply in [Reply::Done { sequence }, Reply::Received { sequence }, data] {
        let mut node = Node::up(config());
        node.give(&reply);
        assert_eq!(node.take(), "disconnect");
    }
    // Data of another length, data for a write, and "received" that was not asked for.
    let mut node = Node::up(config());
    node.read(0);
    node.done("read", Err(Errno::EIO));
    let sequence = node.sent.first().unwrap().sequence().unwrap();
    let payload = Payload::plain(vec![1; 511].into()).unwrap();
    node.give(&Reply::Data { sequence, payload });
    assert!(node.take().ends_with("disconnect, 1 EIO"));
    for received in [false, true] {
        let mut node = Node::up(config());
        node.write(0);
        node.done("map", Ok(()));
        let sequence = node.sent.first().unwrap().sequence().unwrap();
        let payload = Payload::plain(vec![1; 512].into()).unwrap();
        node.take();
        node.give(&match received {
            true => Reply::Received { sequence },
            false => Reply::Data { sequence, payload },
        });
        assert_eq!(node.take(), "disconnect");
    }
}

#[test]
fn steps_yield_to_the_device_keep_out_of_its_way_and_keep_the_rate() {
    let copying = |config: Config| {
        let mut node = Node::new(config, known(), Consistency::Consistent);
        node.input(Input::Start);
        node.establish(Peer { map: 1, ..EVEN });
        node.done("map", Ok(()));
        assert!(node.events.contains(&Event::CopyStarted {
            extents: 2,
            from_peer: false
        }));
        node
    };
    // Two steps of 4096 at a time, and of the first extent there are no more.
    let mut node = copying(config());
    assert!(node.take().ends_with("> copying, read 0, read 4096"));
    // A write that overlaps waits for the step, one that does not does not.
    node.write(0);
    node.write(16384);
    node.done("map", Ok(()));
    assert_eq!(node.take(), "map, write 16384, > write 16384");
    node.done("read 0", Ok(()));
    assert_eq!(node.take(), "> write 0");
    node.sent.rotate_left(1);
    node.reply(Ok(()));
    assert_eq!(node.take(), "write 0, > write 0");
    // While the device is used only one is on its way.
    node.done("read 4096", Ok(()));
    assert_eq!(node.take(), "> write 4096");

    let mut node = copying(Config {
        copy_rate: core::num::NonZeroU64::new(4096),
        ..config()
    });
    assert!(node.take().ends_with("> copying, read 0"));
    node.wait(SECOND - Duration::from_nanos(1));
    assert_eq!(node.take(), "");
    node.wait(Duration::from_nanos(1));
    assert_eq!(node.take(), "read 4096");
}

#[test]
fn a_timer_that_rings_late_does_not_slow_the_synchronisation_down() {
    let paced = || {
        let mut node = Node::new(
            Config {
                // A step in 100 us.
                copy_rate: core::num::NonZeroU64::new(40_960_000),
                copy_window: 16,
                ..config()
            },
            known(),
            Consistency::Consistent,
        );
        node.input(Input::Start);
        node.establish(Peer { map: 0xff, ..EVEN });
        node.done("map", Ok(()));
        node
    };
    let reads = |node: &mut Node| node.take().matches("read").count();

    let mut node = paced();
    assert_eq!(reads(&mut node), 1);
    // Ten steps are due when it rings.
    node.wait(Duration::from_millis(1));
    assert_eq!(reads(&mut node), 10);
    node.wait(Duration::from_micros(99));
    assert_eq!(reads(&mut node), 0);
    node.wait(Duration::from_micros(1));
    assert_eq!(reads(&mut node), 1);

    // But after a long wait it does not hurry.
    let mut node = paced();
    assert_eq!(reads(&mut node), 1);
    node.wait(SECOND);
    assert_eq!(reads(&mut node), 1);
}

#[test]
fn a_failed_step_keeps_its_mark_is_reported_and_tried_again() {
    let mut node = Node::new(config(), known(), Consistency::Consistent);
    node.input(Input::Start);
    node.establish(Peer { map: 1, ..EVEN });
    node.done("map", Ok(()));
    node.done("read 0", Err(Errno::EIO));
    node.all_done();
    assert!(node.events.contains(&Event::CopyFailed { extents: 1 }));
    assert!(node.machine.map().differs(0) && !node.machine.map().differs(8));
    assert!(!node.machine.is_in_sync());
    node.wait(10 * SECOND);
    node.all_done();
    assert!(node.machine.is_in_sync());
}

#[test]
fn what_may_be_in_a_write_cache_is_copied_when_the_peer_is_lost() {
    let mut node = Node::up(config());
    node.write(0);
    node.all_done();
    assert!(node.machine.is_in_sync());
    node.lose();
    assert!(node.machine.map().differs(0));

    // Also what is there, and is not here yet.
    let mut node = Node::up(config());
    node.write(0);
    node.done("map", Ok(()));
    node.reply(Ok(()));
    node.lose();
    node.all_done();
    node.request(DeviceRequest::Flush);
    node.all_done();
    assert!(node.machine.map().differs(0));

    let mut node = Node::up(config());
    node.write(0);
    node.all_done();
    node.request(DeviceRequest::Flush);
    node.all_done();
    node.lose();
    assert!(!node.machine.map().differs(0), "it was flushed");
}

#[test]
fn marks_do_not_pile_up_under_a_user_who_never_flushes() {
    let mut node = Node::up(Config {
        max_unsettled: 3,
        ..config()
    });
    for extent in 0..16 {
        node.write(extent * 8192);
        node.all_done();
    }
    assert!(node.take().contains("flush"));
    assert!(node.machine.map().unsettled_extents() <= 3);

    // Where many are allowed, they go after a while.
    let mut node = Node::up(config());
    for extent in 0..16 {
        node.write(extent * 8192);
        node.all_done();
    }
    assert!(!node.take().contains("flush"));
    let marked = node.machine.map().unsettled_extents();
    assert_eq!(marked, 16);
    node.wait(5 * SECOND);
    node.all_done();
    assert!(node.take().contains("flush, > flush"));
    assert_eq!(node.machine.map().unsettled_extents(), 0);
    // As many as are kept anyway may stay.
    node.write(0);
    node.all_done();
    node.take();
    node.wait(6 * SECOND);
    assert!(!node.take().contains("flush"));
}

#[test]
fn what_is_pending_is_bounded() {
    let mut node = Node::up(Config {
        max_requests: 2,
        max_octets: 1024,
        ..config()
    });
    node.write(0);
    assert!(!node.machine.is_full());
    node.write(512);
    assert!(node.machine.is_full());
    node.take();
    node.read(0);
    assert_eq!(node.take(), "3 EAGAIN");
    node.all_done();
    assert!(!node.machine.is_full());
}

#[test]
fn a_flush_that_nobody_knows_is_none() {
    let mut node = Node::up(config());
    node.request(DeviceRequest::Flush);
    node.done("flush", Err(Errno::EOPNOTSUPP));
    node.reply(Err(Errno::EOPNOTSUPP));
    assert_eq!(node.take(), "flush, > flush, 1 ok");
    assert_eq!(node.machine.copy(), LocalCopy::Current);
}

#[test]
fn a_disk_that_deletes_nothing_has_not_failed() {
    let mut node = Node::up(config());
    node.request(delete(0));
    node.done("map", Ok(()));
    node.done("delete", Err(Errno::EOPNOTSUPP));
    node.reply(Err(Errno::ENOTTY));
    assert_eq!(node.take(), "map, delete 0, > delete 0, 1 ok");
    assert_eq!(node.machine.copy(), LocalCopy::Current);
    assert!(node.machine.is_in_sync());
}

#[test]
fn a_flush_that_fails_there_is_not_tried_again_at_once() {
    let mut node = Node::up(Config {
        max_unsettled: 3,
        ..config()
    });
    for extent in 0..16 {
        node.write(extent * 8192);
        while !node.disk.is_empty() || !node.sent.is_empty() {
            match node.sent.first() {
                Some(Request::Flush { .. }) => node.reply(Err(Errno::EIO)),
                Some(_) => node.reply(Ok(())),
                None => node.disk_done(Ok(())),
            }
        }
    }
    assert_eq!(node.take().matches("> flush").count(), 1);
    let map = node.machine.map();
    assert_eq!(map.to_copy() + map.unsettled_extents(), 16);
}

#[test]
fn what_a_failed_flush_may_have_dropped_there_is_copied_again() {
    let mut node = Node::up(config());
    node.write(0);
    node.all_done();
    node.take();
    node.request(DeviceRequest::Flush);
    node.done("flush", Ok(()));
    node.reply(Err(Errno::EIO));
    assert_eq!(node.take(), "flush, > flush, metadata 1 0, > copying, 2 ok");
    assert!(node.machine.map().differs(0) && !node.machine.is_in_sync());
    node.wait(10 * SECOND);
    node.all_done();
    assert!(node.machine.is_in_sync());
}

#[test]
fn a_flush_of_before_a_loss_settles_nothing_after_it() {
    let mut node = Node::up(config());
    node.write(0);
    node.all_done();
    node.request(DeviceRequest::Flush);
    let old = node.disk.remove(0);
    node.lose();
    node.wait(SECOND);
    node.establish(EVEN);
    node.all_done();
    // The flush of before ends while another one settles, and a third begins.
    node.write(8192);
    node.all_done();
    node.request(DeviceRequest::Flush);
    let second = (node.disk.remove(0), node.sent.remove(0));
    node.input(Input::Disk(old.0, Ok(Bytes::new())));
    node.write(16384);
    while node.has("map") || node.has("write") {
        node.disk_done(Ok(()));
    }
    node.reply(Ok(()));
    node.request(DeviceRequest::Flush);
    node.input(Input::Disk(second.0.0, Ok(Bytes::new())));
    node.give(&Reply::Done {
        sequence: second.1.sequence().unwrap(),
    });
    assert_eq!(node.machine.map().unsettled_extents(), 1, "the third one's");
    node.all_done();
    assert_eq!(node.machine.map().unsettled_extents(), 0);
}

#[test]
fn a_read_of_a_stale_block_waits_while_a_session_opens() {
    let mut node = Node::new(config(), known(), Consistency::Consistent);
    node.input(Input::Start);
    let peer = Peer {
        counters: Counters {
            local: 1,
            remote: 0,
        },
        source: SyncSource::Secondary,
        map: 0x80,
        ..EVEN
    };
    let (id, session) = node.handshake(peer);
    node.wait(2 * SECOND);
    node.session = Some(id);
    node.input(Input::Session(id, session));
    node.take();
    node.read(57344);
    assert_eq!(node.take(), "");
    while node.has("map") || node.has("mark") {
        node.disk_done(Ok(()));
    }
    // One is the step that copies it.
    assert_eq!(node.take().matches("> read 57344").count(), 2);
}

#[test]
fn a_step_that_waits_for_a_write_lets_no_further_one_past() {
    let mut node = Node::new(config(), known(), Consistency::Consistent);
    node.input(Input::Start);
    node.establish(Peer { map: 1, ..EVEN });
    node.done("map", Ok(()));
    // It is in the ninth extent, of which the steps come later.
    node.write(65536);
    node.done("read 0", Ok(()));
    node.done("read 4096", Ok(()));
    node.sent.rotate_left(1);
    node.reply(Ok(()));
    node.reply(Ok(()));
    node.take();
    node.write(66048);
    assert_eq!(node.take(), "");
    node.done("write 65536", Ok(()));
    node.reply(Ok(()));
    assert_eq!(node.take(), "1 ok, read 65536");
    node.done("read 65536", Ok(()));
    node.reply(Ok(()));
    assert!(node.take().contains("write 66048, > write 66048"));
}

/// In sync with a peer, and to ask before it goes on alone.
fn watched() -> Node {
    Node::up(Config {
        alone: Alone::Asked,
        ..config()
    })
}

#[test]
fn what_the_peer_lacks_is_not_acknowledged_without_permission() {
    let mut node = watched();
    let both = node.write(0);
    node.all_done();
    assert!(node.take().contains(&format!("{both} ok")));
    assert_eq!(node.machine.wish(), None);

    node.lose();
    assert_eq!(node.machine.wish(), None, "nobody lacks anything yet");
    let alone = node.write(0);
    node.all_done();
    assert!(!node.take().contains(" ok"));
    let wish = node.machine.wish().unwrap();
    assert_eq!(node.events.last(), Some(&Event::WantsAlone(wish)));
    // Not even the counter: nothing was acknowledged that the peer lacks.
    assert_eq!(node.machine.metadata().counters, Counters::default());

    node.input(Input::Permit(WishId(wish.0 + 1), None));
    assert_eq!(node.take(), "");
    node.input(Input::Permit(wish, None));
    node.all_done();
    let told = node.take();
    assert!(told.contains("metadata 1 0"), "{told}");
    assert!(told.ends_with(&format!("{alone} ok")), "{told}");

    node.input(Input::Revoke);
    node.write(512);
    node.all_done();
    assert!(!node.take().contains(" ok"));
    assert_eq!(node.machine.wish(), Some(wish), "it is the same absence");
}

#[test]
fn what_waits_for_a_permission_is_acknowledged_when_none_is_needed_any_more() {
    let mut node = watched();
    node.lose();
    let alone = node.write(0);
    node.all_done();
    assert!(!node.take().contains(" ok"));
    node.input(Input::Configure(config()));
    node.all_done();
    let told = node.take();
    assert!(told.ends_with(&format!("{alone} ok")), "{told}");
}

#[test]
fn a_permission_ends_in_time_and_is_prolonged() {
    let mut node = watched();
    node.lose();
    node.write(0);
    node.all_done();
    let wish = node.machine.wish().unwrap();
    node.input(Input::Permit(wish, Some(5 * SECOND)));
    node.all_done();
    assert!(node.take().contains("1 ok"));
    node.wait(5 * SECOND);
    let late = node.write(0);
    node.all_done();
    assert!(!node.take().contains(" ok"));
    node.input(Input::Permit(wish, Some(5 * SECOND)));
    node.all_done();
    assert!(node.take().contains(&format!("{late} ok")));
}

#[test]
fn a_write_that_waits_is_acknowledged_when_the_peer_has_it_after_all() {
    let mut node = watched();
    node.lose();
    let waiting = node.write(0);
    node.all_done();
    assert!(node.machine.wish().is_some());
    node.wait(10 * SECOND);
    node.establish(EVEN);
    assert!(!node.take().contains(" ok"));
    node.all_done();
    let told = node.take();
    assert!(
        told.contains(&format!("{waiting} ok")),
        "{told}, {:?}",
        node.events
    );
    assert_eq!(node.machine.wish(), None);
    assert!(node.machine.is_in_sync());
    // The next absence is another one.
    node.lose();
    node.write(0);
    node.all_done();
    assert_eq!(node.machine.wish(), Some(WishId(1)));
}

#[test]
fn a_write_that_the_peer_refuses_is_copied_to_it_without_a_permission() {
    let mut node = watched();
    let refused = node.write(0);
    node.done("map", Ok(()));
    node.done("write", Ok(()));
    node.reply(Err(Errno::EIO));
    let later = node.write(0);
    node.all_done();
    let told = node.take();
    assert!(!told.contains(&format!("{refused} ")), "{told}");
    assert!(told.contains(&format!("{later} ok")), "{told}");
    assert!(node.machine.wish().is_some());

    // Refused again, and tried again: what is on the disk, as the later write is not to be undone.
    assert!(node.machine.poll_timeout().unwrap() <= 10 * SECOND);
    node.wait(10 * SECOND);
    assert!(node.take().ends_with("read 0"));
    node.disk_done(Ok(()));
    assert!(node.take().ends_with("> write 0"));
    // A sign of life was asked for, too.
    node.reply(Ok(()));
    node.reply(Err(Errno::EIO));
    node.all_done();
    assert!(!node.take().contains(" ok"));
    assert!(node.events.contains(&Event::CopyFailed { extents: 1 }));
    node.wait(10 * SECOND);
    node.all_done();
    let told = node.take();
    assert!(told.contains(&format!("{refused} ok")), "{told}");
    assert!(node.machine.is_in_sync());
    assert_eq!(node.machine.wish(), None);
    assert_eq!(node.machine.metadata().counters, Counters::default());
}

#[test]
fn what_was_acknowledged_and_is_lost_with_the_peer_is_told_at_once() {
    let memsync = Config {
        alone: Alone::Asked,
        replication: Replication::Memsync,
        ..config()
    };
    let mut node = Node::up(memsync);
    node.write(0);
    while !node.disk.is_empty() {
        node.disk_done(Ok(()));
    }
    node.received();
    assert!(node.take().contains("1 ok"));
    node.lose();
    assert!(node.machine.wish().is_some());
}

#[test]
fn who_is_watched_is_never_ahead_of_the_peer() {
    let ahead = Config {
        alone: Alone::Asked,
        replication: Replication::Async,
        ..config()
    };
    let mut node = Node::up(ahead);
    node.write(0);
    while !node.disk.is_empty() {
        node.disk_done(Ok(()));
    }
    let told = node.take();
    assert!(
        told.contains("> memsync 0") && !told.contains(" ok"),
        "{told}"
    );
    node.received();
    assert!(node.take().contains("1 ok"));
}
