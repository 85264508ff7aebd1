//! HAST's machines under any sequence of inputs.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use hast_proto::decision::{Changes, Virgin};
use hast_proto::frame::{Decoder, Encoder, Frame, FrameError, Phase, Segments};
use hast_proto::handshake::connecting::{self, Which};
use hast_proto::handshake::{
    Access, Connection, Identity, PrimaryHandshake, SecondaryHandshake, accepting,
};
use hast_proto::message::{
    Accepted, FirstAnswer, FirstStep, Map, Opening, Progress, Refusal, Refused, Reply, Request,
    Reunion, SecondAnswer, SecondStep, Standing, Welcome,
};
use hast_proto::primary::{self, DeviceRequest, Primary, Provider, RequestId, SessionId};
use hast_proto::secondary::{self, Secondary};
use hast_proto::{
    BLOCK_LEN, Consistency, Counters, DiskOperation, Errno, ExtentSize, KeepDirty, Layout, Length,
    Metadata, Offset, OperationId, Payload, Replication, RequestSize, ResourceId, ResourceName,
    Role, SectorSize, Sequence, SyncSource, Token, Version,
};

const EXTENT: u64 = 8192;
const EXTENTS: u64 = 16;

fn metadata() -> Metadata {
    let media = Length::new(4096 + 512 + EXTENTS * EXTENT);
    let extent = ExtentSize::new(EXTENT).expect("a power of two");
    let layout = Layout::create(media, extent, SectorSize::DEFAULT).expect("room");
    let keep = KeepDirty::new(2).expect("the least");
    Metadata::create(ResourceName::new("r").expect("a name"), layout, keep)
}

fn frame(phase: Phase, segments: &Segments) -> Frame {
    let mut buffer = BytesMut::from(&segments.concat()[..]);
    let frame = Decoder::new(phase).decode(&mut buffer);
    frame.expect("ours").expect("whole")
}

/// The octets of a script, one choice after the other; zeros behind the end.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.next()) % bound.max(1)
    }

    /// A range of sectors, mostly within the data.
    fn range(&mut self) -> (Offset, Length) {
        let offset = Offset::new(u64::from(self.next()) * 512);
        let length = Length::new(u64::from(self.next() % 20) * 512);
        (offset, length)
    }

    fn result(&mut self) -> Result<(), Errno> {
        match self.next() % 8 {
            0 => Err(Errno::EIO),
            _ => Ok(()),
        }
    }
}

/// How many steps of a script are taken.
const STEPS: usize = 400;

/// A script for both sides of the handshake.
///
/// Nothing panics; after its end an attempt says nothing more; a timeout that is due leaves none
/// that is; nobody is let in but by a token given out before, and once (HAST §1).
pub fn hast_handshake(data: &[u8]) {
    let mut choices = Choices(data);
    let metadata = metadata();
    let mut now = Duration::ZERO;
    let mut attempt = PrimaryHandshake::new(connecting::Config {
        resource: metadata.resource.clone(),
        layout: metadata.layout,
        header: Version::V1,
        timeout: Duration::from_secs(20),
    });
    let mut door = SecondaryHandshake::new(accepting::Config::default());
    let mut over = false;
    let mut given = BTreeSet::new();
    for step in 0..STEPS.min(data.len()) {
        match choices.below(2) {
            0 => {
                let input = attempt_input(&mut choices, &metadata);
                attempt.handle(now, input);
                while let Some(output) = attempt.poll_output() {
                    assert!(!over, "{output:?} after the end");
                    over |= matches!(
                        output,
                        connecting::Output::Failed(_) | connecting::Output::Established(_)
                    );
                }
            }
            _ => {
                let input = door_input(&mut choices, &metadata, step, &mut given);
                door.handle(now, input);
                while let Some(output) = door.poll_output() {
                    if let accepting::Output::Prepare = output {
                        assert!(!given.is_empty(), "nobody has a token");
                    }
                }
            }
        }
        now += Duration::from_millis(u64::from(choices.next()) * 50);
        attempt.handle_timeout(now);
        door.handle_timeout(now);
        while let Some(output) = attempt.poll_output() {
            assert!(!over, "{output:?} after the end");
            over = true;
        }
        while door.poll_output().is_some() {}
        assert!(attempt.poll_timeout().is_none_or(|at| at > now));
        assert!(door.poll_timeout().is_none_or(|at| at > now));
    }
}

fn attempt_input(choices: &mut Choices<'_>, metadata: &Metadata) -> connecting::Input {
    use connecting::Input;
    let which = [Which::First, Which::Second][choices.below(2)];
    let encoder = &mut Encoder::new();
    let answer =
        |answer: &FirstAnswer, encoder: &mut Encoder| frame(Phase::Answer, &answer.encode(encoder));
    match choices.below(8) {
        0 => Input::Start,
        1 => Input::Connected(which),
        2 => Input::Closed(which),
        3 => Input::Invalid(which, FrameError::EmptyList),
        4 => Input::Identity(Identity {
            resource_id: ResourceId::new(7).expect("not 0"),
            virgin: Virgin::No,
            counters: Counters::default(),
            changes: [Changes::Possible, Changes::None][choices.below(2)],
            map: vec![choices.next(); 512].into(),
        }),
        5 => {
            let token = Token::new([7; 16]);
            let version = Some(Version::V2);
            let welcome = FirstAnswer::Welcome(Welcome {
                version,
                token,
                reunion: choices.below(2) == 0,
            });
            Input::Frame(which, answer(&welcome, encoder))
        }
        6 if choices.below(2) == 0 => {
            let refused = FirstAnswer::Refused(Refused::from(Refusal::WrongToken));
            Input::Frame(which, answer(&refused, encoder))
        }
        6 => {
            let refused = SecondAnswer::Refused {
                standing: None,
                refused: Refused::from(Refusal::SplitBrain),
                map: map(choices),
            };
            let refused = refused.encode(Version::V2, encoder);
            Input::Frame(which, frame(Phase::Answer, &refused))
        }
        _ => {
            let accepted = SecondAnswer::Accepted(Accepted {
                standing: Standing {
                    data_size: metadata.layout.data_len(),
                    extent_size: metadata.layout.extent_size(),
                    counters: Counters::default(),
                },
                virgin: false,
                source: SyncSource::Primary,
                map: map(choices),
            });
            Input::Frame(
                which,
                frame(Phase::Answer, &accepted.encode(Version::V2, encoder)),
            )
        }
    }
}

/// A map that fits or does not.
fn map(choices: &mut Choices<'_>) -> Option<Map> {
    let size = [512_u32, 1, 2, 600][choices.below(4)];
    let octets = vec![choices.next(); size.try_into().expect("small")].into();
    Payload::plain(octets).and_then(|payload| Map::new(size, payload))
}

fn door_input(
    choices: &mut Choices<'_>,
    metadata: &Metadata,
    step: usize,
    given: &mut BTreeSet<u8>,
) -> accepting::Input {
    use accepting::Input;
    let resource = metadata.resource.clone();
    let connection = Connection(step as u64);
    let fresh = choices.next();
    let access = match fresh % 16 {
        0 => Access::Denied,
        _ => Access::Allowed,
    };
    match choices.below(8) {
        0 => Input::Role([Role::Init, Role::Primary, Role::Secondary][choices.below(3)]),
        1 | 2 => {
            given.insert(fresh);
            Input::Opening {
                connection,
                opening: Opening::First(FirstStep {
                    resource,
                    version: Some(choices.next()),
                }),
                access,
                token: Token::new([fresh; 16]),
            }
        }
        3 | 4 => Input::Opening {
            connection,
            opening: Opening::Second(SecondStep {
                resource,
                token: Token::new([choices.next(); 16]),
                virgin: choices.below(2) == 0,
                resource_id: ResourceId::new(u64::from(choices.next() % 3)),
                counters: Counters {
                    local: u64::from(choices.next() % 3),
                    remote: u64::from(choices.next() % 3),
                },
                reunion: (choices.below(2) == 0).then(|| Reunion {
                    changes: [Changes::Possible, Changes::None][choices.below(2)],
                    map: map(choices),
                }),
            }),
            access,
            token: Token::new([fresh; 16]),
        },
        5 => {
            let mut metadata = metadata.clone();
            metadata.resource_id = ResourceId::new(u64::from(choices.next() % 3));
            metadata.counters.local = u64::from(choices.next() % 3);
            Input::Ready {
                map: vec![choices.next(); 512].into(),
                consistency: [Consistency::Consistent, Consistency::Incomplete][choices.below(2)],
                metadata,
            }
        }
        6 => Input::Stored(choices.result()),
        _ => Input::Closed(Connection(u64::from(choices.next()))),
    }
}

/// What a machine has given to its disk.
#[derive(Default)]
struct Disk {
    running: BTreeMap<OperationId, DiskOperation>,
    used: BTreeSet<OperationId>,
}

impl Disk {
    /// Takes an operation; what overlaps never runs at the same time, if one of the two writes.
    fn begin(&mut self, id: OperationId, operation: DiskOperation) {
        assert!(self.used.insert(id), "{id} is used twice");
        if let Some((start, end)) = written(&operation) {
            for other in self.running.values() {
                if let Some((from, to)) = written(other) {
                    assert!(end <= from || to <= start, "{operation:?} beside {other:?}");
                }
            }
        }
        self.running.insert(id, operation);
    }

    fn pick(&mut self, choices: &mut Choices<'_>) -> Option<(OperationId, DiskOperation)> {
        let index = choices.below(self.running.len());
        let id = *self.running.keys().nth(index)?;
        self.running.remove(&id).map(|operation| (id, operation))
    }
}

/// Where an operation writes data.
fn written(operation: &DiskOperation) -> Option<(u64, u64)> {
    match operation {
        DiskOperation::Write { offset, data } => {
            Some((offset.get(), offset.get() + data.len() as u64))
        }
        DiskOperation::Delete { offset, length } => {
            Some((offset.get(), offset.get() + length.get()))
        }
        _ => None,
    }
}

fn outcome(operation: &DiskOperation, result: Result<(), Errno>) -> Result<Bytes, Errno> {
    result.map(|()| match operation {
        DiskOperation::Read { length, .. } => vec![3; length.to_usize().expect("small")].into(),
        _ => Bytes::new(),
    })
}

/// A script for a secondary's session.
///
/// Nothing panics; writes that overlap never run at the same time; what is pending is bounded;
/// after its end the session says nothing more (HAST §7).
pub fn hast_secondary(data: &[u8]) {
    let mut choices = Choices(data);
    let source = [SyncSource::Primary, SyncSource::Secondary][choices.below(2)];
    let mark = [Consistency::Consistent, Consistency::Inconsistent][choices.below(2)];
    let mut config = secondary::Config::new(metadata().layout, source, mark);
    config.max_requests = 8;
    let mut machine = Secondary::new(config);
    let mut disk = Disk::default();
    let mut now = Duration::ZERO;
    let mut ended = false;
    machine.handle(now, secondary::Input::Start);
    for _ in 0..STEPS.min(data.len()) {
        let input = match choices.below(8) {
            0 | 1 => match disk.pick(&mut choices) {
                Some((id, operation)) => {
                    let result = outcome(&operation, choices.result());
                    secondary::Input::Disk(id, result)
                }
                None => secondary::Input::Timeout,
            },
            2 => {
                now += Duration::from_millis(u64::from(choices.next()) * 100);
                secondary::Input::Timeout
            }
            3 if choices.below(16) == 0 => secondary::Input::Closed,
            _ => secondary::Input::Frame(request(&mut choices)),
        };
        machine.handle(now, input);
        while let Some(output) = machine.poll_output() {
            assert!(!ended, "{output:?} after the end");
            match output {
                secondary::Output::Disk(id, operation) => disk.begin(id, operation),
                secondary::Output::Ended(_) => {
                    assert!(disk.running.is_empty(), "ended too early");
                    ended = true;
                }
                secondary::Output::Reply(_)
                | secondary::Output::Close
                | secondary::Output::Event(_) => {}
            }
        }
        assert!(machine.pending() <= 8, "bounded");
    }
}

fn request(choices: &mut Choices<'_>) -> Frame {
    let sequence = Sequence::new(u64::from(choices.next()).max(1)).expect("not 0");
    let (offset, length) = choices.range();
    let request = match choices.below(7) {
        0 => Request::Read {
            sequence,
            offset,
            length,
        },
        1 => Request::Delete {
            sequence,
            offset,
            length,
        },
        2 => Request::Flush { sequence },
        3 => Request::Progress([Progress::Copying, Progress::Agreed][choices.below(2)]),
        memsync => Request::Write {
            sequence,
            offset,
            length,
            memsync: memsync == 4,
            payload: Payload::plain(vec![1; length.to_usize().expect("small").max(1)].into())
                .expect("some data"),
        },
    };
    frame(
        Phase::Request,
        &request.encode(Version::V2, &mut Encoder::new()),
    )
}

/// A script for a primary, its device, its disk and its peer.
///
/// Nothing panics; every request is completed once; nothing is written but where the map on disk
/// is marked; writes that overlap never run at the same time; nothing is sent outside a session;
/// a timeout that is due leaves none that is (HAST §6).
pub fn hast_primary(data: &[u8]) {
    let mut choices = Choices(data);
    let replication = [
        Replication::Fullsync,
        Replication::Memsync,
        Replication::Async,
    ][choices.below(3)];
    let mark = match choices.below(8) {
        0 => Consistency::Inconsistent,
        _ => Consistency::Consistent,
    };
    let config = primary::Config {
        replication,
        request_size: RequestSize::MIN,
        max_requests: 8,
        copy_window: 2,
        max_unsettled: 4,
        ..primary::Config::default()
    };
    let metadata = metadata();
    let provider = Provider {
        map: vec![0; 512].into(),
        metadata: metadata.clone(),
        consistency: mark,
    };
    let machine = Primary::new(config, provider).expect("a map");
    let mut world = World {
        machine,
        metadata,
        disk: Disk::default(),
        map: vec![0; 512],
        mark,
        now: Duration::ZERO,
        attempt: None,
        handshake: None,
        session: None,
        asked: Vec::new(),
        pending: BTreeSet::new(),
        next: 0,
        stopped: false,
    };
    world.input(primary::Input::Start);
    for _ in 0..STEPS.min(data.len()) {
        world.step(&mut choices);
    }
    world.input(primary::Input::Stop);
    assert!(world.pending.is_empty(), "every request is completed");
    world.now += Duration::from_secs(1);
    world.input(primary::Input::Timeout);
    while let Some((id, operation)) = world.disk.running.pop_first() {
        world.input(primary::Input::Disk(id, outcome(&operation, Ok(()))));
    }
    assert!(world.stopped, "it comes to rest");
}

struct World {
    machine: Primary<Duration>,
    metadata: Metadata,
    disk: Disk,
    /// What is certainly on disk.
    map: Vec<u8>,
    mark: Consistency,
    now: Duration,
    attempt: Option<SessionId>,
    handshake: Option<(SessionId, Identity)>,
    session: Option<SessionId>,
    asked: Vec<Request>,
    pending: BTreeSet<RequestId>,
    next: u64,
    stopped: bool,
}

impl World {
    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(8) {
            0 | 1 => self.device(choices),
            2 | 3 => {
                if let Some((id, operation)) = self.disk.pick(choices) {
                    let result = choices.result();
                    if let (DiskOperation::StoreMap { offset, data }, Ok(())) = (&operation, result)
                    {
                        let start = usize::try_from(offset.get()).expect("small") - BLOCK_LEN;
                        self.map[start..start + data.len()].copy_from_slice(data);
                    }
                    if let (DiskOperation::StoreConsistency(mark), Ok(())) = (&operation, result) {
                        self.mark = *mark;
                    }
                    if let (DiskOperation::StoreMetadata(metadata), Ok(())) = (&operation, result) {
                        self.metadata = metadata.clone();
                    }
                    self.input(primary::Input::Disk(id, outcome(&operation, result)));
                }
            }
            4 | 5 => self.reply(choices),
            6 => {
                self.now += Duration::from_millis(u64::from(choices.next()) * 20);
                self.input(primary::Input::Timeout);
                assert!(self.machine.poll_timeout().is_none_or(|at| at > self.now));
            }
            _ => self.connection(choices),
        }
    }

    fn device(&mut self, choices: &mut Choices<'_>) {
        let (offset, length) = choices.range();
        let request = match choices.below(8) {
            0 => DeviceRequest::Flush,
            1 => DeviceRequest::Delete { offset, length },
            2 | 3 => DeviceRequest::Read { offset, length },
            _ => DeviceRequest::Write {
                offset,
                data: vec![5; length.to_usize().expect("small")].into(),
            },
        };
        self.next += 1;
        let id = RequestId(self.next);
        self.pending.insert(id);
        self.input(primary::Input::Request(id, request));
    }

    fn connection(&mut self, choices: &mut Choices<'_>) {
        match choices.below(4) {
            0 => {
                if let Some(id) = self.session {
                    self.input(primary::Input::Closed(id));
                }
            }
            1 => {
                if let Some(id) = self.attempt {
                    let fresh = ResourceId::new(9).expect("not 0");
                    self.input(primary::Input::Identify(id, fresh));
                }
            }
            2 => {
                // Only when the disk is at rest; in place of one that works it is refused.
                if self.disk.running.is_empty() {
                    self.attach(choices.below(2) == 0);
                }
            }
            _ => {
                if let Some((id, identity)) = self.handshake.take() {
                    let source = [SyncSource::Primary, SyncSource::Secondary][choices.below(2)];
                    let session = self.session(identity, source, choices.next());
                    self.session = Some(id);
                    self.input(primary::Input::Session(id, session));
                }
            }
        }
    }

    fn has_failed(&self) -> bool {
        matches!(self.machine.copy(), primary::LocalCopy::Failed { .. })
    }

    /// Attaches the disk that was used before, or a replacement.
    fn attach(&mut self, replaced: bool) {
        let provider = if replaced {
            Provider {
                metadata: metadata(),
                map: vec![0; 512].into(),
                consistency: Consistency::Consistent,
            }
        } else {
            Provider {
                metadata: self.metadata.clone(),
                map: self.map.clone().into(),
                consistency: self.mark,
            }
        };
        // It is refused unless the other one has failed; and a replacement is, if that has what
        // the peer lacks.
        let before = (self.map.clone(), self.metadata.clone(), self.mark);
        if self.has_failed() {
            self.map = provider.map.to_vec();
            self.metadata = provider.metadata.clone();
            self.mark = provider.consistency;
        }
        self.input(primary::Input::Attach(provider));
        if self.has_failed() {
            (self.map, self.metadata, self.mark) = before;
        }
    }

    /// Lets a handshake make a session.
    fn session(
        &self,
        identity: Identity,
        source: SyncSource,
        map: u8,
    ) -> hast_proto::handshake::Session {
        let mut attempt = PrimaryHandshake::new(connecting::Config {
            resource: self.metadata.resource.clone(),
            layout: self.metadata.layout,
            header: Version::V1,
            timeout: Duration::from_secs(20),
        });
        let encoder = &mut Encoder::new();
        let welcome = FirstAnswer::Welcome(Welcome {
            version: Some(Version::V2),
            token: Token::new([7; 16]),
            reunion: true,
        });
        let accepted = SecondAnswer::Accepted(Accepted {
            standing: Standing {
                data_size: self.metadata.layout.data_len(),
                extent_size: self.metadata.layout.extent_size(),
                counters: Counters::default(),
            },
            virgin: map == 0x55,
            source,
            map: Payload::plain(vec![map; 512].into()).and_then(|it| Map::new(512, it)),
        });
        let first = frame(Phase::Answer, &welcome.encode(encoder));
        let second = frame(Phase::Answer, &accepted.encode(Version::V2, encoder));
        for input in [
            connecting::Input::Start,
            connecting::Input::Connected(Which::First),
            connecting::Input::Frame(Which::First, first),
            connecting::Input::Connected(Which::Second),
            connecting::Input::Identity(identity),
            connecting::Input::Frame(Which::First, second),
        ] {
            attempt.handle(self.now, input);
        }
        core::iter::from_fn(|| attempt.poll_output())
            .find_map(|output| match output {
                connecting::Output::Established(session) => Some(session),
                _ => None,
            })
            .expect("nothing is wrong with it")
    }

    fn reply(&mut self, choices: &mut Choices<'_>) {
        let Some(id) = self.session.filter(|_| !self.asked.is_empty()) else {
            return;
        };
        let index = choices.below(self.asked.len());
        let request = self.asked.remove(index);
        let sequence = request.sequence().expect("asked with a number");
        let reply = match (choices.below(16), &request) {
            (0, _) => Reply::Failed {
                sequence: Some(sequence),
                received: false,
                error: Errno::EIO,
            },
            (1, _) => Reply::Received { sequence },
            (_, Request::Read { length, .. }) => {
                let data = vec![4; length.to_usize().expect("small")].into();
                let payload = Payload::plain(data).expect("some data");
                Reply::Data { sequence, payload }
            }
            (_, Request::Write { memsync: true, .. }) => {
                let received = Reply::Received { sequence };
                self.give(id, &received);
                Reply::Done { sequence }
            }
            _ => Reply::Done { sequence },
        };
        if self.session == Some(id) {
            self.give(id, &reply);
        }
    }

    fn give(&mut self, id: SessionId, reply: &Reply) {
        let segments = reply.encode(Version::V2, &mut Encoder::new());
        self.input(primary::Input::Frame(id, frame(Phase::Reply, &segments)));
    }

    fn input(&mut self, input: primary::Input) {
        use primary::Output;
        self.machine.handle(self.now, input);
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Disk(id, operation) => {
                    if let Some((start, end)) = written(&operation) {
                        self.is_marked(start, end);
                    }
                    self.disk.begin(id, operation);
                }
                Output::Connect(id, _) => self.attempt = Some(id),
                Output::Identity(id, identity) => self.handshake = Some((id, identity)),
                Output::Send(id, request) => {
                    assert_eq!(self.session, Some(id), "sent outside a session");
                    if request.sequence().is_some() {
                        assert_ne!(request.sequence(), Some(Sequence::SYNCHRONISATION));
                        self.asked.push(request);
                    }
                }
                Output::Disconnect(id) => {
                    if self.session == Some(id) {
                        self.session = None;
                        self.asked.clear();
                    }
                }
                Output::Completed(id, _) => assert!(self.pending.remove(&id), "completed twice"),
                Output::Stopped => self.stopped = true,
                Output::Event(_) => {}
            }
        }
    }

    /// HAST §4.6: the mark is on disk before the write goes there, and no map that lacks it is
    /// on its way.
    fn is_marked(&self, start: u64, end: u64) {
        let going = self.disk.running.values().any(|operation| {
            *operation == DiskOperation::StoreConsistency(Consistency::Consistent)
        });
        if self.mark != Consistency::Consistent && !going {
            // Everything is copied then.
            return;
        }
        for extent in start / EXTENT..end.div_ceil(EXTENT) {
            let index = usize::try_from(extent / 8).expect("small");
            let bit = 1 << (extent % 8);
            assert!(self.map[index] & bit != 0, "extent {extent} is not marked");
            for operation in self.disk.running.values() {
                if let DiskOperation::StoreMap { data, .. } = operation {
                    assert!(data[index] & bit != 0, "the mark of {extent} is going");
                }
            }
        }
    }
}
