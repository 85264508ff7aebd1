//! The words by which `ifconfig` configures a virtual host (CARP §5.4.1).

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod address;
mod error;

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;
use core::str::FromStr;

use self::address::Place;
pub use self::address::{AddressChange, SharedAddress};
pub use self::error::{WordsError, WordsFault};
use crate::auth::Key;
use crate::config::Settings;
use crate::event::State;
use crate::ip::{GROUP_V4, GROUP_V6};
use crate::text::{Input, NumberFault, Word, number};
use crate::types::{AdvBase, AdvSkew, Vhid};
use crate::vrrp::{AdverInterval, Priority};

/// What an operator writes behind `ifconfig IF` to configure a virtual host: its id, and
/// what is to be set. What is absent stays as it is.
///
/// ```text
/// [inet|inet6] vhid N [advbase S] [advskew K] [pass P] [state master|backup|init]
///     [peer A.B.C.D | mcast] [peer6 X:: | mcast6]                FreeBSD 14 and later
///     [carpver 2|3] [vrrpprio P] [vrrpinterval CS]               FreeBSD 15
///     [inet|inet6] ADDRESS[/LEN] [alias | -alias]
/// ```
///
/// vhid comes first but for the family, as `rc.conf` has it; all else may stand in any
/// order. Words are separated by blanks, tabs or line ends; there is no quoting, as the
/// shell has done that already.
///
/// `Display` gives the words in the order above. What was parsed and printed parses to the
/// same values again, with one exception: **the key is left out**. A placeholder would become
/// the key when somebody enters the words again; without the word, the host keeps the key it
/// has. `Debug` shows only whether there is one.
///
/// # Example
///
/// ```
/// use carp_proto::{AdvSkew, Peer, Settings, State, Words};
///
/// let words = Words::parse("vhid 1 pass MyPassword advskew 10 peer 192.0.2.7 state backup")?;
/// assert_eq!(words.vhid.get(), 1);
/// assert_eq!(words.state, Some(State::Backup));
/// assert_eq!(words.peer, Some(Peer::Address([192, 0, 2, 7].into())));
/// assert!(words.key.is_some());
/// assert_eq!(words.to_string(), "vhid 1 advskew 10 state backup peer 192.0.2.7");
///
/// let mut settings = Settings::default();
/// words.apply(&mut settings);
/// assert_eq!(settings.advskew, AdvSkew::new(10)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Words {
    /// The group.
    pub vhid: Vhid,
    /// `advbase`: whole seconds between advertisements, 1 to 255.
    pub advbase: Option<AdvBase>,
    /// `advskew`: 1/256 seconds on top, 0 to 254.
    pub advskew: Option<AdvSkew>,
    /// `pass`: the passphrase as a key, cut at [`Key::PASSPHRASE_LEN`] bytes as `ifconfig`
    /// does (CARP §1.6).
    pub key: Option<Key>,
    /// How many bytes of the passphrase were cut off: if it is not 0, tell the operator,
    /// for they protect nothing.
    pub cut_off: usize,
    /// `state`: the state asked for. INIT is allowed but has no effect.
    pub state: Option<State>,
    /// `peer` or `mcast`: where IPv4 advertisements go.
    pub peer: Option<Peer<Ipv4Addr>>,
    /// `peer6` or `mcast6`: where IPv6 advertisements go.
    pub peer6: Option<Peer<Ipv6Addr>>,
    /// `carpver`: the protocol. That of an existing group cannot be changed.
    pub carpver: Option<CarpVersion>,
    /// `vrrpprio`: the priority of VRRP, 1 to 255.
    pub vrrpprio: Option<Priority>,
    /// `vrrpinterval`: the interval of VRRP in centiseconds, 1 to 4095.
    pub vrrpinterval: Option<AdverInterval>,
    /// The shared address to attach or detach, after all else has been set.
    pub address: Option<SharedAddress>,
}

impl Words {
    /// Nothing to be set for the group `vhid`, which makes a new one with the defaults.
    #[must_use]
    pub const fn new(vhid: Vhid) -> Self {
        Self {
            vhid,
            advbase: None,
            advskew: None,
            key: None,
            cut_off: 0,
            state: None,
            peer: None,
            peer6: None,
            carpver: None,
            vrrpprio: None,
            vrrpinterval: None,
            address: None,
        }
    }

    /// Reads the words.
    ///
    /// It is stricter than `ifconfig`: numbers must be numbers, where `ifconfig` takes
    /// rubbish for 0; a word may occur once only; ranges are checked here instead of by the
    /// kernel. Addresses are given without a zone, as the interface is named elsewhere.
    ///
    /// # Errors
    ///
    /// [`WordsError`], which says what is wrong with which word. It never shows a
    /// passphrase.
    pub fn parse(text: &str) -> Result<Self, WordsError<'_>> {
        let mut input = Input::new(text);
        let mut place = Place::default();
        let mut word = input.next();
        if let Some(family) = word.filter(|word| matches!(word.text, "inet" | "inet6")) {
            place.read(family)?;
            word = input.next();
        }
        let mut words = Self::new(read_vhid(&mut input, word)?);
        while let Some(word) = input.next() {
            if !(words.read(&mut input, word)? || place.read(word)?) {
                return Err(word.fault(WordsFault::Unknown { text: word.shown }));
            }
        }
        words.address = place.finish()?;
        Ok(words)
    }

    /// Reads the value of `word` if it is one of those of a group.
    fn read<'a>(&mut self, input: &mut Input<'a>, word: Word<'a>) -> Result<bool, WordsError<'a>> {
        match word.text {
            "vhid" => return Err(word.fault(WordsFault::Duplicate { word: "vhid" })),
            "advbase" => value(input, &mut self.advbase, word, "advbase", |value| {
                Ok(AdvBase::new(value.number("advbase", 1..=u8::MAX)?))
            })?,
            "advskew" => value(input, &mut self.advskew, word, "advskew", |value| {
                let skew = value.number("advskew", 0..=AdvSkew::MAX.get())?;
                AdvSkew::new(skew).map_err(WordsFault::Range)
            })?,
            "pass" => {
                input.hide();
                let mut cut_off = 0;
                value(input, &mut self.key, word, "pass", |value| {
                    let pass = value.text.as_bytes();
                    cut_off = pass.len().saturating_sub(Key::PASSPHRASE_LEN);
                    if pass.contains(&0) {
                        return Err(WordsFault::Nul);
                    }
                    Ok(Key::from_passphrase(pass))
                })?;
                self.cut_off = cut_off;
            }
            "state" => value(input, &mut self.state, word, "state", |value| {
                state(value.text).ok_or(WordsFault::State { text: value.shown })
            })?,
            "peer" => value(input, &mut self.peer, word, "peer", |value| {
                address(value, "peer", Ipv4Addr::UNSPECIFIED).map(Peer::from)
            })?,
            "mcast" => once(&mut self.peer, Peer::Multicast, word, "peer")?,
            "peer6" => value(input, &mut self.peer6, word, "peer6", |value| {
                address(value, "peer6", Ipv6Addr::UNSPECIFIED).map(Peer::from)
            })?,
            "mcast6" => once(&mut self.peer6, Peer::Multicast, word, "peer6")?,
            "carpver" => value(input, &mut self.carpver, word, "carpver", |value| {
                Ok(match value.number("carpver", 2u8..=3)? {
                    2 => CarpVersion::Carp,
                    _ => CarpVersion::VrrpV3,
                })
            })?,
            "vrrpprio" => value(input, &mut self.vrrpprio, word, "vrrpprio", |value| {
                let priority = value.number("vrrpprio", 1..=u8::MAX)?;
                Priority::new(priority).map_err(WordsFault::Range)
            })?,
            "vrrpinterval" => value(
                input,
                &mut self.vrrpinterval,
                word,
                "vrrpinterval",
                |value| {
                    let interval = value.number("vrrpinterval", 1..=AdverInterval::MAX.get())?;
                    AdverInterval::new(interval).map_err(WordsFault::Range)
                },
            )?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Puts advbase and advskew, as far as they are given, into `settings`.
    pub fn apply(&self, settings: &mut Settings) {
        settings.advbase = self.advbase.unwrap_or(settings.advbase);
        settings.advskew = self.advskew.unwrap_or(settings.advskew);
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vhid {}", self.vhid)?;
        if let Some(advbase) = self.advbase {
            write!(f, " advbase {advbase}")?;
        }
        if let Some(advskew) = self.advskew {
            write!(f, " advskew {advskew}")?;
        }
        if let Some(state) = self.state {
            f.write_str(match state {
                State::Init => " state init",
                State::Backup => " state backup",
                State::Master => " state master",
            })?;
        }
        match self.peer {
            Some(Peer::Multicast) => f.write_str(" mcast")?,
            Some(Peer::Address(peer)) => write!(f, " peer {peer}")?,
            None => {}
        }
        match self.peer6 {
            Some(Peer::Multicast) => f.write_str(" mcast6")?,
            Some(Peer::Address(peer)) => write!(f, " peer6 {peer}")?,
            None => {}
        }
        if let Some(carpver) = self.carpver {
            write!(f, " carpver {carpver}")?;
        }
        if let Some(priority) = self.vrrpprio {
            write!(f, " vrrpprio {priority}")?;
        }
        if let Some(interval) = self.vrrpinterval {
            write!(f, " vrrpinterval {interval}")?;
        }
        match self.address {
            Some(address) => write!(f, " {address}"),
            None => Ok(()),
        }
    }
}

/// Where the advertisements of one family go; `A` is that family's address type.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the group or an address")]
pub enum Peer<A> {
    /// To the family's group, [`GROUP_V4`] or [`GROUP_V6`], which is the default.
    Multicast,
    /// To this address, mostly a unicast one (CARP §5.6); FreeBSD also takes another group.
    Address(A),
}

/// The family's own group is [`Peer::Multicast`].
impl From<Ipv4Addr> for Peer<Ipv4Addr> {
    fn from(address: Ipv4Addr) -> Self {
        if address == GROUP_V4 {
            Self::Multicast
        } else {
            Self::Address(address)
        }
    }
}

/// The family's own group is [`Peer::Multicast`].
impl From<Ipv6Addr> for Peer<Ipv6Addr> {
    fn from(address: Ipv6Addr) -> Self {
        if address == GROUP_V6 {
            Self::Multicast
        } else {
            Self::Address(address)
        }
    }
}

impl Peer<Ipv4Addr> {
    /// Returns the address to send to.
    #[must_use]
    pub const fn destination(self) -> Ipv4Addr {
        match self {
            Self::Multicast => GROUP_V4,
            Self::Address(address) => address,
        }
    }
}

impl Peer<Ipv6Addr> {
    /// Returns the address to send to.
    #[must_use]
    pub const fn destination(self) -> Ipv6Addr {
        match self {
            Self::Multicast => GROUP_V6,
            Self::Address(address) => address,
        }
    }
}

/// The protocol of a group, by the number that `carpver` has for it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "FreeBSD 15 has these two")]
pub enum CarpVersion {
    /// 2: CARP.
    #[default]
    Carp,
    /// 3: VRRPv3 (CARP §5.7).
    VrrpV3,
}

impl fmt::Display for CarpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Carp => "2",
            Self::VrrpV3 => "3",
        })
    }
}

impl<'a> Word<'a> {
    fn fault(self, fault: WordsFault<'a>) -> WordsError<'a> {
        WordsError { at: self.at, fault }
    }

    fn number<T: Into<u32> + TryFrom<u32>>(
        self,
        word: &'static str,
        bounds: RangeInclusive<T>,
    ) -> Result<T, WordsFault<'a>> {
        self.number_of(self.text, word, bounds)
    }

    /// As [`number`](Self::number), of a part of the word.
    fn number_of<T: Into<u32> + TryFrom<u32>>(
        self,
        text: &'a str,
        word: &'static str,
        bounds: RangeInclusive<T>,
    ) -> Result<T, WordsFault<'a>> {
        number(text, word, bounds).map_err(|fault| match fault {
            NumberFault::Rubbish => WordsFault::Number {
                word,
                text: self.shown.and(Some(text)),
            },
            NumberFault::Range(range) => WordsFault::Range(range),
        })
    }
}

/// Takes the next word as the value of `word` and puts it into an empty `slot`.
fn value<'a, T>(
    input: &mut Input<'a>,
    slot: &mut Option<T>,
    word: Word<'a>,
    name: &'static str,
    read: impl FnOnce(Word<'a>) -> Result<T, WordsFault<'a>>,
) -> Result<(), WordsError<'a>> {
    if slot.is_some() {
        return Err(word.fault(WordsFault::Duplicate { word: name }));
    }
    let no_value = word.fault(WordsFault::NoValue { word: name });
    let value = input.next().ok_or(no_value)?;
    *slot = Some(read(value).map_err(|fault| value.fault(fault))?);
    Ok(())
}

/// Fills `slot` if it is empty.
fn once<'a, T>(
    slot: &mut Option<T>,
    value: T,
    word: Word<'a>,
    name: &'static str,
) -> Result<(), WordsError<'a>> {
    if slot.is_some() {
        return Err(word.fault(WordsFault::Duplicate { word: name }));
    }
    *slot = Some(value);
    Ok(())
}

/// Reads `vhid N`, of which the first word was taken already.
fn read_vhid<'a>(input: &mut Input<'a>, word: Option<Word<'a>>) -> Result<Vhid, WordsError<'a>> {
    let end = WordsError {
        at: input.position(),
        fault: WordsFault::NoVhid,
    };
    let word = word.ok_or(end)?;
    if word.text != "vhid" {
        return Err(word.fault(WordsFault::NotVhid { text: word.shown }));
    }
    let no_value = word.fault(WordsFault::NoValue { word: "vhid" });
    let value = input.next().ok_or(no_value)?;
    value
        .number("vhid", 1..=u8::MAX)
        .and_then(|vhid| Vhid::new(vhid).map_err(WordsFault::Range))
        .map_err(|fault| value.fault(fault))
}

/// Reads an address of `A`'s family other than `unspecified`, which the kernel takes for
/// no peer at all.
fn address<'a, A: FromStr + PartialEq>(
    value: Word<'a>,
    word: &'static str,
    unspecified: A,
) -> Result<A, WordsFault<'a>> {
    match value.text.parse() {
        Ok(address) if address != unspecified => Ok(address),
        _ => Err(WordsFault::Address {
            word,
            text: value.shown,
        }),
    }
}

/// Reads the name of a state, in any case.
pub(crate) fn state(text: &str) -> Option<State> {
    [
        ("init", State::Init),
        ("backup", State::Backup),
        ("master", State::Master),
    ]
    .into_iter()
    .find(|(name, _)| text.eq_ignore_ascii_case(name))
    .map(|(_, state)| state)
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::auth::Authenticator;
    use core::net::IpAddr;
    use proptest::prelude::*;
    use std::format;
    use std::string::{String, ToString};
    use std::vec;
    use std::vec::Vec;

    /// The words as they are printed, having been read.
    fn printed(text: &str) -> String {
        Words::parse(text).unwrap().to_string()
    }

    /// Whether two keys are the same, as seen by what they sign.
    fn same_key(a: &Key, b: &Key) -> bool {
        let signed = |key| {
            let vhid = Vhid::new(1).unwrap();
            let said = crate::Advertisement {
                vhid,
                advbase: AdvBase::DEFAULT,
                advskew: AdvSkew::DEFAULT,
                demote: 0,
                counter: 0,
            };
            let mut out = [0; crate::ADVERTISEMENT_LEN];
            Authenticator::new(key, vhid, &[]).sign(&said, &mut out);
            out
        };
        signed(a) == signed(b)
    }

    #[test]
    fn every_word_is_read_in_any_order_and_printed_in_that_of_the_manual() {
        let all = "vhid 7 advbase 2 advskew 10 state master peer 192.0.2.7 peer6 2001:db8::7 \
                   carpver 3 vrrpprio 200 vrrpinterval 50 inet 192.0.2.1/24 alias";
        assert_eq!(printed(all), all);
        assert_eq!(
            printed(
                "vhid 7 -alias vrrpinterval 4095 vrrpprio 255\tcarpver 2 mcast6 mcast inet6\n \
                 state INIT advskew 254 ::1/128 advbase 255"
            ),
            "vhid 7 advbase 255 advskew 254 state init mcast mcast6 carpver 2 vrrpprio 255 \
             vrrpinterval 4095 inet6 ::1/128 -alias"
        );
        assert_eq!(
            printed("vhid 1 peer 224.0.0.18 peer6 ff02::12"),
            "vhid 1 mcast mcast6"
        );
        assert_eq!(printed("vhid 1 192.0.2.1"), "vhid 1 inet 192.0.2.1");
        assert_eq!(printed("vhid 001 state Backup"), "vhid 1 state backup");
    }

    #[test]
    fn the_line_of_rc_conf_is_read() {
        let words = Words::parse("inet vhid 1 advskew 100 pass secret alias 192.0.2.1/32").unwrap();
        assert_eq!(
            words.address,
            Some(SharedAddress {
                address: IpAddr::from([192, 0, 2, 1]),
                prefix_len: Some(32),
                change: AddressChange::Add,
            })
        );
        assert!(same_key(
            &words.key.unwrap(),
            &Key::from_passphrase(b"secret")
        ));
    }

    #[test]
    fn a_long_passphrase_is_cut_and_reported() {
        let words = Words::parse("vhid 1 pass 1234567890123456789").unwrap();
        assert_eq!(words.cut_off, 0);
        let longer = Words::parse("vhid 1 pass 1234567890123456789\u{e4}").unwrap();
        assert_eq!(longer.cut_off, 2);
        assert!(same_key(&words.key.unwrap(), &longer.key.unwrap()));
    }

    #[test]
    fn a_passphrase_is_never_shown() {
        let words = Words::parse("vhid 1 pass s3cret advskew 1").unwrap();
        assert_eq!(words.to_string(), "vhid 1 advskew 1");
        assert!(!format!("{words:?}").contains("s3cret"));
        for text in [
            "vhid 1 pass my s3cret",
            "vhid 1 pass my state s3cret",
            "vhid 1 pass my peer s3cret",
            "vhid 1 pass my advskew s3cret",
            "vhid 1 pass my 192.0.2.1/s3cret",
            "vhid 1 pass s3cret pass s3cret",
            "vhid 1 pass s3cret\0s3cret",
            "vhid 1 pass=s3cret",
            "vhid passs3cret",
            "pass=s3cret",
            "pass s3cret vhid 1",
        ] {
            let error = Words::parse(text).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    /// What is entered, the number and column of the faulty word, and the message about it.
    const FAULTS: &str = r#"
                             | 1, column 1: vhid is missing
        inet                 | 2, column 5: vhid is missing
        advskew 1 vhid 1     | 1, column 1: "advskew" stands where vhid is expected
        inet ::1 vhid 1      | 2, column 6: "::1" stands where vhid is expected
        vhid                 | 1, column 1: vhid is without a value
        vhid one             | 2, column 6: vhid: "one" is no number
        vhid 0               | 2, column 6: vhid 0 is outside 1..=255
        vhid 256             | 2, column 6: vhid 256 is outside 1..=255
        vhid 1 vhid 1        | 3, column 8: vhid is given twice
        vhid 1 advbase 0     | 4, column 16: advbase 0 is outside 1..=255
        vhid 1 advskew 255   | 4, column 16: advskew 255 is outside 0..=254
        vhid 1 advskew +5    | 4, column 16: advskew: "+5" is no number
        vhid 1   advskew     | 3, column 10: advskew is without a value
        vhid 1 advskew 1 advskew | 5, column 18: advskew is given twice
        vhid 1 pass          | 3, column 8: pass is without a value
        vhid 1 pass a pass b | 5, column 15: pass is given twice
        vhid 1 pass my words | 5, column 16: a word not shown here is neither known nor an address
        vhid 1 state slave   | 4, column 14: state: "slave" is neither master, backup nor init
        vhid 1 peer ::1      | 4, column 13: peer: "::1" is no address for it
        vhid 1 peer 0.0.0.0  | 4, column 13: peer: "0.0.0.0" is no address for it
        vhid 1 peer6 1.2.3.4 | 4, column 14: peer6: "1.2.3.4" is no address for it
        vhid 1 mcast peer 1.2.3.4 | 4, column 14: peer is given twice
        vhid 1 mcast6 mcast6 | 4, column 15: peer6 is given twice
        vhid 1 carpver 1     | 4, column 16: carpver 1 is outside 2..=3
        vhid 1 vrrpprio 0    | 4, column 17: vrrpprio 0 is outside 1..=255
        vhid 1 vrrpinterval 4096 | 4, column 21: vrrpinterval 4096 is outside 1..=4095
        vhid 1 inet          | 3, column 8: inet is without an address
        inet6 vhid 1         | 1, column 1: inet6 is without an address
        vhid 1 alias         | 3, column 8: alias is without an address
        vhid 1 -alias        | 3, column 8: -alias is without an address
        vhid 1 alias -alias  | 4, column 14: alias is given twice
        inet vhid 1 inet6 ::1 | 4, column 13: family is given twice
        vhid 1 ::1 ::1       | 4, column 12: address is given twice
        vhid 1 inet ::1      | 4, column 13: inet: "::1" is no address for it
        vhid 1 1.2.3.4/33    | 3, column 8: prefix length 33 is outside 0..=32
        vhid 1 ::1/129       | 3, column 8: prefix length 129 is outside 0..=128
        vhid 1 ::1/          | 3, column 8: prefix length: "" is no number
        vhid 1 1.2.3.400     | 3, column 8: "1.2.3.400" is neither known nor an address
        vhid 1 netmask       | 3, column 8: "netmask" is neither known nor an address
    "#;

    #[test]
    fn each_fault_is_named_with_its_word_and_place() {
        for line in FAULTS.trim().lines() {
            let (words, message) = line.split_once('|').unwrap();
            let error = Words::parse(words.trim()).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("word {}", message.trim()),
                "{words}"
            );
        }
    }

    #[test]
    fn faults_are_values() {
        let fault = |text| Words::parse(text).unwrap_err().fault;
        let text = Some("\u{1b}");
        assert_eq!(fault("vhid 1 \u{1b}"), WordsFault::Unknown { text });
        assert_eq!(fault("vhid 1 state \u{1b}"), WordsFault::State { text });
        assert_eq!(fault("vhid 1 pass a\0b"), WordsFault::Nul);
        assert_eq!(fault("vhid 1 pass a b"), WordsFault::Unknown { text: None });
        let shown = Words::parse("vhid 1 \u{1b}").unwrap_err().to_string();
        assert!(shown.contains(r#""\u{1b}""#), "{shown}");
    }

    #[test]
    fn only_what_is_given_is_applied() {
        let mut settings = Settings {
            preempt: true,
            ..Settings::default()
        };
        Words::parse("vhid 1 advskew 7")
            .unwrap()
            .apply(&mut settings);
        Words::parse("vhid 1 advbase 3")
            .unwrap()
            .apply(&mut settings);
        let expected = Settings {
            preempt: true,
            advbase: AdvBase::new(3),
            advskew: AdvSkew::new(7).unwrap(),
            ..Settings::default()
        };
        assert_eq!(settings, expected);
    }

    fn any_peer<B: Arbitrary, A: From<B> + fmt::Debug>() -> impl Strategy<Value = Peer<A>>
    where
        Peer<A>: From<A>,
    {
        any::<B>().prop_map(|bytes| Peer::from(A::from(bytes)))
    }

    prop_compose! {
        fn any_address()(
            (address, prefix_len) in prop_oneof![
                (any::<[u8; 4]>().prop_map(IpAddr::from), proptest::option::of(0u8..=32)),
                (any::<[u8; 16]>().prop_map(IpAddr::from), proptest::option::of(0u8..=128)),
            ],
            change in prop_oneof![
                Just(AddressChange::Set), Just(AddressChange::Add), Just(AddressChange::Remove),
            ],
        ) -> SharedAddress {
            SharedAddress { address, prefix_len, change }
        }
    }

    prop_compose! {
        fn any_words()(
            vhid in 1u8..,
            (advbase, advskew, cut_off) in
                (proptest::option::of(1u8..), proptest::option::of(0u8..=254), 0usize..3),
            state in proptest::option::of(prop_oneof![
                Just(State::Init), Just(State::Backup), Just(State::Master),
            ]),
            peer in proptest::option::of(prop_oneof![
                Just(Peer::Multicast), any_peer::<[u8; 4], Ipv4Addr>(),
            ]),
            peer6 in proptest::option::of(prop_oneof![
                Just(Peer::Multicast), any_peer::<[u8; 16], Ipv6Addr>(),
            ]),
            carpver in proptest::option::of(prop_oneof![
                Just(CarpVersion::Carp), Just(CarpVersion::VrrpV3),
            ]),
            (vrrpprio, vrrpinterval) in
                (proptest::option::of(1u8..), proptest::option::of(1u16..=4095)),
            address in proptest::option::of(any_address()),
        ) -> Words {
            Words {
                vhid: Vhid::new(vhid).unwrap(),
                advbase: advbase.map(AdvBase::new),
                advskew: advskew.map(|skew| AdvSkew::new(skew).unwrap()),
                key: Some(Key::none()),
                cut_off,
                state,
                peer,
                peer6,
                carpver,
                vrrpprio: vrrpprio.map(|priority| Priority::new(priority).unwrap()),
                vrrpinterval: vrrpinterval.map(|interval| AdverInterval::new(interval).unwrap()),
                address,
            }
        }
    }

    /// Everything but the key, which is not printed.
    fn without_key(words: &Words) -> impl PartialEq + fmt::Debug + use<> {
        (
            (
                words.vhid,
                words.advbase,
                words.advskew,
                words.state,
                words.peer,
                words.peer6,
            ),
            (
                words.carpver,
                words.vrrpprio,
                words.vrrpinterval,
                words.address,
            ),
        )
    }

    proptest! {
        #[test]
        fn reading_what_was_printed_gives_the_same_but_for_the_key(words in any_words()) {
            let text = words.to_string();
            let read = Words::parse(&text).unwrap();
            prop_assert_eq!(without_key(&read), without_key(&words));
            prop_assert!(read.key.is_none());
            prop_assert_eq!(read.cut_off, 0);
        }

        #[test]
        fn any_text_is_read_or_refused_at_one_of_its_words(
            text: String,
            words in proptest::collection::vec(
                prop_oneof![
                    Just("vhid"), Just("advbase"), Just("advskew"), Just("pass"), Just("state"),
                    Just("backup"), Just("peer"), Just("mcast"), Just("peer6"), Just("mcast6"),
                    Just("carpver"), Just("vrrpprio"), Just("vrrpinterval"), Just("inet"),
                    Just("inet6"), Just("alias"), Just("-alias"), Just("1"), Just("3"), Just("/"),
                    Just("192.0.2.1/24"), Just("::1"), Just("\u{e4}\u{a0}\u{f6}"),
                ],
                0..12,
            ),
            start: bool,
        ) {
            let words: Vec<_> = start.then_some("vhid 1").into_iter().chain(words).collect();
            for text in [text, words.join(" \t")] {
                match Words::parse(&text) {
                    Ok(read) => {
                        let again = read.to_string();
                        let again = Words::parse(&again).unwrap();
                        prop_assert_eq!(without_key(&again), without_key(&read));
                    }
                    Err(error) => {
                        let split: Vec<_> = text.split_ascii_whitespace().collect();
                        let (word, column) = (error.at.word - 1, error.at.column - 1);
                        match split.get(word) {
                            Some(there) => prop_assert!(text[column..].starts_with(there)),
                            None => prop_assert_eq!((word, column), (split.len(), text.len())),
                        }
                        prop_assert!(!error.to_string().is_empty());
                    }
                }
            }
        }
    }
}
