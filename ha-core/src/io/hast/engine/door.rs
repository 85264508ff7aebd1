//! The door of a resource: connections that have said what they want, until a session has them.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use std::collections::BTreeMap;
use std::vec::Vec;

use hast_proto::frame::{Encoder, Phase};
use hast_proto::handshake::accepting::{Config, Input, Output};
use hast_proto::handshake::{Connection, Refusing, SecondaryHandshake};
use hast_proto::hooks::HookEvent;
use hast_proto::message::Refusal;
#[cfg(feature = "tls")]
use hast_proto::message::{FirstAnswer, Refused};
use hast_proto::{Role, Sealer, Token};
use tokio::time::Instant;

use super::super::super::clock;
#[cfg(not(feature = "tls"))]
use super::super::channel::Proof;
use super::super::event::EventKind;
use super::super::link::Link;
use super::super::settings::Settings;
use super::super::split::Split;
use super::{Common, Incoming, Stage};

/// The door, which is there in every role: somebody has to tell peers why they are refused.
pub(super) struct Door {
    machine: SecondaryHandshake<Instant>,
    visitors: BTreeMap<Connection, Visitor>,
    next: u64,
    sealer: Sealer,
}

struct Visitor {
    link: Link,
    peer: SocketAddr,
}

impl Door {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            machine: SecondaryHandshake::new(Config {
                timeout: settings.primary.timeout,
                give_way: settings.give_way(),
                ..Config::default()
            }),
            visitors: BTreeMap::new(),
            next: 0,
            sealer: Sealer::new(settings.compression, settings.checksum),
        }
    }

    pub(super) fn configure(&mut self, now: Instant, settings: &Settings, moved: bool) {
        self.sealer = Sealer::new(settings.compression, settings.checksum);
        if moved {
            // They were let in by what holds no longer.
            for connection in core::mem::take(&mut self.visitors).into_keys() {
                self.machine.handle(now, Input::Closed(connection));
            }
        }
        self.machine.set_give_way(settings.give_way());
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    pub(super) fn set_role(&mut self, now: Instant, role: Role) {
        self.machine.handle(now, Input::Role(role));
    }

    pub(super) fn handle(&mut self, now: Instant, input: Input) {
        self.machine.handle(now, input);
    }

    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "TLS needs it")
    )]
    pub(super) fn on_incoming(&mut self, now: Instant, incoming: Incoming, common: &mut Common) {
        let Incoming {
            mut link,
            peer,
            proof,
            opening,
            access,
        } = incoming;
        #[cfg(not(feature = "tls"))]
        let Proof::Nothing = proof;
        #[cfg(feature = "tls")]
        if let Err(reason) = proof.check(&common.settings, &common.name) {
            let refused = FirstAnswer::Refused(Refused::from(reason.told()));
            link.push(refused.encode(&mut Encoder::new()));
            common.close(link);
            common.tell(EventKind::Unproven { peer, reason });
            return;
        }
        // Without random numbers nobody is let in: a token that can be guessed is none.
        let Some(token) = clock::secret() else { return };
        link.enter(Phase::Request);
        let connection = Connection(self.next);
        self.next = self.next.wrapping_add(1);
        self.visitors.insert(connection, Visitor { link, peer });
        self.machine.handle(
            now,
            Input::Opening {
                connection,
                opening,
                access,
                token: Token::new(token),
            },
        );
    }

    /// Takes the links of a session that begins.
    pub(super) fn take(&mut self, connection: Connection) -> Option<(Link, SocketAddr)> {
        let Visitor { link, peer } = self.visitors.remove(&connection)?;
        Some((link, peer))
    }

    /// Goes once through everything; whether there may be more to do.
    pub(super) fn pass(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        common: &mut Common,
        stage: &mut Stage,
    ) -> bool {
        let mut busy = self.look(cx, now);
        if self.deadline().is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now);
        }
        while let Some(output) = self.machine.poll_output() {
            busy = true;
            self.on_output(now, output, common, stage);
        }
        busy | self.flush(cx, now)
    }

    /// Looks for visitors that have gone. They have nothing to say before they are answered.
    fn look(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut gone = Vec::new();
        for (connection, visitor) in &mut self.visitors {
            if visitor.link.poll_closed(cx).is_ready() {
                gone.push(*connection);
            }
        }
        for connection in &gone {
            self.visitors.remove(connection);
            self.machine.handle(now, Input::Closed(*connection));
        }
        !gone.is_empty()
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut gone = Vec::new();
        for (connection, visitor) in &mut self.visitors {
            if let Poll::Ready(Err(_)) = visitor.link.poll_flush(cx) {
                gone.push(*connection);
            }
        }
        for connection in &gone {
            self.visitors.remove(connection);
            self.machine.handle(now, Input::Closed(*connection));
        }
        !gone.is_empty()
    }

    fn on_output(&mut self, now: Instant, output: Output, common: &mut Common, stage: &mut Stage) {
        match output {
            Output::Answer(connection, answer) => {
                if let Some(visitor) = self.visitors.get_mut(&connection) {
                    visitor.link.push(answer.encode(&mut Encoder::new()));
                }
            }
            Output::Decide(connection, version, answer) => {
                if let Some(visitor) = self.visitors.get_mut(&connection) {
                    let answer = answer.sealed(&mut self.sealer);
                    visitor
                        .link
                        .push(answer.encode(version, &mut Encoder::new()));
                }
            }
            Output::Close(connection) => {
                if let Some(visitor) = self.visitors.remove(&connection) {
                    common.close(visitor.link);
                }
            }
            // The door is open for secondaries only, so that there is one.
            Output::Prepare => {
                if let Stage::Secondary(side) = stage {
                    side.prepare(now, common);
                }
            }
            Output::StoreMetadata(metadata) => {
                if let Stage::Secondary(side) = stage {
                    side.store(metadata);
                }
            }
            Output::Established(established) => {
                let links = self
                    .take(established.first)
                    .zip(self.take(established.second));
                if let (Stage::Secondary(side), Some(links)) = (stage, links) {
                    common.split = None;
                    side.establish(now, &established, links, common);
                }
            }
            Output::SplitBrain {
                connection,
                map,
                peer,
            } => {
                if let Stage::Secondary(side) = stage {
                    let address = self.visitors.get(&connection).map(|visitor| visitor.peer);
                    let split = Split::new(side.layout(), &map, peer);
                    common.tell_split_brain(address, split);
                }
            }
            Output::Refused(connection, reason) => {
                let Some(visitor) = self.visitors.get(&connection) else {
                    return;
                };
                let split = reason == Refusing::Told(Refusal::SplitBrain);
                let hook = split.then_some(HookEvent::SplitBrain);
                let peer = visitor.peer;
                common.tell_with(EventKind::Refused { peer, reason }, hook);
            }
        }
    }
}
