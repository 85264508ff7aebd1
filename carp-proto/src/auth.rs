//! Keys, address sets, and the authenticator over them.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::advertisement::{Advertisement, Authentic};
use crate::hmac::{Builder, Prefix, Tag};
use crate::types::{OutOfRange, Vhid};
use crate::wire::{self, View};

/// The secret that the hosts of a group share: 20 bytes, wiped when dropped.
///
/// Recorded advertisements allow guessing a passphrase offline, so prefer 20 random bytes
/// to a word (CARP §1.6).
#[derive(Clone)]
pub struct Key([u8; Self::LEN]);

impl Key {
    /// The length of a key, in bytes.
    pub const LEN: usize = 20;
    /// How much of a passphrase counts, in bytes: `ifconfig` keeps one for a NUL.
    pub const PASSPHRASE_LEN: usize = 19;

    /// Takes all 20 bytes as they are, as the kernels' own interfaces do.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Makes the key that `ifconfig` makes of `passphrase`: its first 19 bytes, padded with
    /// zeros. It is not hashed, and what exceeds 19 bytes is silently cut off (CARP §1.6).
    #[must_use]
    pub fn from_passphrase(passphrase: &[u8]) -> Self {
        let mut key = [0; Self::LEN];
        for (place, byte) in key
            .iter_mut()
            .zip(passphrase.iter().take(Self::PASSPHRASE_LEN))
        {
            *place = *byte;
        }
        Self(key)
    }

    /// The key of a host that was given none: 20 zero bytes. Such hosts understand each
    /// other, and everybody else can join them.
    #[must_use]
    pub const fn none() -> Self {
        Self([0; Self::LEN])
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Whether shared link-local addresses are part of what is authenticated (CARP §1.5.3).
///
/// Without such an address among the shared ones there is no difference. Both forms are
/// always accepted; this chooses the one that is sent.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "an address is hashed or it is not")]
pub enum LinkLocal {
    /// As FreeBSD, NetBSD and DragonFly send, and OpenBSD accepts.
    #[default]
    Included,
    /// As OpenBSD sends. FreeBSD refuses it if it has a link-local address in the group.
    Skipped,
}

/// Why a well-formed advertisement is not authentic.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The advertisement is for another group (`badvhid`).
    #[error("vhid {found} where {expected} is expected")]
    Vhid {
        /// The vhid in the packet.
        found: u8,
        /// The vhid of this group.
        expected: Vhid,
    },
    /// The sender's key or addresses differ from ours, or the packet was changed (`badauth`).
    #[error("incorrect hash: key or shared addresses differ from the sender's")]
    Mismatch,
}

/// The hashes of one set of addresses.
#[derive(Clone)]
struct Hashes {
    /// Whether the set has no address that is hashed.
    is_empty: bool,
    included: Prefix,
    /// Present only where it differs, that is if the set has a link-local address.
    skipped: Option<Prefix>,
}

impl Hashes {
    fn new(key: &Key, vhid: Vhid, addresses: &[IpAddr]) -> Self {
        let mut count = 0usize;
        each_v4(addresses, |_| count = count.saturating_add(1));
        each_v6(addresses, |_| count = count.saturating_add(1));
        let fold = |link_local| {
            let mut builder = Builder::new(&key.0);
            // CARP §1.5: the constants for version and type, not the packet's byte.
            builder.update(&[wire::VERSION, 1, vhid.get()]);
            each_v4(addresses, |a| builder.update(&a.octets()));
            each_v6(addresses, |a| {
                if link_local == LinkLocal::Included || !is_scoped_unicast(a) {
                    builder.update(&a.octets());
                }
            });
            builder.finish()
        };
        let has_link_local = addresses
            .iter()
            .any(|a| matches!(a, IpAddr::V6(a) if is_scoped_unicast(*a)));
        Self {
            is_empty: count == 0,
            included: fold(LinkLocal::Included),
            skipped: has_link_local.then(|| fold(LinkLocal::Skipped)),
        }
    }

    #[inline]
    fn tag(&self, form: LinkLocal, counter: u64) -> Tag {
        match (form, &self.skipped) {
            (LinkLocal::Skipped, Some(skipped)) => skipped.tag(counter),
            _ => self.included.tag(counter),
        }
    }

    #[inline]
    fn matches(&self, counter: u64, tag: &Tag) -> bool {
        let included = equal(&self.included.tag(counter), tag);
        match &self.skipped {
            None => included,
            // Both are computed in any case, so that the time tells nothing.
            Some(skipped) => included | equal(&skipped.tag(counter), tag),
        }
    }
}

/// Signs and verifies the advertisements of one group: key, vhid and shared addresses,
/// folded so that a packet costs two SHA-1 compressions (three to four if there are many
/// addresses or a link-local one).
///
/// # Example
///
/// ```
/// use carp_proto::{AdvBase, AdvSkew, Advertisement, Authenticator, Key, Vhid, View};
///
/// let vhid = Vhid::new(1)?;
/// let shared = ["192.0.2.1".parse()?];
/// let auth = Authenticator::new(&Key::from_passphrase(b"secret"), vhid, &shared);
///
/// let said = Advertisement {
///     vhid,
///     advbase: AdvBase::DEFAULT,
///     advskew: AdvSkew::DEFAULT,
///     demote: 0,
///     counter: 0x0123_4567_89ab_cdef,
/// };
/// let mut bytes = [0; carp_proto::ADVERTISEMENT_LEN];
/// auth.sign(&said, &mut bytes);
///
/// let heard = auth.verify(View::parse(&bytes)?)?;
/// assert_eq!(heard.advertisement(), &said);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Authenticator {
    key: Key,
    vhid: Vhid,
    form: LinkLocal,
    current: Hashes,
    previous: Option<Hashes>,
}

impl Authenticator {
    /// Folds `key` and the shared `addresses` of the group `vhid`.
    ///
    /// The order of the addresses does not matter, duplicates count once, and unspecified
    /// and all-ones addresses are left out (CARP §1.5.1). Both families belong into one
    /// set, even if packets of one family only are exchanged.
    #[must_use]
    pub fn new(key: &Key, vhid: Vhid, addresses: &[IpAddr]) -> Self {
        Self {
            key: key.clone(),
            vhid,
            form: LinkLocal::default(),
            current: Hashes::new(key, vhid, addresses),
            previous: None,
        }
    }

    /// Chooses which form is sent.
    #[must_use]
    pub fn with_link_local(mut self, form: LinkLocal) -> Self {
        self.form = form;
        self
    }

    /// Takes another set of addresses, at once for sending; the former set is still
    /// accepted until [`forget_previous`](Self::forget_previous). So the lists of the hosts
    /// can be changed one after the other, the master's last: what it sends from then on, a
    /// backup with the former list refuses.
    ///
    /// Of several changes in a row, the set before the first stays accepted, since that is
    /// what the others still have. The same set again changes nothing.
    pub fn set_addresses(&mut self, addresses: &[IpAddr]) {
        let hashes = Hashes::new(&self.key, self.vhid, addresses);
        // Equal authenticators of one number mean equal sets.
        if hashes.tag(LinkLocal::Included, 0) == self.current.tag(LinkLocal::Included, 0) {
            return;
        }
        let former = core::mem::replace(&mut self.current, hashes);
        // Nobody sends without addresses, so nothing made without is worth accepting.
        if self.previous.is_none() && !former.is_empty {
            self.previous = Some(former);
        }
    }

    /// Takes another key. Nothing made with the old one is accepted any more.
    pub fn set_key(&mut self, key: &Key, addresses: &[IpAddr]) {
        self.key = key.clone();
        self.current = Hashes::new(key, self.vhid, addresses);
        self.previous = None;
    }

    /// Accepts only the present set of addresses from now on.
    pub fn forget_previous(&mut self) {
        self.previous = None;
    }

    /// Returns the group.
    #[must_use]
    pub fn vhid(&self) -> Vhid {
        self.vhid
    }

    /// Writes `advertisement` as it goes on the wire behind the IP header.
    ///
    /// The advertisement must be of this group, or nobody will accept it; debug builds panic.
    #[inline]
    pub fn sign(&self, advertisement: &Advertisement, out: &mut [u8; wire::ADVERTISEMENT_LEN]) {
        debug_assert_eq!(advertisement.vhid, self.vhid, "signed for another group");
        let tag = self.current.tag(self.form, advertisement.counter);
        wire::emit(advertisement, &tag, out);
    }

    /// Checks, in constant time, that whoever made the packet knew key and addresses.
    ///
    /// # Errors
    ///
    /// [`AuthError::Vhid`] if the packet is for another group, [`AuthError::Mismatch`] if
    /// the authenticator is wrong.
    #[inline]
    pub fn verify(&self, view: View<'_>) -> Result<Authentic, AuthError> {
        let other = |_: OutOfRange| AuthError::Vhid {
            found: view.vhid(),
            expected: self.vhid,
        };
        let advertisement = view.to_advertisement().map_err(other)?;
        if advertisement.vhid != self.vhid {
            return Err(AuthError::Vhid {
                found: view.vhid(),
                expected: self.vhid,
            });
        }
        let (counter, tag) = (view.counter(), view.tag());
        let mut authentic = self.current.matches(counter, &tag);
        if let Some(previous) = &self.previous {
            authentic |= previous.matches(counter, &tag);
        }
        if authentic {
            Ok(Authentic::new(advertisement))
        } else {
            Err(AuthError::Mismatch)
        }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("vhid", &self.vhid)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

/// Compares without revealing by its time where the two differ.
#[inline]
fn equal(ours: &Tag, theirs: &Tag) -> bool {
    ours.ct_eq(theirs).into()
}

/// Visits the IPv4 addresses as they are hashed: ascending as unsigned numbers, each once,
/// without 0.0.0.0 and 255.255.255.255.
///
/// A selection loop, as in the kernels: it needs no memory and runs at configuration only.
fn each_v4(addresses: &[IpAddr], mut visit: impl FnMut(Ipv4Addr)) {
    let mut last = Ipv4Addr::UNSPECIFIED;
    let v4 = |a: &IpAddr| match a {
        IpAddr::V4(a) => Some(*a),
        IpAddr::V6(_) => None,
    };
    while let Some(next) = addresses
        .iter()
        .filter_map(v4)
        .filter(|a| *a > last && *a != Ipv4Addr::BROADCAST)
        .min()
    {
        visit(next);
        last = next;
    }
}

/// Visits the IPv6 addresses as they are hashed: scope bytes cleared, ascending by bytes,
/// each once, without :: and the all-ones address.
fn each_v6(addresses: &[IpAddr], mut visit: impl FnMut(Ipv6Addr)) {
    let mut last = Ipv6Addr::UNSPECIFIED;
    let v6 = |a: &IpAddr| match a {
        IpAddr::V6(a) => Some(without_scope(*a)),
        IpAddr::V4(_) => None,
    };
    while let Some(next) = addresses
        .iter()
        .filter_map(v6)
        .filter(|a| *a > last && a.octets() != [0xff; 16])
        .min()
    {
        visit(next);
        last = next;
    }
}

/// Whether `address` is of fe80::/10.
fn is_scoped_unicast(address: Ipv6Addr) -> bool {
    let [first, ..] = address.segments();
    first & 0xffc0 == 0xfe80
}

/// Clears the bytes in which BSD kernels keep the interface of an address with embedded
/// scope: fe80::/10, and multicast of interface-local or link-local scope (CARP §1.5.2).
pub(crate) fn without_scope(address: Ipv6Addr) -> Ipv6Addr {
    let [first, second, a, b, c, d, e, f] = address.segments();
    let multicast = matches!(first & 0xff0f, 0xff01 | 0xff02);
    let second = if multicast || is_scoped_unicast(address) {
        0
    } else {
        second
    };
    Ipv6Addr::new(first, second, a, b, c, d, e, f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{AdvBase, AdvSkew};
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn sorted(texts: &[&str]) -> Vec<String> {
        let addresses: Vec<IpAddr> = texts.iter().map(|t| t.parse().unwrap()).collect();
        let mut seen = Vec::new();
        each_v4(&addresses, |a| seen.push(a.to_string()));
        each_v6(&addresses, |a| seen.push(a.to_string()));
        seen
    }

    #[test]
    fn addresses_are_hashed_in_unsigned_order_each_once() {
        assert_eq!(
            sorted(&[
                "192.0.2.10",
                "9.0.0.1",
                "0.0.0.0",
                "192.0.2.9",
                "9.0.0.1",
                "255.255.255.255"
            ]),
            ["9.0.0.1", "192.0.2.9", "192.0.2.10"]
        );
        assert_eq!(
            sorted(&["fe80:5::1", "2001:db8::1", "::", "ff02:3::12", "fe80::1"]),
            ["2001:db8::1", "fe80::1", "ff02::12"]
        );
    }

    #[test]
    fn secrets_do_not_show() {
        let key = Key::from_passphrase(b"topsecret");
        let auth = Authenticator::new(&key, Vhid::new(1).unwrap(), &[]);
        let shown = format!("{key:?} {auth:?}");
        assert!(
            !shown.contains("topsecret") && !shown.contains("116"),
            "{shown}"
        );
    }

    #[test]
    fn the_former_addresses_are_accepted_until_forgotten() {
        let vhid = Vhid::new(1).unwrap();
        let key = Key::from_passphrase(b"k");
        let one: [IpAddr; 1] = ["192.0.2.1".parse().unwrap()];
        let two: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let peer = Authenticator::new(&key, vhid, &one);
        let mut auth = peer.clone();
        let said = Advertisement {
            vhid,
            advbase: AdvBase::DEFAULT,
            advskew: AdvSkew::DEFAULT,
            demote: 0,
            counter: 1,
        };
        let mut bytes = [0; wire::ADVERTISEMENT_LEN];
        peer.sign(&said, &mut bytes);
        let view = View::parse(&bytes).unwrap();

        auth.set_addresses(&two);
        assert!(auth.verify(view).is_ok());
        auth.sign(&said, &mut bytes);
        assert_eq!(
            peer.verify(View::parse(&bytes).unwrap()),
            Err(AuthError::Mismatch)
        );

        peer.sign(&said, &mut bytes);
        auth.forget_previous();
        assert_eq!(
            auth.verify(View::parse(&bytes).unwrap()),
            Err(AuthError::Mismatch)
        );
    }

    #[test]
    fn another_vhid_is_told_from_another_key() {
        let key = Key::none();
        let one = Authenticator::new(&key, Vhid::new(1).unwrap(), &[]);
        let two = Authenticator::new(&key, Vhid::new(2).unwrap(), &[]);
        let said = Advertisement {
            vhid: Vhid::new(2).unwrap(),
            advbase: AdvBase::DEFAULT,
            advskew: AdvSkew::DEFAULT,
            demote: 0,
            counter: 1,
        };
        let mut bytes = [0; wire::ADVERTISEMENT_LEN];
        two.sign(&said, &mut bytes);
        assert_eq!(
            one.verify(View::parse(&bytes).unwrap()),
            Err(AuthError::Vhid {
                found: 2,
                expected: one.vhid()
            })
        );
    }
}
