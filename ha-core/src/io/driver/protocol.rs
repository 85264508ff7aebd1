//! The protocol that a virtual host speaks, and how its advertisements get on the wire.

use core::net::IpAddr;
use std::boxed::Box;
use std::io;

use carp_proto::vrrp::{self, Ends, Style, Vrrp};
use carp_proto::{
    ADVERTISEMENT_LEN, AcceptTtl, Authenticator, Dialect, Family, Key, LinkLocal, Said, Transmit,
    Vhid,
};

use super::super::transport::Transport;
use super::{CommandError, SetupError};

/// What a host needs to speak, as its [`Setup`](super::Setup) has it.
pub(super) enum Means {
    Carp {
        key: Key,
        link_local: LinkLocal,
        ttl: AcceptTtl,
    },
    /// None is the style of the rules.
    Vrrp { checksum: Option<vrrp::Checksum> },
}

/// How a host speaks.
pub(super) enum Protocol {
    Carp {
        auth: Box<Authenticator>,
        ttl: AcceptTtl,
    },
    Vrrp {
        rules: Vrrp,
        style: Style,
    },
}

impl Protocol {
    /// The protocol of `dialect`, if these are its means.
    pub(super) fn new(
        dialect: Dialect,
        vhid: Vhid,
        addresses: &[IpAddr],
        means: &Means,
    ) -> Result<Self, SetupError> {
        match (means, dialect) {
            (Means::Vrrp { checksum }, Dialect::Vrrp(rules)) => {
                let mut style = rules.style();
                style.checksum = checksum.unwrap_or(style.checksum);
                Ok(Self::Vrrp { rules, style })
            }
            (Means::Vrrp { .. }, _) | (Means::Carp { .. }, Dialect::Vrrp(_)) => {
                Err(SetupError::Protocol)
            }
            (
                Means::Carp {
                    key,
                    link_local,
                    ttl,
                },
                _,
            ) => {
                let auth = Authenticator::new(key, vhid, addresses).with_link_local(*link_local);
                Ok(Self::Carp {
                    auth: Box::new(auth),
                    ttl: *ttl,
                })
            }
        }
    }

    /// Which TTLs are accepted; VRRP is never routed.
    pub(super) fn ttl(&self) -> AcceptTtl {
        match self {
            Self::Carp { ttl, .. } => *ttl,
            Self::Vrrp { .. } => AcceptTtl::Direct,
        }
    }

    pub(super) fn auth(&self) -> Option<&Authenticator> {
        match self {
            Self::Carp { auth, .. } => Some(auth),
            Self::Vrrp { .. } => None,
        }
    }

    pub(super) fn auth_mut(&mut self) -> Option<&mut Authenticator> {
        match self {
            Self::Carp { auth, .. } => Some(auth),
            Self::Vrrp { .. } => None,
        }
    }

    /// The rules and the checksum by which packets are checked, if it is VRRP.
    pub(super) fn vrrp(&self) -> Option<(Vrrp, vrrp::Checksum)> {
        match self {
            Self::Carp { .. } => None,
            Self::Vrrp { rules, style } => Some((*rules, style.checksum)),
        }
    }

    /// Whether `transport` is able to serve a host with these addresses.
    pub(super) fn fits(
        &self,
        transport: &dyn Transport,
        addresses: &[IpAddr],
    ) -> Result<(), Unfit> {
        for family in addresses.iter().map(|address| Family::of(*address)) {
            if !transport.carries(family) {
                return Err(Unfit::Family(family));
            }
            if self.vrrp().is_some() && transport.source(family).is_none() {
                return Err(Unfit::NoSource(family));
            }
        }
        // FreeBSD counts both families together.
        if self.vrrp().is_some() && addresses.len() > vrrp::MAX_ADDRESSES {
            return Err(Unfit::TooMany(addresses.len()));
        }
        Ok(())
    }

    /// Writes an advertisement, signs it where that is done, and sends it.
    pub(super) fn send(
        &self,
        transport: &mut dyn Transport,
        transmit: &Transmit,
        addresses: &[IpAddr],
    ) -> io::Result<()> {
        let family = transmit.family;
        match (self, transmit.advertisement) {
            (Self::Carp { auth, .. }, Said::Carp(said)) => {
                let mut bytes = [0; ADVERTISEMENT_LEN];
                auth.sign(&said, &mut bytes);
                transport.try_send(family, &bytes)
            }
            (Self::Vrrp { style, .. }, Said::Vrrp(said)) => {
                // It may have been lost since.
                let source = transport
                    .source(family)
                    .ok_or(io::ErrorKind::AddrNotAvailable)?;
                let mut bytes = [0; vrrp::MAX_LEN];
                let packet = said
                    .emit(addresses, &Ends::to_group(source), *style, &mut bytes)
                    .map_err(io::Error::other)?;
                transport.try_send(family, packet)
            }
            // A machine speaks the protocol of its dialect.
            (Self::Carp { .. }, Said::Vrrp(_)) | (Self::Vrrp { .. }, Said::Carp(_)) => {
                Err(io::ErrorKind::InvalidInput.into())
            }
        }
    }
}

/// Why a transport cannot serve a host.
pub(super) enum Unfit {
    Family(Family),
    NoSource(Family),
    TooMany(usize),
}

impl From<Unfit> for SetupError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Family(family) => Self::Family { family },
            Unfit::NoSource(family) => Self::NoSource { family },
            Unfit::TooMany(count) => Self::TooManyAddresses { count },
        }
    }
}

impl From<Unfit> for CommandError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Family(family) => Self::Family { family },
            Unfit::NoSource(family) => Self::NoSource { family },
            Unfit::TooMany(count) => Self::TooManyAddresses { count },
        }
    }
}
