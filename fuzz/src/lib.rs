//! What is fuzzed: ordinary functions over bytes, which panic when a promise is broken.
//!
//! The targets in `fuzz_targets` hand each of them to libFuzzer, and `cargo test` replays the seeds
//! in `seeds` through the same functions.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a broken promise ends the fuzzing run"
)]

pub mod hast_disk;
pub mod hast_machines;
pub mod hast_wire;
pub mod nbd;

#[path = "../../carp-proto/tests/common/operations.rs"]
mod operations;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arbitrary::{Arbitrary, Result, Unstructured};
use carp_proto::vrrp::{self, Ends};
use carp_proto::{
    ADVERTISEMENT_LEN, AcceptTtl, AdvBase, AdvSkew, Advertisement, AuthError, Authenticator,
    CheckOrder, Datagram, Discard, Family, Group, HeaderStyle, IPV4_PACKET_LEN, IPV6_PACKET_LEN,
    Key, LinkLocal, Local, PeerLine, Stats, Status, TTL, Vhid, View, Words, check, emit_ipv4,
    emit_ipv6,
};
use operations::{Choices, Script};

/// A fuzz body: it panics if a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by its name, for whoever replays seeds.
pub const TARGETS: [(&str, Target); 21] = [
    ("hast_activemap", hast_disk::hast_activemap),
    ("hast_answer", hast_wire::hast_answer),
    ("hast_conf", hast_disk::hast_conf),
    ("hast_control", hast_wire::hast_control),
    ("hast_frame", hast_wire::hast_frame),
    ("hast_handshake", hast_machines::hast_handshake),
    ("hast_hole", hast_wire::hast_hole),
    ("hast_lzf", hast_wire::hast_lzf),
    ("hast_metadata", hast_disk::hast_metadata),
    ("hast_nv", hast_wire::hast_nv),
    ("hast_opening", hast_wire::hast_opening),
    ("hast_primary", hast_machines::hast_primary),
    ("hast_reply", hast_wire::hast_reply),
    ("hast_request", hast_wire::hast_request),
    ("hast_secondary", hast_machines::hast_secondary),
    ("ifconfig", ifconfig),
    ("machine", machine),
    ("nbd", nbd::nbd),
    ("packet", packet),
    ("verify", verify),
    ("vrrp", vrrp),
];

/// Any bytes as a whole IP packet and as what follows its header.
///
/// Nothing panics; what is accepted is written again as the same bytes; what is discarded counts in
/// exactly one counter (CARP §1.1, §1.2, §2.2).
pub fn packet(data: &[u8]) {
    if let Ok(view) = View::parse(data) {
        view_is_what_the_bytes_say(view, &data[..ADVERTISEMENT_LEN]);
    }
    let Ok(datagram) = Datagram::parse(data) else {
        return;
    };
    if let Some(again) = emit_again(&datagram, data) {
        assert_eq!(
            again,
            data[..again.len()],
            "a plain packet is written as it was read"
        );
    }
    let vhid = Vhid::new(datagram.payload.get(1).copied().unwrap_or(1));
    let vhid = vhid.unwrap_or_else(|_| Vhid::new(1).expect("1 is a vhid"));
    let group = Group {
        vhid,
        v4: true,
        v6: true,
        ttl: AcceptTtl::Direct,
    };
    let routed = Group {
        ttl: AcceptTtl::Routed,
        ..group
    };
    for groups in [&[][..], &[group], &[routed]] {
        let local = Local {
            groups,
            shared: &[datagram.source],
        };
        let orders = [
            CheckOrder::FreeBsd10,
            CheckOrder::FreeBsd14,
            CheckOrder::FreeBsd15,
            CheckOrder::OpenBsd,
        ];
        for order in orders {
            match check(&datagram, &local, order) {
                Ok(view) => {
                    assert!(!groups.is_empty(), "accepted without a group");
                    assert!(
                        datagram.ttl == TTL || groups == [routed],
                        "accepted from another segment"
                    );
                    let view = View::parse(view.as_bytes()).expect("checked already");
                    view_is_what_the_bytes_say(view, &datagram.payload[..ADVERTISEMENT_LEN]);
                }
                Err(discard) => counts_once(&discard),
            }
        }
    }
}

/// The getters of `view` make the bytes again.
fn view_is_what_the_bytes_say(view: View<'_>, bytes: &[u8]) {
    let mut again = vec![
        carp_proto::VERSION << 4 | view.message_type(),
        view.vhid(),
        view.advskew().get(),
        view.authlen(),
        view.demote(),
        view.advbase().get(),
    ];
    again.extend(view.checksum().to_be_bytes());
    again.extend(view.counter().to_be_bytes());
    again.extend(&view.as_bytes()[again.len()..]);
    assert_eq!(again, bytes);
}

/// The packet as we would write it, if it has no feature that we never write.
fn emit_again(datagram: &Datagram<'_>, packet: &[u8]) -> Option<Vec<u8>> {
    let carp: &[u8; ADVERTISEMENT_LEN] = datagram.payload.try_into().ok()?;
    match datagram.source {
        IpAddr::V4(source) => {
            let plain = packet[0] == 0x45 && packet[6..8] == [0x40, 0] && datagram.ttl == TTL;
            let destination = <[u8; 4]>::try_from(&packet[16..20]).ok()?;
            let mut style = HeaderStyle::default();
            style.tos = packet[1];
            style.identification = u16::from_be_bytes([packet[4], packet[5]]);
            let mut out = [0; IPV4_PACKET_LEN];
            emit_ipv4(source, Ipv4Addr::from(destination), style, carp, &mut out);
            // One's complement has two zeros, of which we write one.
            let sum = packet[10..12] != [0xff, 0xff] && packet[10..12] != [0, 0];
            (plain && sum).then(|| out.to_vec())
        }
        IpAddr::V6(source) => {
            let flow = [packet[1] & 0x0f, packet[2], packet[3]];
            let plain = flow == [0, 0, 0] && datagram.ttl == TTL;
            let destination = <[u8; 16]>::try_from(&packet[24..40]).ok()?;
            let mut style = HeaderStyle::default();
            style.traffic_class = packet[0] << 4 | packet[1] >> 4;
            let mut out = [0; IPV6_PACKET_LEN];
            emit_ipv6(source, Ipv6Addr::from(destination), style, carp, &mut out);
            plain.then(|| out.to_vec())
        }
    }
}

fn counts_once(discard: &Discard) {
    let mut stats = Stats::default();
    stats.count_discard(discard);
    let sum: u64 = stats.named().map(|(_, count)| count).sum();
    assert_eq!(sum, 1, "{discard}");
}

/// A key, a set of addresses, and what somebody sends to a host that has them.
#[derive(Arbitrary, Debug)]
struct Exchange<'a> {
    key: [u8; 20],
    vhid: u8,
    addresses: Vec<IpAddr>,
    more: Vec<IpAddr>,
    said: (u8, u8, u8, u64),
    skipped: bool,
    flip: u16,
    /// What a forger sends.
    forged: &'a [u8],
}

/// A key, addresses and packets: what is signed verifies, also over a change of addresses; what was
/// changed or forged never does (CARP §1.5).
pub fn verify(data: &[u8]) {
    let Ok(it) = Exchange::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let Ok(vhid) = Vhid::new(it.vhid) else { return };
    let (advbase, advskew, demote, counter) = it.said;
    let said = Advertisement {
        vhid,
        advbase: AdvBase::new(advbase),
        advskew: AdvSkew::from_wire(advskew),
        demote,
        counter,
    };
    let form = if it.skipped {
        LinkLocal::Skipped
    } else {
        LinkLocal::Included
    };
    let key = Key::from_bytes(it.key);
    let sender = Authenticator::new(&key, vhid, &it.addresses).with_link_local(form);
    let mut receiver = Authenticator::new(&key, vhid, &it.addresses);
    let mut bytes = [0; ADVERTISEMENT_LEN];
    sender.sign(&said, &mut bytes);
    let view = View::parse(&bytes).expect("what was signed is well formed");
    let heard = receiver.verify(view).expect("what was signed is authentic");
    assert_eq!(heard.advertisement(), &said);

    // In one bit of what is covered: vhid, counter, authenticator.
    let mut changed = bytes;
    let bit = usize::from(it.flip) % (ADVERTISEMENT_LEN * 8);
    changed[bit / 8] ^= 1 << (bit % 8);
    assert!(
        View::parse(&changed).is_err(),
        "the checksum covers every bit"
    );
    repair_checksum(&mut changed);
    if matches!(bit / 8, 1 | 8..ADVERTISEMENT_LEN) {
        let view = View::parse(&changed).expect("the checksum was repaired");
        assert!(receiver.verify(view).is_err(), "bit {bit} is not covered");
    }

    // A forger without the key hits only what the sender would have sent.
    let mut forged = [0; ADVERTISEMENT_LEN];
    for (place, byte) in forged.iter_mut().zip(it.forged) {
        *place = *byte;
    }
    forged[0] = 0x21;
    repair_checksum(&mut forged);
    let view = View::parse(&forged).expect("version and checksum were repaired");
    match receiver.verify(view) {
        Ok(heard) => assert!(
            [LinkLocal::Included, LinkLocal::Skipped]
                .into_iter()
                .any(|form| {
                    let mut honest = [0; ADVERTISEMENT_LEN];
                    let sender = receiver.clone().with_link_local(form);
                    sender.sign(heard.advertisement(), &mut honest);
                    honest[8..] == forged[8..]
                }),
            "forged"
        ),
        Err(AuthError::Vhid { found, expected }) => assert_ne!(found, expected.get()),
        Err(_) => assert_eq!(view.vhid(), vhid.get()),
    }

    // The former addresses are accepted until they are forgotten, if there were any.
    let signed_with = |addresses: &[IpAddr]| {
        let mut bytes = [0; ADVERTISEMENT_LEN];
        Authenticator::new(&key, vhid, addresses).sign(&said, &mut bytes);
        bytes
    };
    let without = signed_with(&it.addresses) == signed_with(&[]);
    let view = View::parse(&bytes).expect("parsed before");
    receiver.set_addresses(&it.more);
    assert!(receiver.verify(view).is_ok() || without);
    receiver.forget_previous();
    let mut again = [0; ADVERTISEMENT_LEN];
    Authenticator::new(&key, vhid, &it.more)
        .with_link_local(form)
        .sign(&said, &mut again);
    let verdict = receiver.verify(View::parse(&again).expect("signed"));
    assert!(verdict.is_ok());
}

fn repair_checksum(bytes: &mut [u8; ADVERTISEMENT_LEN]) {
    bytes[6..8].fill(0);
    let mut sum: u32 = 0;
    for pair in bytes.chunks_exact(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair[1]);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from(sum).expect("folded");
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// Any text as the words of `ifconfig` and as what it prints: what is understood is printed so that
/// it is understood again, and every error has a text (CARP §5.4.1).
pub fn ifconfig(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    match Words::parse(text) {
        Ok(words) => {
            let shown = words.to_string();
            let again = Words::parse(&shown).expect("what is printed can be read");
            assert!(again.key.is_none(), "a key was printed");
            assert_eq!(again.to_string(), shown);
            let facts = |words: &Words| {
                let Words {
                    vhid,
                    advbase,
                    advskew,
                    state,
                    peer,
                    peer6,
                    ..
                } = *words;
                let vrrp = (words.carpver, words.vrrpprio, words.vrrpinterval);
                (
                    vhid,
                    advbase,
                    advskew,
                    state,
                    peer,
                    peer6,
                    vrrp,
                    words.address,
                )
            };
            assert_eq!(facts(&again), facts(&words), "{shown}");
        }
        Err(error) => {
            assert!(error.at.column <= text.len().saturating_add(1), "{error}");
        }
    }
    match Status::parse(text) {
        Ok(status) => assert_eq!(Status::parse(&status.to_string()), Ok(status)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match PeerLine::parse(text) {
        Ok(peers) => assert_eq!(PeerLine::parse(&peers.to_string()), Ok(peers)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A machine of any configuration and whatever may happen to it, with the promises that
/// `carp-proto/tests/roundtrip.rs` tests.
pub fn machine(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    if let Ok(script) = Script::arbitrary(&mut choices) {
        let told = TellOnPanic(&script);
        told.0.run();
    }
}

/// Prints what was done when it goes wrong.
struct TellOnPanic<'a>(&'a Script);

impl Drop for TellOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}", self.0);
        }
    }
}

/// A structured list of operations.
impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(choices: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::any(choices))
    }
}

impl Choices for Unstructured<'_> {
    fn below(&mut self, bound: u32) -> u32 {
        self.int_in_range(0..=bound - 1).unwrap_or(0)
    }

    fn is_done(&self) -> bool {
        self.is_empty()
    }
}

/// Where a VRRP packet comes from and goes to, and what it is checked for.
#[derive(Arbitrary, Debug)]
struct Router<'a> {
    source: IpAddr,
    destination_v4: Ipv4Addr,
    destination_v6: Ipv6Addr,
    pseudo_header: bool,
    addresses: Vec<IpAddr>,
    said: (u8, u8, u16),
    count_of_group: bool,
    bytes: &'a [u8],
}

/// VRRPv3: any bytes, and what is emitted is parsed as it was (CARP §5.7).
pub fn vrrp(data: &[u8]) {
    let whole = Datagram::parse(data);
    if let Ok(datagram) = whole {
        let known = |vhid| Group {
            vhid,
            v4: true,
            v6: true,
            ttl: AcceptTtl::Direct,
        };
        let vhid = Vhid::new(datagram.payload.get(1).copied().unwrap_or(0));
        let groups: Vec<Group> = vhid.ok().map(known).into_iter().collect();
        for checksum in [
            vrrp::Checksum::WithPseudoHeader,
            vrrp::Checksum::WithoutPseudoHeader,
        ] {
            for (vrrp, carp) in [(&groups[..], &[][..]), (&[], &groups), (&[], &[])] {
                for rules in [vrrp::Vrrp::FreeBsd15, vrrp::Vrrp::Rfc9568] {
                    let local = vrrp::Local {
                        vrrp,
                        carp,
                        rules,
                        checksum,
                    };
                    match vrrp::check(&datagram, &local) {
                        Ok(heard) => {
                            assert_eq!(datagram.ttl, TTL);
                            let said = heard.advertisement();
                            assert_eq!(Some(said.vrid), groups.first().map(|group| group.vhid));
                            assert_eq!(datagram.payload.get(2), Some(&said.priority.get()));
                            assert!(!vrrp.is_empty(), "accepted without a group");
                        }
                        Err(error) => counts_once(&error.into()),
                    }
                }
            }
        }
    }
    let Ok(it) = Router::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let ends = match it.source {
        IpAddr::V4(source) => Ends::V4 {
            source,
            destination: it.destination_v4,
        },
        IpAddr::V6(source) => Ends::V6 {
            source,
            destination: it.destination_v6,
        },
    };
    let mut style = vrrp::Style::default();
    style.checksum = match it.pseudo_header {
        true => vrrp::Checksum::WithPseudoHeader,
        false => vrrp::Checksum::WithoutPseudoHeader,
    };
    style.count = if it.count_of_group {
        vrrp::Count::OfGroup
    } else {
        vrrp::Count::OfPacket
    };
    match vrrp::View::parse(it.bytes, &ends, style.checksum) {
        Ok(view) => view_of_vrrp(view, &ends, style),
        Err(error) => counts_once(&error.into()),
    }

    let (vrid, priority, interval) = it.said;
    let Ok(vrid) = Vhid::new(vrid) else { return };
    let said = vrrp::Advertisement {
        vrid,
        priority: vrrp::Priority::from_wire(priority),
        interval: vrrp::AdverInterval::from_wire(interval),
    };
    let mut out = [0; vrrp::MAX_LEN];
    let of_family: Vec<IpAddr> = it
        .addresses
        .iter()
        .filter(|a| Family::of(**a) == ends.family())
        .copied()
        .collect();
    if let Ok(packet) = said.emit(&it.addresses, &ends, style, &mut out) {
        let view = vrrp::View::parse(packet, &ends, style.checksum).expect("what was emitted");
        assert_eq!(view.to_advertisement(), Ok(said));
        assert_eq!(view.addresses().collect::<Vec<_>>(), of_family);
    } else {
        assert!(of_family.is_empty() || it.addresses.len() > vrrp::MAX_ADDRESSES);
    }
}

/// Written again, an accepted packet is the same but for reserved bits, type and count.
fn view_of_vrrp(view: vrrp::View<'_>, ends: &Ends, style: vrrp::Style) {
    let addresses: Vec<IpAddr> = view.addresses().collect();
    let _ = view.check_count();
    let Ok(said) = view.to_advertisement() else {
        return;
    };
    let mut plain = style;
    plain.count = vrrp::Count::OfPacket;
    let mut out = [0; vrrp::MAX_LEN];
    let Ok(again) = said.emit(&addresses, ends, plain, &mut out) else {
        return;
    };
    let usual = view.message_type() == 1
        && usize::from(view.count()) == addresses.len()
        && view.reserved_and_interval() == said.interval.get()
        && view.as_bytes().len() == again.len()
        // One's complement has two zeros, of which we write one.
        && !matches!(view.checksum(), 0 | 0xffff);
    if usual {
        assert_eq!(again, view.as_bytes());
    }
}
