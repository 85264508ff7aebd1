//! What an operator reads: the status lines of `ifconfig` (CARP §5.4.1) and the lines of the
//! kernel's log (CARP §3.4.2).

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::event::{Demote, Event, State};
use crate::ifconfig::{Peer, state};
use crate::text::{Input, NumberFault, number};
use crate::types::{AdvBase, AdvSkew, InterfaceName, OutOfRange, Vhid};
use crate::vrrp::{AdverInterval, Priority};

/// The line that `ifconfig` shows for a virtual host, without the tab before it.
///
/// ```text
/// carp: MASTER vhid 1 advbase 1 advskew 0
/// vrrp: MASTER vrid 1 prio 100 interval 100
/// ```
///
/// # Example
///
/// ```
/// use carp_proto::{State, Status};
///
/// let status = Status::parse("\tcarp: BACKUP vhid 1 advbase 1 advskew 100\n")?;
/// assert_eq!(status.state(), State::Backup);
/// assert_eq!(status.to_string(), "carp: BACKUP vhid 1 advbase 1 advskew 100");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "FreeBSD 15 has these two protocols"
)]
pub enum Status {
    /// Of a group that speaks CARP.
    Carp {
        /// Its state.
        state: State,
        /// The group.
        vhid: Vhid,
        /// Whole seconds between advertisements.
        advbase: AdvBase,
        /// 1/256 seconds on top, as configured.
        advskew: AdvSkew,
    },
    /// Of a group that speaks VRRP (`carpver 3`).
    Vrrp {
        /// Its state.
        state: State,
        /// The group.
        vrid: Vhid,
        /// Its priority.
        priority: Priority,
        /// Its interval.
        interval: AdverInterval,
    },
}

impl Status {
    /// Reads one line. Blanks around it do not matter, and neither does the key that
    /// `ifconfig -k` adds in quotes for root: it is passed over and not kept.
    ///
    /// # Errors
    ///
    /// [`StatusError`], which says what was expected. It never shows a key.
    pub fn parse(line: &str) -> Result<Self, StatusError<'_>> {
        let mut line = Line(Input::new(line));
        let status = match line.word("carp: or vrrp:")? {
            "carp:" => Self::Carp {
                state: line.state()?,
                vhid: line.vhid("vhid")?,
                advbase: AdvBase::new(line.number("advbase", 0, u8::MAX)?),
                advskew: AdvSkew::new(line.number("advskew", 0, AdvSkew::MAX.get())?)
                    .map_err(StatusError::Range)?,
            },
            "vrrp:" => Self::Vrrp {
                state: line.state()?,
                vrid: line.vhid("vrid")?,
                priority: Priority::new(line.number("prio", 1, u8::MAX)?)
                    .map_err(StatusError::Range)?,
                interval: AdverInterval::new(line.number(
                    "interval",
                    1,
                    AdverInterval::MAX.get(),
                )?)
                .map_err(StatusError::Range)?,
            },
            text => {
                return Err(StatusError::Unexpected {
                    expected: "carp: or vrrp:",
                    text,
                });
            }
        };
        line.end_or_key()?;
        Ok(status)
    }

    /// Returns the state.
    #[must_use]
    pub const fn state(&self) -> State {
        match self {
            Self::Carp { state, .. } | Self::Vrrp { state, .. } => *state,
        }
    }

    /// Returns the group.
    #[must_use]
    pub const fn vhid(&self) -> Vhid {
        match self {
            Self::Carp { vhid, .. } | Self::Vrrp { vrid: vhid, .. } => *vhid,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carp {
                state,
                vhid,
                advbase,
                advskew,
            } => {
                write!(
                    f,
                    "carp: {state} vhid {vhid} advbase {advbase} advskew {advskew}"
                )
            }
            Self::Vrrp {
                state,
                vrid,
                priority,
                interval,
            } => {
                write!(
                    f,
                    "vrrp: {state} vrid {vrid} prio {priority} interval {interval}"
                )
            }
        }
    }
}

/// The line that `ifconfig` of FreeBSD 14 and later shows next for a group that speaks CARP,
/// without the tab and six blanks before it.
///
/// ```text
/// peer 224.0.0.18 peer6 ff02::12
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there are two families")]
pub struct PeerLine {
    /// Where IPv4 advertisements go.
    pub v4: Peer<Ipv4Addr>,
    /// Where IPv6 advertisements go.
    pub v6: Peer<Ipv6Addr>,
}

impl PeerLine {
    /// Reads the line. Blanks around it do not matter.
    ///
    /// # Errors
    ///
    /// [`StatusError`], which says what was expected.
    pub fn parse(line: &str) -> Result<Self, StatusError<'_>> {
        let mut line = Line(Input::new(line));
        let v4 = Peer::from(line.address::<Ipv4Addr>("peer")?);
        let v6 = Peer::from(line.address::<Ipv6Addr>("peer6")?);
        line.end()?;
        Ok(Self { v4, v6 })
    }
}

impl fmt::Display for PeerLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "peer {} peer6 {}",
            self.v4.destination(),
            self.v6.destination()
        )
    }
}

/// Why a line is not one of `ifconfig`'s status lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError<'a> {
    /// The line ends too early.
    #[error("{expected} is missing")]
    Missing {
        /// What was expected: a word, or that whose value is missing.
        expected: &'static str,
    },
    /// Another word stands there.
    #[error("{text:?} stands where {expected} is expected")]
    Unexpected {
        /// What was expected.
        expected: &'static str,
        /// The word.
        text: &'a str,
    },
    /// The value is neither INIT, BACKUP nor MASTER.
    #[error("{text:?} is neither INIT, BACKUP nor MASTER")]
    State {
        /// The value.
        text: &'a str,
    },
    /// The value is not a decimal number of at most 32 bits.
    #[error("{word}: {text:?} is no number")]
    Number {
        /// The word whose value it is.
        word: &'static str,
        /// The value.
        text: &'a str,
    },
    /// A number that cannot be.
    #[error("{0}")]
    Range(OutOfRange),
    /// The value is no address of the family.
    #[error("{word}: {text:?} is no address for it")]
    Address {
        /// The word whose value it is.
        word: &'static str,
        /// The value.
        text: &'a str,
    },
    /// Something follows that is no key in quotes. It is not shown, as it may be a damaged
    /// key.
    #[error("something follows the last value")]
    Trailing,
}

/// A line being read.
struct Line<'a>(Input<'a>);

impl<'a> Line<'a> {
    /// Takes a word, any word.
    fn word(&mut self, expected: &'static str) -> Result<&'a str, StatusError<'a>> {
        let word = self.0.next().ok_or(StatusError::Missing { expected })?;
        Ok(word.text)
    }

    /// Takes `name` and returns the word that follows it.
    fn value(&mut self, name: &'static str) -> Result<&'a str, StatusError<'a>> {
        match self.word(name)? {
            text if text == name => self.word(name),
            text => Err(StatusError::Unexpected {
                expected: name,
                text,
            }),
        }
    }

    fn state(&mut self) -> Result<State, StatusError<'a>> {
        let text = self.word("the state")?;
        state(text).ok_or(StatusError::State { text })
    }

    fn number<T: Into<u32> + TryFrom<u32>>(
        &mut self,
        word: &'static str,
        min: T,
        max: T,
    ) -> Result<T, StatusError<'a>> {
        let text = self.value(word)?;
        number(text, word, min..=max).map_err(|fault| match fault {
            NumberFault::Rubbish => StatusError::Number { word, text },
            NumberFault::Range(range) => StatusError::Range(range),
        })
    }

    fn vhid(&mut self, word: &'static str) -> Result<Vhid, StatusError<'a>> {
        Vhid::new(self.number(word, 1, u8::MAX)?).map_err(StatusError::Range)
    }

    fn address<A: FromStr>(&mut self, word: &'static str) -> Result<A, StatusError<'a>> {
        let text = self.value(word)?;
        text.parse()
            .map_err(|_| StatusError::Address { word, text })
    }

    fn end(&self) -> Result<(), StatusError<'a>> {
        if self.0.rest().is_empty() {
            Ok(())
        } else {
            Err(StatusError::Trailing)
        }
    }

    /// Nothing more, or a key, which may hold quotes and blanks itself.
    fn end_or_key(&self) -> Result<(), StatusError<'a>> {
        let key = self.0.rest().trim_ascii_end().strip_prefix("key \"");
        match key {
            Some(key) if key.ends_with('"') => Ok(()),
            _ => self.end(),
        }
    }
}

/// What the kernel logs of a virtual host's event, as in
/// `carp: 1@em0: BACKUP -> MASTER (master timed out)`.
///
/// Events that no kernel knows have lines of the same form.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "made by callers")]
pub struct EventLine {
    /// The group.
    pub vhid: Vhid,
    /// The interface that carries it.
    pub interface: InterfaceName,
    /// What happened.
    pub event: Event,
}

impl fmt::Display for EventLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "carp: {}@{}: {}", self.vhid, self.interface, self.event)
    }
}

/// What the kernel logs of a demotion, as in
/// `carp: demoted by 240 to 240 (interface down)`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "made by callers")]
pub struct DemotionLine {
    /// What was added to the level, and why.
    pub demote: Demote,
    /// The host's level afterwards.
    pub level: i32,
}

impl fmt::Display for DemotionLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Demote {
            adjustment, reason, ..
        } = self.demote;
        write!(
            f,
            "carp: demoted by {adjustment} to {} ({reason})",
            self.level
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DemotionReason, Reason};
    use proptest::prelude::*;
    use std::format;
    use std::string::{String, ToString};
    use std::vec;

    #[test]
    fn the_lines_of_the_specification_are_read_and_printed() {
        for line in [
            "carp: BACKUP vhid 1 advbase 1 advskew 100",
            "carp: MASTER vhid 255 advbase 255 advskew 254",
            "vrrp: MASTER vrid 1 prio 100 interval 100",
        ] {
            assert_eq!(Status::parse(line).unwrap().to_string(), line);
            let indented = format!("\t{line}\r\n");
            assert_eq!(Status::parse(&indented).unwrap().to_string(), line);
        }
        let peers = PeerLine::parse("\t      peer 224.0.0.18 peer6 ff02::12").unwrap();
        assert_eq!((peers.v4, peers.v6), (Peer::Multicast, Peer::Multicast));
        assert_eq!(peers.to_string(), "peer 224.0.0.18 peer6 ff02::12");
    }

    #[test]
    fn a_key_is_passed_over_and_never_shown() {
        let plain = "carp: INIT vhid 1 advbase 1 advskew 0";
        let status = Status::parse(plain).unwrap();
        for key in ["s3cret", "my s3cret \" key", "", "\u{e4}\u{f6}"] {
            let line = format!("\t{plain} key \"{key}\"\n");
            assert_eq!(Status::parse(&line), Ok(status));
            assert!(!format!("{:?}", Status::parse(&line)).contains("s3cret"));
        }
        for rest in [" key \"s3cret", " s3cret", " key s3cret", " key \""] {
            let line = format!("{plain}{rest}");
            let error = Status::parse(&line).unwrap_err();
            assert_eq!(error, StatusError::Trailing);
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
        // Wherever the line was damaged, the key comes behind the fault.
        for cut in [
            "carp: INIT vhid 1 advbase 1",
            "carp: INIT vhid 1 advbase",
            "carp: INIT",
            "carp:",
        ] {
            let line = format!("{cut} key \"s3cret\"");
            let error = Status::parse(&line).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn each_fault_is_named_with_its_value() {
        let error = |line| Status::parse(line).unwrap_err();
        let unexpected = |expected, text| StatusError::Unexpected { expected, text };
        assert_eq!(
            error(""),
            StatusError::Missing {
                expected: "carp: or vrrp:"
            }
        );
        assert_eq!(
            error("media: Ethernet"),
            unexpected("carp: or vrrp:", "media:")
        );
        assert_eq!(error("carp: SLAVE"), StatusError::State { text: "SLAVE" });
        assert_eq!(
            error("carp: INIT"),
            StatusError::Missing { expected: "vhid" }
        );
        assert_eq!(error("carp: INIT vrid 1"), unexpected("vhid", "vrid"));
        assert_eq!(
            error("carp: INIT vhid one"),
            StatusError::Number {
                word: "vhid",
                text: "one"
            }
        );
        assert_eq!(
            error("vrrp: INIT vrid 0"),
            StatusError::Range(OutOfRange {
                field: "vrid",
                value: 0,
                min: 1,
                max: 255
            })
        );
        assert_eq!(
            PeerLine::parse("peer ff02::12"),
            Err(StatusError::Address {
                word: "peer",
                text: "ff02::12"
            })
        );
        assert_eq!(
            PeerLine::parse("peer 192.0.2.7"),
            Err(StatusError::Missing { expected: "peer6" })
        );
        assert_eq!(
            PeerLine::parse("peer 192.0.2.7 peer6 fe80::2 key"),
            Err(StatusError::Trailing)
        );
        assert_eq!(
            error("vrrp: INIT vrid 1 prio 100 interval 5000").to_string(),
            "interval 5000 is outside 1..=4095"
        );
        assert_eq!(
            error("carp: INIT\u{1b}[2J").to_string(),
            r#""INIT\u{1b}[2J" is neither INIT, BACKUP nor MASTER"#
        );
    }

    #[test]
    fn log_lines_are_the_kernels() {
        let line = EventLine {
            vhid: Vhid::new(1).unwrap(),
            interface: InterfaceName::new("em0").unwrap(),
            event: Event::State {
                from: State::Backup,
                to: State::Master,
                reason: Reason::MasterTimedOut,
                cause: None,
            },
        };
        assert_eq!(
            line.to_string(),
            "carp: 1@em0: BACKUP -> MASTER (master timed out)"
        );
        let demoted = |adjustment, level, reason| {
            let demote = Demote { adjustment, reason };
            DemotionLine { demote, level }.to_string()
        };
        assert_eq!(
            demoted(240, 240, DemotionReason::InterfaceDown),
            "carp: demoted by 240 to 240 (interface down)"
        );
        assert_eq!(
            demoted(
                -240,
                0,
                DemotionReason::SendOk {
                    interface: InterfaceName::new("em0").ok()
                }
            ),
            "carp: demoted by -240 to 0 (send ok on em0)"
        );
    }

    fn any_status() -> impl Strategy<Value = Status> {
        let state = || prop_oneof![Just(State::Init), Just(State::Backup), Just(State::Master)];
        let vhid = || (1u8..).prop_map(|vhid| Vhid::new(vhid).unwrap());
        prop_oneof![
            (state(), vhid(), any::<u8>(), 0u8..=254).prop_map(|(state, vhid, base, skew)| {
                Status::Carp {
                    state,
                    vhid,
                    advbase: AdvBase::new(base),
                    advskew: AdvSkew::new(skew).unwrap(),
                }
            }),
            (state(), vhid(), 1u8.., 1u16..=4095).prop_map(|(state, vrid, prio, interval)| {
                Status::Vrrp {
                    state,
                    vrid,
                    priority: Priority::new(prio).unwrap(),
                    interval: AdverInterval::new(interval).unwrap(),
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn reading_what_was_printed_gives_the_same(
            status in any_status(),
            key: Option<String>,
            v4: [u8; 4],
            v6: [u8; 16],
        ) {
            let mut line = status.to_string();
            if let Some(key) = key {
                line = format!("{line} key \"{key}\"");
            }
            prop_assert_eq!(Status::parse(&line), Ok(status));
            let peers = PeerLine { v4: Ipv4Addr::from(v4).into(), v6: Ipv6Addr::from(v6).into() };
            let line = peers.to_string();
            prop_assert_eq!(PeerLine::parse(&line), Ok(peers));
        }

        #[test]
        fn any_text_is_read_or_refused(
            text: String,
            words in proptest::collection::vec(
                prop_oneof![
                    Just("carp:"), Just("vrrp:"), Just("MASTER"), Just("vhid"), Just("vrid"),
                    Just("advbase"), Just("advskew"), Just("prio"), Just("interval"), Just("1"),
                    Just("peer"), Just("peer6"), Just("::1"), Just("key"), Just("\""),
                ],
                0..12,
            ),
        ) {
            for text in [text, words.join(" ")] {
                if let Ok(status) = Status::parse(&text) {
                    let line = status.to_string();
                    prop_assert_eq!(Status::parse(&line), Ok(status));
                }
                if let Ok(peers) = PeerLine::parse(&text) {
                    let line = peers.to_string();
                    prop_assert_eq!(PeerLine::parse(&line), Ok(peers));
                }
            }
        }
    }
}
