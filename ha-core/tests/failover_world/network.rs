//! What the nodes and the arbiter hear of each other.

use super::*;

impl World {
    pub(super) fn reaches(&self, a: usize, b: usize) -> bool {
        let runs = |node: &Node| node.unit.is_some() && node.asleep.is_none();
        runs(&self.nodes[a]) && runs(&self.nodes[b]) && !self.cut.contains(&(a.min(b), a.max(b)))
    }

    /// Whether the storage of one reaches that of the other.
    pub(super) fn replicates(&self, a: usize, b: usize) -> bool {
        self.reaches(a, b) && !self.apart
    }

    pub(super) fn receive(&mut self, to: usize, source: IpAddr, bytes: [u8; ADVERTISEMENT_LEN]) {
        match View::parse(&bytes).map(|view| self.auth.verify(view)) {
            Ok(Ok(advertisement)) => {
                let received = Received::new(advertisement, source);
                self.carp(to, carp_proto::Input::Advertisement(received));
            }
            Ok(Err(_)) | Err(_) => self.counts.forged += 1,
        }
    }

    pub(super) fn carp(&mut self, node: usize, input: carp_proto::Input) {
        let local = self.local(node);
        let Some(mut machine) = self.nodes[node].carp.take() else {
            return;
        };
        machine.handle(local, input);
        let mut roles = Vec::new();
        while let Some(output) = machine.poll_output() {
            match output {
                carp_proto::Output::Transmit(transmit) => {
                    let mut bytes = [0; ADVERTISEMENT_LEN];
                    self.auth
                        .sign(transmit.advertisement.carp().unwrap(), &mut bytes);
                    let from = IpAddr::from([192, 0, 2, u8::try_from(node).unwrap() + 1]);
                    for to in 0..self.nodes.len() {
                        if to != node && self.reaches(node, to) {
                            let after = self.random.millis(1..5);
                            self.plan(after, Coming::Arrive { to, from, bytes });
                        }
                    }
                    let sent = carp_proto::Input::Sent(transmit.family, SendResult::Ok);
                    machine.handle(local, sent);
                }
                carp_proto::Output::Demote(demote) => {
                    self.nodes[node].carp_demotion += demote.adjustment;
                    let level = self.level(node);
                    machine.handle(local, carp_proto::Input::Demotion(level));
                }
                carp_proto::Output::Event(carp_proto::Event::State { to, .. }) => roles.push(to),
                _ => {}
            }
        }
        self.nodes[node].carp = Some(machine);
        for role in roles {
            self.unit(
                node,
                Input::Address {
                    group: GroupId::new(0),
                    role,
                },
            );
        }
    }

    pub(super) fn level(&self, node: usize) -> i32 {
        self.nodes[node].carp_demotion + self.nodes[node].demotions.values().sum::<i32>()
    }

    pub(super) fn asked(&mut self, node: usize, boot: u32, request: Request, sent: Duration) {
        if self.cut_off.contains(&node) {
            return;
        }
        let answer = match request.query {
            Query::Read => Answer::Current(self.record),
            Query::Swap { expected, record } if expected == self.record.map(|(r, _)| r) => {
                let next = expected.map_or(0, Revision::get) + 1;
                self.record = Some((Revision::new(next), record));
                let patience = Duration::from_secs(1);
                self.counts.late_swaps += u64::from(self.now > sent + patience * 2);
                self.note(
                    node,
                    format!("record {next}: {:?} {}", record.holder, record.up_to_date),
                );
                Answer::Swapped(Revision::new(next))
            }
            Query::Swap { .. } => Answer::Current(self.record),
        };
        let after = self.random.millis(1..15);
        let lost = self.chaos && self.random.chance(3);
        if !lost {
            self.plan(
                after,
                Coming::Answered {
                    node,
                    boot,
                    request: request.id,
                    answer,
                },
            );
        }
    }
}
