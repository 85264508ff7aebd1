//! A primary and a secondary in one session, with disks and a network that take no time.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use hast_proto::frame::{Decoder, Encoder, Frame, Phase, Segments};
use hast_proto::handshake::PrimaryHandshake;
use hast_proto::handshake::connecting::{self, Which};
use hast_proto::message::{
    Accepted, FirstAnswer, Map, Reply, Request, SecondAnswer, Standing, Welcome,
};
use hast_proto::primary::{self, DeviceRequest, Primary, Provider, RequestId, SessionId};
use hast_proto::secondary::{self, Secondary};
use hast_proto::{
    Consistency, Counters, DiskOperation, Errno, ExtentSize, KeepDirty, Layout, Length, Metadata,
    Offset, OperationId, Payload, Replication, ResourceId, ResourceName, SectorSize, SyncSource,
    Token, Version,
};

const NOW: Duration = Duration::ZERO;

/// Takes octets from one machine to the other.
pub struct Wire {
    encoder: Encoder,
    decoder: Decoder,
    buffer: BytesMut,
}

impl Wire {
    fn new(phase: Phase) -> Self {
        Self {
            encoder: Encoder::new(),
            decoder: Decoder::new(phase),
            buffer: BytesMut::new(),
        }
    }

    pub fn requests() -> Self {
        Self::new(Phase::Request)
    }

    pub fn replies() -> Self {
        Self::new(Phase::Reply)
    }

    pub fn request(&mut self, request: &Request) -> Frame {
        let segments = request.encode(Version::V2, &mut self.encoder);
        self.carry(&segments)
    }

    pub fn reply(&mut self, reply: &Reply) -> Frame {
        let segments = reply.encode(Version::V2, &mut self.encoder);
        self.carry(&segments)
    }

    fn carry(&mut self, segments: &Segments) -> Frame {
        for part in segments.as_slices() {
            self.buffer.extend_from_slice(part);
        }
        self.decoder.decode(&mut self.buffer).unwrap().unwrap()
    }
}

pub struct Pair {
    primary: Primary<Duration>,
    secondary: Secondary<Duration>,
    session: Option<SessionId>,
    down: Wire,
    up: Wire,
    disks: [VecDeque<(OperationId, DiskOperation)>; 2],
    zeros: Bytes,
    next: u64,
    pub completed: u64,
}

impl Pair {
    /// Makes a session in which both have everything.
    pub fn new(replication: Replication) -> Self {
        let layout = Layout::create(
            Length::new(1 << 30),
            ExtentSize::DEFAULT,
            SectorSize::DEFAULT,
        )
        .unwrap();
        let name = ResourceName::new("shared").unwrap();
        let mut metadata = Metadata::create(name, layout, KeepDirty::DEFAULT);
        metadata.resource_id = ResourceId::new(77);
        let provider = Provider {
            map: vec![0; layout.map_len().to_usize().unwrap()].into(),
            metadata,
            consistency: Consistency::Consistent,
        };
        let config = primary::Config {
            replication,
            ..primary::Config::default()
        };
        let consistency = Consistency::Consistent;
        let session = secondary::Config::new(layout, SyncSource::Primary, consistency);
        let mut pair = Self {
            primary: Primary::new(config, provider).unwrap(),
            secondary: Secondary::new(session),
            session: None,
            down: Wire::requests(),
            up: Wire::replies(),
            disks: [VecDeque::new(), VecDeque::new()],
            zeros: vec![0; 1 << 20].into(),
            next: 0,
            completed: 0,
        };
        pair.primary.handle(NOW, primary::Input::Start);
        pair.secondary.handle(NOW, secondary::Input::Start);
        pair.meet(layout);
        pair.settle();
        assert!(pair.primary.is_in_sync());
        pair
    }

    fn meet(&mut self, layout: Layout) {
        let Some(primary::Output::Connect(id, header)) = self.primary.poll_output() else {
            panic!("no attempt");
        };
        let fresh = ResourceId::new(77).unwrap();
        self.primary
            .handle(NOW, primary::Input::Identify(id, fresh));
        let Some(primary::Output::Identity(_, identity)) = self.primary.poll_output() else {
            panic!("no identity");
        };
        let mut attempt = PrimaryHandshake::new(connecting::Config {
            resource: ResourceName::new("shared").unwrap(),
            layout,
            header,
            timeout: Duration::from_secs(1),
        });
        let welcome = FirstAnswer::Welcome(Welcome {
            version: Some(Version::V2),
            token: Token::new([7; 16]),
            reunion: true,
        });
        let map = Payload::plain(vec![0; 512].into()).unwrap();
        let accepted = SecondAnswer::Accepted(Accepted {
            standing: Standing {
                data_size: layout.data_len(),
                extent_size: layout.extent_size(),
                counters: Counters::default(),
            },
            virgin: false,
            source: SyncSource::Primary,
            map: Map::new(512, map),
        });
        let mut wire = Wire::new(Phase::Answer);
        let welcome = welcome.encode(&mut wire.encoder);
        let accepted = accepted.encode(Version::V2, &mut wire.encoder);
        for input in [
            connecting::Input::Start,
            connecting::Input::Connected(Which::First),
            connecting::Input::Frame(Which::First, wire.carry(&welcome)),
            connecting::Input::Connected(Which::Second),
            connecting::Input::Identity(identity),
            connecting::Input::Frame(Which::First, wire.carry(&accepted)),
        ] {
            attempt.handle(NOW, input);
        }
        while let Some(output) = attempt.poll_output() {
            if let connecting::Output::Established(session) = output {
                self.session = Some(id);
                self.primary
                    .handle(NOW, primary::Input::Session(id, session));
            }
        }
    }

    pub fn write(&mut self, offset: u64, data: Bytes) {
        let offset = Offset::new(offset);
        self.request(DeviceRequest::Write { offset, data });
    }

    pub fn read(&mut self, offset: u64, length: u64) {
        let (offset, length) = (Offset::new(offset), Length::new(length));
        self.request(DeviceRequest::Read { offset, length });
    }

    fn request(&mut self, request: DeviceRequest) {
        self.next += 1;
        let id = RequestId(self.next);
        self.primary
            .handle(NOW, primary::Input::Request(id, request));
        self.drain();
    }

    /// Goes on until nothing is on its way any more.
    pub fn settle(&mut self) {
        self.drain();
        while let Some(side) = self.disks.iter().position(|disk| !disk.is_empty()) {
            let Some((id, operation)) = self.disks.get_mut(side).and_then(VecDeque::pop_front)
            else {
                return;
            };
            let result = self.execute(&operation);
            match side {
                0 => self.primary.handle(NOW, primary::Input::Disk(id, result)),
                _ => self
                    .secondary
                    .handle(NOW, secondary::Input::Disk(id, result)),
            }
            self.drain();
        }
    }

    fn execute(&self, operation: &DiskOperation) -> Result<Bytes, Errno> {
        Ok(match operation {
            DiskOperation::Read { length, .. } => self.zeros.slice(..length.to_usize().unwrap()),
            _ => Bytes::new(),
        })
    }

    /// Takes what has come out of one machine to where it belongs.
    fn drain(&mut self) {
        loop {
            if let Some(output) = self.primary.poll_output() {
                match output {
                    primary::Output::Disk(id, operation) => {
                        self.disks[0].push_back((id, operation));
                    }
                    primary::Output::Send(_, request) => {
                        let frame = self.down.request(&request);
                        self.secondary.handle(NOW, secondary::Input::Frame(frame));
                    }
                    primary::Output::Completed(_, result) => {
                        assert!(result.is_ok());
                        self.completed += 1;
                    }
                    _ => {}
                }
            } else if let Some(output) = self.secondary.poll_output() {
                match output {
                    secondary::Output::Disk(id, operation) => {
                        self.disks[1].push_back((id, operation));
                    }
                    secondary::Output::Reply(reply) => {
                        let frame = self.up.reply(&reply);
                        let id = self.session.unwrap();
                        self.primary.handle(NOW, primary::Input::Frame(id, frame));
                    }
                    _ => {}
                }
            } else {
                return;
            }
        }
    }
}
