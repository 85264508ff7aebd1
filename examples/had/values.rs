//! The values of the configuration file that have rules of their own. What breaks one is refused
//! where it stands.

use core::fmt;
use core::net::SocketAddr;
use core::ops::Deref;
use core::str::FromStr;
use core::time::Duration;

use ha_core::failover::MAX_TIME;
use ha_core::hast_proto::conf::DEFAULT_PORT;
use ha_core::io::hast::NetAddress;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// The longest name, which becomes a part of file names.
const MAX_WORD: usize = 64;

/// What is written as a string.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Text<T>(pub(crate) T);

impl<T> Deref for Text<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A name of letters, digits, `.`, `_` and `-`, which does not begin with `.` or `-`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Word(String);

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if text.is_empty() || text.len() > MAX_WORD || !text.chars().all(is_plain) {
            return Err(format!(
                "{text:?} is not a name: 1 to {MAX_WORD} letters, digits, \".\", \"_\" and \"-\""
            ));
        }
        if text.starts_with(['.', '-']) {
            return Err(format!("the name {text:?} begins with a dot or a dash"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Seconds, perhaps with a fraction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl Seconds {
    pub(crate) const fn new(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds")
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Seconds, E> {
                let time = u64::try_from(seconds).ok().map(Duration::from_secs);
                time.filter(|time| *time <= MAX_TIME)
                    .map(Seconds)
                    .ok_or_else(|| out_of_range(seconds))
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Seconds, E> {
                let time = Duration::try_from_secs_f64(seconds).ok();
                time.filter(|time| *time <= MAX_TIME)
                    .map(Seconds)
                    .ok_or_else(|| out_of_range(seconds))
            }
        }

        fn out_of_range<E: Error>(seconds: impl fmt::Display) -> E {
            E::custom(format!(
                "{seconds} seconds where 0 to {} are possible",
                MAX_TIME.as_secs()
            ))
        }

        deserializer.deserialize_any(Number)
    }
}

/// A program and its arguments.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct CommandLine {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
}

impl TryFrom<Vec<String>> for CommandLine {
    type Error = &'static str;

    fn try_from(words: Vec<String>) -> Result<Self, Self::Error> {
        let mut words = words.into_iter();
        let program = words.next().ok_or("a command without a program")?;
        if program.is_empty() {
            return Err("a command without a program");
        }
        Ok(Self {
            program,
            args: words.collect(),
        })
    }
}

/// An address of HAST: `10.0.0.2`, `tcp4://node:8457`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Remote(pub(crate) NetAddress);

impl FromStr for Remote {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = NetAddress::parse(text, DEFAULT_PORT);
        address.map(Self).map_err(|error| error.to_string())
    }
}

/// An address to connect from, of any port: `10.0.0.1`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Source(pub(crate) NetAddress);

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = NetAddress::parse(text, 0);
        address.map(Self).map_err(|error| error.to_string())
    }
}

/// `http://10.0.0.1:8080/health`. The host is the number of an address, so that a look never
/// waits for a name server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Url {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://");
        let rest = rest.ok_or_else(|| format!("{text:?} does not begin with http://"))?;
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let address = host
            .parse()
            .or_else(|_| host.parse().map(|ip| SocketAddr::new(ip, 80)));
        Ok(Self {
            address: address
                .map_err(|_| format!("{host:?} is not the number of an address, with its port"))?,
            path: path.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct One<T> {
        x: T,
    }

    fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
        let text = format!("x = {text}");
        let one: Result<One<T>, _> = toml::from_str(&text);
        one.map(|one| one.x)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn seconds_may_be_fractions_but_not_negative_or_endless() {
        assert_eq!(read("3"), Ok(Seconds::new(3)));
        assert_eq!(read("0.25"), Ok(Seconds(Duration::from_millis(250))));
        for text in ["-1", "-0.5", "nan", "inf", "31536001", "1e300"] {
            let error = read::<Seconds>(text).unwrap_err();
            assert!(error.contains("where 0 to 31536000"), "{text}: {error}");
        }
        assert!(read::<Seconds>("\"3\"").unwrap_err().contains("seconds"));
    }

    #[test]
    fn names_can_be_names_of_files() {
        for good in ["files", "a", "www.example.org", "x_1-2"] {
            assert_eq!(good.parse::<Word>().as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", "\u{e4}", &"x".repeat(65)] {
            assert!(bad.parse::<Word>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_has_a_program() {
        let command: CommandLine = read("[\"a\", \"b\"]").unwrap();
        assert_eq!((command.program.as_str(), command.args.len()), ("a", 1));
        for none in ["[]", "[\"\"]"] {
            let error = read::<CommandLine>(none).unwrap_err();
            assert_eq!(error, "a command without a program");
        }
    }

    #[test]
    fn a_url_is_of_a_number() {
        let url: Url = "http://[::1]:81/a/b?c".parse().unwrap();
        assert_eq!(url.address.to_string(), "[::1]:81");
        assert_eq!(url.path, "/a/b?c");
        let url: Url = "http://192.0.2.1".parse().unwrap();
        assert_eq!((url.address.port(), url.path.as_str()), (80, "/"));
        for bad in ["https://192.0.2.1/", "http://localhost/", "http:///"] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }
}
