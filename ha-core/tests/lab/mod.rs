//! Two network namespaces with a cable between them: `eth0` in one, `eth0` in the other.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::fs::File;
use std::io::Read;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use ha_core::carp_proto::{AdvSkew, Config, Interface, InterfaceName, Key, State, Vhid};
use ha_core::io::linux::{AddressOptions, LinuxEvent, LinuxEvents, Network, Nic, TransportOptions};
use ha_core::io::{Driver, DriverError, Handle, HostId, Limits, Setup, increasing_from_clock};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub(crate) const SHARED_V4: &str = "192.0.2.1";
pub(crate) const SHARED_V6: &str = "2001:db8::1";
/// How long anything may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(10);

/// One of the two namespaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    A,
    B,
}

/// The namespaces, which are removed with this.
#[derive(Debug)]
pub(crate) struct Lab {
    a: String,
    b: String,
}

impl Lab {
    /// Side A has 192.0.2.2 and fe80::2, side B has 192.0.2.3 and fe80::3.
    pub(crate) fn new() -> Self {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = |side| format!("ha{}-{number}{side}", std::process::id());
        let lab = Self {
            a: name("a"),
            b: name("b"),
        };
        for side in [Side::A, Side::B] {
            let name = lab.name(side);
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        lab.plug();
        lab
    }

    /// Makes both ends of the cable.
    pub(crate) fn plug(&self) {
        let Self { a, b } = self;
        ip(&format!(
            "link add eth0 netns {a} type veth peer name eth0 netns {b}"
        ));
        for (side, host) in [(Side::A, 2), (Side::B, 3)] {
            self.ip(
                side,
                &format!("link set eth0 address 02:00:00:00:00:0{host}"),
            );
            self.ip(side, "link set eth0 addrgenmode none");
            self.ip(side, "link set eth0 up");
            self.ip(side, &format!("addr add 192.0.2.{host}/24 dev eth0"));
            self.ip(side, &format!("addr add fe80::{host}/64 dev eth0 nodad"));
        }
    }

    pub(crate) fn name(&self, side: Side) -> &str {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// Runs `ip` on one side and returns what it prints.
    pub(crate) fn ip(&self, side: Side, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.name(side)))
    }

    /// Whether an address is on an interface of this side.
    pub(crate) fn has(&self, side: Side, address: &str) -> bool {
        !self
            .ip(side, &format!("-o addr show to {address}"))
            .is_empty()
    }

    pub(crate) fn has_both(&self, side: Side) -> bool {
        self.has(side, SHARED_V4) && self.has(side, SHARED_V6)
    }

    pub(crate) fn has_none(&self, side: Side) -> bool {
        !self.has(side, SHARED_V4) && !self.has(side, SHARED_V6)
    }

    /// Runs `f` in a thread on one side.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        side: Side,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let path = format!("/var/run/netns/{}", self.name(side));
        thread::spawn(move || {
            setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            f()
        })
    }

    /// Runs `f` on one side and waits for it.
    pub(crate) fn on<T: Send + 'static>(
        &self,
        side: Side,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        self.spawn(side, f).join().unwrap()
    }

    /// Runs a future on one side and waits for it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        side: Side,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.on(side, || block_on(future))
    }

    /// Listens to all frames that others send to this side.
    pub(crate) fn capture(&self, side: Side) -> Capture {
        Capture(self.on(side, || {
            let every = Protocol::from(i32::from(0x0003_u16.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(every)).unwrap();
            // Load the type of the packet, and drop what leaves this side.
            let filter = [
                SockFilter::new(0x20, 0, 0, 0xffff_f004),
                SockFilter::new(0x15, 0, 1, 4),
                SockFilter::new(0x06, 0, 0, 0),
                SockFilter::new(0x06, 0, 0, u32::MAX),
            ];
            socket.attach_filter(&filter).unwrap();
            let patience = Some(Duration::from_secs(2));
            socket.set_read_timeout(patience).unwrap();
            socket
        }))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in [&self.a, &self.b] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// Frames.
pub(crate) struct Capture(Socket);

impl Capture {
    /// The next frame that passes `filter`, if there is one in time.
    pub(crate) fn next(&self, filter: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        self.within(PATIENCE, filter)
    }

    /// The same in this time.
    pub(crate) fn within(&self, time: Duration, filter: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let deadline = Instant::now() + time;
        let mut buffer = [0; 2048];
        while Instant::now() < deadline {
            if let Ok(len) = (&self.0).read(&mut buffer) {
                if filter(&buffer[..len]) {
                    return Some(buffer[..len].to_vec());
                }
            }
        }
        None
    }

    /// The next advertisement.
    pub(crate) fn advertisement(&self) -> Vec<u8> {
        let is_carp = |frame: &[u8]| match frame[12..14] {
            [0x08, 0x00] => frame[23] == 112,
            [0x86, 0xdd] => frame[20] == 112,
            _ => false,
        };
        self.next(is_carp).expect("an advertisement")
    }
}

/// Waits until something is so, and tells how long that took.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
    begin.elapsed()
}

/// The event for which one waits, all before it being left out.
pub(crate) fn event(events: &mut LinuxEvents, is_it: impl Fn(&LinuxEvent) -> bool) -> LinuxEvent {
    block_on(async {
        let wait = async {
            loop {
                let event = events.next().await.expect("more events");
                if is_it(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("the event in time")
    })
}

pub(crate) fn eth0() -> InterfaceName {
    InterfaceName::new("eth0").unwrap()
}

pub(crate) fn vhid() -> Vhid {
    Vhid::new(1).unwrap()
}

pub(crate) fn addresses() -> [IpAddr; 2] {
    [SHARED_V4.parse().unwrap(), SHARED_V6.parse().unwrap()]
}

/// How a node is set up.
pub(crate) struct Plan {
    pub(crate) advskew: u8,
    pub(crate) transport: TransportOptions,
    pub(crate) addresses: AddressOptions,
}

impl Default for Plan {
    fn default() -> Self {
        let mut options = AddressOptions::default();
        options.prefixes = addresses()
            .map(|a| (a, if a.is_ipv4() { 32 } else { 128 }))
            .into();
        Self {
            advskew: 0,
            transport: TransportOptions::default(),
            addresses: options,
        }
    }
}

/// A time during which a node hangs: until the sender is gone.
type Hang = Receiver<()>;

/// A driver with one virtual host, in a thread of its own.
pub(crate) struct Node {
    pub(crate) handle: Handle,
    pub(crate) host: HostId,
    pub(crate) nic: Option<Nic>,
    pub(crate) events: LinuxEvents,
    hangs: UnboundedSender<Hang>,
    thread: Option<JoinHandle<Result<(), DriverError>>>,
}

impl Node {
    pub(crate) fn start(lab: &Lab, side: Side, plan: Plan) -> Self {
        let (hangs, mut orders) = unbounded_channel::<Hang>();
        let (sender, receiver) = channel();
        let thread = lab.spawn(side, move || {
            block_on(async {
                let network = Network::open().unwrap();
                let events = network.events();
                let nic = network.interface(eth0()).await.unwrap();
                let transport = nic.transport(plan.transport).await.unwrap();
                let mut config = Config::new(vhid());
                config.settings.advskew = AdvSkew::new(plan.advskew).unwrap();
                config.counter = increasing_from_clock();
                // So that a lost carrier shows at once.
                config.improvements.ride_out_link_flaps = false;
                let effects = nic.effects(vhid(), plan.addresses).await.unwrap();
                let mut driver = Driver::new(Limits::default());
                let segment = driver.add_segment(transport);
                let key = Key::from_passphrase(b"secret");
                let setup = Setup::new(config, key, &addresses(), effects);
                let host = driver.add(segment, setup).unwrap();
                let handle = driver.handle();
                let keeper = network.keep(handle.clone(), [(nic.clone(), segment)].into());
                let keeper = tokio::spawn(keeper);
                tokio::spawn(async move {
                    while let Some(end) = orders.recv().await {
                        // Holds up all that runs in this thread.
                        let _ = end.recv();
                    }
                });
                sender.send((handle, host, nic, events)).unwrap();
                drop((sender, network));
                let result = driver.run().await;
                keeper.await.unwrap().unwrap();
                result
            })
        });
        let (handle, host, nic, events) = receiver.recv().expect("the node to start");
        Self {
            handle,
            host,
            nic: Some(nic),
            events,
            hangs,
            thread: Some(thread),
        }
    }

    pub(crate) fn nic(&self) -> &Nic {
        self.nic.as_ref().unwrap()
    }

    pub(crate) fn force(&self, state: State) {
        block_on(self.handle.force(self.host, state)).unwrap();
    }

    /// Has the whole node hang until what is returned is dropped.
    pub(crate) fn hang(&self) -> Sender<()> {
        let (end, hang) = channel();
        self.hangs.send(hang).unwrap();
        end
    }

    pub(crate) fn state(&self) -> State {
        block_on(self.handle.status()).unwrap().hosts[0].state
    }

    /// Shuts down and waits for the end of the thread.
    pub(crate) fn stop(mut self) -> Result<(), DriverError> {
        block_on(self.handle.shutdown()).unwrap();
        self.nic = None;
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = block_on(self.handle.shutdown());
            self.nic = None;
            let _ = thread.join();
        }
    }
}

pub(crate) fn is_state(event: &LinuxEvent, wanted: Interface) -> bool {
    matches!(event, LinuxEvent::Link { state, .. } if *state == wanted)
}
