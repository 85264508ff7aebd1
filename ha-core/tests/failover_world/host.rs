//! What a node does when its machine says so.

use super::*;

impl World {
    /// Hands in `input`. What comes out is done in order, also when doing it causes more.
    pub(super) fn unit(&mut self, node: usize, input: Input) {
        let local = self.local(node);
        let boot = self.nodes[node].boot;
        let Some(machine) = self.nodes[node].unit.as_mut() else {
            return;
        };
        machine.handle(local, input);
        let mut count = 0;
        while let Some(output) = machine.poll_output() {
            let now = u64::try_from(self.now.as_nanos()).unwrap();
            self.digest = (self.digest ^ now).wrapping_mul(0x0100_0000_01b3);
            count += 1;
            self.outputs.push_back((node, boot, output));
        }
        self.always(count < 200, "outputs end");
        if core::mem::replace(&mut self.acting, true) {
            return;
        }
        while let Some((node, boot, output)) = self.outputs.pop_front() {
            if self.nodes[node].boot == boot && self.nodes[node].unit.is_some() {
                self.act(node, output);
            }
        }
        self.acting = false;
    }

    pub(super) fn act(&mut self, node: usize, output: Output<Duration>) {
        match output {
            Output::Event(event) => self.on_event(node, event),
            Output::Begin(run) => self.begin(node, run),
            Output::Cancel(run) => self.cancel(node, run),
            Output::Demote { cause, amount } => {
                let old = self.nodes[node].demotions.insert(cause, amount);
                self.always(old.is_none(), "a cause demotes once");
                self.note(node, format!("demoted: {cause}"));
                let level = self.level(node);
                self.carp(node, carp_proto::Input::Demotion(level));
            }
            Output::Restore(cause) => {
                let old = self.nodes[node].demotions.remove(&cause);
                self.always(old.is_some(), "only what was given is taken back");
                self.note(node, format!("restored: {cause}"));
                let level = self.level(node);
                self.carp(node, carp_proto::Input::Demotion(level));
            }
            Output::StepDown(_) => self.carp(node, carp_proto::Input::Force(Role::Backup)),
            Output::TakeOver(_) => self.carp(node, carp_proto::Input::Force(Role::Master)),
            Output::Arbiter(request) => {
                let boot = self.nodes[node].boot;
                let dice = if self.chaos {
                    self.random.below(100)
                } else {
                    99
                };
                let after = match dice {
                    0..3 => return,
                    // It arrives when nobody waits for the answer any more.
                    3..10 => self.random.millis(500..6000),
                    _ => self.random.millis(1..15),
                };
                let sent = self.now;
                self.plan(
                    after,
                    Coming::Asked {
                        node,
                        boot,
                        request,
                        sent,
                    },
                );
            }
            Output::Grant(grant) => {
                self.counts.granted += 1;
                self.nodes[node].store.grant(&grant);
                self.acknowledge(node);
            }
            Output::Revoke => self.nodes[node].store.revoke(),
            Output::Ended => {}
        }
    }

    pub(super) fn on_event(&mut self, node: usize, event: Event<Duration>) {
        let counts = &mut self.counts;
        match event {
            Event::State {
                to,
                reason,
                since,
                at,
                ..
            } => {
                assert!(since <= at, "what begins ends later");
                match (to, reason) {
                    (State::Active, _) => counts.failovers += 1,
                    (State::Stuck, _) => counts.stuck += 1,
                    (State::Demoting, Reason::Failed(_)) => counts.rollbacks += 1,
                    (State::Demoting, Reason::RecordLost) => counts.record_lost += 1,
                    (State::Demoting, Reason::RecordTaken) => counts.record_taken += 1,
                    (State::Draining, Reason::Command(Command::SwitchOver)) => {
                        counts.switch_overs += 1;
                    }
                    (State::Draining, Reason::Health(_)) => counts.polite_health += 1,
                    _ => {}
                }
            }
            Event::Step {
                action,
                ending,
                began,
                ended,
                ..
            } => {
                assert!(began <= ended, "what begins ends later");
                match ending {
                    Ending::Done
                        if matches!(
                            action,
                            Action::KillAndUnmount | Action::ForceUnmount | Action::Kill
                        ) =>
                    {
                        counts.escalations += 1;
                    }
                    Ending::Done => {}
                    Ending::Failed(_) | Ending::TimedOut => counts.step_failures += 1,
                    Ending::Cancelled => counts.cut_short += 1,
                    Ending::GivenUp => counts.given_up += 1,
                }
            }
            Event::NotPromoted(Blocked::Storage(Unfit::Record { .. })) => {
                counts.refused_record += 1;
            }
            Event::NotPromoted(Blocked::Storage(_)) => counts.refused_unfit += 1,
            Event::NotPromoted(Blocked::PeerPrimary) => counts.waits_for_peer += 1,
            Event::KeptWithoutArbiter => counts.kept += 1,
            _ => {}
        }
        self.note(node, format!("{event:?}"));
        if let Event::State { to, .. } = event {
            self.meet(node, Doom::State(to));
        }
    }

    pub(super) fn begin(&mut self, node: usize, run: Run<Duration>) {
        let same = self.nodes[node]
            .running
            .values()
            .any(|(action, _)| *action == run.action);
        self.always(!same, "no step runs twice at once");
        self.always(
            run.token >= self.nodes[node].last_token || run.token.is_none(),
            "tokens grow",
        );
        let dice = if self.chaos && self.kind != Kind::OneCrash {
            self.random.below(100)
        } else {
            99
        };
        let boot = self.nodes[node].boot;
        let (after, outcome, hang) = match dice {
            0..3 => (None, Outcome::Cancelled, Hang::UntilCancelled),
            3..4 => (None, Outcome::Cancelled, Hang::EvenThen),
            4..9 => (Some(10..500), Outcome::Failed { code: 1 }, Hang::No),
            9..15 => (Some(500..7000), Outcome::Done, Hang::No),
            _ if run.action == Action::Drain => (Some(100..900), Outcome::Done, Hang::No),
            _ => (Some(5..100), Outcome::Done, Hang::No),
        };
        self.nodes[node].running.insert(run.id, (run.action, hang));
        self.note(node, format!("begins {} {hang:?}", run.action));
        self.nodes[node].last_token = run.token.max(self.nodes[node].last_token);
        self.meet(node, Doom::Action(run.action));
        if let Some(range) = after {
            let after = self.random.millis(range);
            let (run, action) = (run.id, run.action);
            self.plan(
                after,
                Coming::RunEnds {
                    node,
                    boot,
                    run,
                    action,
                    outcome,
                },
            );
        }
    }

    pub(super) fn cancel(&mut self, node: usize, run: RunId) {
        let Some((action, hang)) = self.nodes[node].running.get(&run).copied() else {
            return;
        };
        let boot = self.nodes[node].boot;
        let range = if hang == Hang::EvenThen {
            1500..20_000
        } else {
            1..100
        };
        let after = self.random.millis(range);
        // Half of what is cancelled was done nevertheless.
        let outcome = if self.random.chance(50) {
            Outcome::Done
        } else {
            Outcome::Cancelled
        };
        self.plan(
            after,
            Coming::RunEnds {
                node,
                boot,
                run,
                action,
                outcome,
            },
        );
    }

    pub(super) fn run_ends(&mut self, node: usize, run: RunId, action: Action, outcome: Outcome) {
        if self.nodes[node].running.remove(&run).is_none() {
            return;
        }
        let outcome = match outcome {
            Outcome::Done => self.effect(node, action),
            Outcome::Failed { .. } | Outcome::Cancelled => outcome,
        };
        if action == Action::FenceSelf && outcome == Outcome::Done {
            self.counts.fenced += 1;
            self.crash(node);
            return;
        }
        if matches!(action, Action::SetPrimary | Action::SetSecondary) {
            self.unit(node, Input::Ended { run, outcome });
            self.tell_status(node);
            if action == Action::SetPrimary && outcome == Outcome::Done {
                self.ask_permission(node);
            }
            return;
        }
        self.unit(node, Input::Ended { run, outcome });
    }

    pub(super) fn effect(&mut self, node: usize, action: Action) -> Outcome {
        let place = &mut self.nodes[node];
        let primary = place.store.role == StorageRole::Primary;
        let ok = match action {
            // Without force, no storage leads that is a mixture of old and new.
            Action::SetPrimary if place.store.inconsistent => false,
            Action::SetPrimary => {
                if !primary {
                    place.store.lose_role(StorageRole::Primary);
                }
                place.store.token = place.last_token;
                true
            }
            // A device in use cannot be taken away.
            Action::SetSecondary if place.mounted => false,
            Action::SetSecondary => {
                if place.store.role != StorageRole::Secondary {
                    place.store.lose_role(StorageRole::Secondary);
                }
                true
            }
            Action::WaitForDevice | Action::Check => primary,
            Action::Mount => {
                place.mounted |= primary;
                primary
            }
            Action::Unmount => {
                place.mounted &= place.service;
                !place.mounted
            }
            Action::KillAndUnmount => {
                (place.service, place.mounted) = (false, false);
                true
            }
            Action::ForceUnmount => {
                place.mounted = false;
                true
            }
            Action::Start => {
                place.service |= place.mounted;
                place.mounted
            }
            Action::Stop | Action::Kill => {
                place.service = false;
                true
            }
            Action::Announce => {
                let fit = place.service && place.mounted && primary;
                let sound = !place.store.inconsistent;
                place.address = true;
                self.always(!fit || sound, "no mixture of old and new is served");
                true
            }
            Action::Withdraw => {
                place.address = false;
                true
            }
            Action::Drain | Action::FencePeer | Action::FenceSelf => true,
        };
        if ok {
            Outcome::Done
        } else {
            Outcome::Failed { code: 16 }
        }
    }
}
