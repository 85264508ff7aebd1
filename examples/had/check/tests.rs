//! The sample, and what is said of files that are wrong.

use std::path::Path;

use super::super::config::{Config, parse};

const SAMPLE: &str = include_str!("../had.toml");

/// A node with one unit, and `more` of that.
fn with(more: &str) -> String {
    format!(
        "[node]\nid = 0\nname = \"alpha\"\n[[unit]]\nname = \"files\"\n[[unit.carp]]\n\
         interface = \"eth0\"\nvhid = 1\naddresses = [\"192.0.2.1/24\"]\npassphrase = \"x\"\n{more}"
    )
}

fn refused(text: &str) -> String {
    let faults = parse(text).unwrap_err();
    let told = faults.iter();
    let told = told.map(|fault| fault.in_file(Path::new("f"), text).to_string());
    told.collect::<Vec<_>>().join("\n")
}

/// The sample with a passphrase of its own, as its file is not there.
fn sample() -> String {
    SAMPLE.replace(
        "passphrase_file = \"/etc/had/passphrase\"",
        "passphrase = \"not a secret\"",
    )
}

#[test]
fn the_sample_is_right() {
    let config: Config = parse(&sample()).unwrap();
    assert_eq!(config.units.len(), 1);
    let steps = super::super::plan::steps(&config.units[0]);
    let names: Vec<_> = steps.iter().map(|(step, _)| step.name.as_str()).collect();
    let order = [
        "storage",
        "device",
        "fsck /srv/files",
        "/srv/files",
        "nfs",
        "1@eth0",
    ];
    assert_eq!(names, order);
}

/// Each "#= " line is right where it stands: the section before it is the last header above, and
/// those of a section that is commented out stand in that.
#[test]
fn each_setting_of_the_sample_is_right_where_it_stands() {
    let text = sample();
    let lines: Vec<&str> = text.lines().collect();
    let is_header = |line: &str| line.trim_start_matches("#= ").starts_with('[');
    let mut count = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some(setting) = line
            .strip_prefix("#= ")
            .filter(|line| !line.starts_with('['))
        else {
            continue;
        };
        let header = (0..at).rev().find(|at| is_header(lines[*at])).unwrap();
        let mut shown = lines.clone();
        shown[header] = lines[header].trim_start_matches("#= ");
        let key = setting.split(' ').next().unwrap();
        // The same key twice would be wrong for that alone.
        let is_same = |line: &str| line.starts_with(&format!("{key} = "));
        let end = (header + 1..lines.len()).find(|at| is_header(lines[*at]));
        for other in header + 1..end.unwrap_or(lines.len()) {
            if is_same(lines[other]) {
                shown[other] = "";
            }
        }
        shown[at] = setting;
        let told = parse(&shown.join("\n"))
            .err()
            .map(|_| refused(&shown.join("\n")));
        let told = told.unwrap_or_default();
        let place = format!("f:{}:", at + 1);
        assert!(!told.contains("unknown field"), "{setting}: {told}");
        let is_about = told.lines().find(|told| told.starts_with(&place));
        let allowed = [
            "is given",
            "are given",
            "two things",
            "is for",
            "No such file",
            "of no user",
            "no peer has",
            "no service",
            "no command",
            "always made",
            "user has no",
        ];
        let expected = is_about.is_none_or(|told| allowed.iter().any(|it| told.contains(it)));
        assert!(expected, "{setting}: {told}");
        count += 1;
    }
    assert!(count > 70, "{count}");
}

/// The whole text of each message, so that a change of it is seen.
#[test]
fn each_mistake_is_told_with_its_place_and_a_hint() {
    for (more, told) in [
        (
            "advskwe = 3",
            "f:11:1: unknown field `advskwe`, expected one of `interface`, `vhid`, `addresses`, \
             `passphrase`, `passphrase_file`, `rules`, `advbase`, `advskew`, `deadratio`, \
             `multicast`, `peers`, `macvlan`, `expire`, `hold_link`\n    \
             hint: did you mean `advskew`?",
        ),
        ("advskew = 255", "f:11:11: advskew 255 is outside 0..=254"),
        (
            "rules = \"vrrp\"",
            "f:11:9: the addresses of a unit move by CARP\n    \
             hint: carpd shares addresses by VRRP",
        ),
        (
            "multicast = false",
            "f:11:13: without multicast there has to be a peer of IPv4\n    \
             hint: add its address to `peers`",
        ),
        (
            "peers = [\"192.0.2.1\"]",
            "f:11:10: the peer 192.0.2.1 is a shared address\n    \
             hint: write the peer's own address",
        ),
        (
            "[[unit]]\nname = \"b\"\n[[unit.carp]]\ninterface = \"eth0\"\nvhid = 1\n\
             addresses = [\"192.0.2.1\"]\npassphrase = \"x\"",
            "f:15:8: vhid 1 is on eth0 already\nf:16:14: 192.0.2.1 is shared on eth0 already",
        ),
        (
            "[[unit]]\nname = \"files\"",
            "f:12:8: there is a unit files already\n\
             f:12:8: unit files has no addresses\n    \
             hint: add a [[unit.carp]]: who is its master serves the unit",
        ),
        (
            "[[unit.mount]]\nat = \"/srv\"\ntype = \"ext4\"",
            "f:11:1: what is to be mounted at /srv is not said\n    \
             hint: add `device`, or a [unit.device] with the [unit.resource]",
        ),
        (
            "[unit.device]\ndevice = \"nbd0\"\nattach = [\"a\"]\ndetach = []",
            "f:14:10: a command without a program",
        ),
        (
            "[unit.device]\ndevice = \"nbd0\"\nattach = [\"a\"]\ndetach = [\"b\"]",
            "f:12:10: \"nbd0\" is not an absolute path\n    \
             hint: write it from the root: \"/dev/nbd0\"\n\
             f:11:1: unit files has a device, but no storage\n    \
             hint: add a [unit.resource], or name the device in its [[unit.mount]]",
        ),
        (
            "[unit.resource]\nlocal = \"/dev/a\"\nremote = \"192.0.2.2\"",
            "f:5:8: unit files has storage, but no peer can reach it\n    \
             hint: add [hast] with `listen`: the address of this node on the network of the storage\n\
             f:5:8: there is no such peer\n    \
             hint: name the [[node.peer]] that has the other copy: peer = \"beta\"",
        ),
        (
            "[unit.resource]\nlocal = \"/dev/a\"\nremote = \"192.0.2.2\"\nchecksum = \"md5\"",
            "f:14:12: unknown checksum \"md5\"",
        ),
        (
            "[[unit.service]]\nname = \"web\"\nsystemd = \"web.service\"\nafter = [\"databse\"]\n\
             [[unit.service]]\nname = \"database\"\nsystemd = \"db.service\"",
            "f:14:10: there is no service \"databse\"\n    hint: did you mean \"database\"?",
        ),
        (
            "[[unit.service]]\nname = \"a\"\nsystemd = \"a.service\"\nafter = [\"b\"]\n\
             [[unit.service]]\nname = \"b\"\nsystemd = \"b.service\"\nafter = [\"a\"]",
            "f:12:8: the service comes after itself, by way of others perhaps\n    \
             hint: look at the lists `after`: they go round in a circle",
        ),
        (
            "[[unit.service]]\nname = \"a\"",
            "f:12:8: service a is started by nothing\n    \
             hint: add systemd = \"x.service\", or `start` and `stop`: commands",
        ),
        (
            "[[unit.service]]\nname = \"a\"\nstart = [\"x\"]",
            "f:13:9: there is no command to stop it\n    \
             hint: what starts a service has to be able to end it: add `stop`",
        ),
        (
            "[[unit.check]]\nname = \"a\"\ntcp = \"127.0.0.1:1\"\nprocess = \"x\"",
            "f:14:11: check a looks at two things\n    hint: make two checks of it",
        ),
        (
            "[[unit.check]]\nname = \"a\"\nreplication = true\ninterval = -1",
            "f:14:12: -1 seconds where 0 to 31536000 are possible",
        ),
        (
            "[[unit.check]]\nname = \"a\"\nreplication = true",
            "f:13:15: there is no storage to look at\n    hint: add a [unit.resource]",
        ),
        (
            "[unit.arbiter]\nttl = 5",
            "f:11:1: nobody keeps the arbiter's record\n    hint: add `etcd`: a list of addresses\n\
             f:11:1: stop_early: 5s is not less than the ttl of 5s",
        ),
        (
            "[unit.arbiter]\netcd = [\"https://etcd\"]",
            "f:12:8: https:// where only http:// is spoken",
        ),
        (
            "[unit.fence]",
            "f:11:1: nothing is fenced\n    hint: add `peer`, `self`, or both: a command",
        ),
        ("[unit.hold]\nfailed = 0", "f:12:10: holds.failed: zero"),
        (
            "[status]\npage = \"0.0.0.0:8480\"",
            "f:12:8: the page would be served on 0.0.0.0:8480\n    \
             hint: it is for this host alone: \"127.0.0.1:8480\", and ssh -L from elsewhere",
        ),
        (
            "[status]\nlisten = \"10.0.0.1:8479\"",
            "f:12:10: no peer has an address that may ask for the status\n    \
             hint: set `status` of each [[node.peer]]",
        ),
        (
            "[[node.peer]]\nid = 0\nname = \"beta\"",
            "f:12:6: id 0 is another node's\n    hint: each node has an id of its own",
        ),
        (
            "[[interface]]\nname = \"eht0\"",
            "f:11:1: no group is on interface eht0\n    hint: did you mean \"eth0\"?",
        ),
        ("[unit.carp]\n", "f:11:7: duplicate key"),
    ] {
        assert_eq!(refused(&with(more)), told, "{more}");
    }
    let no_unit = "[node]\nid = 64\nname = \"a\"";
    assert_eq!(
        refused(no_unit),
        "f:2:6: node 64 where 0 to 63 are possible\n\
         f: there is no [[unit]]\n    \
         hint: a unit is what moves together: add one with a [[unit.carp]]"
    );
}

#[test]
fn no_message_shows_a_passphrase() {
    for text in [
        "passphrase = 31415926",
        "passphrase = \"31415926",
        "passphrase = [31415926]",
    ] {
        let text = with("").replace("passphrase = \"x\"", text);
        let told = refused(&text);
        assert!(told.starts_with("f:10:"), "{told}");
        assert!(!told.contains("31415926"), "{told}");
    }
    let secret = "31415926".repeat(3);
    let told = refused(&with("").replace("\"x\"", &format!("\"{secret}\"")));
    assert!(
        told.contains("24 bytes") && !told.contains("31415926"),
        "{told}"
    );
    let config = parse(&with("").replace("\"x\"", "\"31415926\"")).unwrap();
    assert!(!format!("{:?}", config.units[0].carp[0].get_ref().addresses).contains("31415926"));
}

fn missing(text: &str) -> String {
    let config = parse(text).unwrap();
    let missing = super::look(&config);
    let told = missing.faults.iter().chain(&missing.warnings);
    let told = told.map(|fault| fault.in_file(Path::new("f"), text).to_string());
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_this_host_lacks_is_told_with_its_place_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let node = "[node]\nid = 0\nname = \"alpha\"\n[[node.peer]]\nid = 1\nname = \"beta\"\n";
    let text = |interface: &str| {
        format!(
            "{node}[log]\nevents = \"{}\"\n[hast]\nlisten = [\"10.0.0.1:8457\"]\n\
             [[unit]]\nname = \"files\"\n[[unit.carp]]\ninterface = \"{interface}\"\nvhid = 1\n\
             addresses = [\"192.0.2.1/24\"]\npassphrase = \"x\"\n\
             [unit.resource]\nlocal = \"{}\"\nremote = \"10.0.0.2\"\n\
             [unit.device]\ndevice = \"/dev/nbd0\"\nattach = [\"a\"]\ndetach = [\"d\"]\n\
             [[unit.mount]]\nat = \"{}\"\ntype = \"ext4\"\n\
             [[unit.mount]]\nat = \"{}\"\ntype = \"ext4\"\ndevice = \"/dev/x\"\n",
            path("log/events"),
            path("disk"),
            path("srv"),
            path("srv/below"),
        )
    };
    let none = "No such file or directory (os error 2)";
    let told = missing(&text("lo0"));
    let resource = text("lo0")
        .lines()
        .position(|line| line == "[unit.resource]");
    let resource = resource.unwrap() + 1;
    let expected = format!(
        "f:14:13: this host has no interface lo0\n    hint: did you mean \"lo\"?\n\
         f:8:10: warning: {}: {none}\n    hint: make it: install -d -m 0700 {}\n\
         f:{resource}:1: warning: {}: {none}\n    \
         hint: `local` is the disk or file whose data are replicated\n\
         f:26:6: warning: {}: {none}\n    hint: make it: mkdir -p {}",
        path("log"),
        path("log"),
        path("disk"),
        path("srv"),
        path("srv"),
    );
    assert_eq!(told, expected, "\n{told}");
    // Not what it should be.
    std::fs::create_dir(path("log")).unwrap();
    std::fs::create_dir(path("disk")).unwrap();
    std::fs::write(path("srv"), "").unwrap();
    let told = missing(&text("lo"));
    assert!(told.contains("it is neither a disk nor a file"), "{told}");
    assert!(told.contains("srv: it is not a folder"), "{told}");
    assert!(
        !told.contains("events") && !told.contains("interface"),
        "{told}"
    );
    // All is there.
    for (name, make) in [("disk", true), ("srv", false)] {
        let path = folder.path().join(name);
        match make {
            true => {
                std::fs::remove_dir(&path).unwrap();
                std::fs::write(&path, "").unwrap();
            }
            false => {
                std::fs::remove_file(&path).unwrap();
                std::fs::create_dir(&path).unwrap();
            }
        }
    }
    assert_eq!(missing(&text("lo")), "");
}

#[test]
fn the_password_of_the_arbiter_is_read_when_the_file_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let shown = path.display();
    let text = with(&format!(
        "[unit.arbiter]\netcd = [\"http://192.0.2.9:2379\"]\nuser = \"had\"\npassword_file = \"{shown}\""
    ));
    let hint = "\n    hint: its first line is the password; who runs had has to be able to read it";
    let none = "No such file or directory (os error 2)";
    assert_eq!(refused(&text), format!("f:14:17: {shown}: {none}{hint}"));
    for (octets, why) in [
        (&b""[..], "its first line is empty"),
        (b"\nsecret", "its first line is empty"),
        (b"\xff\xfe", "it is not UTF-8"),
        (&[b'x'; 513], "more than 512 bytes"),
    ] {
        std::fs::write(&path, octets).unwrap();
        assert_eq!(refused(&text), format!("f:14:17: {shown}: {why}{hint}"));
    }
    std::fs::write(&path, "secret\n").unwrap();
    parse(&text).unwrap();
}
