//! The command line, which is that of the original, and more where it is written out in full.

use core::time::Duration;
use std::path::PathBuf;

use clap::Parser;
use hast_proto::decision::GiveWay;

use super::node::DEFAULT_CONFIG;
use super::resource::Peering;
use super::stderr::LogFormat;

/// Mirrors block devices between two nodes by HAST, and serves them to NBD clients.
///
/// Signals: HUP reads the configuration and the certificates again; TERM, INT and QUIT hand over what
/// is under way, close the devices, and end. A second one ends at once.
///
/// Exit status: 0 ended by a signal; 64 usage; 70 failed while running; 71 an address cannot be
/// listened on; 72, 78 the configuration cannot be read, is wrong; 75 it runs already.
#[derive(Debug, Parser)]
#[command(name = "hastd", verbatim_doc_comment)]
pub(crate) struct Options {
    /// Log more; may be repeated
    #[arg(short, action = clap::ArgAction::Count)]
    debug: u8,
    /// Stay in the foreground, with the log on standard error and without a pid file, unless -P
    /// is given
    #[arg(short = 'F', long)]
    pub(crate) foreground: bool,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
    /// The pid file, instead of the configuration's
    #[arg(short = 'P', long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,
    /// Which node of the configuration this is, instead of the one with the host's name
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// The folder of the devices: each resource that is primary has a UNIX socket there for NBD
    /// clients, with its provider's name
    #[arg(long, value_name = "FOLDER", default_value = "/var/run/hast")]
    pub(crate) devices: PathBuf,
    /// An address on which NBD clients reach the same devices by TCP, as exports of these names.
    /// They are not asked who they are: only for networks on which everybody may write
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) nbd_listen: Vec<String>,
    /// How many seconds to wait between attempts of a primary to reach the other node, for which
    /// the original waits 10
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    reconnect: Duration,
    /// Let a split brain wait for an operator also if this node provably has no changes. Otherwise
    /// it becomes the target of the synchronisation then
    #[arg(long)]
    never_give_way: bool,
    /// How many seconds the program of `exec` may run before it is killed
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u16).range(1..))]
    hook_timeout: u16,
    /// Check the configuration and end
    #[arg(long)]
    pub(crate) check: bool,
    /// The form of the log
    #[arg(long, value_name = "FORM", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// What is logged, in the words of tracing's filters; by default $RUST_LOG, or "info"
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// What is started in the background
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

/// A time between attempts: less would be a busy loop.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&time) => {
            Ok(time)
        }
        _ => Err("not within 0.01 to 3600".to_owned()),
    }
}

impl Options {
    /// The filter of the log, if one is given.
    pub(crate) fn filter(&self) -> Option<&str> {
        self.log.as_deref().or(match self.debug {
            0 => None,
            1 => Some("debug"),
            _ => Some("trace"),
        })
    }

    /// How to deal with the other node.
    pub(crate) fn peering(&self) -> Peering {
        Peering {
            reconnect: self.reconnect,
            give_way: match self.never_give_way {
                true => GiveWay::Never,
                false => GiveWay::Unchanged,
            },
        }
    }

    /// How long a hook may run.
    pub(crate) fn hook_timeout(&self) -> Duration {
        Duration::from_secs(self.hook_timeout.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(["hastd"].iter().chain(arguments))
    }

    #[test]
    fn the_options_of_the_original_are_understood() {
        let options = options(&["-ddF", "-c", "/c", "-P", "/p"]).unwrap();
        assert!(options.foreground && !options.detached);
        assert_eq!(options.config, PathBuf::from("/c"));
        assert_eq!(options.pidfile, Some("/p".into()));
        assert_eq!(options.filter(), Some("trace"));
    }

    #[test]
    fn what_is_not_given_is_as_usual() {
        let usual = options(&[]).unwrap();
        assert_eq!(usual.config, PathBuf::from("/etc/hast.conf"));
        assert_eq!(usual.filter(), None);
        assert_eq!(usual.hook_timeout(), Duration::from_secs(60));
        assert_eq!(usual.reconnect, Duration::from_secs(1));
        let often = options(&["--reconnect", "0.25"]).unwrap();
        assert_eq!(often.reconnect, Duration::from_millis(250));
        for wrong in ["0", "-1", "nan", "x", "1e9"] {
            assert!(options(&["--reconnect", wrong]).is_err(), "{wrong}");
        }
        assert!(options(&["--hook-timeout", "0"]).is_err());
        assert!(options(&["x"]).is_err());
        let filter = options(&["-d", "--log", "warn"]).unwrap();
        assert_eq!(filter.filter(), Some("warn"));
    }
}
