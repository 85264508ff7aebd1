//! Nodes that all want the record, and are paused, cut short and restarted while etcd is, too.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use ha_core::carp_proto::State as Role;
use ha_core::failover::{
    Arbitration, Command, Config, Failover, GroupId, Input, Outcome, Output, Plan, State, Step,
    StepKind,
};
use ha_core::io::arbiter::{Arbiter, Asker};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::{node, pass};

const NODES: u8 = 3;

/// Who is active, and how often each has become so.
#[derive(Debug, Default)]
struct Scene {
    active: Vec<u8>,
    promotions: [u32; NODES as usize],
    woken_active: u32,
}

#[expect(clippy::disallowed_methods, reason = "real servers take real time")]
fn now() -> Instant {
    Instant::now()
}

/// SplitMix64: the order of events is the same for a seed, but for the servers' pace.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn unit(number: u8) -> Failover<Instant> {
    let plan = Plan::new(vec![Step::new(StepKind::Service, "service")]).unwrap();
    let mut config = Config::new(node(number), plan);
    config.holds.start = Duration::ZERO;
    config.holds.left = Duration::from_millis(700);
    let mut arbitration = Arbitration::default();
    arbitration.ttl = Duration::from_secs(3);
    arbitration.stop_early = Duration::from_secs(1);
    arbitration.interval = Duration::from_millis(300);
    arbitration.patience = Duration::from_millis(1200);
    config.arbitration = Some(arbitration);
    Failover::new(config).unwrap()
}

/// Takes note of whether this node acts as the holder now.
fn tell(scene: &Mutex<Scene>, number: u8, is_active: bool) {
    let mut scene = scene.lock().unwrap();
    let was = scene.active.contains(&number);
    scene.active.retain(|other| *other != number);
    if is_active {
        scene.active.push(number);
        assert_eq!(scene.active, [number], "two nodes are active");
        scene.promotions[usize::from(number)] += u32::from(!was);
    }
}

/// One life of a node: until it crashes.
async fn live(
    number: u8,
    arbiter: impl Arbiter + 'static,
    scene: &Mutex<Scene>,
    random: &mut Random,
    end: Instant,
) {
    let mut unit = unit(number);
    let mut asker = Asker::spawn(arbiter);
    let group = GroupId::new(0);
    let role = Role::Master;
    let mut input = Input::Timeout;
    loop {
        unit.handle(now(), input);
        while let Some(output) = unit.poll_output() {
            match output {
                Output::Arbiter(request) => asker.ask(request),
                Output::Begin(run) => {
                    // What is undone is so before others hear that this node is not active.
                    let (run, outcome) = (run.id, Outcome::Done);
                    unit.handle(now(), Input::Ended { run, outcome });
                }
                _ => {}
            }
        }
        tell(scene, number, unit.state() == State::Active);
        if now() >= end {
            break;
        }
        input = tokio::select! {
            reply = asker.next() => reply.expect("the asker lives").input(),
            () = until(unit.poll_timeout()) => Input::Timeout,
            () = pass(Duration::from_millis(100)) => match random.below(60) {
                0 => break,
                1 => Input::Command(Command::Demote),
                2 | 3 => {
                    // It does not run, so it does not act; then it does, and first hears anything.
                    let was = unit.state() == State::Active;
                    tell(scene, number, false);
                    pass(Duration::from_millis(500 + random.below(4000))).await;
                    scene.lock().unwrap().woken_active += u32::from(was);
                    Input::Address { group, role }
                }
                _ => Input::Address { group, role },
            },
        };
    }
    tell(scene, number, false);
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => pass(deadline.saturating_duration_since(now())).await,
        None => core::future::pending().await,
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn competing_nodes_are_never_active_at_the_same_time() {
    let mut etcd = Cluster::start(1);
    etcd.ready().await;
    let scene = Arc::new(Mutex::new(Scene::default()));
    let end = now() + Duration::from_secs(60);
    let nodes: Vec<_> = (0..NODES)
        .map(|number| {
            let (scene, config) = (scene.clone(), etcd.config());
            tokio::spawn(async move {
                let mut random = Random(u64::from(number));
                while now() < end {
                    let arbiter = ha_core::io::arbiter::EtcdArbiter::new(config.clone(), "unit");
                    live(number, arbiter.unwrap(), &scene, &mut random, end).await;
                }
            })
        })
        .collect();
    let mut random = Random(99);
    while now() < end {
        pass(Duration::from_millis(500 + random.below(4000))).await;
        if random.below(3) == 0 {
            etcd.kill(0);
            pass(Duration::from_millis(random.below(3000))).await;
            etcd.launch(0);
        } else {
            etcd.pause(0, Signal::STOP);
            pass(Duration::from_millis(random.below(3000))).await;
            etcd.pause(0, Signal::CONT);
        }
    }
    for node in nodes {
        node.await.unwrap();
    }
    let scene = scene.lock().unwrap();
    println!("{scene:?}");
    let took_part = scene.promotions.iter().filter(|times| **times > 0).count();
    assert!(took_part >= 2, "the record never moved: {scene:?}");
}
