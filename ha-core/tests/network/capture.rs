//! What was on the wire, as `tcpdump` recorded it: decoded by this project and by `tshark`.

use core::net::IpAddr;
use core::time::Duration;
use std::fs::File;
use std::path::PathBuf;
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

    /// Ends the recording and reads it.
    pub(crate) fn stop(mut self) -> Recording {
        self.process.signal(Signal::SIGINT);
        wait_until("tcpdump to end", LIMIT, || self.process.has_ended());
        let log = self.process.log();
        assert!(
            log.contains("\n0 packets dropped by kernel"),
            "tcpdump should miss nothing: {log}"
        );
        Recording::read(self.file)
    }
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
    /// The sender's MAC address.
    pub(crate) mac: Mac,
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
            source: datagram.source,
            destination: datagram.destination,
            ttl: datagram.ttl,
            payload: datagram.payload.to_vec(),
        })
    }
}

impl Recording {
    fn read(file: PathBuf) -> Self {
        let opened = File::open(&file).expect("a capture");
        let mut reader = PcapReader::new(opened).expect("a pcap file");
        let mut packets = Vec::new();
        while let Some(packet) = reader.next_packet() {
            let packet = packet.expect("a whole packet");
            packets.extend(Packet::of(packet.timestamp, &packet.data));
        }
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
