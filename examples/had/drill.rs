//! A drill: the role is given to another node and taken back, by the ways that would be gone in
//! earnest, and both are measured. It begins only when nothing could be lost by it, and ends with
//! everything as it was, or says what is not.

use core::fmt;
use core::time::Duration;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Instant;

use serde::{Serialize, Serializer};

use super::client::{AskError, Client};
use super::control::Order;
use super::joint::{Failover, Outcome};
use super::overview::Overview;
use super::snapshot::{Demotion, Group, State, Unit};
use super::text::duration;

/// How often it is looked whether something has come about.
const PERIOD: Duration = Duration::from_millis(250);
/// How long both nodes are waited for to tell how the role has moved: they are asked each second.
const TELLING: Duration = Duration::from_secs(10);

/// What is to be tried.
pub(crate) struct Drill<'a, C = &'a Client> {
    cluster: C,
    unit: &'a str,
    /// How long each way may take, and the synchronisation after it.
    limit: Duration,
    /// What has the other node switch back; nothing if this one takes the role by itself.
    back: &'a [String],
}

/// What a drill has to do with a cluster.
pub(crate) trait Cluster {
    fn status(&self) -> Result<Overview, AskError>;
    fn order(&self, order: Order, unit: &str) -> Result<(), AskError>;
    /// Runs the command that has the other node switch back.
    fn back(&self, command: &[String]) -> Result<(), String>;
    fn pause(&self, time: Duration);
}

impl Cluster for &Client {
    fn status(&self) -> Result<Overview, AskError> {
        Client::status(self)
    }

    fn order(&self, order: Order, unit: &str) -> Result<(), AskError> {
        Client::order(self, order, unit)
    }

    fn back(&self, command: &[String]) -> Result<(), String> {
        let Some((program, arguments)) = command.split_first() else {
            return Ok(());
        };
        let run = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        match run {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{program}: {status}")),
            Err(error) => Err(format!("{program}: {error}")),
        }
    }

    fn pause(&self, time: Duration) {
        sleep(time);
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) unit: String,
    /// This node, which had the role.
    pub(crate) here: String,
    /// Who took it meanwhile.
    pub(crate) there: String,
    /// The way there, as far as it was gone.
    pub(crate) away: Option<Failover>,
    /// The way back.
    pub(crate) back: Option<Failover>,
    /// What went wrong.
    #[serde(serialize_with = "text")]
    pub(crate) failed: Option<DrillError>,
}

fn text<S: Serializer>(error: &Option<DrillError>, serializer: S) -> Result<S::Ok, S::Error> {
    match error {
        Some(error) => serializer.collect_str(error),
        None => serializer.serialize_none(),
    }
}

/// Why a drill was not begun, or not ended well.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum DrillError {
    #[error("not begun: {0}")]
    Unfit(String),
    #[error("{0}")]
    Asking(String),
    #[error("no other node has taken the role within {}", ms(.0))]
    NotTaken(Duration),
    #[error("the nodes are not in sync again after {}", ms(.0))]
    NotInSync(Duration),
    #[error("the way back: {0}")]
    Back(String),
    #[error("this node has not the role again after {}", ms(.0))]
    NotBack(Duration),
}

fn ms(time: &Duration) -> String {
    duration(time.as_secs_f64() * 1e3)
}

impl From<AskError> for DrillError {
    fn from(error: AskError) -> Self {
        Self::Asking(error.to_string())
    }
}

impl<'a, C: Cluster> Drill<'a, C> {
    pub(crate) const fn new(
        cluster: C,
        unit: &'a str,
        limit: Duration,
        back: &'a [String],
    ) -> Self {
        Self {
            cluster,
            unit,
            limit,
            back,
        }
    }

    /// Goes there and back.
    pub(crate) fn run(&self) -> Report {
        let mut report = Report {
            unit: self.unit.to_owned(),
            here: String::new(),
            there: String::new(),
            away: None,
            back: None,
            failed: None,
        };
        report.failed = self.go(&mut report).err();
        report
    }

    fn go(&self, report: &mut Report) -> Result<(), DrillError> {
        let before = self.cluster.status()?;
        report.here.clone_from(&before.own.node.name);
        let there = self.fitness(&before).map_err(DrillError::Unfit)?;
        report.there.clone_from(&there);
        self.cluster.order(Order::Switch, self.unit)?;
        report.away = match self.arrive(&there)? {
            Some(away) => away.failover(self.unit).cloned(),
            None => {
                // As it was found: if nobody has it, this node takes it again. Of a node that is not
                // heard nobody knows whether it has it.
                let now = self.cluster.status()?;
                if state(&now, &there, self.unit) == Some(State::Standby) {
                    let _ = self.cluster.order(Order::Promote, self.unit);
                }
                return Err(DrillError::NotTaken(self.limit));
            }
        };
        if !self.is_whole_in_time()? {
            return Err(DrillError::NotInSync(self.limit));
        }
        self.cluster.back(self.back).map_err(DrillError::Back)?;
        report.back = match self.arrive(&before.own.node.name)? {
            Some(back) => back.failover(self.unit).cloned(),
            None => return Err(DrillError::NotBack(self.limit)),
        };
        match self.is_whole_in_time()? {
            true => Ok(()),
            false => Err(DrillError::NotInSync(self.limit)),
        }
    }

    /// Waits until a node has the role, and then for a while until both have told how it came to
    /// that.
    fn arrive(&self, node: &str) -> Result<Option<Overview>, DrillError> {
        let is_there = |now: &Overview| state(now, node, self.unit) == Some(State::Active);
        let Some(there) = self.wait(self.limit, is_there)? else {
            return Ok(None);
        };
        let told = self.wait(TELLING, |now| is_told(now, self.unit, node))?;
        Ok(told.or(Some(there)))
    }

    fn is_whole_in_time(&self) -> Result<bool, DrillError> {
        let whole = self.wait(self.limit, |now| is_whole(now, self.unit))?;
        Ok(whole.is_some())
    }

    /// Waits until something has come about, but not for ever.
    fn wait(
        &self,
        limit: Duration,
        is_so: impl Fn(&Overview) -> bool,
    ) -> Result<Option<Overview>, DrillError> {
        let (began, mut waited) = (Instant::now(), Duration::ZERO);
        loop {
            let now = self.cluster.status()?;
            if is_so(&now) {
                return Ok(Some(now));
            }
            if waited.max(began.elapsed()) >= limit {
                return Ok(None);
            }
            self.cluster.pause(PERIOD);
            waited += PERIOD;
        }
    }

    /// The node that would take the role, or why a drill is not begun.
    fn fitness(&self, now: &Overview) -> Result<String, String> {
        let Some(own) = now.own.unit(self.unit) else {
            return Err(format!("there is no unit {:?}", self.unit));
        };
        if own.state != State::Active {
            return Err(format!("this node is {}, and not active", own.state));
        }
        if own.maintenance {
            return Err("this node is out of service".to_owned());
        }
        demoted("this node", &now.own.demotion)?;
        let others = now.peers.iter().filter_map(|peer| {
            let snapshot = peer.fresh()?;
            Some((snapshot, snapshot.unit(self.unit)?))
        });
        let (peer, other) = match others.collect::<Vec<_>>().as_slice() {
            [] => return Err("no other node with this unit tells its status".to_owned()),
            [(peer, unit)] => (*peer, *unit),
            _ => return Err("more than one other node has this unit".to_owned()),
        };
        let name = peer.node.name.clone();
        if other.maintenance {
            return Err(format!("{name} is out of service"));
        }
        if other.state != State::Standby {
            return Err(format!("{name} is {}, and not standby", other.state));
        }
        demoted(&name, &peer.demotion)?;
        if !is_whole(now, self.unit) {
            return Err("the nodes are not in sync".to_owned());
        }
        if self.back.is_empty() && !is_preferred(own, other) {
            return Err(format!(
                "this node is not preferred to {name}, so it would not take the role back by \
                 itself; say with --back what has {name} switch over"
            ));
        }
        Ok(name)
    }
}

/// CARP would keep the role away from a node that is demoted.
fn demoted(who: &str, demotion: &Demotion) -> Result<(), String> {
    if demotion.level == 0 {
        return Ok(());
    }
    let names = demotion.reasons.iter().map(|reason| reason.name.as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    Err(format!(
        "{who} is demoted by {} for: {names}",
        demotion.level
    ))
}

/// The state of the unit on a node that is heard now.
fn state(now: &Overview, node: &str, unit: &str) -> Option<State> {
    let peers = now.peers.iter().filter_map(|peer| peer.fresh());
    let mut nodes = core::iter::once(&now.own).chain(peers);
    let found = nodes.find(|snapshot| snapshot.node.name == node)?;
    Some(found.unit(unit)?.state)
}

/// Whether both parts of a failover to this node are known.
fn is_told(now: &Overview, unit: &str, to: &str) -> bool {
    now.failover(unit).is_some_and(|last| {
        let named = last.to.as_deref() == Some(to) && last.from.is_some();
        named && last.outcome == Outcome::Taken
    })
}

/// Whether this node and another one that is heard have all that was acknowledged. Of a node that is
/// not heard nobody knows.
fn is_whole(now: &Overview, unit: &str) -> bool {
    let is_whole = |unit: &Unit| {
        unit.storage.as_ref().is_none_or(|storage| {
            let resource = storage.resource.as_ref();
            let in_sync = resource.and_then(|resource| resource.in_sync);
            storage.is_up_to_date() && in_sync != Some(false)
        })
    };
    let peers = now.peers.iter().filter_map(|peer| peer.fresh());
    let mut others = peers.filter_map(|peer| peer.unit(unit)).peekable();
    let is_heard = others.peek().is_some();
    is_heard && now.own.unit(unit).is_some_and(is_whole) && others.all(is_whole)
}

/// Whether CARP gives this node the addresses when both are well.
fn is_preferred(own: &Unit, other: &Unit) -> bool {
    let better = |ours: &Group, theirs: &Group| {
        let interval = |group: &Group| (group.advbase, group.advskew);
        ours.preempt && interval(ours) < interval(theirs)
    };
    own.addresses.iter().all(|ours| {
        let theirs = other.addresses.iter().find(|group| group.vhid == ours.vhid);
        theirs.is_some_and(|theirs| better(ours, theirs))
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for way in [&self.away, &self.back].into_iter().flatten() {
            f.write_str(&super::text::last(way))?;
            writeln!(f)?;
        }
        match &self.failed {
            Some(error) => writeln!(f, "drill of {} FAILED: {error}", self.unit),
            None => {
                let time = |way: &Option<Failover>| {
                    let away = way.as_ref().and_then(|way| way.away_ms);
                    away.map_or_else(|| "?".to_owned(), duration)
                };
                let (unit, here, there) = (&self.unit, &self.here, &self.there);
                let (away, back) = (time(&self.away), time(&self.back));
                writeln!(
                    f,
                    "drill of {unit}: {here} -> {there} {away} without service, and back {back}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::cell::{Cell, RefCell};

    use super::super::fixture;
    use super::super::joint::Failover;
    use super::super::snapshot::Data;
    use super::*;

    const UNIT: &str = "files";
    const LIMIT: Duration = Duration::from_secs(30);

    /// A cluster that says one thing after the other, the last one for ever.
    struct Scripted {
        statuses: Vec<Overview>,
        next: Cell<usize>,
        orders: RefCell<Vec<Order>>,
        back: Result<(), String>,
    }

    impl Cluster for &Scripted {
        fn status(&self) -> Result<Overview, AskError> {
            let index = self.next.get().min(self.statuses.len() - 1);
            self.next.set(index + 1);
            Ok(self.statuses[index].clone())
        }

        fn order(&self, order: Order, unit: &str) -> Result<(), AskError> {
            assert_eq!(unit, UNIT);
            self.orders.borrow_mut().push(order);
            Ok(())
        }

        fn back(&self, _: &[String]) -> Result<(), String> {
            self.back.clone()
        }

        fn pause(&self, _: Duration) {}
    }

    fn scripted(statuses: Vec<Overview>) -> Scripted {
        Scripted {
            statuses,
            next: Cell::new(0),
            orders: RefCell::default(),
            back: Ok(()),
        }
    }

    fn run(cluster: &Scripted, back: &[String]) -> Report {
        Drill::new(cluster, UNIT, LIMIT, back).run()
    }

    /// Both nodes are well, beta is active and preferred.
    fn well() -> Overview {
        let mut now = fixture::overview();
        now.peers.truncate(1);
        let here = &mut now.own.units[0];
        here.addresses[0].advskew = 0;
        let storage = here.storage.as_mut().unwrap();
        let resource = storage.resource.as_mut().unwrap();
        (resource.in_sync, resource.copying) = (Some(true), None);
        now.peers[0].seen.as_mut().unwrap().snapshot.demotion = Demotion::default();
        let there = there(&mut now);
        there.addresses[0].advskew = 100;
        there.causes.clear();
        there.storage.as_mut().unwrap().data = Data::UpToDate;
        now
    }

    fn there(now: &mut Overview) -> &mut Unit {
        &mut now.peers[0].seen.as_mut().unwrap().snapshot.units[0]
    }

    /// The role has moved.
    fn moved(from: &str, to: &str) -> Overview {
        let mut now = well();
        if to == "alpha" {
            now.own.units[0].state = State::Standby;
            there(&mut now).state = State::Active;
        }
        now.failovers = vec![Failover {
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            ..now.failovers[0].clone()
        }];
        now
    }

    #[test]
    fn both_ways_are_measured() {
        let (away, back) = (moved("beta", "alpha"), moved("alpha", "beta"));
        let cluster = scripted(vec![well(), well(), away.clone(), away, back]);
        let report = run(&cluster, &[]);
        assert_eq!(report.failed, None);
        assert_eq!(*cluster.orders.borrow(), [Order::Switch]);
        assert_eq!(report.away.as_ref().unwrap().to.as_deref(), Some("alpha"));
        assert_eq!(report.back.as_ref().unwrap().to.as_deref(), Some("beta"));
        let text = report.to_string();
        let last = "drill of files: beta -> alpha 3.91 s without service, and back 3.91 s\n";
        assert!(text.ends_with(last), "{text}");
    }

    #[test]
    fn what_could_lose_something_is_not_begun() {
        let unfit = |change: &dyn Fn(&mut Overview), why: &str| {
            let mut now = well();
            change(&mut now);
            let cluster = scripted(vec![now]);
            let failed = run(&cluster, &[]).failed.map(|error| error.to_string());
            assert_eq!(failed, Some(format!("not begun: {why}")));
            assert!(cluster.orders.borrow().is_empty(), "{why}");
        };
        unfit(&|now| now.own.units.clear(), "there is no unit \"files\"");
        unfit(
            &|now| now.own.units[0].state = State::Promoting,
            "this node is promoting, and not active",
        );
        unfit(
            &|now| now.own.units[0].maintenance = true,
            "this node is out of service",
        );
        let nobody = "no other node with this unit tells its status";
        unfit(&|now| now.peers.clear(), nobody);
        unfit(
            &|now| now.peers[0].seen.as_mut().unwrap().stale = true,
            nobody,
        );
        unfit(
            &|now| there(now).maintenance = true,
            "alpha is out of service",
        );
        unfit(
            &|now| there(now).state = State::Stuck,
            "alpha is stuck, and not standby",
        );
        let demotion = fixture::overview().peers[0]
            .fresh()
            .unwrap()
            .demotion
            .clone();
        unfit(
            &|now| now.peers[0].seen.as_mut().unwrap().snapshot.demotion = demotion.clone(),
            "alpha is demoted by 240 for: files: storage",
        );
        unfit(
            &|now| now.own.demotion = demotion.clone(),
            "this node is demoted by 240 for: files: storage",
        );
        let apart = "the nodes are not in sync";
        unfit(
            &|now| there(now).storage.as_mut().unwrap().data = Data::Outdated,
            apart,
        );
        unfit(
            &|now| {
                let storage = now.own.units[0].storage.as_mut().unwrap();
                storage.resource.as_mut().unwrap().in_sync = Some(false);
            },
            apart,
        );
        let alike = "this node is not preferred to alpha, so it would not take the role back by \
            itself; say with --back what has alpha switch over";
        unfit(&|now| now.own.units[0].addresses[0].advskew = 100, alike);
        unfit(&|now| now.own.units[0].addresses[0].preempt = false, alike);
    }

    #[test]
    fn a_role_that_nobody_takes_is_taken_again() {
        let cluster = scripted(vec![well()]);
        let report = run(&cluster, &[]);
        assert_eq!(report.failed, Some(DrillError::NotTaken(LIMIT)));
        assert_eq!(*cluster.orders.borrow(), [Order::Switch, Order::Promote]);
        assert!(
            report
                .to_string()
                .contains("FAILED: no other node has taken the role")
        );
    }

    #[test]
    fn what_is_not_told_in_time_is_left_out() {
        let mut away = moved("beta", "alpha");
        away.failovers.clear();
        let cluster = scripted(vec![well(), away]);
        let report = run(&cluster, &[]);
        assert_eq!(report.failed, Some(DrillError::NotBack(LIMIT)));
        assert_eq!(*cluster.orders.borrow(), [Order::Switch]);
        assert_eq!(report.away, None);
    }

    #[test]
    fn nodes_that_stay_apart_are_not_switched_back() {
        let mut away = moved("beta", "alpha");
        there(&mut away).storage.as_mut().unwrap().data = Data::Outdated;
        let cluster = scripted(vec![well(), away]);
        let report = run(&cluster, &[]);
        assert_eq!(report.failed, Some(DrillError::NotInSync(LIMIT)));
        assert!(report.away.is_some() && report.back.is_none());
    }

    #[test]
    fn a_node_that_is_not_heard_any_more_is_not_taken_to_be_whole() {
        assert!(is_whole(&well(), UNIT));
        let mut unheard = well();
        unheard.peers[0].seen.as_mut().unwrap().stale = true;
        assert!(!is_whole(&unheard, UNIT));
        unheard.peers.clear();
        assert!(!is_whole(&unheard, UNIT));
        assert!(!is_whole(&well(), "db"));
        // It has taken the role, and is silent since.
        let away = moved("beta", "alpha");
        let mut silent = away.clone();
        silent.peers[0].seen.as_mut().unwrap().stale = true;
        let cluster = scripted(vec![well(), away.clone(), away, silent]);
        let report = run(&cluster, &[]);
        assert_eq!(report.failed, Some(DrillError::NotInSync(LIMIT)));
        assert!(report.away.is_some() && report.back.is_none());
    }

    #[test]
    fn the_way_back_may_be_a_command_and_may_fail() {
        let mut cluster = scripted(vec![well(), moved("beta", "alpha")]);
        cluster.back = Err("ssh: exit status: 255".to_owned());
        let report = run(&cluster, &["ssh".to_owned()]);
        let why = report.failed.unwrap().to_string();
        assert_eq!(why, "the way back: ssh: exit status: 255");
        let cluster = scripted(vec![well(), moved("beta", "alpha")]);
        let report = run(&cluster, &["true".to_owned()]);
        assert_eq!(report.failed, Some(DrillError::NotBack(LIMIT)));
    }

    #[test]
    fn a_command_that_fails_says_so() {
        let path = std::path::Path::new("/nonexistent/had.sock");
        let client = Client::new(path);
        let back = |line: &str| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            (&client).back(&words)
        };
        assert_eq!(back("true"), Ok(()));
        assert_eq!(back("sh -c false"), Err("sh: exit status: 1".to_owned()));
        assert!(back("/nonexistent/ssh beta").is_err());
    }
}
