//! Neither packets nor timers make the driver allocate: counted, on a network of memory.

#![expect(clippy::disallowed_methods, reason = "the clock is the test's own")]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

mod counting;
#[expect(dead_code, reason = "only the setup is needed here")]
mod memory;

use core::net::{IpAddr, Ipv4Addr};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex};

use counting::allocations;
use ha_core::carp_proto::vrrp::{self, Ends, Priority, Vrrp};
use ha_core::carp_proto::{Config, Datagram, Family, GROUP_V4, State, TTL, Vhid};
use ha_core::io::{Driver, Setup, Transport};
use memory::{Notes, SHARED, advertisement, setup};
use tokio::time::sleep;

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 99));
const SECOND: Duration = Duration::from_secs(1);

/// A transport that keeps nothing: it gives out one packet when told to, and counts its own.
#[derive(Clone, Default)]
struct Air(Arc<Mutex<Port>>);

#[derive(Default)]
struct Port {
    packet: Option<&'static [u8]>,
    waker: Option<Waker>,
    sent: u32,
}

impl Transport for Air {
    fn carries(&self, _: Family) -> bool {
        true
    }

    fn source(&self, _: Family) -> Option<IpAddr> {
        Some(OWN)
    }

    fn poll_receive<'b>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'b mut [u8],
    ) -> Poll<io::Result<Option<Datagram<'b>>>> {
        let mut port = self.0.lock().unwrap();
        let Some(packet) = port.packet.take() else {
            port.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let payload = &mut buffer[..packet.len()];
        payload.copy_from_slice(packet);
        Poll::Ready(Ok(Some(Datagram {
            source: PEER,
            destination: GROUP_V4.into(),
            ttl: TTL,
            payload,
        })))
    }

    fn try_send(&mut self, _: Family, _: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().sent += 1;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn packets_and_timers_of_carp_allocate_nothing() {
    let heard = Box::leak(Box::new(advertisement(1, 0)));
    steady(setup(1, 100, &Notes::default()), heard).await;
}

#[tokio::test(start_paused = true)]
async fn packets_and_timers_of_vrrp_allocate_nothing() {
    let vrid = Vhid::new(1).unwrap();
    for rules in [Vrrp::FreeBsd15, Vrrp::Rfc9568] {
        let config = Config::vrrp(vrid, rules);
        let said = vrrp::Advertisement {
            vrid,
            priority: Priority::new(200).unwrap(),
            interval: config.settings.adver_interval,
        };
        let heard = Box::leak(Box::new([0; 12]));
        said.emit(&[SHARED], &Ends::to_group(PEER), rules.style(), heard)
            .unwrap();
        let setup = Setup::vrrp(config, &[SHARED], Notes::default());
        steady(setup, heard).await;
    }
}

/// A host is a backup that hears `heard`, and then the master.
async fn steady(setup: Setup, heard: &'static [u8]) {
    let air = Air::default();
    let mut driver = Driver::default();
    let segment = driver.add_segment(air.clone());
    driver.add(segment, setup).unwrap();
    let handle = driver.handle();
    tokio::spawn(driver.run());
    sleep(SECOND / 2).await;

    // A backup that hears its master.
    let before = allocations();
    for _ in 0..100 {
        sleep(SECOND).await;
        let mut port = air.0.lock().unwrap();
        port.packet = Some(heard);
        port.waker.take().unwrap().wake();
    }
    assert_eq!(allocations() - before, 0);
    assert_eq!(handle.status().await.unwrap().hosts[0].state, State::Backup);

    // A master, when its announcements are over: effects are futures in boxes.
    sleep(20 * SECOND).await;
    assert_eq!(handle.status().await.unwrap().hosts[0].state, State::Master);
    let (before, sent) = (allocations(), air.0.lock().unwrap().sent);
    sleep(20 * SECOND).await;
    assert_eq!(allocations() - before, 0);
    assert!(air.0.lock().unwrap().sent >= sent + 14);
}
