//! Replays recorded traces of FreeBSD's CARP code and compares every decision, packet, frame,
//! deadline and counter.
//!
//! The format is described in `vectors/README.md`. Each trace is a test of its own; the
//! environment variable `CARP_TRACES` names a directory with further ones.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Add;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use carp_proto::{
    ADVERTISEMENT_LEN, ARP_FRAME_LEN, AddressCount, AdvBase, AdvSkew, Authenticator, CheckOrder,
    Config, Datagram, Dialect, Family, FreeBsd, GROUP_V4, GROUP_V6, GratuitousArp, Group,
    HeaderStyle, IPV4_PACKET_LEN, IPV6_PACKET_LEN, Input, Interface, InterfaceName, Key, Local,
    MacAddr, NA_PACKET_LEN, Output, Received, SendResult, Settings, State, Stats, Transmit,
    UnsolicitedNa, Vhid, VirtualHost, check, emit_ipv4, emit_ipv6,
};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};

/// Microseconds of virtual time. Adding to it does what the kernel's timers do: with a tick
/// of 0 nothing, else it counts in ticks, rounded up and one more, from the last tick.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct At {
    us: u64,
    tick: u64,
}

impl Add<Duration> for At {
    type Output = Self;

    fn add(self, delay: Duration) -> Self {
        let delay = u64::try_from(delay.as_micros()).unwrap();
        let us = match self.tick {
            0 => self.us + delay,
            tick => self.us / tick * tick + (delay.div_ceil(tick) + 1) * tick,
        };
        Self { us, ..self }
    }
}

/// Of the advertisement, and of the master-down timers of IPv4 and IPv6.
type Deadlines = [Option<u64>; 3];

/// One virtual host of a node.
struct Member {
    vhid: u8,
    machine: VirtualHost<At>,
    auth: Authenticator,
    key: [u8; Key::LEN],
    addresses: Vec<IpAddr>,
    /// The deadline last seen, and when it was armed relative to all others.
    armed: (Option<At>, u64),
}

struct Port {
    name: String,
    mac: MacAddr,
    own: Vec<IpAddr>,
    link: bool,
    up: bool,
    errno: i64,
    error_af: u64,
    /// How many allocations of packets, and of tags, will fail.
    no_memory: (i64, i64),
    /// In the order of creation.
    members: Vec<Member>,
}

/// One host: the part of a kernel that is not the state machine.
struct Node {
    name: String,
    tick: u64,
    sysctls: BTreeMap<String, i64>,
    ports: Vec<Port>,
    random: VecDeque<u32>,
    alive: bool,
    demotion: i32,
    stats: Stats,
    /// Every vhid in the order of creation, for the "advertise now" task.
    order: Vec<(usize, u8)>,
    send_all: bool,
    arm_count: u64,
    outputs: Vec<Value>,
    /// The deadlines after the last step of each instant.
    deadlines: BTreeMap<(u64, String, u8), (State, Deadlines)>,
    now: u64,
}

fn int(value: &Value, key: &str) -> Option<i64> {
    value.get(key).and_then(Value::as_i64)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text {key} in {value}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn mac(text: &str) -> MacAddr {
    MacAddr(unhex(&text.replace(':', "")).try_into().unwrap())
}

impl Node {
    fn new(trace: &Value, spec: &Value) -> Self {
        let tick = match text(trace, "timer_model") {
            "exact_us" => 0,
            "freebsd_hz1000" => 1_000,
            "freebsd_hz100" => 10_000,
            other => panic!("unknown timer model {other}"),
        };
        let random = spec["rng_u32"].as_array().unwrap();
        let mut node = Self {
            name: text(spec, "name").to_string(),
            tick,
            sysctls: BTreeMap::new(),
            ports: Vec::new(),
            random: random
                .iter()
                .map(|n| n.as_u64().unwrap().try_into().unwrap())
                .collect(),
            alive: false,
            demotion: 0,
            stats: Stats::default(),
            order: Vec::new(),
            send_all: false,
            arm_count: 0,
            outputs: Vec::new(),
            deadlines: BTreeMap::new(),
            now: 0,
        };
        node.boot(trace, spec);
        node
    }

    fn boot(&mut self, trace: &Value, spec: &Value) {
        for source in [&trace["sysctls"], &spec["sysctls"]] {
            for (name, value) in source.as_object().unwrap() {
                self.sysctls.insert(name.clone(), value.as_i64().unwrap());
            }
        }
        let ports = spec["ifs"].as_array().unwrap().iter().map(|port| Port {
            name: text(port, "if").to_string(),
            mac: mac(text(port, "mac")),
            own: port["addrs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a.as_str().unwrap().parse().unwrap())
                .collect(),
            link: port.get("link").and_then(Value::as_bool).unwrap_or(true),
            up: port.get("up").and_then(Value::as_bool).unwrap_or(true),
            errno: 0,
            error_af: 0,
            no_memory: (0, 0),
            members: Vec::new(),
        });
        self.ports = ports.collect();
        self.demotion = i32::try_from(self.sysctls["demotion"]).unwrap();
        self.stats = Stats::default();
        self.order.clear();
        self.send_all = false;
        self.alive = true;
    }

    fn now(&self) -> At {
        At {
            us: self.now,
            tick: self.tick,
        }
    }

    fn emit(&mut self, mut output: Value) {
        output["t_us"] = json!(self.now);
        output["node"] = json!(self.name);
        self.outputs.push(output);
    }

    fn error(&mut self, errno: i64) {
        self.emit(json!({"out": "error", "errno": errno}));
    }

    fn port(&self, event: &Value) -> usize {
        let name = text(event, "if");
        self.ports
            .iter()
            .position(|p| p.name == name)
            .expect("the interface exists")
    }

    fn find(&self, port: usize, vhid: i64) -> Option<usize> {
        self.ports[port]
            .members
            .iter()
            .position(|m| i64::from(m.vhid) == vhid)
    }

    fn settings(&self, base: Settings) -> Settings {
        let mut settings = base;
        settings.preempt = self.sysctls["preempt"] != 0;
        settings.senderr_demotion = self.sysctls["senderr_demotion_factor"].try_into().unwrap();
        settings.ifdown_demotion = self.sysctls["ifdown_demotion_factor"].try_into().unwrap();
        settings
    }

    fn interface(&self, port: usize) -> Interface {
        let Port { link, up, .. } = self.ports[port];
        match (up && self.sysctls["allow"] != 0, link) {
            (false, _) => Interface::Down,
            (true, false) => Interface::NoCarrier,
            (true, true) => Interface::Up,
        }
    }

    // Events.

    fn event(&mut self, trace: &Value, event: &Value) {
        self.now = event["t_us"].as_u64().unwrap();
        match text(event, "ev") {
            "crash" => {
                self.emit(json!({"out": "crashed"}));
                self.alive = false;
                self.ports.clear();
            }
            "boot" => {
                let spec = trace["nodes"].as_array().unwrap().iter();
                let spec = spec.clone().find(|n| text(n, "name") == self.name).unwrap();
                self.boot(trace, spec);
            }
            "partition" => {}
            "vhid" => self.on_vhid(event),
            "addr_add" => self.on_addr_add(event),
            "addr_del" => self.on_addr_del(event),
            "set_state" => self.on_set_state(event),
            "link" => self.on_link(event, |port, up| port.link = up),
            "admin" => self.on_link(event, |port, up| port.up = up),
            "recv" => self.on_recv(event),
            "demote" => self.demote(
                i32::try_from(int(event, "delta").unwrap()).unwrap(),
                "sysctl",
            ),
            "sysctl" => self.on_sysctl(event),
            "send_error" => {
                let port = self.port(event);
                self.ports[port].errno = int(event, "errno").unwrap();
                self.ports[port].error_af = event.get("af").and_then(Value::as_u64).unwrap_or(4);
            }
            "nomem" => {
                let port = self.port(event);
                self.ports[port].no_memory =
                    (int(event, "mbuf").unwrap(), int(event, "tag").unwrap());
            }
            other => panic!("unknown event {other}"),
        }
        self.finish_step();
    }

    fn on_vhid(&mut self, event: &Value) {
        let port = self.port(event);
        let number = int(event, "vhid").unwrap();
        let advbase = int(event, "advbase").filter(|base| *base != 0);
        let advskew = int(event, "advskew");
        if !(1..=255).contains(&number) {
            return self.error(22);
        }
        let id = u8::try_from(number).unwrap();
        let known = self.find(port, number);
        let created = known.is_none();
        let index = known.unwrap_or_else(|| {
            let vhid = Vhid::new(id).unwrap();
            let mut config = Config::strict(vhid, Dialect::FreeBsd(FreeBsd::From10To13), 0);
            config.settings = self.settings(config.settings);
            config.interface = self.interface(port);
            config.interface_name = Some(InterfaceName::new(&self.ports[port].name).unwrap());
            self.order.push((port, id));
            self.ports[port].members.push(Member {
                vhid: id,
                machine: VirtualHost::new(config).unwrap(),
                auth: Authenticator::new(&Key::none(), vhid, &[]),
                key: [0; Key::LEN],
                addresses: Vec::new(),
                armed: (None, 0),
            });
            self.ports[port].members.len() - 1
        });
        let member = &mut self.ports[port].members[index];
        let mut settings = member.machine.config().settings;
        // What precedes the faulty value is set all the same.
        let base_fits = advbase.is_none_or(|base| (1..=255).contains(&base));
        if let Some(base) = advbase.filter(|_| base_fits) {
            settings.advbase = AdvBase::new(base.try_into().unwrap());
        }
        let skew_fits = base_fits && advskew.is_none_or(|skew| (0..=254).contains(&skew));
        if let Some(skew) = advskew.filter(|_| skew_fits) {
            settings.advskew = AdvSkew::new(skew.try_into().unwrap()).unwrap();
        }
        let key = event
            .get("key")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .as_bytes();
        if skew_fits && key.first().is_some_and(|first| *first != 0) {
            member.key = [0; Key::LEN];
            for (place, byte) in member.key.iter_mut().zip(key) {
                *place = *byte;
            }
            member
                .auth
                .set_key(&Key::from_bytes(member.key), &member.addresses);
        }
        let force = event.get("state").and_then(Value::as_str).map(state);
        self.handle(port, index, Input::Settings(settings));
        if created {
            // In INIT it takes note of the level and does nothing else.
            self.handle(port, index, Input::Demotion(self.demotion));
        }
        if !skew_fits {
            return self.error(22);
        }
        if let Some(state) = force {
            self.handle(port, index, Input::Force(state));
        }
    }

    fn on_addr_add(&mut self, event: &Value) {
        let port = self.port(event);
        if self.ports[port].members.is_empty() {
            return self.error(42);
        }
        let Some(index) = self.find(port, int(event, "vhid").unwrap()) else {
            return self.error(2);
        };
        let member = &mut self.ports[port].members[index];
        member.addresses.push(text(event, "addr").parse().unwrap());
        member.auth.set_addresses(&member.addresses);
        let count = AddressCount::of(&member.addresses);
        self.handle(port, index, Input::Addresses(count));
    }

    fn on_addr_del(&mut self, event: &Value) {
        let port = self.port(event);
        let address: IpAddr = text(event, "addr").parse().unwrap();
        let owner = |m: &Member| m.addresses.contains(&address);
        let Some(index) = self.ports[port].members.iter().position(owner) else {
            return self.error(49);
        };
        let name = self.ports[port].name.clone();
        self.emit(json!({"out": "addr", "op": "remove", "if": name, "addr": text(event, "addr")}));
        let member = &mut self.ports[port].members[index];
        member.addresses.retain(|a| *a != address);
        member.auth.set_addresses(&member.addresses);
        let count = AddressCount::of(&member.addresses);
        self.handle(port, index, Input::Addresses(count));
        if count.is_empty() {
            let gone = self.ports[port].members.remove(index);
            self.stats += gone.machine.stats();
            self.order.retain(|entry| *entry != (port, gone.vhid));
            self.run_send_all();
            self.emit(json!({"out": "vhid_gone", "if": name, "vhid": gone.vhid}));
        }
    }

    fn on_set_state(&mut self, event: &Value) {
        let port = self.port(event);
        match self.find(port, int(event, "vhid").unwrap()) {
            Some(index) => self.handle(port, index, Input::Force(state(text(event, "state")))),
            None => self.error(2),
        }
    }

    fn on_link(&mut self, event: &Value, change: fn(&mut Port, bool)) {
        let port = self.port(event);
        change(&mut self.ports[port], event["up"].as_bool().unwrap());
        let interface = self.interface(port);
        for index in 0..self.ports[port].members.len() {
            self.handle(port, index, Input::Interface(interface));
        }
    }

    fn on_sysctl(&mut self, event: &Value) {
        let (name, value) = (text(event, "name"), int(event, "value").unwrap());
        if name == "dscp" && !(0..64).contains(&value) {
            return self.error(22);
        }
        let old = self.sysctls.insert(name.to_string(), value).unwrap();
        // Newest first, as the kernel's list has them.
        for (port, vhid) in self.order.clone().into_iter().rev() {
            let index = self.find(port, vhid.into()).unwrap();
            let settings = self.settings(self.ports[port].members[index].machine.config().settings);
            self.handle(port, index, Input::Settings(settings));
            if name == "allow" && old != value {
                let interface = self.interface(port);
                self.handle(port, index, Input::Interface(interface));
            }
        }
    }

    fn on_recv(&mut self, event: &Value) {
        let port = self.port(event);
        let packet = unhex(text(event, "pkt"));
        match self.receive(port, &packet) {
            Ok((index, received)) => {
                self.emit(json!({"out": "rx", "verdict": "ok"}));
                self.handle(port, index, Input::Advertisement(received));
            }
            Err(("not_delivered", why)) => {
                self.emit(json!({"out": "rx", "verdict": "not_delivered", "why": why}));
            }
            Err((verdict, _)) => self.emit(json!({"out": "rx", "verdict": verdict})),
        }
    }

    /// What IP input and CARP input do before the state machine.
    fn receive(
        &mut self,
        port: usize,
        packet: &[u8],
    ) -> Result<(usize, Received), (&'static str, &'static str)> {
        let datagram = Datagram::parse(packet).expect("the trace has sane IP headers");
        let family = datagram.family();
        let groups: Vec<Group> = self.ports[port].members.iter().map(group).collect();
        let joined = groups
            .iter()
            .any(|g| if family == Family::V4 { g.v4 } else { g.v6 });
        let multicast = match family {
            Family::V4 => packet[16..20] == GROUP_V4.octets(),
            Family::V6 => packet[24..40] == GROUP_V6.octets(),
        };
        if multicast && !joined {
            return Err(("not_delivered", "group not joined"));
        }
        self.stats.count_input(family);
        if self.sysctls["allow"] == 0 {
            return Err(("not_allowed", ""));
        }
        let members = &self.ports[port].members;
        let shared: Vec<IpAddr> = members.iter().flat_map(|m| m.addresses.clone()).collect();
        let local = Local {
            groups: &groups,
            shared: &shared,
        };
        let verified = check(&datagram, &local, CheckOrder::FreeBsd10).and_then(|view| {
            let index = members.iter().position(|m| m.vhid == view.vhid()).unwrap();
            Ok((index, members[index].auth.verify(view)?))
        });
        match verified {
            Ok((index, advertisement)) => {
                Ok((index, Received::new(advertisement, datagram.source)))
            }
            Err(discard) => {
                let before = self.stats;
                self.stats.count_discard(&discard);
                let mut counters = before.named().zip(self.stats.named());
                let (counter, _) = counters.find(|(before, after)| before != after).unwrap();
                Err((counter.0, ""))
            }
        }
    }

    // Machines and their outputs.

    fn handle(&mut self, port: usize, index: usize, input: Input) {
        let now = self.now();
        self.ports[port].members[index].machine.handle(now, input);
        self.drain(port, index);
    }

    fn drain(&mut self, port: usize, index: usize) {
        while let Some(output) = self.ports[port].members[index].machine.poll_output() {
            self.act(port, index, output);
        }
        self.arm_count += 1;
        let Port { name, members, .. } = &mut self.ports[port];
        let member = &mut members[index];
        let deadline = member.machine.poll_timeout();
        if member.armed.0 != deadline {
            member.armed = (deadline, self.arm_count);
        }
        let us = |at: Option<At>| at.map(|at| at.us);
        let machine = &member.machine;
        let deadlines = [
            us(machine.next_advertisement()),
            us(machine.master_down(Family::V4)),
            us(machine.master_down(Family::V6)),
        ];
        let key = (self.now, name.clone(), member.vhid);
        self.deadlines.insert(key, (machine.state(), deadlines));
    }

    fn act(&mut self, port: usize, index: usize, output: Output) {
        let now = self.now();
        let name = self.ports[port].name.clone();
        let vhid = self.ports[port].members[index].vhid;
        match output {
            Output::Event(carp_proto::Event::State {
                from, to, reason, ..
            }) => self.emit(json!({
                "out": "state", "if": name, "vhid": vhid, "from": from.to_string(),
                "to": to.to_string(), "reason": reason.to_string(),
            })),
            Output::Event(event) => panic!("no such event in strict mode: {event}"),
            Output::Demote(demote) => self.demote(demote.adjustment, &demote.reason.to_string()),
            Output::Transmit(transmit) => self.transmit(port, index, transmit),
            Output::Announce(family) => self.announce(port, index, family),
            Output::Acquire => self.addresses(port, index, "install"),
            Output::Release => self.addresses(port, index, "remove"),
            // The kernel allocates before it draws the number.
            Output::NeedCounter if self.ports[port].no_memory.0 > 0 => {
                self.ports[port].no_memory.0 -= 1;
                let machine = &mut self.ports[port].members[index].machine;
                machine.handle(now, Input::Sent(Family::V4, SendResult::NoMemory));
            }
            Output::NeedCounter => {
                let high = u64::from(self.random.pop_front().expect("enough randomness"));
                let low = u64::from(self.random.pop_front().expect("enough randomness"));
                let machine = &mut self.ports[port].members[index].machine;
                machine.handle(now, Input::FreshCounter(high << 32 | low));
            }
            Output::ForgetAddresses => self.ports[port].members[index].auth.forget_previous(),
        }
    }

    fn addresses(&mut self, port: usize, index: usize, op: &str) {
        let name = self.ports[port].name.clone();
        for address in self.ports[port].members[index].addresses.clone() {
            let address = address.to_string();
            self.emit(json!({"out": "addr", "op": op, "if": name, "addr": address}));
        }
    }

    fn transmit(&mut self, port: usize, index: usize, transmit: Transmit) {
        let Transmit {
            family,
            advertisement,
            ..
        } = transmit;
        if self.ports[port].no_memory.1 > 0 {
            self.ports[port].no_memory.1 -= 1;
            let now = self.now();
            let machine = &mut self.ports[port].members[index].machine;
            machine.handle(now, Input::Sent(family, SendResult::NoMemory));
            return;
        }
        let style = HeaderStyle::with_dscp(u8::try_from(self.sysctls["dscp"]).unwrap());
        let source = self.source(port, family);
        let Port {
            name,
            errno,
            error_af,
            members,
            ..
        } = &self.ports[port];
        let ad = *advertisement.carp().unwrap();
        let mut carp = [0; ADVERTISEMENT_LEN];
        members[index].auth.sign(&ad, &mut carp);
        let (packet, eth_dst, af) = match source {
            IpAddr::V4(source) => {
                let mut packet = [0; IPV4_PACKET_LEN];
                emit_ipv4(source, GROUP_V4, style, &carp, &mut packet);
                (packet.to_vec(), "01005e000012", 4)
            }
            IpAddr::V6(source) => {
                let mut packet = [0; IPV6_PACKET_LEN];
                emit_ipv6(source, GROUP_V6, style, &carp, &mut packet);
                (packet.to_vec(), "333300000012", 6)
            }
        };
        let error = if *error_af == af || *error_af == 0 {
            *errno
        } else {
            0
        };
        let output = json!({
            "out": "advert", "if": name, "vhid": ad.vhid.get(), "advbase": ad.advbase.get(),
            "advskew": ad.advskew.get(), "counter": format!("{:016x}", ad.counter),
            "pkt": hex(&packet), "eth_src": hex(&ad.vhid.mac().0), "eth_dst": eth_dst,
            "error": error,
        });
        self.emit(output);
        let result = match error {
            0 => SendResult::Ok,
            error => SendResult::Error(error.try_into().unwrap()),
        };
        let now = self.now();
        self.ports[port].members[index]
            .machine
            .handle(now, Input::Sent(family, result));
    }

    /// The kernel's choice: the first own address of the family, else a shared one, those of
    /// a master first, else the unspecified one (CARP §1.2.1).
    fn source(&self, port: usize, family: Family) -> IpAddr {
        let Port { own, members, .. } = &self.ports[port];
        let shared = |master: bool| {
            members
                .iter()
                .filter(move |m| (m.machine.state() == State::Master) == master)
                .flat_map(|m| &m.addresses)
        };
        own.iter()
            .chain(shared(true))
            .chain(shared(false))
            .find(|a| Family::of(**a) == family)
            .copied()
            .unwrap_or_else(|| match family {
                Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
                Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
            })
    }

    fn announce(&mut self, port: usize, index: usize, family: Family) {
        let Port {
            name,
            mac,
            own,
            members,
            ..
        } = &self.ports[port];
        let virtual_mac = Vhid::new(members[index].vhid).unwrap().mac();
        let link_local = own.iter().find_map(|a| match a {
            IpAddr::V6(a) if a.is_unicast_link_local() => Some(*a),
            _ => None,
        });
        let mut outputs = Vec::new();
        for address in &members[index].addresses {
            match (family, address) {
                (Family::V4, IpAddr::V4(address)) => {
                    let mut arp = GratuitousArp::new(*address, virtual_mac);
                    arp.ethernet_source = *mac;
                    let mut frame = [0; ARP_FRAME_LEN];
                    arp.emit(&mut frame);
                    outputs.push(json!({
                        "out": "garp", "if": name, "addr": address.to_string(),
                        "frame": hex(&frame),
                    }));
                }
                (Family::V6, IpAddr::V6(address)) => {
                    let source = link_local.unwrap_or(Ipv6Addr::UNSPECIFIED);
                    let mut packet = [0; NA_PACKET_LEN];
                    UnsolicitedNa::new(*address, virtual_mac, source).emit(&mut packet);
                    outputs.push(json!({
                        "out": "na", "if": name, "addr": address.to_string(),
                        "pkt": hex(&packet), "eth_src": hex(&virtual_mac.0),
                        "eth_dst": "333300000001",
                    }));
                }
                _ => {}
            }
        }
        for mut output in outputs {
            let Port {
                errno, error_af, ..
            } = self.ports[port];
            if output["out"] == "na" {
                let fails = error_af == 6 || error_af == 0;
                output["error"] = json!(if fails { errno } else { 0 });
            }
            self.emit(output);
        }
    }

    fn demote(&mut self, adjustment: i32, reason: &str) {
        self.demotion += adjustment;
        let total = self.demotion;
        self.emit(json!({"out": "demotion", "adj": adjustment, "total": total, "reason": reason}));
        self.send_all = true;
    }

    /// The kernel's task that follows every demotion, at the same instant.
    fn run_send_all(&mut self) {
        while core::mem::take(&mut self.send_all) {
            self.emit(json!({"out": "send_all"}));
            for (port, vhid) in self.order.clone().into_iter().rev() {
                let index = self.find(port, vhid.into()).unwrap();
                self.handle(port, index, Input::Demotion(self.demotion));
            }
        }
    }

    fn finish_step(&mut self) {
        self.run_send_all();
    }

    // Time.

    /// Fires what is due until `until`, each at its own deadline, the earliest first.
    fn advance(&mut self, until: u64) {
        loop {
            let due = self
                .ports
                .iter()
                .enumerate()
                .flat_map(|(port, p)| p.members.iter().enumerate().map(move |(i, m)| (port, i, m)))
                .filter_map(|(port, i, m)| Some((m.armed.0?.us, m.armed.1, port, i)))
                .min();
            match due {
                Some((us, _, port, index)) if us <= until => {
                    self.now = us;
                    self.handle(port, index, Input::Timeout);
                    self.finish_step();
                }
                _ => return,
            }
        }
    }

    fn compare_final(&self, expected: &Value, differences: &mut Vec<String>) {
        let mut differ = |what: &str, ours: Value, theirs: &Value| {
            if ours != *theirs {
                differences.push(format!("final {what}: {ours} where {theirs} is expected"));
            }
        };
        if expected.is_null() {
            differ("life", json!(self.alive), &json!(false));
            return;
        }
        differ("demotion", json!(self.demotion), &expected["demotion"]);
        let mut stats = self.stats;
        for member in self.ports.iter().flat_map(|p| &p.members) {
            stats += member.machine.stats();
        }
        for (name, count) in stats.named().take(16) {
            differ(name, json!(count), &expected["stats"][name]);
        }
        let vhids = expected["vhids"].as_array().unwrap();
        let ours = self.ports.iter().map(|p| p.members.len()).sum::<usize>();
        differ("number of vhids", json!(ours), &json!(vhids.len()));
        for theirs in vhids {
            let port = self.port(theirs);
            let Some(index) = self.find(port, int(theirs, "vhid").unwrap()) else {
                continue;
            };
            let member = &self.ports[port].members[index];
            let machine = &member.machine;
            let count = AddressCount::of(&member.addresses);
            let settings = machine.config().settings;
            differ(
                "state",
                json!(machine.state().to_string()),
                &theirs["state"],
            );
            differ(
                "counter",
                json!(format!("{:016x}", machine.counter())),
                &theirs["counter"],
            );
            differ("advbase", json!(settings.advbase.get()), &theirs["advbase"]);
            differ("advskew", json!(settings.advskew.get()), &theirs["advskew"]);
            let us = |at: Option<At>| json!(at.map(|at| at.us));
            differ("ad", us(machine.next_advertisement()), &theirs["ad"]);
            differ("md", us(machine.master_down(Family::V4)), &theirs["md"]);
            differ("md6", us(machine.master_down(Family::V6)), &theirs["md6"]);
            differ("naddrs", json!(count.v4), &theirs["naddrs"]);
            differ("naddrs6", json!(count.v6), &theirs["naddrs6"]);
        }
    }

    /// All deadlines, also those left pending that fire without effect.
    fn compare_deadlines(&self, expected: &[Value], differences: &mut Vec<String>) {
        let mut last = BTreeMap::new();
        for output in expected.iter().filter(|o| text(o, "out") == "timers") {
            let vhid = u8::try_from(int(output, "vhid").unwrap()).unwrap();
            let at = output["t_us"].as_u64().unwrap();
            last.insert((at, text(output, "if").to_string(), vhid), output);
        }
        for (key, theirs) in last {
            let Some((state, deadlines)) = self.deadlines.get(&key) else {
                continue;
            };
            let ours = json!(deadlines);
            let theirs = json!([theirs["ad"], theirs["md"], theirs["md6"]]);
            if ours != theirs {
                differences.push(format!(
                    "deadlines {key:?} in {state}: {ours} where {theirs}"
                ));
            }
        }
    }
}

fn group(member: &Member) -> Group {
    let count = AddressCount::of(&member.addresses);
    Group {
        vhid: Vhid::new(member.vhid).unwrap(),
        v4: count.v4 > 0,
        v6: count.v6 > 0,
        ttl: Default::default(),
    }
}

fn state(name: &str) -> State {
    match name {
        "INIT" => State::Init,
        "BACKUP" => State::Backup,
        "MASTER" => State::Master,
        other => panic!("no state {other}"),
    }
}

/// An output without what this test derives otherwise.
fn plain(output: &Value) -> Value {
    let mut output = output.clone();
    output.as_object_mut().unwrap().remove("cause");
    output
}

/// Replays every node of a trace by itself and lists what differs.
fn replay(trace: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    for spec in trace["nodes"].as_array().unwrap() {
        let mut node = Node::new(trace, spec);
        for event in trace["events"].as_array().unwrap() {
            if event.get("node").and_then(Value::as_str) == Some(&node.name) {
                node.advance(event["t_us"].as_u64().unwrap());
                node.event(trace, event);
            }
        }
        node.advance(trace["end_us"].as_u64().unwrap());

        let expected: Vec<Value> = trace["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|o| o["node"] == json!(node.name))
            .cloned()
            .collect();
        let compared: Vec<Value> = expected
            .iter()
            .filter(|o| text(o, "out") != "timers")
            .map(plain)
            .collect();
        for (i, (ours, theirs)) in node.outputs.iter().zip(&compared).enumerate() {
            if ours != theirs {
                differences.push(format!("{} output {i}: {ours} where {theirs}", node.name));
                break;
            }
        }
        if node.outputs.len() != compared.len() {
            let (ours, theirs) = (node.outputs.len(), compared.len());
            differences.push(format!("{}: {ours} outputs where {theirs}", node.name));
        }
        node.compare_deadlines(&expected, &mut differences);
        node.compare_final(&trace["final"][&node.name], &mut differences);
    }
    differences
}

/// A test for each trace of a directory.
fn trials(directory: &Path, kind: &str) -> Vec<Trial> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    let trial = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Trial::test(name, move || {
            let trace: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
            match replay(&trace) {
                differences if differences.is_empty() => Ok(()),
                differences => Err(differences.join("\n").into()),
            }
        })
        .with_kind(kind)
    };
    paths.into_iter().map(trial).collect()
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/traces");
    let mut tests = trials(&recorded, "recorded");
    assert_eq!(tests.len(), 107, "traces were added or lost");
    if let Some(directory) = std::env::var_os("CARP_TRACES") {
        let further = trials(Path::new(&directory), "further");
        assert!(!further.is_empty(), "no traces in {directory:?}");
        tests.extend(further);
    }
    libtest_mimic::run(&arguments, tests).exit_code()
}
