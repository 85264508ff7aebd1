//! What goes wrong.

use super::*;

impl World {
    pub(super) fn fault(&mut self) {
        if !self.chaos {
            return;
        }
        let any = self.random.index(self.nodes.len());
        let active = self.active().filter(|_| self.random.chance(50));
        let node = active.unwrap_or(any);
        let lives = self.nodes[node].unit.is_some() && self.nodes[node].asleep.is_none();
        let boot = self.nodes[node].boot;
        if self.kind == Kind::OneCrash {
            // Something has to happen, or there is nothing to crash in.
            let active = self.active().unwrap_or(node);
            if self.random.chance(30) {
                self.crash(active);
            } else {
                self.doom = Some(self.any_doom());
                self.unit(active, Input::Command(Command::SwitchOver));
            }
            return;
        }
        match self.random.below(17) {
            0 => self.crash(node),
            1 => self.doom = Some(self.any_doom()),
            2 | 3 => {
                let other = (node + 1) % self.nodes.len();
                let after = self.random.millis(500..30_000);
                self.cut(node, other, after);
            }
            4 | 5 => {
                let after = self.random.millis(500..25_000);
                self.cut_off(node, after);
            }
            12..=14 => {
                let after = self.random.millis(5000..30_000);
                for other in 0..self.nodes.len() {
                    if other != node {
                        self.cut(node, other, after);
                    }
                }
                self.cut_off(node, after);
            }
            6 if lives && self.nodes[node].store.role == StorageRole::Primary => {
                self.note(node, "loses its storage".into());
                self.nodes[node].store.lose_role(StorageRole::Init);
                self.counts.storage_lost += 1;
                self.tell_status(node);
            }
            7 if lives => {
                self.health(node, Health::Bad);
                self.health(node, Health::Bad);
                let after = self.random.millis(1000..20_000);
                self.plan(after, Coming::Recover { node, boot });
            }
            8 | 9 if lives => self.unit(node, Input::Command(Command::SwitchOver)),
            10 if lives => {
                let command = if self.random.chance(50) {
                    Command::Demote
                } else {
                    Command::Promote
                };
                self.unit(node, Input::Command(command));
            }
            11 if lives => {
                self.unit(node, Input::Command(Command::Maintenance));
                let after = self.random.millis(1000..15_000);
                self.plan(after, Coming::Resume { node, boot });
            }
            15 | 16 if lives => {
                let after = self.random.millis(500..20_000);
                self.sleep(node, after);
            }
            _ => self.hostile(node),
        }
        let after = self.random.millis(200..12_000);
        self.plan(after, Coming::Fault);
    }

    pub(super) fn active(&self) -> Option<usize> {
        (0..self.nodes.len()).find(|node| self.nodes[*node].address)
    }

    pub(super) fn any_doom(&mut self) -> Doom {
        if self.random.chance(40) {
            Doom::State(State::ALL[self.random.index(State::ALL.len())])
        } else {
            Doom::Action(ACTIONS[self.random.index(ACTIONS.len())])
        }
    }

    pub(super) fn meet(&mut self, node: usize, doom: Doom) {
        if self.chaos && self.doom == Some(doom) {
            self.doom = None;
            if let Doom::Action(action) = doom {
                let place = ACTIONS.iter().position(|a| *a == action).unwrap();
                self.counts.crashes_during[place] += 1;
            }
            let boot = self.nodes[node].boot;
            let after = self.random.millis(0..60);
            self.plan(after, Coming::Crash { node, boot });
        }
    }

    pub(super) fn cut(&mut self, node: usize, other: usize, time: Duration) {
        let pair = (node.min(other), node.max(other));
        if self.cut.insert(pair) {
            self.counts.partitions += 1;
            self.note(node, format!("cut from {other}"));
            self.plan(time, Coming::Reunite(pair.0, pair.1));
        }
    }

    pub(super) fn cut_off(&mut self, node: usize, time: Duration) {
        if self.cut_off.insert(node) {
            self.note(node, "cut from the arbiter".into());
            self.plan(time, Coming::ArbiterBack(node));
        }
    }

    /// Nothing runs on the node for a while, and whatever reaches it waits.
    fn sleep(&mut self, node: usize, time: Duration) {
        self.counts.pauses += 1;
        self.note(node, format!("sleeps for {time:?}"));
        self.nodes[node].asleep = Some(self.now + time);
        let boot = self.nodes[node].boot;
        self.plan(time, Coming::Wake { node, boot });
    }

    /// What it does first need not be to look at the clock's deadlines.
    pub(super) fn wake(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        place.asleep = None;
        (place.orphaned, place.unserved) = (None, None);
        let active = place.unit.as_ref().map(Failover::state) == Some(State::Active);
        let holder = self.record.and_then(|(_, record)| record.holder);
        self.counts.woke_too_late += u64::from(active && holder != Some(id(node)));
        self.note(node, "wakes up".into());
        match self.random.below(4) {
            0 => self.unit(node, Input::Timeout),
            1 => self.tell_status(node),
            2 => {
                // Which says nothing to the machine if there is nothing to ask for.
                self.ask_permission(node);
                self.health(node, Health::Good);
            }
            _ => self.health(node, Health::Good),
        }
    }

    /// What names nothing changes nothing.
    pub(super) fn hostile(&mut self, node: usize) {
        let Some(unit) = &self.nodes[node].unit else {
            return;
        };
        if self.nodes[node].asleep.is_some() {
            return;
        }
        let before = unit.state();
        let mut copy = unit.clone();
        let local = self.local(node);
        copy.handle(
            local,
            Input::Address {
                group: GroupId::new(9),
                role: Role::Master,
            },
        );
        copy.handle(
            local,
            Input::Health {
                check: CheckId::new(9),
                result: Health::Bad,
            },
        );
        let mut unknown = 0;
        while let Some(output) = copy.poll_output() {
            match output {
                Output::Event(Event::Unknown(_)) => unknown += 1,
                other => self.always(matches!(other, Output::Event(_)), "garbage does nothing"),
            }
        }
        self.always(
            unknown == 2 && copy.state() == before,
            "garbage is told, and changes nothing",
        );
        self.counts.stale += 1;
        let carp = self.nodes[node].carp.as_ref().map(VirtualHost::state);
        let mut bytes = [0; ADVERTISEMENT_LEN];
        for byte in &mut bytes {
            *byte = u8::try_from(self.random.below(256)).unwrap();
        }
        self.receive(node, [192, 0, 2, 99].into(), bytes);
        let after = self.nodes[node].carp.as_ref().map(VirtualHost::state);
        self.always(carp == after, "a forged packet changes nothing");
    }
}
