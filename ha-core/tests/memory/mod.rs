//! A network of memory, and effects that only take notes.

use core::future::Future;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use ha_core::carp_proto::{
    ADVERTISEMENT_LEN, AdvBase, AdvSkew, Advertisement, Authenticator, Config, CounterRule,
    Datagram, Family, GROUP_V4, Key, TTL, Vhid,
};
use ha_core::io::{Effects, Service, Setup, Transport};
use tokio::time::{Instant, advance, sleep};

/// The address that all groups share.
pub(crate) const SHARED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// That of groups of IPv6.
pub(crate) const SHARED_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Ports that hear each other, numbered from 0.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<Vec<Port>>>);

#[derive(Default)]
struct Port {
    inbox: VecDeque<(IpAddr, Vec<u8>)>,
    waker: Option<Waker>,
    sent: Vec<(Instant, Vec<u8>)>,
    /// The error number with which sending fails.
    fails: Option<i32>,
    /// Whether reading never comes to an end.
    flooded: bool,
    reads: u64,
    /// How long the next read of a packet takes: the program is suspended in it.
    stall: Option<Duration>,
    /// Its own address, if that is not the usual one.
    source: Option<IpAddr>,
}

impl Network {
    /// Adds a port.
    pub(crate) fn port(&self) -> Memory {
        self.port_of(Family::V4)
    }

    /// Adds a port that carries this family; all ports of a network carry the same.
    pub(crate) fn port_of(&self, family: Family) -> Memory {
        let mut ports = self.lock();
        ports.push(Port::default());
        Memory {
            network: self.clone(),
            number: ports.len() - 1,
            family,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Port>> {
        self.0.lock().unwrap()
    }

    /// Puts a packet where `port` will find it when it looks, but does not make it look.
    pub(crate) fn slip_in(&self, port: usize, packet: [u8; ADVERTISEMENT_LEN]) {
        self.lock()[port]
            .inbox
            .push_back((address(99), packet.to_vec()));
    }

    /// Delivers any bytes to `port`.
    pub(crate) fn deliver(&self, port: usize, bytes: &[u8]) {
        let mut ports = self.lock();
        ports[port].inbox.push_back((address(99), bytes.to_vec()));
        if let Some(waker) = ports[port].waker.take() {
            waker.wake();
        }
    }

    /// From now on there always is one more packet to read.
    pub(crate) fn flood(&self, port: usize) {
        let mut ports = self.lock();
        ports[port].flooded = true;
        if let Some(waker) = ports[port].waker.take() {
            waker.wake();
        }
    }

    /// Has time pass between the question for the next packet and the answer.
    pub(crate) fn stall(&self, port: usize, time: Duration) {
        self.lock()[port].stall = Some(time);
    }

    /// Gives `port` another address of its own.
    pub(crate) fn readdress(&self, port: usize, source: IpAddr) {
        self.lock()[port].source = Some(source);
    }

    /// Delivers to `port` what it sent last, as if it came from `source`.
    pub(crate) fn echo(&self, port: usize, source: IpAddr) {
        let mut ports = self.lock();
        let (_, packet) = ports[port].sent.last().unwrap().clone();
        ports[port].inbox.push_back((source, packet));
        if let Some(waker) = ports[port].waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn fail_sending(&self, port: usize, errno: Option<i32>) {
        self.lock()[port].fails = errno;
    }

    /// When `port` sent, and what.
    pub(crate) fn sent(&self, port: usize) -> Vec<(Instant, Said)> {
        let said = |(at, bytes): &(Instant, Vec<u8>)| {
            (
                *at,
                Said {
                    vhid: bytes[1],
                    advbase: bytes[5],
                    advskew: bytes[2],
                },
            )
        };
        self.lock()[port].sent.iter().map(said).collect()
    }

    /// When `port` sent, and which bytes.
    pub(crate) fn packets(&self, port: usize) -> Vec<(Instant, Vec<u8>)> {
        self.lock()[port].sent.clone()
    }

    pub(crate) fn reads(&self, port: usize) -> u64 {
        self.lock()[port].reads
    }
}

/// What a packet on the network says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Said {
    pub(crate) vhid: u8,
    pub(crate) advbase: u8,
    pub(crate) advskew: u8,
}

pub(crate) const BOW_OUT: Said = Said {
    vhid: 1,
    advbase: 255,
    advskew: 255,
};

/// A port of the network.
pub(crate) struct Memory {
    network: Network,
    number: usize,
    family: Family,
}

fn address(number: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number.try_into().unwrap()).into()
}

/// The own address of a port.
pub(crate) fn address_of(family: Family, number: usize) -> IpAddr {
    match family {
        Family::V4 => address(number),
        Family::V6 => {
            let number = number.try_into().unwrap();
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number).into()
        }
    }
}

impl Transport for Memory {
    fn carries(&self, family: Family) -> bool {
        family == self.family
    }

    fn source(&self, family: Family) -> Option<IpAddr> {
        let usual = address_of(family, self.number);
        let source = self.network.lock()[self.number].source.unwrap_or(usual);
        self.carries(family).then_some(source)
    }

    fn poll_receive<'b>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'b mut [u8],
    ) -> Poll<io::Result<Option<Datagram<'b>>>> {
        let mut ports = self.network.lock();
        let port = &mut ports[self.number];
        if let Some((source, packet)) = port.inbox.pop_front() {
            port.reads += 1;
            if let Some(time) = port.stall.take() {
                // One poll moves the clock; the rest of it is for tasks to run.
                let _ = pin!(advance(time)).poll(cx);
            }
            buffer[..packet.len()].copy_from_slice(&packet);
            let payload = &buffer[..packet.len()];
            return Poll::Ready(Ok(Some(Datagram {
                source,
                destination: self.family.group(),
                ttl: TTL,
                payload,
            })));
        }
        if port.flooded {
            port.reads += 1;
            let payload = &buffer[..20];
            return Poll::Ready(Ok(Some(Datagram {
                source: address(99),
                destination: GROUP_V4.into(),
                ttl: TTL,
                payload,
            })));
        }
        port.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn try_send(&mut self, _: Family, advertisement: &[u8]) -> io::Result<()> {
        let mut ports = self.network.lock();
        if let Some(errno) = ports[self.number].fails {
            return Err(io::Error::from_raw_os_error(errno));
        }
        ports[self.number]
            .sent
            .push((Instant::now(), advertisement.to_vec()));
        for (number, port) in ports.iter_mut().enumerate() {
            if number != self.number {
                port.inbox
                    .push_back((address_of(self.family, self.number), advertisement.to_vec()));
                if let Some(waker) = port.waker.take() {
                    waker.wake();
                }
            }
        }
        Ok(())
    }
}

/// Effects that write down what they do, and when they have done it.
#[derive(Clone, Default)]
pub(crate) struct Notes {
    log: Arc<Mutex<Vec<(Instant, &'static str)>>>,
    acquire_takes: Duration,
    release_takes: Duration,
    /// The effect that panics.
    pub(crate) panics: Option<&'static str>,
    /// The effect that fails, and how often it has.
    fails: Arc<Mutex<(Option<&'static str>, u32)>>,
}

impl Notes {
    pub(crate) fn slow_to_acquire(takes: Duration) -> Self {
        Self {
            acquire_takes: takes,
            ..Self::default()
        }
    }

    pub(crate) fn slow_to_release(takes: Duration) -> Self {
        Self {
            release_takes: takes,
            ..Self::default()
        }
    }

    /// From now on this effect fails; how often the one before has.
    pub(crate) fn fail(&self, what: Option<&'static str>) -> u32 {
        let mut fails = self.fails.lock().unwrap();
        core::mem::replace(&mut *fails, (what, 0)).1
    }

    /// What was done, in order.
    pub(crate) fn done(&self) -> Vec<&'static str> {
        self.log
            .lock()
            .unwrap()
            .iter()
            .map(|(_, what)| *what)
            .collect()
    }

    /// When this was done last.
    pub(crate) fn when(&self, what: &str) -> Option<Instant> {
        let log = self.log.lock().unwrap();
        log.iter()
            .rev()
            .find(|(_, done)| *done == what)
            .map(|(at, _)| *at)
    }

    async fn note(&self, takes: Duration, what: &'static str) -> io::Result<()> {
        assert_ne!(self.panics, Some(what), "as the test wants it");
        if takes > Duration::ZERO {
            sleep(takes).await;
        }
        let mut fails = self.fails.lock().unwrap();
        if fails.0 == Some(what) {
            fails.1 += 1;
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.log.lock().unwrap().push((Instant::now(), what));
        Ok(())
    }
}

#[async_trait]
impl Effects for Notes {
    async fn acquire(&mut self, service: &Service) -> io::Result<()> {
        assert!(service.addresses.contains(&SHARED) || service.addresses.contains(&SHARED_V6));
        self.note(self.acquire_takes, "acquire").await
    }

    async fn release(&mut self, _: &Service) -> io::Result<()> {
        self.note(self.release_takes, "release").await
    }

    async fn announce(&mut self, _: &Service, _: Family) -> io::Result<()> {
        self.note(Duration::ZERO, "announce").await
    }
}

/// A virtual host of the usual key and address.
pub(crate) fn setup(vhid: u8, advskew: u8, effects: &Notes) -> Setup {
    Setup::new(config(vhid, advskew), key(), &[SHARED], effects.clone())
}

pub(crate) fn config(vhid: u8, advskew: u8) -> Config {
    let mut config = Config::new(Vhid::new(vhid).unwrap());
    config.settings.advskew = AdvSkew::new(advskew).unwrap();
    config.counter = CounterRule::Increasing {
        start: u64::from(advskew) << 32,
    };
    config
}

pub(crate) fn key() -> Key {
    Key::from_passphrase(b"secret")
}

/// An advertisement of a master with this skew, signed with the usual key.
pub(crate) fn advertisement(vhid: u8, advskew: u8) -> [u8; ADVERTISEMENT_LEN] {
    let Config { vhid, settings, .. } = config(vhid, advskew);
    sign(&Advertisement {
        vhid,
        advbase: settings.advbase,
        advskew: settings.advskew,
        demote: 0,
        counter: 1,
    })
}

/// A bow-out of another host of vhid 1.
pub(crate) fn bow_out(counter: u64) -> [u8; ADVERTISEMENT_LEN] {
    sign(&Advertisement {
        vhid: Vhid::new(1).unwrap(),
        advbase: AdvBase::new(255),
        advskew: AdvSkew::BOW_OUT,
        demote: 0,
        counter,
    })
}

fn sign(said: &Advertisement) -> [u8; ADVERTISEMENT_LEN] {
    let mut bytes = [0; ADVERTISEMENT_LEN];
    Authenticator::new(&key(), said.vhid, &[SHARED]).sign(said, &mut bytes);
    bytes
}
