//! Figures for Prometheus. Replicated storage tells its own; what else there is comes from events
//! as they happen, and from a snapshot when somebody asks.

use core::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::sleep;

use super::events::UnitTold;
use super::snapshot::{Snapshot, State};
use super::timeline::{Kind, Timeline};

/// Upper ends of the buckets of all times, in seconds: from a request that hits a cache to a
/// check of a large file system.
const BUCKETS: [f64; 14] = [
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 300.0,
];

/// How often what was recorded is put together.
const UPKEEP: Duration = Duration::from_secs(1);

/// The recorder of this program.
#[derive(Clone)]
pub(crate) struct Figures(PrometheusHandle);

impl core::fmt::Debug for Figures {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Figures")
    }
}

impl Figures {
    /// Makes the recorder that of the whole program. It can be done once.
    pub(crate) fn install() -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(BuildError::FailedToSetGlobalRecorder)?;
        describe();
        Ok(Self(handle))
    }

    /// Counts what a unit tells.
    pub(crate) fn unit(&self, unit: &str, told: &UnitTold) {
        let unit = || unit.to_owned();
        match told {
            UnitTold::State { to, .. } => {
                counter!("had_state_changes_total", "unit" => unit(), "to" => to.to_string())
                    .increment(1);
            }
            UnitTold::StepFinished {
                step,
                action,
                result,
                took_ms,
                ..
            } => {
                let step = step.clone();
                histogram!(
                    "had_step_seconds",
                    "unit" => unit(), "step" => step, "action" => *action,
                    "result" => result.to_string()
                )
                .record(took_ms / 1e3);
            }
            UnitTold::Health { check, good, .. } => {
                counter!(
                    "had_check_turns_total",
                    "unit" => unit(), "check" => check.clone(),
                    "to" => if *good { "well" } else { "not well" }
                )
                .increment(1);
            }
            UnitTold::SplitBrain => {
                counter!("had_split_brains_total", "unit" => unit()).increment(1);
            }
            UnitTold::NoAnswer { .. } => {
                counter!("had_arbiter_losses_total", "unit" => unit()).increment(1);
            }
            _ => {}
        }
    }

    /// Counts a role that was taken or given away.
    pub(crate) fn failover(&self, unit: &str, timeline: &Timeline) {
        let kind = match timeline.kind {
            Kind::Taking => "taking",
            Kind::Giving => "giving",
            Kind::Cleaning => "cleaning",
        };
        let end = timeline.end.as_ref().map(|end| end.state.to_string());
        histogram!(
            "had_failover_seconds",
            "unit" => unit.to_owned(), "kind" => kind, "end" => end.unwrap_or_default()
        )
        .record(timeline.lasted_ms() / 1e3);
    }

    /// Puts together what was recorded, again and again, for ever: it takes the more room the
    /// longer that was not done.
    pub(crate) async fn keep_up(self) {
        loop {
            sleep(UPKEEP).await;
            self.0.run_upkeep();
        }
    }

    /// Counts a client that was not answered as it wants: at which door, and why.
    pub(crate) fn refused(&self, door: &'static str, why: &'static str) {
        counter!("had_refusals_total", "door" => door, "why" => why).increment(1);
    }

    /// All figures in the form that Prometheus reads.
    pub(crate) fn render(&self, snapshot: &Snapshot) -> String {
        now(snapshot);
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Notes how everything is at this moment.
fn now(snapshot: &Snapshot) {
    gauge!("had_carp_demotion").set(f64::from(snapshot.demotion.level));
    gauge!("had_uptime_seconds").set(snapshot.stamp.monotonic_ms / 1e3);
    for unit in &snapshot.units {
        let name = || unit.name.clone();
        for state in State::ALL {
            gauge!("had_unit_state", "unit" => name(), "state" => state.to_string())
                .set(is(unit.state == state));
        }
        gauge!("had_unit_maintenance", "unit" => name()).set(is(unit.maintenance));
        gauge!("had_unit_demoted_causes", "unit" => name()).set(float(unit.causes.len()));
        counter!("had_events_lost_total", "unit" => name()).absolute(unit.lost_events);
        for check in &unit.checks {
            gauge!("had_check_good", "unit" => name(), "check" => check.name.clone())
                .set(is(check.good));
        }
        if let Some(storage) = &unit.storage {
            gauge!("had_storage_up_to_date", "unit" => name()).set(is(storage.is_up_to_date()));
            gauge!("had_storage_primary", "unit" => name()).set(is(storage.role == "primary"));
        }
        for group in &unit.addresses {
            let host = format!("{}@{}", group.vhid, group.interface);
            gauge!("had_carp_master", "unit" => name(), "host" => host.clone())
                .set(is(group.role == "MASTER"));
            gauge!("had_addresses_served", "unit" => name(), "host" => host.clone())
                .set(float(group.serving.len()));
            for (counted, count) in &group.stats {
                counter!(
                    "had_carp_total",
                    "unit" => name(), "host" => host.clone(), "counter" => counted.clone()
                )
                .absolute(*count);
            }
        }
    }
}

fn describe() {
    describe_gauge!("had_unit_state", "1 for the state that the unit is in");
    describe_gauge!(
        "had_unit_maintenance",
        "Whether the operator has taken it out of service"
    );
    describe_gauge!(
        "had_unit_demoted_causes",
        "For how many causes it demotes this node"
    );
    describe_counter!(
        "had_state_changes_total",
        "Changes of state, by the new one"
    );
    describe_histogram!("had_step_seconds", "How long steps took");
    describe_histogram!(
        "had_failover_seconds",
        "How long it took to take or give away the role"
    );
    describe_gauge!("had_check_good", "Whether a health check is well");
    describe_counter!(
        "had_check_turns_total",
        "How often a health check changed its mind"
    );
    describe_counter!(
        "had_split_brains_total",
        "How often a split brain was found"
    );
    describe_counter!(
        "had_arbiter_losses_total",
        "How often the arbiter ceased to answer"
    );
    describe_counter!(
        "had_events_lost_total",
        "Events of the machine that were lost"
    );
    describe_gauge!(
        "had_storage_up_to_date",
        "Whether all that was acknowledged is here"
    );
    describe_gauge!("had_storage_primary", "Whether the storage is primary here");
    describe_gauge!(
        "had_carp_master",
        "Whether this node is master of the addresses"
    );
    describe_gauge!(
        "had_addresses_served",
        "How many addresses are on the interface"
    );
    describe_counter!(
        "had_carp_total",
        "Packets, by the names of netstat -s -p carp"
    );
    describe_counter!(
        "had_refusals_total",
        "Clients that were not answered as they want"
    );
    describe_gauge!("had_carp_demotion", "The demotion level");
    describe_gauge!(
        "had_uptime_seconds",
        "How long this program has been running"
    );
}

fn is(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
