//! Properties: inverse codecs, no panic on any bytes, and what holds for a machine whatever happens
//! to it.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "this is how a test fails"
)]

#[path = "common/operations.rs"]
mod operations;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use carp_proto::{
    ADVERTISEMENT_LEN, AcceptTtl, AdvBase, AdvSkew, Advertisement, AuthError, Authenticator,
    CheckOrder, Datagram, Family, GROUP_V4, GROUP_V6, Group, HeaderStyle, IPV4_PACKET_LEN,
    IPV6_PACKET_LEN, Interval, Key, LinkLocal, Local, TTL, Vhid, View, check, emit_ipv4, emit_ipv6,
};
use operations::{Choices, Script};
use proptest::collection::vec;
use proptest::prelude::*;

const ORDERS: [CheckOrder; 4] = [
    CheckOrder::FreeBsd10,
    CheckOrder::FreeBsd14,
    CheckOrder::FreeBsd15,
    CheckOrder::OpenBsd,
];

/// Decisions by bytes: one for each choice, two for bounds above 256.
#[derive(Debug)]
struct Bytes<'a>(&'a [u8]);

impl Choices for Bytes<'_> {
    fn below(&mut self, bound: u32) -> u32 {
        let mut number = 0;
        for _ in 0..if bound > 256 { 2 } else { 1 } {
            if let Some((first, rest)) = self.0.split_first() {
                number = number << 8 | u32::from(*first);
                self.0 = rest;
            }
        }
        number % bound
    }

    fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

fn any_advertisement() -> impl Strategy<Value = Advertisement> {
    (1..=255u8, any::<(u8, u8, u8, u64)>()).prop_map(|(vhid, (base, skew, demote, counter))| {
        Advertisement {
            vhid: Vhid::new(vhid).unwrap(),
            advbase: AdvBase::new(base),
            advskew: AdvSkew::from_wire(skew),
            demote,
            counter,
        }
    })
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        // Link-local ones, for which two hashes are made.
        any::<[u8; 8]>().prop_map(|low| {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&[0xfe, 0x80]);
            bytes[8..].copy_from_slice(&low);
            IpAddr::from(bytes)
        }),
    ]
}

fn any_form() -> impl Strategy<Value = LinkLocal> {
    prop_oneof![Just(LinkLocal::Included), Just(LinkLocal::Skipped)]
}

/// The complement of the sum over `bytes` as 16-bit words, written from RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

fn repair_checksum(bytes: &mut [u8; ADVERTISEMENT_LEN]) {
    bytes[6..8].fill(0);
    let sum = internet_checksum(bytes);
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
}

fn groups(vhid: Vhid) -> [Group; 1] {
    [Group {
        vhid,
        v4: true,
        v6: true,
        ttl: AcceptTtl::Direct,
    }]
}

/// As many cases as `PROPTEST_CASES` says, 256 if it says nothing. A failure prints its input.
fn few() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Six times as many, for what has more to go wrong.
fn many() -> ProptestConfig {
    let cases = few().cases.saturating_mul(6);
    ProptestConfig {
        cases,
        max_shrink_iters: 20_000,
        ..few()
    }
}

proptest! {
    #![proptest_config(few())]

    /// CARP §1.1, §1.5.
    #[test]
    fn what_is_signed_verifies_and_says_the_same(
        said in any_advertisement(),
        key in any::<[u8; 20]>(),
        addresses in vec(any_address(), 0..12),
        form in any_form(),
    ) {
        let auth = Authenticator::new(&Key::from_bytes(key), said.vhid, &addresses);
        let mut bytes = [0; ADVERTISEMENT_LEN];
        auth.clone().with_link_local(form).sign(&said, &mut bytes);
        let view = View::parse(&bytes).unwrap();
        prop_assert!(view.is_usual());
        prop_assert_eq!(view.as_bytes(), &bytes[..]);
        prop_assert_eq!(internet_checksum(&bytes), 0);
        let heard = auth.verify(view).unwrap();
        prop_assert_eq!(heard.advertisement(), &said);
        // And back: what was understood is written as the same bytes.
        let mut again = [0; ADVERTISEMENT_LEN];
        auth.with_link_local(form).sign(heard.advertisement(), &mut again);
        prop_assert_eq!(again, bytes);
    }

    /// CARP §1.5.1: sorted, each once.
    #[test]
    fn neither_order_nor_repetition_of_addresses_matters(
        said in any_advertisement(),
        mut addresses in vec(any_address(), 1..12),
        rotation in any::<prop::sample::Index>(),
    ) {
        let key = Key::from_passphrase(b"secret");
        let mut bytes = [0; ADVERTISEMENT_LEN];
        Authenticator::new(&key, said.vhid, &addresses).sign(&said, &mut bytes);
        let middle = rotation.index(addresses.len());
        addresses.rotate_left(middle);
        addresses.push(addresses[middle]);
        addresses.reverse();
        let other = Authenticator::new(&key, said.vhid, &addresses);
        prop_assert!(other.verify(View::parse(&bytes).unwrap()).is_ok());
    }

    /// CARP §1.5.4: vhid, counter and authenticator are covered; the rest of the header is not.
    #[test]
    fn a_changed_bit_that_the_authenticator_covers_is_noticed(
        said in any_advertisement(),
        key in any::<[u8; 20]>(),
        addresses in vec(any_address(), 0..4),
        bit in 0..ADVERTISEMENT_LEN * 8,
    ) {
        let auth = Authenticator::new(&Key::from_bytes(key), said.vhid, &addresses);
        let mut bytes = [0; ADVERTISEMENT_LEN];
        auth.sign(&said, &mut bytes);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let sum_repaired = !(6..8).contains(&(bit / 8));
        prop_assert!(View::parse(&bytes).is_err(), "the checksum covers every bit");
        if sum_repaired {
            repair_checksum(&mut bytes);
        }
        match bit / 8 {
            // The upper half of the first byte is the version.
            0 if bit % 8 >= 4 => prop_assert!(View::parse(&bytes).is_err()),
            0 | 2..=5 => prop_assert!(auth.verify(View::parse(&bytes).unwrap()).is_ok()),
            1 => {
                let found = bytes[1];
                let expected = AuthError::Vhid { found, expected: said.vhid };
                prop_assert_eq!(auth.verify(View::parse(&bytes).unwrap()), Err(expected));
            }
            6 | 7 => prop_assert!(View::parse(&bytes).is_err()),
            _ => {
                let verdict = auth.verify(View::parse(&bytes).unwrap());
                prop_assert_eq!(verdict, Err(AuthError::Mismatch));
            }
        }
    }

    /// CARP §1.5.
    #[test]
    fn another_key_or_another_address_does_not_verify(
        said in any_advertisement(),
        key in any::<[u8; 20]>(),
        addresses in vec(any::<[u8; 4]>().prop_map(IpAddr::from), 0..4),
        bit in 0..160usize,
        extra in any::<[u8; 4]>(),
    ) {
        let mut bytes = [0; ADVERTISEMENT_LEN];
        Authenticator::new(&Key::from_bytes(key), said.vhid, &addresses).sign(&said, &mut bytes);
        let view = View::parse(&bytes).unwrap();
        let mut other = key;
        other[bit / 8] ^= 1 << (bit % 8);
        let other = Authenticator::new(&Key::from_bytes(other), said.vhid, &addresses);
        prop_assert_eq!(other.verify(view), Err(AuthError::Mismatch));

        let extra = Ipv4Addr::from(extra);
        prop_assume!(!extra.is_unspecified() && !extra.is_broadcast());
        prop_assume!(!addresses.contains(&extra.into()));
        let mut more = addresses;
        more.push(extra.into());
        let other = Authenticator::new(&Key::from_bytes(key), said.vhid, &more);
        prop_assert_eq!(other.verify(view), Err(AuthError::Mismatch));
    }

    /// CARP §1.2.
    #[test]
    fn ip_packets_are_taken_apart_as_they_were_built(
        v4 in any::<[u8; 4]>(),
        v6 in any::<[u8; 16]>(),
        dscp in 0..64u8,
        identification in any::<u16>(),
        payload in any::<[[u8; 18]; 2]>(),
        trailing in vec(any::<u8>(), 0..20),
    ) {
        let mut carp = [0; ADVERTISEMENT_LEN];
        carp.copy_from_slice(payload.as_flattened());
        let mut style = HeaderStyle::with_dscp(dscp);
        style.identification = identification;

        let mut packet = [0; IPV4_PACKET_LEN];
        let source = Ipv4Addr::from(v4);
        emit_ipv4(source, GROUP_V4, style, &carp, &mut packet);
        prop_assert_eq!(internet_checksum(&packet[..20]), 0);
        let mut bytes = packet.to_vec();
        bytes.extend(&trailing);
        let expected = Datagram { source: source.into(), destination: GROUP_V4.into(), ttl: TTL, payload: &carp };
        prop_assert_eq!(Datagram::parse(&bytes), Ok(expected));

        let mut packet = [0; IPV6_PACKET_LEN];
        let source = Ipv6Addr::from(v6);
        emit_ipv6(source, GROUP_V6, style, &carp, &mut packet);
        let mut bytes = packet.to_vec();
        bytes.extend(&trailing);
        let expected = Datagram { source: source.into(), destination: GROUP_V6.into(), ttl: TTL, payload: &carp };
        prop_assert_eq!(Datagram::parse(&bytes), Ok(expected));
    }

    /// A packet cut anywhere is refused, and its TTL is the one that was written.
    #[test]
    fn a_packet_that_is_cut_short_is_refused(cut in 0..IPV4_PACKET_LEN, cut6 in 0..IPV6_PACKET_LEN) {
        let mut packet = [0; IPV4_PACKET_LEN];
        let style = HeaderStyle::default();
        emit_ipv4(Ipv4Addr::LOCALHOST, GROUP_V4, style, &[0; ADVERTISEMENT_LEN], &mut packet);
        prop_assert!(Datagram::parse(&packet[..cut]).is_err());
        let mut packet = [0; IPV6_PACKET_LEN];
        emit_ipv6(Ipv6Addr::LOCALHOST, GROUP_V6, style, &[0; ADVERTISEMENT_LEN], &mut packet);
        prop_assert!(Datagram::parse(&packet[..cut6]).is_err());
    }

    #[test]
    fn no_bytes_make_a_parser_panic(
        bytes in vec(any::<u8>(), 0..120),
        first in prop_oneof![Just(0x45u8), Just(0x60), Just(0x21), any::<u8>()],
    ) {
        let mut bytes = bytes;
        if let Some(place) = bytes.first_mut() {
            *place = first;
        }
        let auth = Authenticator::new(&Key::none(), Vhid::new(1).unwrap(), &[]);
        if let Ok(view) = View::parse(&bytes) {
            prop_assert_eq!(view.as_bytes(), &bytes[..ADVERTISEMENT_LEN]);
            prop_assert!(auth.verify(view).is_err(), "nobody guesses an HMAC");
        }
        if let Ok(datagram) = Datagram::parse(&bytes) {
            prop_assert!(bytes.ends_with(datagram.payload) || datagram.payload.len() < bytes.len());
        }
    }

    /// CARP §2.2: an accepted packet is the same one in every order, and what is discarded in
    /// one is discarded in all where the rules are the same.
    #[test]
    fn orders_of_checks_agree_on_what_is_accepted(
        mut payload in vec(any::<u8>(), 30..44),
        version in prop_oneof![4 => Just(0x21u8), 1 => any::<u8>()],
        vhid in prop_oneof![4 => Just(7u8), 1 => any::<u8>()],
        ttl in prop_oneof![4 => Just(255u8), 1 => any::<u8>()],
        repaired in prop_oneof![4 => Just(true), 1 => Just(false)],
        source in any_address(),
    ) {
        payload[0] = version;
        payload[1] = vhid;
        if let (true, Some(carp)) = (repaired, payload.first_chunk_mut::<ADVERTISEMENT_LEN>()) {
            repair_checksum(carp);
        }
        let datagram = Datagram { source, destination: GROUP_V4.into(), ttl, payload: &payload };
        let groups = groups(Vhid::new(7).unwrap());
        let local = Local { groups: &groups, shared: &[source] };
        let verdicts = ORDERS.map(|order| check(&datagram, &local, order).is_ok());
        prop_assert_eq!(verdicts, [verdicts[0]; 4]);
        let good = payload.len() >= ADVERTISEMENT_LEN
            && version >> 4 == 2
            && vhid == 7
            && ttl == TTL
            && internet_checksum(&payload[..ADVERTISEMENT_LEN]) == 0;
        prop_assert_eq!(verdicts[0], good);
        // Without a group nothing is accepted.
        for order in ORDERS {
            prop_assert!(check(&datagram, &Local::default(), order).is_err());
        }
    }

    /// CARP §3.3 and trap 9.44: "comparing the pair (advbase, skew) lexicographically", which
    /// equals comparing seconds first, microseconds second.
    #[test]
    fn the_order_of_preference_is_total(a in any::<(u8, u8)>(), b in any::<(u8, u8)>(), c in any::<(u8, u8)>()) {
        let of = |(base, skew)| Interval::new(AdvBase::new(base), AdvSkew::from_wire(skew));
        let order = of(a).cmp(&of(b));
        prop_assert_eq!(order, a.cmp(&b));
        prop_assert_eq!(order, of(a).duration().cmp(&of(b).duration()));
        prop_assert_eq!(order, of(b).cmp(&of(a)).reverse());
        prop_assert_eq!(order.is_eq(), of(a) == of(b));
        if of(a) <= of(b) && of(b) <= of(c) {
            prop_assert!(of(a) <= of(c));
        }
    }

    #[test]
    fn families_follow_addresses(address in any_address()) {
        let expected = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        prop_assert_eq!(Family::of(address), expected);
    }
}

proptest! {
    #![proptest_config(many())]

    /// Progress, bounded outputs, early and backward time, late draining, clones, and what is sent
    /// in which state; see `common/operations.rs`.
    #[test]
    fn a_machine_keeps_its_promises_whatever_happens(
        script in vec(any::<u8>(), 0..600)
            .prop_map(|choices| Script::any(&mut Bytes(&choices)))
    ) {
        script.run();
    }
}
