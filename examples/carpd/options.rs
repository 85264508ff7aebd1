//! The command line: a configuration file, or the options of ucarp for one virtual host.

use core::convert::Infallible;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use core::num::NonZeroU8;
use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, Parser};
use ha_core::carp_proto::{AdvBase, AdvSkew, InterfaceName, Vhid};
use zeroize::Zeroizing;

use super::config::{Config, Host, HostName, Live, Pace, Protocol, Scripts};
use super::reach::Interface;
use super::stderr::LogFormat;
use super::vhost::{Passphrase, Rules, Shared};
use super::{file, script};

/// Shares addresses between hosts by CARP or VRRP.
///
/// Either give --config, or the options of ucarp for one virtual host, which then follows
/// ucarp's rules.
///
/// Signals: HUP reads the configuration file again, USR1 logs the status, USR2 steps down,
/// TERM, INT and QUIT release the addresses, tell the peers, and end. A second one ends at once.
///
/// Exit status: 0 ended by a signal, 1 bad arguments or configuration, 2 failed while running.
#[derive(Debug, Parser)]
#[command(name = "carpd", arg_required_else_help = true, verbatim_doc_comment)]
pub(crate) struct Options {
    /// A configuration file in TOML
    #[arg(long, value_name = "FILE", conflicts_with = "Ucarp")]
    pub(crate) config: Option<PathBuf>,
    /// Check the configuration and end
    #[arg(long)]
    pub(crate) check: bool,
    /// A UNIX socket that answers with the status in JSON, instead of the file's `control`
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    /// The form of the log, which goes to standard error
    #[arg(long, value_name = "FORM", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// What is logged, in the words of tracing's filters; by default $RUST_LOG, or "info"
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Run with this real-time priority (1 to 99) by chrt(1), or without (0); scripts always run
    /// without. By default 1 if an interval is below a second and the system allows it: with
    /// CAP_SYS_NICE, or a limit of real-time priorities (ulimit -r) that is high enough
    #[arg(long, value_name = "PRIORITY", value_parser = number::<0, 99>)]
    pub(crate) realtime: Option<u8>,
    #[command(flatten)]
    pub(crate) ucarp: Option<Ucarp>,
    /// What --daemonize starts in the background
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

/// The options of ucarp. Where ucarp would take a number modulo 256, carpd refuses it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of ucarp")]
pub(crate) struct Ucarp {
    /// The network interface; it has to be given
    #[arg(
        short,
        long,
        value_name = "IF",
        required = false,
        required_unless_present = "config"
    )]
    interface: String,
    /// The source address of advertisements
    #[arg(
        short,
        long,
        value_name = "ADDR",
        required = false,
        required_unless_present = "config"
    )]
    srcip: Ipv4Addr,
    /// The id of the group, 1 to 255
    #[arg(short, long, value_name = "ID", value_parser = number::<1, 255>, required = false, required_unless_present = "config")]
    vhid: u8,
    /// The passphrase, at most 19 bytes; every user of this machine can see it in the list
    /// of processes, so prefer --passfile
    #[arg(short, long, value_name = "PASS", required_unless_present_any = ["passfile", "config"])]
    pass: Option<Secret>,
    /// A file whose first line is the passphrase; it cannot be given together with --pass
    #[arg(short = 'o', long, value_name = "FILE", conflicts_with = "pass")]
    passfile: Option<PathBuf>,
    /// Take over from a worse master that works
    #[arg(short = 'P', long)]
    preempt: bool,
    /// Run no down script at the start
    #[arg(short, long)]
    neutral: bool,
    /// The shared address, with a prefix length if carpd is to set it with one
    #[arg(
        short,
        long,
        value_name = "ADDR[/LEN]",
        required = false,
        required_unless_present = "config"
    )]
    addr: Shared,
    /// Seconds between advertisements, 0 to 255
    #[arg(short = 'b', long, value_name = "SECONDS", default_value = "1", value_parser = number::<0, 255>)]
    advbase: u8,
    /// 1/256 seconds on top, 0 to 254; the lowest makes the master
    #[arg(short = 'k', long, value_name = "SKEW", default_value = "0", value_parser = number::<0, 254>)]
    advskew: u8,
    /// How many intervals of silence make a master dead, 1 to 255
    #[arg(short = 'r', long, value_name = "RATIO", default_value = "3", value_parser = number::<1, 255>)]
    deadratio: u8,
    /// Send to the Ethernet broadcast address
    #[arg(short = 'M', long)]
    nomcast: bool,
    /// The multicast group [default: 224.0.0.18]
    #[arg(long, value_name = "ADDR")]
    mcast: Option<Ipv4Addr>,
    /// Accepted and always on: addresses are released, and the down script run, at the end
    #[arg(short = 'z', long)]
    shutdown: bool,
    /// A third argument for the scripts
    #[arg(short, long, value_name = "X")]
    xparam: Option<String>,
    /// Run on becoming master, as SCRIPT INTERFACE ADDRESS [XPARAM]. With one, setting the
    /// address is left to the scripts, as ucarp does, but for --set-address
    #[arg(short, long, value_name = "SCRIPT")]
    upscript: Option<PathBuf>,
    /// Run on leaving that role and, without --neutral, at the start
    #[arg(short, long, value_name = "SCRIPT")]
    downscript: Option<PathBuf>,
    /// How long a script may run, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = number::<1, 255>)]
    script_timeout: u8,
    /// Do not mind a lost carrier
    #[arg(short = 'S', long)]
    ignoreifstate: bool,
    /// Set the address although there is an up script
    #[arg(long, conflicts_with = "no_set_address")]
    set_address: bool,
    /// Never set the address; an up script has to. (ucarp 1.5.2 has no -N)
    #[arg(short = 'N', long)]
    no_set_address: bool,
    /// Run in the background, logging to syslog by logger(1)
    #[arg(short = 'B', long)]
    daemonize: bool,
    /// The syslog facility for --daemonize, or "none"
    #[arg(short, long, default_value = "daemon")]
    facility: String,
    /// Log more
    #[arg(short = 'D', long)]
    debug: bool,
}

/// A passphrase as it was given, which is wiped when dropped and never shown.
#[derive(Clone)]
struct Secret(Zeroizing<String>);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A decimal number in a range. A leading zero is refused: C would read it as octal.
fn number<const MIN: u8, const MAX: u8>(text: &str) -> Result<u8, String> {
    let is_octal = text.len() > 1 && text.starts_with('0');
    match u8::from_str(text) {
        Ok(number) if (MIN..=MAX).contains(&number) && !is_octal => Ok(number),
        _ => Err(format!("not a decimal number in {MIN}..={MAX}")),
    }
}

impl Options {
    /// Reads what is to be done, and looks whether its scripts are there. It reads files, and
    /// takes as long as these do.
    pub(crate) fn load(&self) -> Result<Config, String> {
        let config = self.read()?;
        script::check(&config)?;
        Ok(config)
    }

    fn read(&self) -> Result<Config, String> {
        let mut config = match (&self.config, &self.ucarp) {
            (Some(path), _) => file::load(path)?,
            (None, Some(ucarp)) => ucarp.config()?,
            (None, None) => return Err("--config or the options of ucarp are missing".to_owned()),
        };
        if self.control.is_some() {
            config.control.clone_from(&self.control);
        }
        Ok(config)
    }

    /// The syslog facility of a daemon that is to go into the background; "none" is none.
    pub(crate) fn background(&self) -> Option<&str> {
        self.ucarp
            .as_ref()
            .filter(|ucarp| ucarp.daemonize && !self.detached)
            .map(|ucarp| ucarp.facility.as_str())
    }

    /// Whether the passphrase stands in the list of processes.
    pub(crate) fn shows_passphrase(&self) -> bool {
        self.ucarp
            .as_ref()
            .is_some_and(|ucarp| ucarp.pass.is_some())
    }

    /// The filter of the log, if one is given.
    pub(crate) fn filter(&self) -> Option<&str> {
        let is_debug = self.ucarp.as_ref().is_some_and(|ucarp| ucarp.debug);
        self.log.as_deref().or_else(|| is_debug.then_some("debug"))
    }
}

impl Ucarp {
    fn config(&self) -> Result<Config, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        InterfaceName::new(&self.interface)
            .map_err(|error| format!("interface {:?}: {error}", self.interface))?;
        if !self.addr.address.is_ipv4() {
            return Err(format!("{} is not an IPv4 address", self.addr.address));
        }
        let interface = Interface {
            broadcast: self.nomcast,
            group: self.mcast,
            sources: vec![IpAddr::V4(self.srcip)],
            ignore_carrier: self.ignoreifstate,
            ..Interface::default()
        };
        if let Some(group) = self.mcast.filter(|group| !group.is_multicast()) {
            return Err(format!("{group} is not a multicast address"));
        }
        let name = HostName {
            interface: self.interface.clone(),
            vhid: Vhid::new(self.vhid).map_err(|error| text(&error))?,
        };
        let config = Config {
            control: None,
            interfaces: [(self.interface.clone(), interface)].into(),
            hosts: [(name, self.host()?)].into(),
        };
        config.check()?;
        Ok(config)
    }

    fn host(&self) -> Result<Host, String> {
        let passphrase = match (&self.pass, &self.passfile) {
            (Some(pass), _) => Passphrase::new(pass.0.as_bytes())?,
            (None, Some(path)) => Passphrase::read(path)?,
            (None, None) => return Err("--pass or --passfile is missing".to_owned()),
        };
        let scripts_own_it = self.upscript.is_some() && !self.set_address;
        Ok(Host {
            protocol: Protocol::Carp {
                dialect: Rules::Ucarp.dialect(NonZeroU8::new(self.deadratio)),
                passphrase,
            },
            macvlan: false,
            expire: true,
            set_address: !(self.no_set_address || scripts_own_it),
            hold_link: false,
            live: Live {
                addresses: vec![self.addr],
                pace: Pace::Carp {
                    advbase: AdvBase::new(self.advbase),
                    advskew: AdvSkew::new(self.advskew).map_err(|error| error.to_string())?,
                },
                preempt: self.preempt,
                multicast: true,
                peers: Vec::new(),
                scripts: Scripts {
                    up: self.upscript.clone(),
                    down: self.downscript.clone(),
                    xparam: self.xparam.clone(),
                    timeout: Duration::from_secs(self.script_timeout.into()),
                    down_at_start: !self.neutral,
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use ha_core::carp_proto::{Dialect, UCarp};

    use super::*;

    const LEAST: [&str; 10] = [
        "-i",
        "eth0",
        "-s",
        "192.0.2.2",
        "-v",
        "1",
        "-p",
        "secret",
        "-a",
        "192.0.2.1",
    ];

    fn options(arguments: &[&str]) -> Result<Options, String> {
        let program = ["carpd"].iter().chain(arguments);
        Options::try_parse_from(program).map_err(|error| error.to_string())
    }

    fn load(more: &[&str]) -> Result<Config, String> {
        options(&[&LEAST, more].concat())?.read()
    }

    /// The only host of a configuration by the options of ucarp.
    fn host(more: &[&str]) -> Host {
        let config = load(more).unwrap();
        let (name, host) = config.hosts.into_iter().next().unwrap();
        assert_eq!(name.to_string(), "1@eth0");
        host
    }

    fn interface(more: &[&str]) -> Interface {
        load(more).unwrap().interfaces.remove("eth0").unwrap()
    }

    /// What is said about options that are refused.
    fn refusal(more: &[&str]) -> String {
        load(more).unwrap_err()
    }

    #[test]
    fn the_least_options_mean_what_they_mean_to_ucarp() {
        let host = host(&[]);
        let Protocol::Carp {
            dialect,
            passphrase,
        } = &host.protocol
        else {
            panic!("not CARP");
        };
        assert_eq!(*dialect, Dialect::UCarp(UCarp::default()));
        assert_eq!(*passphrase, Passphrase::new(b"secret").unwrap());
        assert_eq!(host.live.addresses, ["192.0.2.1/32".parse().unwrap()]);
        assert_eq!(
            host.live.pace,
            Pace::Carp {
                advbase: AdvBase::new(1),
                advskew: AdvSkew::new(0).unwrap()
            }
        );
        assert!(!host.live.preempt);
        assert!(host.set_address && host.live.scripts.down_at_start);
        let interface = interface(&[]);
        assert_eq!(interface.sources, ["192.0.2.2".parse::<IpAddr>().unwrap()]);
        assert!(!interface.ignore_carrier && !interface.broadcast);
    }

    #[test]
    fn long_options_are_the_same() {
        let long = [
            "--interface=eth0",
            "--srcip=192.0.2.2",
            "--vhid=1",
            "--pass=secret",
            "--addr=192.0.2.1",
            "--preempt",
            "--neutral",
            "--advbase=2",
            "--advskew=3",
            "--deadratio=4",
            "--shutdown",
            "--xparam=x",
            "--upscript=/up",
            "--downscript=/down",
            "--ignoreifstate",
        ];
        let short = [
            "-i",
            "eth0",
            "-s",
            "192.0.2.2",
            "-v",
            "1",
            "-p",
            "secret",
            "-a",
            "192.0.2.1",
            "-P",
            "-n",
            "-b",
            "2",
            "-k",
            "3",
            "-r",
            "4",
            "-z",
            "-x",
            "x",
            "-u",
            "/up",
            "-d",
            "/down",
            "-S",
        ];
        let long = options(&long).unwrap().read().unwrap();
        assert_eq!(long, options(&short).unwrap().read().unwrap());
        let host = long.hosts.values().next().unwrap();
        let Dialect::UCarp(rules) = host.dialect() else {
            panic!("not ucarp");
        };
        assert_eq!(rules.dead_ratio.get(), 4);
        let settings = host.live.settings();
        assert_eq!((settings.advbase.get(), settings.advskew.get()), (2, 3));
        assert!(settings.preempt);
        let scripts = Scripts {
            up: Some("/up".into()),
            down: Some("/down".into()),
            xparam: Some("x".to_owned()),
            down_at_start: false,
            ..Scripts::default()
        };
        assert_eq!(host.live.scripts, scripts);
        assert!(long.interfaces["eth0"].ignore_carrier);
    }

    #[test]
    fn whoever_has_an_up_script_sets_the_address_by_it() {
        assert!(!host(&["-u", "/up"]).set_address);
        assert!(host(&["-u", "/up", "--set-address"]).set_address);
        assert!(host(&["-d", "/down"]).set_address);
        assert!(!host(&["-u", "/up", "-N"]).set_address);
        assert!(refusal(&["-N"]).contains("nobody sets its addresses"));
        assert!(refusal(&["-N", "--set-address"]).contains("cannot be used with"));
        assert_eq!(
            host(&["--script-timeout", "30"])
                .live
                .scripts
                .timeout
                .as_secs(),
            30
        );
    }

    #[test]
    fn numbers_are_refused_where_ucarp_takes_them_modulo_256() {
        for (option, value, range) in [
            ("-b", "256", "0..=255"),
            ("-b", "-1", "0..=255"),
            ("-b", "1.5", "0..=255"),
            ("-b", "010", "0..=255"),
            ("-k", "255", "0..=254"),
            ("-k", "300", "0..=254"),
            ("-r", "0", "1..=255"),
            ("--script-timeout", "0", "1..=255"),
            ("--realtime", "100", "0..=99"),
        ] {
            let refusal = refusal(&[&format!("{option}={value}")]);
            assert!(refusal.contains(range), "{option} {value}: {refusal}");
        }
        for vhid in ["0", "256"] {
            let mut arguments = LEAST;
            arguments[5] = vhid;
            assert!(options(&arguments).unwrap_err().contains("1..=255"));
        }
        assert!(refusal(&["-b", "0"]).contains("either to be positive"));
        assert!(load(&["-b", "0", "-k", "1"]).is_ok());
    }

    #[test]
    fn addresses_have_to_be_of_ipv4_and_whole() {
        for address in ["192.0.2", "2001:db8::1", "192.0.2.1/33", "224.0.0.1"] {
            let mut arguments = LEAST;
            arguments[9] = address;
            let refused = options(&arguments).and_then(|options| options.read());
            assert!(refused.is_err(), "{address}");
        }
        let mut arguments = LEAST;
        arguments[9] = "192.0.2.1/24";
        assert!(options(&arguments).unwrap().read().is_ok());
        arguments[3] = "192.0.2";
        assert!(options(&arguments).is_err());
    }

    #[test]
    fn a_passphrase_comes_from_one_place_and_is_not_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        std::fs::write(&path, "from a file\nand more\n").unwrap();
        let file = path.to_str().unwrap();
        let without = [&LEAST[..6], &LEAST[8..]].concat();

        let from_file = options(&[&without, &["-o", file][..]].concat()).unwrap();
        assert!(!from_file.shows_passphrase());
        let config = from_file.read().unwrap();
        let Protocol::Carp { passphrase, .. } = &config.hosts.values().next().unwrap().protocol
        else {
            panic!("not CARP");
        };
        assert_eq!(*passphrase, Passphrase::new(b"from a file").unwrap());

        let shown = options(&LEAST).unwrap();
        assert!(shown.shows_passphrase());
        assert!(!format!("{shown:?}").contains("secret"));
        assert!(options(&without).unwrap_err().contains("--pass"));
        assert!(refusal(&["-o", file]).contains("cannot be used with"));
        let long = [&without, &["-p", "12345678901234567890"][..]].concat();
        let error = options(&long).unwrap().read().unwrap_err();
        assert_eq!(
            error,
            "the passphrase has 20 bytes, and peers take 19 at most"
        );
        let empty = [&without, &["-p", ""][..]].concat();
        let error = options(&empty).unwrap().read().unwrap_err();
        assert_eq!(error, "host 1@eth0: ucarp takes no empty passphrase");
    }

    #[test]
    fn packets_go_where_they_are_told_to() {
        assert!(interface(&["-M"]).broadcast);
        let group = interface(&["--mcast", "239.1.2.3"]).group;
        assert_eq!(group, Some("239.1.2.3".parse().unwrap()));
        assert!(refusal(&["--mcast", "192.0.2.9"]).contains("not a multicast address"));
    }

    #[test]
    fn what_surrounds_it_is_understood() {
        let all = [&LEAST[..], &["-B", "-f", "local0", "-D"]].concat();
        let all = options(&all).unwrap();
        assert_eq!(all.background(), Some("local0"));
        assert_eq!(all.filter(), Some("debug"));
        let detached = [&LEAST[..], &["-B", "--detached"]].concat();
        assert_eq!(options(&detached).unwrap().background(), None);
        assert_eq!(options(&LEAST).unwrap().background(), None);
        let control = load(&["--control", "/run/x"]).unwrap().control;
        assert_eq!(control, Some("/run/x".into()));
    }

    #[test]
    fn a_file_and_the_options_of_ucarp_exclude_each_other() {
        assert!(options(&["--config", "x", "-i", "eth0"]).is_err());
        assert!(options(&["--config", "x", "-P"]).is_err());
        assert!(options(&["--config", "x"]).is_ok());
        assert!(options(&["-P"]).is_err());
        assert!(options(&[]).is_err());
        assert!(options(&["--check"]).is_err());
    }

    #[test]
    fn scripts_have_to_be_programs() {
        let load = |path: &str| {
            let arguments = [&LEAST[..], &["-u", path]].concat();
            options(&arguments).unwrap().load().map(drop)
        };
        assert_eq!(load("/bin/sh"), Ok(()));
        for (path, error) in [
            ("/nonexistent/up", "No such file"),
            ("/bin", "it is not a program"),
            ("/etc/passwd", "it is not a program"),
            ("sh", "it has to be given with its folder"),
        ] {
            let found = load(path).unwrap_err();
            let named = format!("host 1@eth0: script {path}: {error}");
            assert!(found.starts_with(&named), "{found}");
        }
    }
}
