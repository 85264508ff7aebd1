//! What was on the wire, as `tcpdump` recorded it: decoded by this project and by `tshark`.

use core::net::IpAddr;
use core::time::Duration;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ha_core::carp_proto::{Datagram, View};
use nix::sys::signal::Signal;
use pcap_file::pcap::PcapReader;

use super::packet::Mac;
use super::{Lab, Namespace, Process, wait_until};

const LIMIT: Duration = Duration::from_secs(10);

/// A running `tcpdump`.
pub(crate) struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Records all packets of protocol 112 that cross the bridge.
    pub(crate) fn start(lab: &Lab) -> Self {
        Self::of(lab, lab.switch(), "br0", "ip proto 112 or ip6 proto 112")
    }

    /// Records what matches a filter at an interface.
    pub(crate) fn of(lab: &Lab, namespace: &Namespace, interface: &str, filter: &str) -> Self {
        let file = lab.unique("pcap");
        let arguments = [
            "-i",
            interface,
            "-w",
            file.to_str().expect("a path of ours"),
            "-Z",
            "root",
            "--immediate-mode",
            "-B",
            "8192",
            filter,
        ];
        let process = Process::start(
            namespace,
            &file.with_extension("log"),
            "tcpdump",
            &arguments.map(ToOwned::to_owned),
        );
        wait_until("tcpdump to listen", LIMIT, || {
            process.log().contains("listening on")
        });
        Self { process, file }
    }

    /// Ends the recording and reads the packets of protocol 112 in it.
    pub(crate) fn stop(self) -> Recording {
        Recording::read(self.end())
    }

    /// Ends the recording and returns all frames in it.
    pub(crate) fn frames(self) -> Vec<Frame> {
        read(&self.end())
    }

    fn end(mut self) -> PathBuf {
        self.process.signal(Signal::SIGINT);
        wait_until("tcpdump to end", LIMIT, || self.process.has_ended());
        let log = self.process.log();
        assert!(
            log.contains("\n0 packets dropped by kernel"),
            "tcpdump should miss nothing: {log}"
        );
        self.file
    }
}

/// A frame, and when it passed, since the epoch.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) at: Duration,
    pub(crate) octets: Vec<u8>,
}

fn read(file: &Path) -> Vec<Frame> {
    let opened = File::open(file).expect("a capture");
    let mut reader = PcapReader::new(opened).expect("a pcap file");
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.expect("a whole packet");
        frames.push(Frame {
            at: packet.timestamp,
            octets: packet.data.into_owned(),
        });
    }
    frames
}

/// What a capture holds.
pub(crate) struct Recording {
    file: PathBuf,
    pub(crate) packets: Vec<Packet>,
}

/// A packet of protocol 112.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// When, since the epoch.
    pub(crate) at: Duration,
    /// The sender's MAC address, and the one it was sent to.
    pub(crate) mac: Mac,
    pub(crate) to_mac: Mac,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) ttl: u8,
    /// What follows the IP header.
    pub(crate) payload: Vec<u8>,
}

impl Packet {
    /// The CARP advertisement in it; `None` if it is no sound one.
    pub(crate) fn carp(&self) -> Option<View<'_>> {
        View::parse(&self.payload).ok()
    }

    fn of(at: Duration, frame: &[u8]) -> Option<Self> {
        let (ethernet, packet) = frame.split_at_checked(14)?;
        let datagram = Datagram::parse(packet).ok()?;
        Some(Self {
            at,
            mac: Mac(ethernet[6..12].try_into().expect("6 octets")),
            to_mac: Mac(ethernet[..6].try_into().expect("6 octets")),
            source: datagram.source,
            destination: datagram.destination,
            ttl: datagram.ttl,
            payload: datagram.payload.to_vec(),
        })
    }
}

impl Recording {
    fn read(file: PathBuf) -> Self {
        let frames = read(&file);
        let packets = frames
            .iter()
            .filter_map(|frame| Packet::of(frame.at, &frame.octets))
            .collect();
        Self { file, packets }
    }

    /// The packets from a host, in order.
    pub(crate) fn from(&self, source: impl Into<IpAddr>) -> Vec<&Packet> {
        let source = source.into();
        let packets = self.packets.iter();
        packets.filter(|packet| packet.source == source).collect()
    }

    /// Checks that this host alone has sent something.
    pub(crate) fn assert_all_from(&self, source: impl Into<IpAddr>) {
        let source = source.into();
        assert!(!self.packets.is_empty(), "{source} should send");
        let stranger = self.packets.iter().find(|packet| packet.source != source);
        assert!(
            stranger.is_none(),
            "only {source} should send: {stranger:?}"
        );
    }

    /// Checks that two other programs see the same CARP packets as this project, and find no
    /// fault in them.
    pub(crate) fn assert_decodes_everywhere(&self) {
        let ours: Vec<_> = self.packets.iter().map(carp_fields).collect();
        assert!(!ours.is_empty(), "nothing was captured");

        let file = self.file.to_str().expect("a path of ours");
        let expert = "_ws.expert or _ws.malformed or carp.checksum.status != 1";
        let decode = ["-n", "-d", "ip.proto==112,carp", "-r", file];
        assert_eq!(
            run("tshark", &[&decode[..], &["-Y", expert]].concat()),
            "",
            "tshark complains"
        );
        let fields = [
            "-Y",
            "carp",
            "-T",
            "fields",
            "-e",
            "carp.vhid",
            "-e",
            "carp.adver_int",
            "-e",
            "carp.advskew",
            "-e",
            "carp.counter",
        ];
        let theirs = run("tshark", &[&decode[..], &fields].concat());
        assert_eq!(theirs.lines().collect::<Vec<_>>(), ours);

        let printed = run("tcpdump", &["-n", "-T", "carp", "-v", "-r", file]);
        let sound = printed
            .lines()
            .filter(|line| line.contains("CARPv2-advertise 36:") && !line.contains("bad"));
        assert_eq!(sound.count(), ours.len(), "tcpdump complains:\n{printed}");
    }

    /// Checks that `tshark` takes all packets for sound VRRPv3 with these fields, checksum
    /// included.
    pub(crate) fn assert_decodes_as_vrrp(&self) {
        let ours: Vec<_> = self.packets.iter().map(vrrp_fields).collect();
        assert!(!ours.is_empty(), "nothing was captured");
        let file = self.file.to_str().expect("a path of ours");
        let expert = "_ws.expert or _ws.malformed or vrrp.checksum.status != 1";
        assert_eq!(
            run("tshark", &["-n", "-r", file, "-Y", expert]),
            "",
            "tshark complains"
        );
        let fields = [
            "vrrp.version",
            "vrrp.virt_rtr_id",
            "vrrp.prio",
            "vrrp.addr_count",
            "vrrp.short_adver_int",
        ];
        let fields: Vec<_> = fields.iter().flat_map(|field| ["-e", field]).collect();
        let decode = ["-n", "-r", file, "-Y", "vrrp", "-T", "fields"];
        let theirs = run("tshark", &[&decode[..], &fields].concat());
        assert_eq!(theirs.lines().collect::<Vec<_>>(), ours);
    }
}

/// The fields of a VRRP advertisement in the order in which `tshark` is asked for them.
fn vrrp_fields(packet: &Packet) -> String {
    assert_eq!(packet.ttl, 255, "{packet:?}");
    let version_and_type = packet.payload[0];
    format!(
        "{}\t{}\t{}\t{}\t{}",
        version_and_type >> 4,
        packet.payload[1],
        packet.payload[2],
        packet.payload[3],
        u16::from_be_bytes([packet.payload[4] & 0x0f, packet.payload[5]])
    )
}

/// The fields of an advertisement in the order in which `tshark` is asked for them.
fn carp_fields(packet: &Packet) -> String {
    let view = packet.carp();
    let view = view.unwrap_or_else(|| panic!("not an advertisement: {packet:?}"));
    assert_eq!(packet.ttl, 255, "{packet:?}");
    format!(
        "{}\t{}\t{}\t{}",
        view.vhid(),
        view.advbase().get(),
        view.advskew().get(),
        view.counter()
    )
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}
