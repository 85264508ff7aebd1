//! The steps of a unit, as its part of the file says them: what comes after what, how long each may
//! take, and what follows when it fails.

use ha_core::failover::{
    Arbitration, Attempt, Config, Holds, NodeId, OnFailure, OnLoss, Plan, PlanError, Step, StepKind,
};
use toml::Spanned;

use super::config::{self, Service, Unit, WhenLost};
use super::values::Seconds;

/// What services name to come after the addresses.
pub(crate) const ADDRESS: &str = "address";

/// What a step is about, by its place in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    Fence,
    Storage,
    Device,
    Check(usize),
    Mount(usize),
    Service(usize),
    Address(usize),
}

/// Returns the steps of a unit. Services that are not there come after nothing.
pub(crate) fn steps(unit: &Unit) -> Vec<(Step, Subject)> {
    let mut list = List(Vec::new());
    let fence = unit.fence.as_ref().map(Spanned::get_ref);
    let fence = fence.filter(|fence| fence.peer.is_some()).map(|fence| {
        let step = Step::new(StepKind::FencePeer, "fence");
        list.push(with_deadline(step, &fence.deadline), Subject::Fence, &[])
    });
    let mut last: Vec<u16> = fence.into_iter().collect();
    if let Some(resource) = unit.resource.as_ref().map(Spanned::get_ref) {
        let mut step = Step::new(StepKind::StorageRole, "storage");
        for attempt in &mut step.undo {
            attempt.deadline = resource.deadline.get_ref().0;
        }
        let step = with_deadline(step, &resource.deadline);
        last = vec![list.push(step, Subject::Storage, &last)];
    }
    if let Some(device) = unit.device.as_ref().map(Spanned::get_ref) {
        let step = Step::new(StepKind::Device, "device");
        let step = with_deadline(step, &device.deadline);
        last = vec![list.push(step, Subject::Device, &last)];
    }
    for (index, mount) in unit.mounts.iter().enumerate() {
        let mount = mount.get_ref();
        let at = mount.at.get_ref().display().to_string();
        if !matches!(mount.fsck, config::Fsck::Usual(false)) {
            let step = Step::new(StepKind::Check, &format!("fsck {at}"));
            last = vec![list.push(step, Subject::Check(index), &last)];
        }
        let mut step = with_deadline(Step::new(StepKind::Mount, &at), &mount.deadline);
        // Twice its patience, and time to look and to unmount.
        let driving = 2 * mount.patience.get_ref().0 + core::time::Duration::from_secs(4);
        for attempt in &mut step.undo {
            attempt.deadline = attempt.deadline.max(driving);
        }
        last = vec![list.push(step, Subject::Mount(index), &last)];
    }
    let first_service = list.next();
    let first_address = first_service.saturating_add(count(unit.services.len()));
    for (index, service) in unit.services.iter().enumerate() {
        let service = service.get_ref();
        let mut needs = last.clone();
        for name in &service.after {
            if ***name.get_ref() == *ADDRESS {
                needs.extend((first_address..).take(unit.carp.len()));
            } else if let Some(place) = place_of(unit, name.get_ref()) {
                needs.push(first_service.saturating_add(count(place)));
            }
        }
        list.push(service_step(service), Subject::Service(index), &needs);
    }
    for (index, carp) in unit.carp.iter().enumerate() {
        let carp = carp.get_ref();
        let name = format!("{}@{}", carp.vhid.get_ref(), carp.interface.get_ref());
        let step = Step::new(StepKind::Address, &name);
        list.push(step, Subject::Address(index), &[]);
    }
    list.0
}

/// Returns the place of the service of this name.
pub(crate) fn place_of(unit: &Unit, name: &str) -> Option<usize> {
    let mut services = unit.services.iter();
    services.position(|service| ***service.get_ref().name.get_ref() == *name)
}

/// Returns what the machine of a unit is configured with, but for its checks.
pub(crate) fn machine(node: NodeId, unit: &Unit) -> Result<Config, PlanError> {
    let steps = steps(unit).into_iter().map(|(step, _)| step);
    let mut machine = Config::new(node, Plan::new(steps.collect())?);
    settle(&mut machine, unit);
    Ok(machine)
}

/// Sets what the file says beside the steps.
pub(crate) fn settle(machine: &mut Config, unit: &Unit) {
    machine.groups = count(unit.carp.len());
    if let Some(demotion) = &unit.demotion {
        machine.demotion = *demotion.get_ref();
    }
    machine.holds = holds(&unit.hold);
    let fence = unit.fence.as_ref().map(Spanned::get_ref);
    let this = fence.filter(|fence| fence.this.is_some());
    machine.fence_self = this.map(|fence| fence.deadline.get_ref().0);
    let arbiter = unit.arbiter.as_ref().map(Spanned::get_ref);
    machine.arbitration = arbiter.map(arbitration);
}

/// Returns how a unit deals with its arbiter.
pub(crate) fn arbitration(arbiter: &config::Arbiter) -> Arbitration {
    let mut settings = Arbitration::default();
    for (place, value) in [
        (&mut settings.ttl, arbiter.ttl),
        (&mut settings.stop_early, arbiter.stop_early),
        (&mut settings.interval, arbiter.interval),
        (&mut settings.patience, arbiter.patience),
    ] {
        *place = value.map_or(*place, |value| value.0);
    }
    settings.on_loss = match arbiter.when_lost {
        WhenLost::Release => OnLoss::Release,
        WhenLost::KeepWhilePeerAgrees => OnLoss::KeepWhilePeerAgrees,
        WhenLost::Keep => OnLoss::Keep,
    };
    settings
}

fn holds(hold: &config::Hold) -> Holds {
    let mut holds = Holds::default();
    let plain = |value: &Option<Spanned<Seconds>>| value.as_ref().map(|value| *value.get_ref());
    for (place, value) in [
        (&mut holds.start, hold.start),
        (&mut holds.settle, hold.settle),
        (&mut holds.failed, plain(&hold.failed)),
        (&mut holds.left, plain(&hold.left)),
        (&mut holds.force, hold.force),
        (&mut holds.stuck, plain(&hold.stuck)),
    ] {
        *place = value.map_or(*place, |value| value.0);
    }
    holds
}

fn service_step(service: &Service) -> Step {
    let step = Step::new(StepKind::Service, service.name.get_ref());
    let mut step = with_deadline(step, &service.start_deadline);
    let limits = [&service.stop_deadline, &service.kill_deadline];
    for (attempt, limit) in step.undo.iter_mut().zip(limits) {
        let Attempt { deadline, .. } = attempt;
        *deadline = limit.get_ref().0;
    }
    let drains = service.drain.is_some();
    step.drain = drains.then_some(service.drain_deadline.get_ref().0);
    step.on_failure = match (service.on_failure, &service.retries) {
        (config::OnFailure::Skip, _) => OnFailure::Skip,
        (config::OnFailure::RollBack, None) => OnFailure::RollBack,
        (config::OnFailure::RollBack, Some(retries)) => OnFailure::Retry {
            times: *retries.get_ref(),
            pause: service.pause.get_ref().0,
        },
    };
    step
}

fn with_deadline(mut step: Step, limit: &Spanned<Seconds>) -> Step {
    step.deadline = limit.get_ref().0;
    step
}

/// There are never so many that it matters: a plan has at most 64 steps.
fn count(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

struct List(Vec<(Step, Subject)>);

impl List {
    /// The place that the next step will have.
    fn next(&self) -> u16 {
        count(self.0.len())
    }

    fn push(&mut self, mut step: Step, subject: Subject, needs: &[u16]) -> u16 {
        let place = self.next();
        for need in needs {
            step = step.after(*need);
        }
        self.0.push((step, subject));
        place
    }
}
