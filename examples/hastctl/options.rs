//! The command line, which is that of the original, and more where it is written out in full.

use core::str::FromStr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hast_proto::Role;

use super::node::DEFAULT_CONFIG;

/// Controls hastd, and prepares providers for it.
///
/// Exit status: 0 done; 64 usage; 65 unknown resource or bad sizes; 66, 73, 74 the provider cannot
/// be opened, holds something that --force would overwrite, cannot be written; 69, 71 hastd does
/// not answer, cannot be reached; 70 hastd answers with an error; 72, 78 the configuration cannot
/// be read, is wrong; 255 the metadata cannot be read; for role, list, status and discard also the
/// number of the first error of a resource, where 1 is an unknown one; 70 a discard is refused.
#[derive(Debug, Parser)]
#[command(name = "hastctl", verbatim_doc_comment)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write fresh metadata to the providers of resources, without hastd
    Create {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        sizes: Sizes,
        /// Overwrite what a provider holds already
        #[arg(long)]
        force: bool,
        /// Resources
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Change the role of resources
    Role {
        #[command(flatten)]
        common: Common,
        /// The role
        #[arg(value_enum)]
        role: RoleWord,
        /// Resources, or "all"
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Tell all that hastd knows about resources
    List(Selection),
    /// Tell in a line for each how resources are
    Status(Selection),
    /// Tell what the metadata of providers say, without hastd
    Dump(Selection),
    /// After a split brain: save what this node has changed alone, and what the other has, and
    /// have everything copied from the other node then. The resource is not primary. What was
    /// saved is listed and restored by hast_extents
    Discard {
        #[command(flatten)]
        common: Common,
        /// Where to save it, on the host of hastd: a file that is not there yet
        #[arg(long, value_name = "FILE")]
        save: PathBuf,
        /// Do it although no split brain was found
        #[arg(long)]
        force: bool,
        /// The resource
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// A command about some or all resources.
#[derive(Args, Debug)]
pub(crate) struct Selection {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Resources, or "all", which is what no name means
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// What every command takes.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// Tell more about what is done; may be repeated
    #[arg(short, action = clap::ArgAction::Count)]
    pub(crate) debug: u8,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,
    /// Which node of the configuration this is, instead of the one with the host's name
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The numbers that `create` takes. Sizes may have a suffix K, M, G, T, P or E.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Octets of an extent: a power of two, 2M by default
    #[arg(short, value_name = "EXTENTSIZE")]
    pub(crate) extent_size: Option<Size>,
    /// How many recently written extents stay marked, 64 by default
    #[arg(short, value_name = "KEEPDIRTY")]
    pub(crate) keep_dirty: Option<u32>,
    /// Octets of the provider that are used, all by default
    #[arg(short, value_name = "MEDIASIZE")]
    pub(crate) media_size: Option<Size>,
}

/// The roles that can be given.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleWord {
    Init,
    Primary,
    Secondary,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Init => Self::Init,
            RoleWord::Primary => Self::Primary,
            RoleWord::Secondary => Self::Secondary,
        }
    }
}

/// A number of octets: digits, and perhaps a suffix for a power of 1024.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let suffix = text.get(digits.len()..).unwrap_or_default();
        let shift = match suffix.to_ascii_uppercase().as_str() {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            "P" => 50,
            "E" => 60,
            _ => return Err(format!("{suffix:?} is none of K, M, G, T, P and E")),
        };
        // A sign would be taken for a digit by the standard library.
        let number = match digits.bytes().all(|octet| octet.is_ascii_digit()) {
            true => digits.parse::<u64>().ok(),
            false => None,
        };
        let octets = number.and_then(|number| number.checked_mul(1 << shift));
        octets
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no size"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Command, clap::Error> {
        let program = ["hastctl"].iter().chain(arguments);
        Ok(Options::try_parse_from(program)?.command)
    }

    #[test]
    fn the_options_of_the_original_are_understood() {
        let create = [
            "create", "-d", "-c", "/c", "-e", "4m", "-k", "8", "-m", "1G", "a", "b",
        ];
        let Command::Create {
            common,
            sizes,
            force,
            names,
        } = options(&create).unwrap()
        else {
            panic!("not create");
        };
        assert_eq!((common.debug, force), (1, false));
        assert_eq!(common.config, PathBuf::from("/c"));
        assert_eq!(sizes.extent_size, Some(Size(4 << 20)));
        assert_eq!(sizes.keep_dirty, Some(8));
        assert_eq!(sizes.media_size, Some(Size(1 << 30)));
        assert_eq!(names, ["a", "b"]);

        let role = options(&["role", "primary", "all"]).unwrap();
        assert!(
            matches!(role, Command::Role { role: RoleWord::Primary, names, .. } if names == ["all"])
        );
        let status = options(&["status", "-dd"]).unwrap();
        assert!(
            matches!(status, Command::Status(all) if all.names.is_empty() && all.common.debug == 2)
        );
        assert!(matches!(options(&["list", "x"]), Ok(Command::List(_))));
        assert!(matches!(options(&["dump", "all"]), Ok(Command::Dump(_))));
        let discard = options(&["discard", "--save", "/f", "shared"]).unwrap();
        assert!(matches!(discard, Command::Discard { force: false, name, .. } if name == "shared"));
    }

    #[test]
    fn what_lacks_something_is_refused() {
        let wrong: [&[&str]; 10] = [
            &[],
            &["destroy"],
            &["create"],
            &["create", "-k", "x", "a"],
            &["role"],
            &["role", "primary"],
            &["role", "master", "a"],
            &["status", "-x"],
            &["discard", "shared"],
            &["discard", "--save", "/f"],
        ];
        for arguments in wrong {
            assert!(options(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, octets) in [
            ("0", 0),
            ("512", 512),
            ("2k", 2048),
            ("2M", 2 << 20),
            ("1t", 1 << 40),
            ("15E", 15 << 60),
        ] {
            assert_eq!(text.parse(), Ok(Size(octets)), "{text}");
        }
        for wrong in [
            "", "k", "1kb", "1x", "+1", "-1", "1 k", "1.5M", "16E", "1k1",
        ] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
