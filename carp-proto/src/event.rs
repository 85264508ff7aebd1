//! What goes into the machine, what comes out of it, and why.

use core::fmt;
use core::net::IpAddr;

use crate::advertisement::{Received, Said};
use crate::config::{AddressCount, ConfigError, Interface, Settings};
use crate::types::{Family, InterfaceName};

/// The state of a virtual host. The numbers are those of the kernels' interfaces.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "CARP has three states")]
#[repr(u8)]
pub enum State {
    /// Not able to take part: no address, or the interface is not running.
    Init = 0,
    /// Waiting for the master to fall silent.
    Backup = 1,
    /// Serving the addresses.
    Master = 2,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Init => "INIT",
            Self::Backup => "BACKUP",
            Self::Master => "MASTER",
        })
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the transition table covers each of them"
)]
pub enum Input {
    /// The deadline of `poll_timeout` has come. Early or repeated ones do nothing.
    Timeout,
    /// An advertisement was received, authentic by CARP or checked by VRRP.
    Advertisement(Received),
    /// The interface changed, or was reported again.
    Interface(Interface),
    /// Shared addresses were attached or detached; this is how many there are now. The
    /// first attached address starts the machine, the last detached one ends it. Tell the
    /// [`Authenticator`](crate::Authenticator::set_addresses) first.
    Addresses(AddressCount),
    /// The host's demotion level is now this; repeat it to make a master advertise at once.
    Demotion(i32),
    /// The operator wants this state; INIT is ignored, as in the kernels. A host that
    /// preempts takes the role back as soon as it hears a worse master; by the RFC's rules of
    /// VRRP, after its own dead time.
    Force(State),
    /// The operator changed these.
    Settings(Settings),
    /// What became of an [`Output::Transmit`]; needed to notice a failing interface.
    Sent(Family, SendResult),
    /// A random number, in answer to [`Output::NeedCounter`].
    FreshCounter(u64),
    /// Our own source address changed.
    Source(IpAddr),
    /// The daemon ends. The machine does nothing more after the outputs this causes.
    Shutdown,
}

/// What became of an advertisement.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the send logic of CARP §3.4.1 covers each"
)]
pub enum SendResult {
    /// It was handed to the network.
    Ok,
    /// The network refused it with this error number.
    Error(i32),
    /// There was no memory for it.
    NoMemory,
}

/// Something the driver must do, in the order in which it is polled.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored one would be wrong"
)]
pub enum Output {
    /// Tell the operator.
    Event(Event),
    /// Change the demotion level of the host, and give the new level to every virtual host
    /// of it, this one included, by [`Input::Demotion`].
    Demote(Demote),
    /// Write this advertisement, sign it if it is CARP's, send it, and report by
    /// [`Input::Sent`].
    Transmit(Transmit),
    /// Serve the shared addresses; repeat harmlessly if they are served already.
    Acquire,
    /// Cease to serve the shared addresses.
    Release,
    /// Announce every shared address of this family to the neighbours.
    Announce(Family),
    /// Answer with [`Input::FreshCounter`]; nothing else comes out before.
    NeedCounter,
    /// The grace period is over: [`Authenticator::forget_previous`].
    ///
    /// [`Authenticator::forget_previous`]: crate::Authenticator::forget_previous
    ForgetAddresses,
}

/// An advertisement to send.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Transmit {
    /// By which family.
    pub family: Family,
    /// What it says, in the protocol of the group.
    pub advertisement: Said,
}

/// A change of the host's demotion level.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Demote {
    /// What is to be added to the level.
    pub adjustment: i32,
    /// Why.
    pub reason: DemotionReason,
}

/// Why a host is demoted, or no longer is. `Display` gives the kernel's text.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DemotionReason {
    /// The interface went down.
    InterfaceDown,
    /// The interface came back.
    InterfaceUp,
    /// The last address of a virtual host whose interface is down was detached.
    VhidRemoved,
    /// Advertisements could not be sent.
    SendError {
        /// The last error number.
        error: i32,
        /// The interface.
        interface: Option<InterfaceName>,
    },
    /// Advertisements can be sent again.
    SendOk {
        /// The interface.
        interface: Option<InterfaceName>,
    },
    /// OpenBSD: the parent interface went down or came back.
    CarpDev,
    /// OpenBSD: advertisements of this family could not be sent.
    SendErrors(Family),
    /// OpenBSD: they can be sent again.
    SendErrorsOver(Family),
}

impl fmt::Display for DemotionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |f: &mut fmt::Formatter<'_>, interface: &Option<InterfaceName>| match interface {
            Some(name) => write!(f, " on {name}"),
            None => Ok(()),
        };
        match self {
            Self::InterfaceDown => f.write_str("interface down"),
            Self::InterfaceUp => f.write_str("interface up"),
            Self::VhidRemoved => f.write_str("vhid removed"),
            Self::SendError { error, interface } => {
                write!(f, "send error {error}")?;
                on(f, interface)
            }
            Self::SendOk { interface } => {
                f.write_str("send ok")?;
                on(f, interface)
            }
            Self::CarpDev => f.write_str("carpdev"),
            Self::SendErrors(Family::V4) => f.write_str("> snderrors"),
            Self::SendErrors(Family::V6) => f.write_str("> snd6errors"),
            Self::SendErrorsOver(Family::V4) => f.write_str("< snderrors"),
            Self::SendErrorsOver(Family::V6) => f.write_str("< snd6errors"),
        }
    }
}

/// Something an operator may want to know.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The state changed.
    State {
        /// The former state.
        from: State,
        /// The present state.
        to: State,
        /// Why.
        reason: Reason,
        /// The advertisement that caused it, if one did.
        cause: Option<Received>,
    },
    /// Something heard or commanded was refused; nothing but a counter changed.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The advertisement, if it was one.
        received: Option<Received>,
    },
    /// Another master is heard that is worse than this one.
    Rival(Received),
    /// The other master is no longer heard.
    RivalGone,
    /// The master's link was lost; it stays master if the link returns in time.
    LinkLost,
    /// The link returned in time.
    LinkRestored,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The kernel's log line, less its prefix (CARP §3.4.2).
            Self::State {
                from, to, reason, ..
            } => write!(f, "{from} -> {to} ({reason})"),
            Self::Refused {
                refusal,
                received: None,
            } => write!(f, "refused: {refusal}"),
            Self::Refused {
                refusal,
                received: Some(received),
            } => {
                write!(
                    f,
                    "refused advertisement from {}: {refusal}",
                    received.source
                )
            }
            Self::Rival(received) => {
                write!(f, "another master at {}: ", received.source)?;
                match received.said() {
                    Said::Carp(said) => said.interval().fmt(f),
                    Said::Vrrp(said) => {
                        write!(f, "prio {} interval {}", said.priority, said.interval)
                    }
                }
            }
            Self::RivalGone => f.write_str("the other master is gone"),
            Self::LinkLost => f.write_str("link lost, waiting one interval for its return"),
            Self::LinkRestored => f.write_str("link restored within one interval"),
        }
    }
}

/// Why the state changed. `Display` gives the kernel's text where the kernel has one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// INIT is left because everything is there.
    InitializationComplete,
    /// The interface runs, or an address changed.
    HardwareUp,
    /// The interface does not run.
    HardwareDown,
    /// A better or equal master is heard.
    MoreFrequentAdvertisement,
    /// A worse master is heard, and preemption is on.
    PreemptingSlowerMaster,
    /// The master announced a longer interval than we are ready to wait; a bow-out, mostly.
    MasterWillTimeOut,
    /// No advertisement came in the dead time.
    MasterTimedOut,
    /// The operator asked for it.
    UserRequested,
    /// OpenBSD: the master is more demoted than we are.
    DemotedMaster,
    /// VRRP by the RFC: this host owns the addresses; no kernel text.
    AddressOwner,
    /// The daemon ends; no kernel text.
    Shutdown,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InitializationComplete => "initialization complete",
            Self::HardwareUp => "hardware interface up",
            Self::HardwareDown => "hardware interface down",
            Self::MoreFrequentAdvertisement => "more frequent advertisement received",
            Self::PreemptingSlowerMaster => "preempting a slower master",
            Self::MasterWillTimeOut => "master will time out",
            Self::MasterTimedOut => "master timed out",
            Self::UserRequested => "user requested via ifconfig",
            Self::DemotedMaster => "preempting a demoted master",
            Self::AddressOwner => "owner of the addresses",
            Self::Shutdown => "shutdown",
        })
    }
}

/// Why an advertisement or a command was not acted on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is our own and came back (`loop`).
    #[error("it is an echo of our own")]
    Echo,
    /// Its number is not greater than an earlier one of the same source (`replay`).
    #[error("its number {counter:016x} does not exceed {last:016x}")]
    Replay {
        /// The number it carries.
        counter: u64,
        /// The greatest so far from that source.
        last: u64,
    },
    /// It is of the protocol that this group does not speak (`badver`).
    #[error("it is of another protocol than the group's")]
    Protocol,
    /// It is the bow-out of a host that is not the master.
    #[error("it bows out, but is not the master")]
    NotMaster,
    /// UCarp's deaf time after a step down.
    #[error("within the deaf time after a step down")]
    Deaf,
    /// The new settings are not allowed.
    #[error(transparent)]
    Settings(ConfigError),
}
