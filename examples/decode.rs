//! What is in this packet, and why does it not authenticate?
//!
//!     cargo run --example decode -- 2101000700017e1e0123456789abcdef08ba7693f61e8b92...
//!     tcpdump -x proto 112 | cargo run --example decode -- -
//!     cargo run --example decode -- capture.pcap --pass secret --addr 192.0.2.1
//!
//! Takes hex digits, the output of `tcpdump -x`, `tcpdump -xx`, `xxd`, `hexdump -C` or
//! `od -A x -t x1`, or a pcap file, from Ethernet frames down to bare advertisements. Told the key and the shared addresses of a host, it says
//! whether that host would accept the packets; if not, it tries the mistakes that are usual, and
//! names the one that explains the packet. Without arguments it shows a sample.

use core::error::Error;
use core::net::IpAddr;
use core::time::Duration;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use carp_proto::{Authenticator, Datagram, GROUP_V4, IpError, Key, ParseError, TTL, Vhid, View};
use clap::Parser;
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;

type Result<T> = core::result::Result<T, Box<dyn Error>>;

/// The sample: from 192.0.2.2, passphrase "secret", signed for 192.0.2.1 alone.
const SAMPLE: &str = "45e0003800004000ff70d860c0000202e00000122101000700017e1e0123456789abcdef\
    08ba7693f61e8b926873518e0350be85e1786463";

/// How files of the pcapng format begin.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Prints what is in CARP packets, and why they do not authenticate.
#[derive(Debug, Parser)]
#[command(
    version,
    about = "Prints what is in CARP packets, and why they do not authenticate."
)]
pub(crate) struct Options {
    /// Hex digits, a file of them, or a pcap file; `-` reads standard input
    packets: Option<String>,
    /// The passphrase of the receiver, as given to ifconfig
    #[arg(long, conflicts_with = "key")]
    pass: Option<String>,
    /// The key of the receiver, as 40 hex digits
    #[arg(long, value_parser = key_bytes, value_name = "HEX")]
    key: Option<[u8; Key::LEN]>,
    /// The vhid of the receiver; any if left out
    #[arg(long)]
    vhid: Option<u8>,
    /// A shared address of the receiver; repeat it for all, of both families
    #[arg(long)]
    addr: Vec<IpAddr>,
}

fn main() -> ExitCode {
    match run(Options::parse(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the packets and tells about each.
pub(crate) fn run(mut options: Options, out: &mut dyn Write) -> Result<()> {
    let input = match options.packets.as_deref() {
        Some("-") if io::stdin().is_terminal() => return Err("nothing on standard input".into()),
        Some("-") => {
            let mut input = Vec::new();
            io::stdin().lock().read_to_end(&mut input)?;
            input
        }
        Some(path) if Path::new(path).is_file() || is_path(path) => {
            fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?
        }
        Some(digits) => digits.into(),
        None => {
            writeln!(out, "No packets given; this is a sample, checked with")?;
            writeln!(out, "--pass secret --addr 192.0.2.1 --addr 192.0.2.9\n")?;
            options.pass = Some("secret".into());
            options.addr = vec!["192.0.2.1".parse()?, "192.0.2.9".parse()?];
            SAMPLE.into()
        }
    };
    // The magic numbers of the pcap format: two resolutions of time, two byte orders.
    let magics = [[0xa1, 0xb2, 0xc3, 0xd4], [0xa1, 0xb2, 0x3c, 0x4d]];
    let is_pcap = input.first_chunk().is_some_and(|start: &[u8; 4]| {
        let [a, b, c, d] = *start;
        magics.contains(start) || magics.contains(&[d, c, b, a])
    });
    if input.starts_with(&PCAPNG) {
        Err("pcapng is not understood; convert it with editcap -F pcap".into())
    } else if is_pcap {
        each_of_pcap(&options, &input, out)
    } else {
        each_of_hex(&options, &input, out)
    }
}

/// Whether an argument names a file, be it there or not: a dump has neither dots nor slashes but
/// in the text beside the digits, and that has spaces before it.
fn is_path(argument: &str) -> bool {
    let start = argument.split_whitespace().next().unwrap_or_default();
    start.contains(['/', '.']) && !argument.contains('\n')
}

fn each_of_pcap(options: &Options, input: &[u8], out: &mut dyn Write) -> Result<()> {
    let mut reader =
        PcapReader::new(input).map_err(|error| format!("no readable pcap header: {error}"))?;
    let link = reader.header().datalink;
    let mut first = None;
    let mut others = 0;
    let mut number = 0;
    while let Some(packet) = reader.next_packet() {
        let packet = packet.map_err(|error| format!("after packet {number}: {error}"))?;
        number += 1;
        let since = packet
            .timestamp
            .saturating_sub(*first.get_or_insert(packet.timestamp));
        match datagram_of(link, &packet.data)? {
            Ok(datagram) => {
                header(out, number, Some(since), &datagram)?;
                tell(options, &datagram, out)?;
            }
            // ARP and the like.
            Err(IpError::Protocol { .. } | IpError::Version { .. }) => others += 1,
            Err(error) => writeln!(out, "#{number}: no packet of IP: {error}")?,
        }
    }
    writeln!(out, "{number} packets, {others} of other protocols")?;
    Ok(())
}

/// What an Ethernet frame or the like carries.
fn datagram_of(
    link: DataLink,
    frame: &[u8],
) -> Result<core::result::Result<Datagram<'_>, IpError>> {
    let skipped = match link {
        DataLink::ETHERNET => ethernet(frame),
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => Some(frame),
        DataLink::NULL | DataLink::LOOP => frame.get(4..),
        DataLink::LINUX_SLL => frame.get(16..),
        other => return Err(format!("captures of {other:?} are not understood").into()),
    };
    // What is not IP at all is reported as IP of no version.
    Ok(skipped.map_or(Err(IpError::Version { version: 0 }), Datagram::parse))
}

/// The packet of IP in an Ethernet frame, if it is one.
fn ethernet(frame: &[u8]) -> Option<&[u8]> {
    match (frame.get(12..14)?, frame.get(16..18)) {
        ([0x08, 0x00] | [0x86, 0xdd], _) => frame.get(14..),
        // A VLAN tag in between.
        ([0x81, 0x00], Some([0x08, 0x00] | [0x86, 0xdd])) => frame.get(18..),
        _ => None,
    }
}

fn each_of_hex(options: &Options, input: &[u8], out: &mut dyn Write) -> Result<()> {
    let text = core::str::from_utf8(input).map_err(|_| "neither pcap nor hex digits")?;
    let mut packet = Vec::new();
    let mut packets = Vec::new();
    let mut has_offsets = false;
    for line in text.lines().chain([""]) {
        if begins_packet(line) && !packet.is_empty() {
            packets.push(core::mem::take(&mut packet));
        }
        match split_offset(line) {
            Some((_, digits)) => {
                has_offsets = true;
                packet.extend(hex(digits)?);
            }
            None if has_offsets && line.trim() == "*" => {
                return Err("rows are left out; dump again with -v".into());
            }
            // A headline, or the offset of the end.
            None if has_offsets || is_headline(line) => {}
            None => packet.extend(hex(line)?),
        }
    }
    if packets.is_empty() {
        return Err("no hex digits".into());
    }
    for (number, packet) in (1..).zip(&packets) {
        // From the outside in, as far as it makes sense.
        let outer = Datagram::parse(packet);
        let inner = ethernet(packet).map(Datagram::parse);
        match (outer, inner) {
            (Ok(datagram), _) | (Err(_), Some(Ok(datagram))) => {
                header(out, number, None, &datagram)?;
                tell(options, &datagram, out)?;
            }
            (Err(error @ (IpError::HeaderChecksum { .. } | IpError::Protocol { .. })), _)
            | (Err(_), Some(Err(error))) => writeln!(out, "#{number}: discarded: {error}")?,
            _ => {
                writeln!(out, "#{number}: no IP header; taken for an advertisement")?;
                let source = IpAddr::from([0, 0, 0, 0]);
                tell(
                    options,
                    &Datagram {
                        source,
                        destination: GROUP_V4.into(),
                        ttl: TTL,
                        payload: packet,
                    },
                    out,
                )?;
            }
        }
    }
    Ok(())
}

/// Whether what came before is a packet of its own: an empty line, or an offset of 0.
fn begins_packet(line: &str) -> bool {
    let is_zero = |offset: &str| offset.bytes().all(|digit| digit == b'0');
    line.trim().is_empty()
        || is_headline(line)
        || split_offset(line).is_some_and(|(offset, _)| is_zero(offset))
}

/// The line above each packet of tcpdump begins with a time of day.
fn is_headline(line: &str) -> bool {
    let start: Vec<char> = line.chars().take(9).collect();
    matches!(start.as_slice(), [_, _, ':', _, _, ':', _, _, '.'])
}

/// The offset at the begin of a line, and the digits after it without the text beside them.
fn split_offset(line: &str) -> Option<(&str, &str)> {
    let (offset, rest) = line.trim().split_once(char::is_whitespace)?;
    let (digits, is_marked) = match offset.strip_suffix(':') {
        // xxd and tcpdump: "0000: 4500 0038  E..8"
        Some(offset) => (offset, true),
        // hexdump -C and od -A x: "00000000  45 00 00 38  |E..8|", "000000 45 00 00 38"
        None => (offset, false),
    };
    let number = digits.strip_prefix("0x").unwrap_or(digits);
    let is_hex = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_hexdigit());
    // Bytes have two digits, or four in pairs, an offset has more, or a colon.
    let rest = rest.trim_start();
    let is_offset = is_hex && (is_marked || number.len() >= 6 && has_single_bytes(rest));
    let digits = if is_marked {
        rest.split_once("  ").map_or(rest, |(digits, _)| digits)
    } else {
        rest.split_once('|').map_or(rest, |(digits, _)| digits)
    };
    is_offset.then_some((number, digits))
}

/// Whether the digits come byte by byte.
fn has_single_bytes(digits: &str) -> bool {
    let first = digits.split_whitespace().next().unwrap_or_default();
    first.len() == 2
}

fn hex(text: &str) -> Result<Vec<u8>> {
    let text = text.replace("0x", "");
    let is_digit = |c: &char| !matches!(c, ' ' | '\t' | ',' | ':' | '-');
    let digits: Vec<char> = text.chars().filter(is_digit).collect();
    let value = |c: &char| {
        c.to_digit(16)
            .ok_or_else(|| format!("{c:?} is no hex digit"))
    };
    let mut bytes = Vec::with_capacity(digits.len() / 2);
    for pair in digits.chunks(2) {
        let [high, low] = pair else {
            return Err("an odd number of hex digits".into());
        };
        bytes.push(u8::try_from(value(high)? * 16 + value(low)?)?);
    }
    Ok(bytes)
}

fn key_bytes(text: &str) -> core::result::Result<[u8; Key::LEN], String> {
    let bytes = hex(text).map_err(|error| error.to_string())?;
    let len = bytes.len();
    bytes
        .try_into()
        .map_err(|_| format!("a key has {} bytes, not {len}", Key::LEN))
}

fn header(
    out: &mut dyn Write,
    number: u32,
    at: Option<Duration>,
    packet: &Datagram<'_>,
) -> io::Result<()> {
    let Datagram { source, ttl, .. } = packet;
    let at = at
        .map(|at| format!("{:.6} s, ", at.as_secs_f64()))
        .unwrap_or_default();
    writeln!(out, "#{number}: {at}from {source}, TTL {ttl}")?;
    if *ttl == TTL {
        return Ok(());
    }
    writeln!(
        out,
        "    discarded by most receivers: badttl, {TTL} is expected"
    )
}

/// Says what one packet says, and whether it is authentic.
fn tell(options: &Options, packet: &Datagram<'_>, out: &mut dyn Write) -> io::Result<()> {
    if let Some(other) = vrrp(packet.payload) {
        return writeln!(out, "    not CARP but {other}");
    }
    let view = match View::parse(packet.payload) {
        Ok(view) => view,
        Err(error) => {
            let counter = match error {
                ParseError::Truncated { .. } => "badlen",
                ParseError::Version { .. } => "badver",
                ParseError::Checksum { .. } => "badsum",
                _ => "error",
            };
            return writeln!(out, "    discarded: {counter}, {error}");
        }
    };
    writeln!(
        out,
        "    vhid {} advbase {} advskew {} demote {} counter {:016x}",
        view.vhid(),
        view.advbase(),
        view.advskew(),
        view.demote(),
        view.counter()
    )?;
    if !view.is_usual() {
        let (kind, authlen) = (view.message_type(), view.authlen());
        writeln!(
            out,
            "    unusual: type {kind}, authlen {authlen}, where 1 and 7 are expected"
        )?;
    }
    let extra = packet
        .payload
        .len()
        .saturating_sub(carp_proto::ADVERTISEMENT_LEN);
    if extra > 0 {
        writeln!(out, "    {extra} bytes follow, which are ignored")?;
    }
    if options.vhid.is_some_and(|vhid| vhid != view.vhid()) {
        return writeln!(
            out,
            "    discarded: badvhid, the packet is for another group"
        );
    }
    if options.pass.is_none() && options.key.is_none() && options.addr.is_empty() {
        return Ok(());
    }
    writeln!(out, "    {}", diagnose(options, packet.source, view))
}

/// A router of VRRP uses the same protocol number, and perhaps the same id.
fn vrrp(payload: &[u8]) -> Option<String> {
    let [version_and_type, id, priority, count, auth_type, ..] = *payload else {
        return None;
    };
    let with_auth_data = 16 + 4 * usize::from(count);
    match version_and_type >> 4 {
        // A CARP packet has 7 here, and 36 bytes.
        2 if payload.len() == with_auth_data && auth_type <= 2 => Some("VRRPv2"),
        3 => Some("VRRPv3"),
        _ => None,
    }
    .map(|version| format!("{version}: a router of id {id}, priority {priority}"))
}

/// Whether the receiver accepts the packet, or what would have to be different.
fn diagnose(options: &Options, source: IpAddr, view: View<'_>) -> String {
    let Ok(vhid) = Vhid::new(view.vhid()) else {
        return "discarded: badvhid, 0 is no id".into();
    };
    let fits = |key: &Key, addresses: &[IpAddr]| {
        Authenticator::new(key, vhid, addresses)
            .verify(view)
            .is_ok()
    };
    for (key_is, key) in keys(options) {
        for (list_is, addresses) in lists(&options.addr, source) {
            if !fits(&key, &addresses) {
                continue;
            }
            let is_scoped = |a: &IpAddr| matches!(a, IpAddr::V6(a) if a.is_unicast_link_local());
            let (scoped, global): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_scoped);
            let how = if !scoped.is_empty() && fits(&key, &global) {
                ", without link-local addresses, as OpenBSD signs"
            } else {
                ""
            };
            let differences: Vec<_> = [key_is, list_is].into_iter().flatten().collect();
            return if differences.is_empty() {
                format!("authentic{how}")
            } else {
                format!("badauth; the sender {}{how}", differences.join(", and "))
            };
        }
    }
    "badauth, and none of the usual mistakes explains it: another key, other addresses, or an \
     ifconfig that left the end of a longer key behind"
        .into()
}

/// The key, and what may have become of it on the way to the sender.
fn keys(options: &Options) -> Vec<(Option<String>, Key)> {
    let mut keys = Vec::new();
    if let Some(bytes) = options.key {
        keys.push((None, Key::from_bytes(bytes)));
        let mut cut = bytes;
        let [.., last] = &mut cut;
        *last = 0;
        keys.push((
            Some("lacks the last byte of the key".into()),
            Key::from_bytes(cut),
        ));
    }
    if let Some(pass) = options.pass.as_deref() {
        keys.push((None, Key::from_passphrase(pass.as_bytes())));
        if let Some(bytes) = pass.as_bytes().first_chunk() {
            let which = format!("takes {} bytes of the passphrase, not 19", Key::LEN);
            keys.push((Some(which), Key::from_bytes(*bytes)));
        }
        let mut variant = |which: &str, pass: &str| {
            keys.push((Some(which.into()), Key::from_passphrase(pass.as_bytes())));
        };
        variant("has no space around the passphrase", pass.trim());
        variant("has a line end behind the passphrase", &format!("{pass}\n"));
    }
    let none = (!keys.is_empty()).then(|| "has no key at all".into());
    keys.push((none, Key::none()));
    keys
}

/// The addresses, and in what the sender's list may differ.
fn lists(all: &[IpAddr], source: IpAddr) -> Vec<(Option<String>, Vec<IpAddr>)> {
    let mut lists = vec![(None, all.to_vec())];
    let mut variant = |which: String, list: Vec<IpAddr>| lists.push((Some(which), list));
    for (index, left_out) in all.iter().enumerate() {
        let mut others = all.to_vec();
        others.remove(index);
        variant(format!("does not share {left_out}"), others);
    }
    let only = |v4: bool| all.iter().copied().filter(|a| a.is_ipv4() == v4).collect();
    variant("shares no IPv6 addresses".into(), only(true));
    variant("shares no IPv4 addresses".into(), only(false));
    let mut more = all.to_vec();
    more.push(source);
    variant("shares its own address as well".into(), more);
    variant("shares no addresses at all".into(), Vec::new());
    lists
}
