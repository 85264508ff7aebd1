//! Two nodes, a network between them, and everything that can happen to both.

#[path = "reunion.rs"]
mod reunion;

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BinaryHeap};

use bytes::Bytes;
use hast_proto::frame::{Decoder, Encoder, Frame, FrameError, Phase, Segments};
use hast_proto::handshake::connecting::{self, Which};
use hast_proto::handshake::{Access, Connection, PrimaryHandshake, SecondaryHandshake, accepting};
use hast_proto::message::Opening;
use hast_proto::primary::{
    self, Alone, Config, Event, Input, LocalCopy, Output, Primary, Provider, SessionId, WishId,
};
use hast_proto::secondary::{self, Secondary};
use hast_proto::{
    Checksum, Compression, Consistency, DiskOperation, Errno, KeepDirty, Layout, Metadata,
    OperationId, Replication, RequestSize, ResourceId, ResourceName, Role, Sealer, Token, Version,
};

use crate::client::Client;
use crate::disk::Disk;
use crate::random::Random;

/// Virtual microseconds.
pub type Time = u64;

pub const SECOND: Time = 1_000_000;

#[derive(Clone, Copy, Debug)]
enum Owner {
    Primary(OperationId),
    Session(OperationId),
    Door,
}

#[derive(Clone, Debug)]
enum Happening {
    DiskEnd { node: usize, ticket: u64 },
    Linked { link: u64 },
    Deliver { link: u64, down: bool, frame: Frame },
    Closed { link: u64, node: usize, torn: bool },
    Wake { node: usize },
    Client,
    Fault,
    Restart { node: usize, role: Role },
    Attach { node: usize },
    Permit { node: usize, wish: WishId },
}

/// A connection: `down` is from the primary to the secondary.
#[derive(Clone, Debug)]
struct Link {
    primary: usize,
    which: Which,
    session: SessionId,
    /// When the last octets sent arrive, down and up.
    last: [Time; 2],
    /// From when on nothing arrives any more.
    dead: [Time; 2],
    opened: bool,
}

struct Attempt {
    id: SessionId,
    machine: PrimaryHandshake<Duration>,
    links: BTreeMap<bool, u64>,
}

pub struct Node {
    pub disk: Disk,
    pub alive: bool,
    pub role: Role,
    pub primary: Option<Primary<Duration>>,
    attempt: Option<Attempt>,
    links: Option<(SessionId, u64, u64)>,
    door: SecondaryHandshake<Duration>,
    session: Option<Secondary<Duration>>,
    session_links: (u64, u64),
    preparing: bool,
    next_role: Option<Role>,
    tickets: BTreeMap<u64, Owner>,
    wake_at: Option<Time>,
}

/// What has happened in a run, so that a test that reaches nothing fails.
#[derive(Clone, Debug, Default)]
pub struct Seen(pub BTreeMap<&'static str, u64>);

impl Seen {
    pub fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

pub struct World {
    pub now: Time,
    pub random: Random,
    pub nodes: [Node; 2],
    pub client: Client,
    pub seen: Seen,
    pub trace: Vec<String>,
    /// Whether what happens is written down.
    pub traced: bool,
    config: Config,
    /// Whether nothing bad happens any more.
    healed: bool,
    clients_left: u32,
    faults_left: u32,
    network_down_until: Time,
    /// What each node was told of a split brain: its own map, and its peer's.
    split: [Option<(Bytes, Option<Bytes>)>; 2],
    /// What became of writes that are not the client's.
    alone: BTreeMap<primary::RequestId, bool>,
    /// The last file of saved extents that was whole.
    published: Option<Vec<u8>>,
    events: BinaryHeap<Reverse<(Time, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    links: BTreeMap<u64, Link>,
    next: u64,
}

fn seconds(time: Time) -> Duration {
    Duration::from_micros(time)
}

fn frame(phase: Phase, segments: &Segments) -> Frame {
    let mut buffer = bytes::BytesMut::from(&segments.concat()[..]);
    Decoder::new(phase).decode(&mut buffer).unwrap().unwrap()
}

fn metadata() -> Metadata {
    let extent = hast_proto::ExtentSize::new(8192).unwrap();
    let media = hast_proto::Length::new(4096 + 512 + 16 * 8192);
    let layout = Layout::create(media, extent, hast_proto::SectorSize::DEFAULT).unwrap();
    let keep = KeepDirty::new(2).unwrap();
    Metadata::create(ResourceName::new("r").unwrap(), layout, keep)
}

impl Node {
    fn new() -> Self {
        Self {
            disk: Disk::new(metadata()),
            alive: true,
            role: Role::Init,
            primary: None,
            attempt: None,
            links: None,
            door: SecondaryHandshake::new(accepting::Config {
                timeout: Duration::from_secs(2),
                half_open: 4,
                ..accepting::Config::default()
            }),
            session: None,
            session_links: (0, 0),
            preparing: false,
            next_role: None,
            tickets: BTreeMap::new(),
            wake_at: None,
        }
    }

    fn provider(&self) -> Provider {
        Provider {
            metadata: self.disk.metadata.clone(),
            map: Bytes::copy_from_slice(&self.disk.map),
            consistency: self.disk.mark,
        }
    }

    fn deadline(&self) -> Option<Duration> {
        [
            self.primary.as_ref().and_then(Primary::poll_timeout),
            self.attempt
                .as_ref()
                .and_then(|it| it.machine.poll_timeout()),
            self.door.poll_timeout(),
            self.session.as_ref().and_then(Secondary::poll_timeout),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let replication = match random.below(3) {
            0 => Replication::Fullsync,
            1 => Replication::Memsync,
            _ => Replication::Async,
        };
        let config = Config {
            replication,
            request_size: RequestSize::MIN,
            timeout: Duration::from_secs(2),
            keepalive: Duration::from_millis(700),
            reconnect: Duration::from_secs(1),
            first_contact: Duration::from_secs(1),
            copy_window: usize::try_from(random.between(1, 6)).unwrap(),
            copy_window_busy: 1,
            copy_rate: random
                .chance(30)
                .then(|| core::num::NonZeroU64::new(4 << 20).unwrap()),
            copy_retry: Duration::from_millis(500),
            map_delay: Duration::from_millis(50),
            settle_delay: Duration::from_millis(300),
            max_unsettled: 4,
            alone: match random.chance(25) {
                true => Alone::Asked,
                false => Alone::Free,
            },
            ..Config::default()
        };
        let nodes = [Node::new(), Node::new()];
        let sectors = nodes[0].disk.view.len();
        let mut world = Self {
            now: 0,
            random,
            nodes,
            client: Client::new(sectors),
            seen: Seen::default(),
            trace: Vec::new(),
            traced: false,
            config,
            healed: false,
            clients_left: 0,
            faults_left: 0,
            network_down_until: 0,
            split: [None, None],
            alone: BTreeMap::new(),
            published: None,
            events: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            links: BTreeMap::new(),
            next: 1,
        };
        world.clients_left = u32::try_from(world.random.between(40, 160)).unwrap();
        world.faults_left = u32::try_from(world.random.between(1, 6)).unwrap();
        world.set_role(1, Role::Secondary);
        world.set_role(0, Role::Primary);
        world.after(0, Happening::Client);
        let first = world.random.between(1000, 2 * SECOND);
        world.after(first, Happening::Fault);
        world
    }

    fn log(&mut self, text: impl FnOnce() -> String) {
        if self.traced && self.trace.len() < 100_000 {
            self.trace.push(format!("{:>10} {}", self.now, text()));
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn after(&mut self, delay: Time, happening: Happening) {
        let number = self.number();
        self.events.push(Reverse((self.now + delay, number)));
        self.happenings.insert(number, happening);
    }

    /// Runs until the faults are over and everything is at rest; false if that never is.
    pub fn run(&mut self) {
        let limit = 600 * SECOND;
        while self.step() {
            assert!(self.now < limit, "it never comes to rest");
            if let Some(oldest) = self.client.oldest() {
                assert!(self.now - oldest < 30 * SECOND, "a request never completes");
            }
            if self.is_over() {
                return;
            }
        }
        panic!("nothing happens any more, and it is not over");
    }

    /// Lets the next thing happen; false if there is none.
    fn step(&mut self) -> bool {
        let Some(Reverse((time, number))) = self.events.pop() else {
            return false;
        };
        self.now = time;
        let happening = self.happenings.remove(&number).unwrap();
        self.happen(happening);
        for node in 0..2 {
            self.wake_later(node);
        }
        true
    }

    fn is_over(&mut self) -> bool {
        if self.clients_left > 0 || self.faults_left > 0 || self.client.pending() > 0 {
            return false;
        }
        self.healed = true;
        self.agrees()
    }

    /// Whether the session of the primary is that of the secondary, and alive.
    fn is_linked(&self, node: usize) -> bool {
        let links = self.nodes[node].links;
        let other = &self.nodes[1 - node];
        links.is_some_and(|(_, first, second)| {
            let alive = |link| self.links[&link].dead == [Time::MAX; 2];
            other.session.is_some()
                && other.session_links == (first, second)
                && alive(first)
                && alive(second)
        })
    }

    fn wake_later(&mut self, node: usize) {
        if !self.nodes[node].alive {
            return;
        }
        let Some(deadline) = self.nodes[node].deadline() else {
            return;
        };
        let at = u64::try_from(deadline.as_nanos().div_ceil(1000)).unwrap();
        if self.nodes[node].wake_at.is_none_or(|wake| at < wake) {
            assert!(
                at > self.now || self.nodes[node].wake_at.is_none(),
                "no progress"
            );
            self.nodes[node].wake_at = Some(at.max(self.now));
            self.after(at.saturating_sub(self.now), Happening::Wake { node });
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = seconds(self.now);
        match happening {
            Happening::Client => self.client_step(),
            Happening::Fault => self.fault(),
            Happening::Wake { node } => {
                let it = &mut self.nodes[node];
                it.wake_at = None;
                if let Some(machine) = &mut it.primary {
                    machine.handle_timeout(now);
                    let later = machine.poll_timeout().is_none_or(|at| at > now);
                    assert!(later, "progress: {:?} at {now:?}", machine.poll_timeout());
                }
                if let Some(attempt) = &mut it.attempt {
                    attempt.machine.handle_timeout(now);
                }
                it.door.handle_timeout(now);
                if let Some(session) = &mut it.session {
                    session.handle_timeout(now);
                    assert!(session.poll_timeout().is_none_or(|at| at > now));
                }
                self.drain(node);
            }
            Happening::DiskEnd { node, ticket } => {
                let Some(result) = self.nodes[node].disk.end(ticket) else {
                    return;
                };
                let it = &mut self.nodes[node];
                match it.tickets.remove(&ticket) {
                    Some(Owner::Primary(id)) => {
                        if let Some(primary) = &mut it.primary {
                            primary.handle(now, Input::Disk(id, result));
                        }
                    }
                    Some(Owner::Session(id)) => {
                        if let Some(session) = &mut it.session {
                            session.handle(now, secondary::Input::Disk(id, result));
                        }
                    }
                    Some(Owner::Door) => {
                        let stored = accepting::Input::Stored(result.map(|_| ()));
                        it.door.handle(now, stored);
                    }
                    None => {}
                }
                self.drain(node);
            }
            Happening::Linked { link } => self.linked(link),
            Happening::Deliver { link, down, frame } => self.deliver(link, down, frame),
            Happening::Closed { link, node, torn } => self.closed(link, node, torn),
            Happening::Restart { node, role } => {
                self.log(|| format!("node {node} is back as {role}"));
                self.nodes[node].alive = true;
                self.set_role(node, role);
                self.drain(node);
            }
            Happening::Permit { node, wish } => {
                if let Some(primary) = &mut self.nodes[node].primary {
                    primary.handle(now, Input::Permit(wish, None));
                    self.drain(node);
                }
            }
            Happening::Attach { node } => {
                let it = &mut self.nodes[node];
                let failed = it
                    .primary
                    .as_ref()
                    .is_some_and(|it| matches!(it.copy(), LocalCopy::Failed { .. }));
                if failed && it.disk.is_idle() {
                    self.seen.note("attached");
                    let provider = it.provider();
                    let primary = it.primary.as_mut().unwrap();
                    primary.handle(now, Input::Attach(provider));
                    self.drain(node);
                } else if failed {
                    self.after(1000, Happening::Attach { node });
                }
            }
        }
    }

    pub fn primary_node(&self) -> Option<usize> {
        (0..2).find(|node| self.nodes[*node].alive && self.nodes[*node].primary.is_some())
    }

    fn client_step(&mut self) {
        if self.clients_left == 0 {
            return;
        }
        if let Some(node) = self.primary_node() {
            if self.client.pending() < 16 {
                self.clients_left -= 1;
                let (id, request) = self.client.request(self.now, &mut self.random);
                self.log(|| format!("client {id:?} {}", short(&request)));
                let now = seconds(self.now);
                let primary = self.nodes[node].primary.as_mut().unwrap();
                primary.handle(now, Input::Request(id, request));
                self.drain(node);
            }
        }
        let delay = match self.random.below(10) {
            0 => self.random.between(1, SECOND / 4),
            1..4 => self.random.between(1, 20_000),
            _ => self.random.between(1, 500),
        };
        self.after(delay, Happening::Client);
    }

    fn set_role(&mut self, node: usize, role: Role) {
        let now = seconds(self.now);
        let it = &mut self.nodes[node];
        it.role = role;
        it.door.handle(now, accepting::Input::Role(role));
        if role == Role::Primary {
            let mut machine = Primary::new(self.config.clone(), it.provider()).unwrap();
            machine.handle(now, Input::Start);
            it.primary = Some(machine);
        }
        self.drain(node);
    }

    /// Acts on everything that the machines of a node want.
    fn drain(&mut self, node: usize) {
        loop {
            let it = &mut self.nodes[node];
            if let Some(output) = it.primary.as_mut().and_then(Primary::poll_output) {
                self.on_primary(node, output);
            } else if let Some(output) = it
                .attempt
                .as_mut()
                .and_then(|attempt| attempt.machine.poll_output())
            {
                self.on_attempt(node, output);
            } else if let Some(output) = it.door.poll_output() {
                self.on_door(node, output);
            } else if let Some(output) = it.session.as_mut().and_then(Secondary::poll_output) {
                self.on_session(node, output);
            } else {
                break;
            }
        }
    }

    fn operate(&mut self, node: usize, owner: Owner, operation: DiskOperation) {
        let ticket = self.number();
        let delay = match self.random.below(20) {
            0 => self.random.between(1000, 30_000),
            _ => self.random.between(20, 600),
        };
        self.nodes[node].tickets.insert(ticket, owner);
        self.nodes[node].disk.begin(ticket, operation);
        self.after(delay, Happening::DiskEnd { node, ticket });
    }

    fn on_primary(&mut self, node: usize, output: Output) {
        let now = seconds(self.now);
        match output {
            Output::Disk(id, operation) => self.operate(node, Owner::Primary(id), operation),
            Output::Connect(id, header) => {
                let mut machine = PrimaryHandshake::new(connecting::Config {
                    resource: ResourceName::new("r").unwrap(),
                    layout: self.nodes[node].disk.metadata.layout,
                    header,
                    timeout: Duration::from_secs(1),
                });
                machine.handle(now, connecting::Input::Start);
                self.nodes[node].attempt = Some(Attempt {
                    id,
                    machine,
                    links: BTreeMap::new(),
                });
            }
            Output::Identity(id, identity) => {
                if let Some(attempt) = &mut self.nodes[node].attempt {
                    if attempt.id == id {
                        let identity = connecting::Input::Identity(identity);
                        attempt.machine.handle(now, identity);
                    }
                }
            }
            Output::Send(id, request) => {
                let Some((session, first, _)) = self.nodes[node].links else {
                    panic!("sent without a session");
                };
                assert_eq!(session, id, "sent on an old session");
                let mut sealer = Sealer::new(Compression::Hole, Checksum::None);
                let segments = request
                    .sealed(&mut sealer)
                    .encode(Version::V2, &mut Encoder::new());
                self.send(first, true, frame(Phase::Request, &segments));
            }
            Output::Disconnect(id) => {
                let links: Vec<u64> = self
                    .links
                    .iter()
                    .filter(|(_, link)| link.primary == node && link.session == id)
                    .map(|(number, _)| *number)
                    .collect();
                for link in links {
                    self.close_from(link, node);
                }
                if self.nodes[node].links.is_some_and(|links| links.0 == id) {
                    self.nodes[node].links = None;
                }
                if self.nodes[node]
                    .attempt
                    .as_ref()
                    .is_some_and(|it| it.id == id)
                {
                    self.nodes[node].attempt = None;
                }
            }
            Output::Completed(id, result) => {
                self.log(|| format!("completed {id:?} {:?}", result.as_ref().map(|_| ())));
                if id.0 < reunion::ALONE {
                    self.client.completed(id, result);
                } else {
                    self.alone.insert(id, result.is_ok());
                }
            }
            Output::Event(event) => self.on_event(node, &event),
            Output::Stopped => {
                self.nodes[node].primary = None;
                if let Some(role) = self.nodes[node].next_role.take() {
                    self.set_role(node, role);
                }
            }
        }
    }

    fn on_event(&mut self, node: usize, event: &Event) {
        self.log(|| format!("node {node}: {event:?}"));
        self.seen.note(match event {
            Event::Connected(_) => "connected",
            Event::Disconnected(primary::Loss::Silent | primary::Loss::Unanswered) => "peer silent",
            Event::Disconnected(primary::Loss::Frame(_)) => "torn frame",
            Event::Disconnected(primary::Loss::Closed) => "peer closed",
            Event::Disconnected(loss) => panic!("a healthy peer was lost: {loss}"),
            Event::ConnectFailed(_) => "attempt failed",
            Event::GivenUp(None) => "counters changed during the handshake",
            Event::GivenUp(Some(error)) => panic!("{error}"),
            Event::CopyStarted {
                from_peer: true, ..
            } => "copy from the peer",
            Event::CopyStarted { .. } => "copy to the peer",
            Event::CopyDone => "copy done",
            Event::CopyInterrupted { .. } => "copy interrupted",
            Event::CopyFailed { .. } => "copy failed",
            Event::LocalReadFailed(_) => "local read failed",
            Event::LocalFailed { complete: true, .. } => "local failed, peer complete",
            Event::LocalFailed { .. } => "local failed, peer incomplete",
            Event::LocalWriteFailed(_) => "local write failed",
            Event::PeerError(_) => "peer error",
            Event::WantsAlone(_) => "wants to go on alone",
            _ => "other event",
        });
        if let Event::WantsAlone(wish) = *event {
            self.wishes(node, wish);
        }
        if matches!(event, Event::LocalFailed { .. }) {
            let delay = self.random.between(1000, SECOND);
            self.after(delay, Happening::Attach { node });
        }
    }

    /// Permits what a node asks for, soon or late, or never: then its writes wait for the peer.
    fn wishes(&mut self, node: usize, wish: WishId) {
        let parted = self.network_down_until == reunion::FOREVER;
        if parted || self.random.chance(50) {
            let delay = self.random.between(1000, 3 * SECOND);
            self.after(delay, Happening::Permit { node, wish });
        }
    }

    fn on_attempt(&mut self, node: usize, output: connecting::Output) {
        let now = seconds(self.now);
        let id = self.nodes[node].attempt.as_ref().unwrap().id;
        match output {
            connecting::Output::Connect(which) => {
                let number = self.number();
                let link = Link {
                    primary: node,
                    which,
                    session: id,
                    last: [self.now; 2],
                    dead: [Time::MAX; 2],
                    opened: false,
                };
                self.links.insert(number, link);
                let attempt = self.nodes[node].attempt.as_mut().unwrap();
                attempt.links.insert(which == Which::First, number);
                // A dead network answers nothing at all.
                if self.now >= self.network_down_until {
                    let delay = self.random.between(100, 2000);
                    self.after(delay, Happening::Linked { link: number });
                }
            }
            connecting::Output::Send(which, version, opening) => {
                let attempt = self.nodes[node].attempt.as_ref().unwrap();
                let link = attempt.links[&(which == Which::First)];
                let segments = opening.encode(version, &mut Encoder::new());
                self.send(link, true, frame(Phase::Opening, &segments));
            }
            connecting::Output::NeedIdentity => {
                let fresh = ResourceId::new(self.random.next() | 1).unwrap();
                let primary = self.nodes[node].primary.as_mut().unwrap();
                primary.handle(now, Input::Identify(id, fresh));
            }
            connecting::Output::Established(session) => {
                let attempt = self.nodes[node].attempt.take().unwrap();
                let links = (attempt.links[&true], attempt.links[&false]);
                self.nodes[node].links = Some((id, links.0, links.1));
                let primary = self.nodes[node].primary.as_mut().unwrap();
                primary.handle(now, Input::Session(id, session));
            }
            connecting::Output::SplitBrain(map) => {
                let own = self.nodes[node].primary.as_ref().unwrap().map().image();
                let own = Bytes::copy_from_slice(own);
                self.on_split_brain(node, own, map);
            }
            connecting::Output::Failed(failure) => {
                let attempt = self.nodes[node].attempt.take().unwrap();
                for link in attempt.links.into_values() {
                    self.close_from(link, node);
                }
                let primary = self.nodes[node].primary.as_mut().unwrap();
                primary.handle(now, Input::ConnectFailed(id, failure));
            }
        }
    }

    fn on_door(&mut self, node: usize, output: accepting::Output) {
        match output {
            accepting::Output::Answer(connection, answer) => {
                let segments = answer.encode(&mut Encoder::new());
                self.send(connection.0, false, frame(Phase::Answer, &segments));
            }
            accepting::Output::Decide(connection, version, answer) => {
                let mut sealer = Sealer::new(Compression::Hole, Checksum::None);
                let segments = answer
                    .sealed(&mut sealer)
                    .encode(version, &mut Encoder::new());
                self.send(connection.0, false, frame(Phase::Answer, &segments));
            }
            accepting::Output::Close(connection) => self.close_from(connection.0, node),
            accepting::Output::Prepare => {
                self.nodes[node].preparing = true;
                let now = seconds(self.now);
                match &mut self.nodes[node].session {
                    Some(session) => {
                        self.seen.note("session taken over");
                        session.handle(now, secondary::Input::Stop);
                    }
                    None => self.ready(node),
                }
            }
            accepting::Output::StoreMetadata(metadata) => {
                let store = DiskOperation::StoreMetadata(metadata);
                self.operate(node, Owner::Door, store);
            }
            accepting::Output::Established(established) => {
                let it = &mut self.nodes[node];
                let layout = it.disk.metadata.layout;
                let mut config = secondary::Config::new(layout, established.source, it.disk.mark);
                config.timeout = Duration::from_secs(2);
                config.keep_map = established.keep_map;
                let mut session = Secondary::new(config);
                session.handle(seconds(self.now), secondary::Input::Start);
                it.session = Some(session);
                it.session_links = (established.first.0, established.second.0);
            }
            accepting::Output::SplitBrain { map, peer, .. } => {
                self.on_split_brain(node, map, peer);
            }
            accepting::Output::Refused(_, refusing) => {
                self.log(|| format!("node {node} refuses: {refusing}"));
                self.seen.note("refused");
            }
        }
    }

    fn on_split_brain(&mut self, node: usize, own: Bytes, peer: Option<Bytes>) {
        self.log(|| format!("node {node}: split brain"));
        self.seen.note("split brain");
        self.split[node] = Some((own, peer));
    }

    fn ready(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.preparing = false;
        let Provider {
            metadata,
            map,
            consistency,
        } = it.provider();
        it.door.handle(
            seconds(self.now),
            accepting::Input::Ready {
                metadata,
                map,
                consistency,
            },
        );
    }

    fn on_session(&mut self, node: usize, output: secondary::Output) {
        match output {
            secondary::Output::Disk(id, operation) => {
                self.operate(node, Owner::Session(id), operation);
            }
            secondary::Output::Reply(reply) => {
                let mut sealer = Sealer::new(Compression::None, Checksum::None);
                let segments = reply
                    .sealed(&mut sealer)
                    .encode(Version::V2, &mut Encoder::new());
                let link = self.nodes[node].session_links.1;
                self.send(link, false, frame(Phase::Reply, &segments));
            }
            secondary::Output::Close => {
                let (first, second) = self.nodes[node].session_links;
                self.close_from(first, node);
                self.close_from(second, node);
            }
            secondary::Output::Ended(end) => {
                self.log(|| format!("node {node}'s session: {end}"));
                self.nodes[node].session = None;
                if let Some(role) = self.nodes[node].next_role.take() {
                    self.set_role(node, role);
                } else if self.nodes[node].preparing {
                    self.ready(node);
                }
            }
            secondary::Output::Event(_) => {}
        }
    }

    fn send(&mut self, number: u64, down: bool, frame: Frame) {
        let delay = self.random.between(50, 1500);
        let now = self.now;
        let Some(link) = self.links.get_mut(&number) else {
            return;
        };
        let side = usize::from(!down);
        let at = (now + delay).max(link.last[side] + 1);
        // What comes after something that is lost is lost, too.
        link.last[side] = at;
        if at >= link.dead[side] {
            return;
        }
        let deliver = Happening::Deliver {
            link: number,
            down,
            frame,
        };
        self.after(at - now, deliver);
    }

    /// A node closes its end; the other hears of it after what was sent before.
    fn close_from(&mut self, number: u64, node: usize) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&number) else {
            return;
        };
        let down = link.primary == node;
        let (own, other) = (usize::from(!down), usize::from(down));
        // Nothing is heard here any more, and nothing more is sent.
        link.dead[other] = link.dead[other].min(now);
        let at = link.last[own].max(now) + 1;
        let reaches = at < link.dead[own];
        link.dead[own] = link.dead[own].min(at);
        let peer = if down { 1 - link.primary } else { link.primary };
        if reaches {
            let closed = Happening::Closed {
                link: number,
                node: peer,
                torn: false,
            };
            self.after(at - now, closed);
        }
    }

    fn linked(&mut self, number: u64) {
        let Some(link) = self.links.get(&number).cloned() else {
            return;
        };
        let now = seconds(self.now);
        let accepts = self.nodes[1 - link.primary].alive;
        let dead = self.now >= link.dead[1];
        if let Some(attempt) = &mut self.nodes[link.primary].attempt {
            if attempt.id == link.session && !dead {
                let input = if accepts {
                    connecting::Input::Connected(link.which)
                } else {
                    connecting::Input::Closed(link.which)
                };
                attempt.machine.handle(now, input);
                self.drain(link.primary);
            }
        }
    }

    fn deliver(&mut self, number: u64, down: bool, frame: Frame) {
        let now = seconds(self.now);
        let Some(link) = self.links.get_mut(&number) else {
            return;
        };
        if self.now >= link.dead[usize::from(!down)] {
            return;
        }
        let (which, session) = (link.which, link.session);
        let node = if down { 1 - link.primary } else { link.primary };
        let first = down && !core::mem::replace(&mut link.opened, true);
        if !self.nodes[node].alive {
            return;
        }
        if first {
            let token = u128::from(self.random.next()) << 64 | u128::from(self.random.next());
            let opening = accepting::Input::Opening {
                connection: Connection(number),
                opening: Opening::decode(&frame).unwrap(),
                access: Access::Allowed,
                token: Token::new(token.to_le_bytes()),
            };
            self.nodes[node].door.handle(now, opening);
        } else if down {
            let it = &mut self.nodes[node];
            if it.session_links.0 == number {
                if let Some(machine) = &mut it.session {
                    machine.handle(now, secondary::Input::Frame(frame));
                }
            }
        } else {
            let it = &mut self.nodes[node];
            match &mut it.attempt {
                Some(attempt) if attempt.id == session => {
                    let input = connecting::Input::Frame(which, frame);
                    attempt.machine.handle(now, input);
                }
                _ => {
                    if let Some(machine) = &mut it.primary {
                        machine.handle(now, Input::Frame(session, frame));
                    }
                }
            }
        }
        self.drain(node);
    }

    fn closed(&mut self, number: u64, node: usize, torn: bool) {
        let now = seconds(self.now);
        let Some(link) = self.links.get(&number).cloned() else {
            return;
        };
        if !self.nodes[node].alive {
            return;
        }
        let error = FrameError::Truncated { missing: 7 };
        let it = &mut self.nodes[node];
        if node == link.primary {
            match &mut it.attempt {
                // A peer that refuses closes both, and says why on the first.
                Some(attempt) if attempt.id == link.session && link.which == Which::Second => {}
                Some(attempt) if attempt.id == link.session => {
                    let input = connecting::Input::Closed(link.which);
                    attempt.machine.handle(now, input);
                }
                _ => {
                    if let Some(machine) = &mut it.primary {
                        let input = if torn {
                            Input::Invalid(link.session, error)
                        } else {
                            Input::Closed(link.session)
                        };
                        machine.handle(now, input);
                    }
                }
            }
        } else {
            it.door
                .handle(now, accepting::Input::Closed(Connection(number)));
            if it.session_links.0 == number || it.session_links.1 == number {
                if let Some(machine) = &mut it.session {
                    let input = if torn {
                        secondary::Input::Invalid(error)
                    } else {
                        secondary::Input::Closed
                    };
                    machine.handle(now, input);
                }
            }
        }
        self.drain(node);
    }

    /// Cuts every connection, at any octet; both ends may hear of it or not.
    fn cut(&mut self, silent: bool) {
        let numbers: Vec<u64> = self.links.keys().copied().collect();
        for number in numbers {
            let torn = self.random.chance(50);
            let at = [0; 2].map(|_| self.now + self.random.below(2000));
            let link = self.links.get_mut(&number).unwrap();
            let was = link.dead;
            link.dead = [was[0].min(at[0]), was[1].min(at[1])];
            let (primary, now) = (link.primary, self.now);
            if !silent {
                for (side, node) in [(0, 1 - primary), (1, primary)] {
                    if was[side] > at[side] {
                        let closed = Happening::Closed {
                            link: number,
                            node,
                            torn,
                        };
                        self.after(at[side] - now + 1, closed);
                    }
                }
            }
        }
    }

    /// A node stops at once.
    fn crash(&mut self, node: usize, power: bool) {
        let numbers: Vec<u64> = self.links.keys().copied().collect();
        for number in numbers {
            if power {
                let link = self.links.get_mut(&number).unwrap();
                link.dead = [link.dead[0].min(self.now), link.dead[1].min(self.now)];
            } else {
                self.close_from(number, node);
            }
        }
        let it = &mut self.nodes[node];
        it.alive = false;
        if power {
            it.disk.lose_power(&mut self.random);
        } else {
            it.disk.kill(&mut self.random);
        }
        let disk = it.disk.clone();
        *it = Node {
            disk,
            ..Node::new()
        };
        self.nodes[node].alive = false;
        self.nodes[node].disk.fail_writes = 0;
    }

    /// Whether the peer has everything that was acknowledged.
    fn is_in_sync(&self, node: usize) -> bool {
        let other = &self.nodes[1 - node];
        // A link that is dead but not known for it is one failure already.
        other.alive
            && self.is_linked(node)
            && other.disk.mark == Consistency::Consistent
            && self.nodes[node].primary.as_ref().is_some_and(|primary| {
                primary.is_in_sync()
                    || (primary.is_connected()
                        && primary.copy() == LocalCopy::Failed { complete: true })
            })
    }

    /// At every crash: where the nodes differ, the map on disk of one of them says so.
    fn check_marks(&mut self, primary: usize) {
        let [a, b] = &self.nodes;
        let other = self.nodes[1 - primary].disk.mark;
        if self.nodes[primary].disk.mark != Consistency::Consistent
            || other == Consistency::Incomplete
        {
            // All of it is copied then.
            return;
        }
        let settled = self.nodes.iter().all(|node| node.disk.is_idle());
        if !settled {
            return;
        }
        let sectors_per_extent = 16;
        for (sector, (left, right)) in a.disk.view.iter().zip(&b.disk.view).enumerate() {
            if left != right {
                let extent = sector / sectors_per_extent;
                let bit = |node: &Node| node.disk.map[extent / 8] & (1 << (extent % 8)) != 0;
                assert!(
                    bit(a) || bit(b),
                    "sector {sector} holds {left} and {right}, and extent {extent} is not marked"
                );
            }
        }
        self.seen.note("marks checked");
    }

    fn fault(&mut self) {
        if self.faults_left == 0 {
            return;
        }
        self.faults_left -= 1;
        let next = self.random.between(1000, 3 * SECOND);
        self.after(next, Happening::Fault);
        let Some(node) = self.primary_node() else {
            return;
        };
        let other = 1 - node;
        let keeps = self.config.replication != Replication::Async;
        let fault = self.random.below(11);
        self.log(|| format!("fault {fault}, node {node} is primary"));
        match fault {
            0 | 1 => {
                self.cut(fault == 1);
                if self.random.chance(50) {
                    let down = self.random.below(3 * SECOND);
                    self.network_down_until = self.now + down;
                }
                self.seen.note("network cut");
            }
            2 | 3 if self.nodes[other].alive => {
                // A cache that is lost beside a disk that is lost would be two failures.
                let copy = self.nodes[node].primary.as_ref().unwrap().copy();
                if fault == 3
                    && (copy != LocalCopy::Current || self.nodes[node].disk.fail_writes > 0)
                {
                    return;
                }
                self.crash(other, fault == 3);
                let [a, b] = &self.nodes;
                if a.disk.is_idle() && b.disk.is_idle() {
                    self.check_marks(node);
                }
                let role = Role::Secondary;
                let delay = self.random.below(2 * SECOND);
                self.after(delay, Happening::Restart { node: other, role });
                self.seen.note(if fault == 3 {
                    "secondary lost power"
                } else {
                    "secondary killed"
                });
            }
            4 | 5 => {
                let in_sync = self.is_in_sync(node);
                let promote = in_sync && keeps && (fault == 5 || self.random.chance(50));
                if fault == 5 && !promote {
                    return;
                }
                let failed = self.nodes[node]
                    .primary
                    .as_ref()
                    .is_some_and(|it| matches!(it.copy(), LocalCopy::Failed { .. }));
                if failed && !promote && self.nodes[node].disk.mark == Consistency::Consistent {
                    // The mark was not acknowledged; nothing relies on it.
                    self.seen.note("crash before the mark");
                }
                self.crash(node, fault == 5);
                self.client.abandon();
                if self.nodes[other].disk.is_idle() {
                    self.check_marks(node);
                }
                let delay = self.random.between(1000, 2 * SECOND);
                if promote {
                    self.seen.note("failover");
                    self.promote(other);
                    let role = Role::Secondary;
                    self.after(delay, Happening::Restart { node, role });
                } else {
                    self.seen.note("primary restarted");
                    let role = Role::Primary;
                    self.after(delay, Happening::Restart { node, role });
                }
            }
            6 if self.is_in_sync(node) || self.random.chance(50) => {
                self.nodes[node].disk.fail_writes = 1;
            }
            7 => self.nodes[other].disk.fail_writes = 1,
            8 => self.nodes[node].disk.fail_reads = 1,
            9 | 10 => {
                let network = self.now >= self.network_down_until;
                let primary = self.nodes[node].primary.as_ref().unwrap();
                let marked = self.nodes[other].disk.mark != Consistency::Consistent;
                let connected = primary.is_connected()
                    && primary.copy() == LocalCopy::Current
                    && self.nodes[other].session.is_some();
                if network && connected && (marked || self.is_in_sync(node)) {
                    self.seen.note(if marked {
                        "roles swapped while copying"
                    } else {
                        "roles swapped"
                    });
                    self.swap(node);
                    // Nothing else may fail while nobody has the role.
                    self.faults_left = self.faults_left.saturating_sub(1);
                }
            }
            _ => {}
        }
    }

    fn promote(&mut self, node: usize) {
        let now = seconds(self.now);
        let it = &mut self.nodes[node];
        it.door.handle(now, accepting::Input::Role(Role::Primary));
        match &mut it.session {
            Some(session) => {
                it.next_role = Some(Role::Primary);
                session.handle(now, secondary::Input::Stop);
            }
            None => self.set_role(node, Role::Primary),
        }
        self.drain(node);
    }

    fn swap(&mut self, node: usize) {
        let now = seconds(self.now);
        self.nodes[node].next_role = Some(Role::Secondary);
        let primary = self.nodes[node].primary.as_mut().unwrap();
        primary.handle(now, Input::Stop);
        self.drain(node);
        self.give_up(node);
        self.promote(1 - node);
    }

    /// Leaves undone some of what a primary that was stopped has asked of its disk.
    fn give_up(&mut self, node: usize) {
        let now = seconds(self.now);
        let tickets: Vec<(u64, OperationId)> = self.nodes[node]
            .tickets
            .iter()
            .filter_map(|(ticket, owner)| match owner {
                Owner::Primary(id) => Some((*ticket, *id)),
                Owner::Session(_) | Owner::Door => None,
            })
            .collect();
        for (ticket, id) in tickets {
            if self.random.chance(50) && self.nodes[node].disk.give_up(ticket) {
                self.seen.note("disk operation given up");
                self.nodes[node].tickets.remove(&ticket);
                if let Some(primary) = &mut self.nodes[node].primary {
                    primary.handle(now, Input::Disk(id, Err(Errno::ECANCELED)));
                }
            }
        }
        self.drain(node);
    }
}

fn short(request: &primary::DeviceRequest) -> String {
    match request {
        primary::DeviceRequest::Read { offset, length } => format!("read {offset}+{length}"),
        primary::DeviceRequest::Write { offset, data } => format!("write {offset}+{}", data.len()),
        primary::DeviceRequest::Delete { offset, length } => format!("delete {offset}+{length}"),
        primary::DeviceRequest::Flush => "flush".into(),
    }
}
