//! A host that reads like a packet trace: say what happens and when, and compare the answer with a
//! line of text.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![expect(clippy::expect_used, reason = "this is how a test's helper fails")]

use core::net::IpAddr;
use core::time::Duration;

use carp_proto::{
    ADVERTISEMENT_LEN, AddressCount, AdvBase, AdvSkew, Advertisement, Authenticator, Config, Event,
    Family, Input, Key, Output, Received, Said, State, Vhid, View, VirtualHost, vrrp,
};

/// More outputs than any input causes; a machine that gives more never ends.
pub(crate) const MOST_OUTPUTS: usize = 64;

pub(crate) fn vhid() -> Vhid {
    Vhid::new(1).expect("1 is a vhid")
}

pub(crate) fn authenticator() -> Authenticator {
    Authenticator::new(&Key::from_passphrase(b"test"), vhid(), &[])
}

/// An advertisement of the group under test.
pub(crate) fn saying(advbase: u8, advskew: u8, demote: u8, counter: u64) -> Advertisement {
    Advertisement {
        vhid: vhid(),
        advbase: AdvBase::new(advbase),
        advskew: AdvSkew::from_wire(advskew),
        demote,
        counter,
    }
}

/// Puts `said` on the wire and takes it off again, the only way to an authentic one.
pub(crate) fn received(from: IpAddr, said: &Advertisement) -> Received {
    let auth = authenticator();
    let mut bytes = [0; ADVERTISEMENT_LEN];
    auth.sign(said, &mut bytes);
    let view = View::parse(&bytes).expect("what was signed is well formed");
    let advertisement = auth.verify(view).expect("what was signed is authentic");
    Received::new(advertisement, from)
}

/// A machine, its clock, and the driver's part of the conversation.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) machine: VirtualHost<Duration>,
    pub(crate) now: Duration,
    /// The next "random" number: 1, 2, 3 ...
    pub(crate) draw: u64,
}

impl Host {
    pub(crate) fn new(config: Config) -> Self {
        let machine = VirtualHost::new(config).expect("a valid configuration");
        Self {
            machine,
            now: Duration::from_secs(10),
            draw: 1,
        }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
    }

    /// Hands in `input` and returns everything that comes out. Random numbers are answered;
    /// nothing else is.
    pub(crate) fn send(&mut self, input: Input) -> Vec<Output> {
        self.machine.handle(self.now, input);
        self.drain()
    }

    pub(crate) fn hear(&mut self, from: IpAddr, said: &Advertisement) -> Vec<Output> {
        self.send(Input::Advertisement(received(from, said)))
    }

    pub(crate) fn drain(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            if output == Output::NeedCounter {
                self.machine
                    .handle(self.now, Input::FreshCounter(self.draw));
                self.draw += 1;
            }
            outputs.push(output);
            assert!(
                outputs.len() < MOST_OUTPUTS,
                "outputs without end: {outputs:?}"
            );
        }
        outputs
    }

    /// Lets every deadline up to and including `until` fire, each at its time.
    pub(crate) fn run_until(&mut self, until: Duration) -> Vec<(Duration, Output)> {
        let mut outputs = Vec::new();
        while let Some(deadline) = self.machine.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(deadline);
            let now = self.now;
            outputs.extend(
                self.send(Input::Timeout)
                    .into_iter()
                    .map(|output| (now, output)),
            );
        }
        self.now = self.now.max(until);
        outputs
    }

    /// The state and all deadlines, counted from now: `MASTER ad 1 next 0.5`.
    ///
    /// `ad` is the next advertisement, `down4` and `down6` the two master-down timers, and
    /// `next` the machine's deadline if it is none of these.
    pub(crate) fn after(&self) -> String {
        let mut text = self.machine.state().to_string();
        let mut earliest: Option<Duration> = None;
        let timers = [
            ("ad", self.machine.next_advertisement()),
            ("down4", self.machine.master_down(Family::V4)),
            ("down6", self.machine.master_down(Family::V6)),
        ];
        for (name, deadline) in timers {
            if let Some(deadline) = deadline {
                text += &format!(" {name} {}", self.time_until(deadline));
                earliest = Some(earliest.map_or(deadline, |other| other.min(deadline)));
            }
        }
        let next = self.machine.poll_timeout();
        if next != earliest {
            text += &match next {
                Some(next) => format!(" next {}", self.time_until(next)),
                None => " next never".to_owned(),
            };
        }
        text
    }

    fn time_until(&self, deadline: Duration) -> String {
        match deadline.checked_sub(self.now) {
            Some(left) => seconds(left),
            None => format!("-{}", seconds(self.now - deadline)),
        }
    }
}

/// Seconds with as many decimals as it takes.
fn seconds(duration: Duration) -> String {
    let text = format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One line for each output, in the words of the tables:
/// `BACKUP -> MASTER (master timed out)`, `send4 1/100 #7`, `arp`, `acquire`.
pub(crate) fn words(output: &Output) -> String {
    let family = |family| if family == Family::V4 { 4 } else { 6 };
    match output {
        Output::Event(event @ Event::State { cause, .. }) => match cause {
            None => event.to_string(),
            Some(cause) => {
                let said = match cause.said() {
                    Said::Carp(said) => said.interval().to_string(),
                    Said::Vrrp(said) => priority(&said),
                };
                format!("{event} by {} {said}", cause.source)
            }
        },
        Output::Event(event) => event.to_string(),
        Output::Demote(demote) => format!("demote {:+} ({})", demote.adjustment, demote.reason),
        Output::Transmit(transmit) => {
            let to = family(transmit.family);
            let said = match transmit.advertisement {
                Said::Carp(said) => said,
                Said::Vrrp(said) => {
                    assert_eq!(said.vrid, vhid(), "an advertisement of another group");
                    return format!("send{to} {}", priority(&said));
                }
            };
            assert_eq!(said.vhid, vhid(), "an advertisement of another group");
            let demote = match said.demote {
                0 => String::new(),
                demote => format!(" d{demote}"),
            };
            format!("send{to} {}{demote} #{}", said.interval(), said.counter)
        }
        Output::Acquire => "acquire".to_owned(),
        Output::Release => "release".to_owned(),
        Output::Announce(Family::V4) => "arp".to_owned(),
        Output::Announce(Family::V6) => "nd".to_owned(),
        Output::NeedCounter => "draw".to_owned(),
        Output::ForgetAddresses => "forget".to_owned(),
    }
}

/// Priority and interval: `p100/100`.
fn priority(said: &vrrp::Advertisement) -> String {
    format!("p{}/{}", said.priority, said.interval)
}

pub(crate) fn trace(outputs: &[Output]) -> String {
    if outputs.is_empty() {
        return "-".to_owned();
    }
    outputs.iter().map(words).collect::<Vec<_>>().join("; ")
}

pub(crate) const fn addresses(v4: u16, v6: u16) -> Input {
    Input::Addresses(AddressCount { v4, v6 })
}

pub(crate) fn is_master(host: &Host) -> bool {
    host.machine.state() == State::Master
}
