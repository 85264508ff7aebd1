//! The words by which `ifconfig` configures a virtual host (CARP §5.4.1).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;
use core::str::FromStr;

use crate::auth::Key;
use crate::config::Settings;
use crate::event::State;
use crate::ip::{GROUP_V4, GROUP_V6};
use crate::types::{AdvBase, AdvSkew, Family, OutOfRange, Vhid};
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
/// `Display` gives the words in the order above, which parse to the same values, with one
/// exception: **the key is left out**. A placeholder would become the key when somebody
/// enters the words again; without the word, the host keeps the key it has. `Debug` shows
/// only whether there is one.
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
            "advbase" => input.value(&mut self.advbase, word, "advbase", |value| {
                Ok(AdvBase::new(value.number("advbase", 1..=u8::MAX)?))
            })?,
            "advskew" => input.value(&mut self.advskew, word, "advskew", |value| {
                let skew = value.number("advskew", 0..=AdvSkew::MAX.get())?;
                AdvSkew::new(skew).map_err(WordsFault::Range)
            })?,
            "pass" => {
                input.after_pass = true;
                let mut cut_off = 0;
                input.value(&mut self.key, word, "pass", |value| {
                    let pass = value.text.as_bytes();
                    cut_off = pass.len().saturating_sub(Key::PASSPHRASE_LEN);
                    if pass.contains(&0) {
                        return Err(WordsFault::Nul);
                    }
                    Ok(Key::from_passphrase(pass))
                })?;
                self.cut_off = cut_off;
            }
            "state" => input.value(&mut self.state, word, "state", |value| {
                state(value.text).ok_or(WordsFault::State { text: value.shown })
            })?,
            "peer" => input.value(&mut self.peer, word, "peer", |value| {
                address(value, "peer", Ipv4Addr::UNSPECIFIED).map(Peer::from)
            })?,
            "mcast" => once(&mut self.peer, Peer::Multicast, word, "peer")?,
            "peer6" => input.value(&mut self.peer6, word, "peer6", |value| {
                address(value, "peer6", Ipv6Addr::UNSPECIFIED).map(Peer::from)
            })?,
            "mcast6" => once(&mut self.peer6, Peer::Multicast, word, "peer6")?,
            "carpver" => input.value(&mut self.carpver, word, "carpver", |value| {
                Ok(match value.number("carpver", 2u8..=3)? {
                    2 => CarpVersion::Carp,
                    _ => CarpVersion::VrrpV3,
                })
            })?,
            "vrrpprio" => input.value(&mut self.vrrpprio, word, "vrrpprio", |value| {
                let priority = value.number("vrrpprio", 1..=u8::MAX)?;
                Priority::new(priority).map_err(WordsFault::Range)
            })?,
            "vrrpinterval" => {
                input.value(&mut self.vrrpinterval, word, "vrrpinterval", |value| {
                    let interval = value.number("vrrpinterval", 1..=AdverInterval::MAX.get())?;
                    AdverInterval::new(interval).map_err(WordsFault::Range)
                })?
            }
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

/// A shared address, and what is to be done with it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct SharedAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix: up to 32 for IPv4, up to 128 for IPv6.
    pub prefix_len: Option<u8>,
    /// What is to be done.
    pub change: AddressChange,
}

impl fmt::Display for SharedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            family_word(Family::of(self.address)),
            self.address
        )?;
        if let Some(len) = self.prefix_len {
            write!(f, "/{len}")?;
        }
        f.write_str(match self.change {
            AddressChange::Set => "",
            AddressChange::Add => " alias",
            AddressChange::Remove => " -alias",
        })
    }
}

/// What is to be done with an address.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "ifconfig has two words, or none")]
pub enum AddressChange {
    /// No word: it becomes the interface's address.
    #[default]
    Set,
    /// `alias`: it is added to the interface's addresses.
    Add,
    /// `-alias`: it is removed; with its last address a group ends.
    Remove,
}

/// What is wrong with the words of an operator, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("word {}, column {}: {fault}", at.word, at.column)]
#[non_exhaustive]
pub struct WordsError<'a> {
    /// Where the fault is.
    pub at: Position,
    /// What it is.
    pub fault: WordsFault<'a>,
}

/// The place of a word, or of one that is missing at the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Position {
    /// Which word it is, counted from 1.
    pub word: usize,
    /// Its first byte, counted from 1.
    pub column: usize,
}

/// A fault in the words of an operator.
///
/// A `text` is what was written. It is withheld (`None`) where it may be a piece of a
/// passphrase: after the word `pass`, and in a word that begins with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WordsFault<'a> {
    /// There is no vhid.
    #[error("vhid is missing")]
    NoVhid,
    /// Another word stands where vhid must.
    #[error("{} stands where vhid is expected", Shown(*text))]
    NotVhid {
        /// The word.
        text: Option<&'a str>,
    },
    /// The word is neither known nor an address.
    #[error("{} is neither a known word nor an address", Shown(*text))]
    Unknown {
        /// The word.
        text: Option<&'a str>,
    },
    /// The word occurs again, or together with one that sets the same.
    #[error("{word} is given twice")]
    Duplicate {
        /// What is set twice: one of `ifconfig`'s words, `family` or `address`.
        word: &'static str,
    },
    /// The value of a word is missing.
    #[error("{word} is without a value")]
    NoValue {
        /// The word.
        word: &'static str,
    },
    /// The address that a word is about is missing.
    #[error("{word} is without an address")]
    NoAddress {
        /// The word.
        word: &'static str,
    },
    /// A value is not a decimal number of at most 32 bits.
    #[error("{word}: {} is no number", Shown(*text))]
    Number {
        /// The word whose value it is.
        word: &'static str,
        /// The value.
        text: Option<&'a str>,
    },
    /// A number is not allowed.
    #[error("{0}")]
    Range(OutOfRange),
    /// The passphrase holds a NUL, at which `ifconfig` would end it.
    #[error("pass: NUL in the passphrase")]
    Nul,
    /// The state is none.
    #[error("state: {} is neither master, backup nor init", Shown(*text))]
    State {
        /// The value.
        text: Option<&'a str>,
    },
    /// The value is no address of the word's family, or the unspecified one.
    #[error("{word}: {} is no address for it", Shown(*text))]
    Address {
        /// The word.
        word: &'static str,
        /// The value.
        text: Option<&'a str>,
    },
}

/// A text in an error message, in quotes and with control characters escaped.
struct Shown<'a>(Option<&'a str>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(f, "{text:?}"),
            None => f.write_str("a word that is not shown"),
        }
    }
}

/// The words that are left.
pub(crate) struct Input<'a> {
    rest: &'a str,
    next: Position,
    after_pass: bool,
}

/// A word and its place. It has no `Debug`, for it may be a passphrase.
#[derive(Clone, Copy)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    /// The text, unless it may be a piece of a passphrase.
    shown: Option<&'a str>,
    at: Position,
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

impl<'a> Input<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut input = Self {
            rest: text,
            next: Position { word: 1, column: 1 },
            after_pass: false,
        };
        input.skip_blanks();
        input
    }

    /// Takes the next word, if there is one.
    pub(crate) fn next(&mut self) -> Option<Word<'a>> {
        let len = self
            .rest
            .find(|c: char| c.is_ascii_whitespace())
            .unwrap_or(self.rest.len());
        let (text, rest) = self
            .rest
            .split_at_checked(len)
            .filter(|(text, _)| !text.is_empty())?;
        let hidden = self.after_pass || text.starts_with("pass");
        let word = Word {
            text,
            shown: (!hidden).then_some(text),
            at: self.next,
        };
        self.rest = rest;
        self.next.word = self.next.word.saturating_add(1);
        self.next.column = self.next.column.saturating_add(len);
        self.skip_blanks();
        Some(word)
    }

    /// Returns what follows the words taken so far.
    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest.trim_ascii_start();
        let blanks = self.rest.len().saturating_sub(rest.len());
        self.next.column = self.next.column.saturating_add(blanks);
        self.rest = rest;
    }

    /// Takes the next word as the value of `word` and puts it into an empty `slot`.
    fn value<T>(
        &mut self,
        slot: &mut Option<T>,
        word: Word<'a>,
        name: &'static str,
        read: impl FnOnce(Word<'a>) -> Result<T, WordsFault<'a>>,
    ) -> Result<(), WordsError<'a>> {
        if slot.is_some() {
            return Err(word.fault(WordsFault::Duplicate { word: name }));
        }
        let no_value = word.fault(WordsFault::NoValue { word: name });
        let value = self.next().ok_or(no_value)?;
        *slot = Some(read(value).map_err(|fault| value.fault(fault))?);
        Ok(())
    }
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
        at: input.next,
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

/// The words about the shared address, which may stand apart: `inet vhid 1 alias ADDRESS`.
#[derive(Default)]
struct Place<'a> {
    family: Option<(Family, Word<'a>)>,
    change: Option<(AddressChange, Word<'a>)>,
    address: Option<(IpAddr, Option<u8>, Word<'a>)>,
}

impl<'a> Place<'a> {
    /// Takes `word` if it is about the address.
    fn read(&mut self, word: Word<'a>) -> Result<bool, WordsError<'a>> {
        match word.text {
            "inet" => once(&mut self.family, (Family::V4, word), word, "family")?,
            "inet6" => once(&mut self.family, (Family::V6, word), word, "family")?,
            "alias" => once(&mut self.change, (AddressChange::Add, word), word, "alias")?,
            "-alias" => once(
                &mut self.change,
                (AddressChange::Remove, word),
                word,
                "alias",
            )?,
            text => {
                let (address, len) = match text.split_once('/') {
                    Some((address, len)) => (address, Some(len)),
                    None => (text, None),
                };
                let Ok(address) = address.parse::<IpAddr>() else {
                    return Ok(false);
                };
                let max = if address.is_ipv4() { 32 } else { 128 };
                let len = len
                    .map(|len| word.number_of(len, "prefix length", 0..=max))
                    .transpose()
                    .map_err(|fault| word.fault(fault))?;
                once(&mut self.address, (address, len, word), word, "address")?;
            }
        }
        Ok(true)
    }

    /// Puts the words together.
    fn finish(self) -> Result<Option<SharedAddress>, WordsError<'a>> {
        let Some((address, prefix_len, at)) = self.address else {
            let lonely = |word: Word<'a>, name| word.fault(WordsFault::NoAddress { word: name });
            return match (self.family, self.change) {
                (Some((family, word)), _) => Err(lonely(word, family_word(family))),
                (None, Some((AddressChange::Remove, word))) => Err(lonely(word, "-alias")),
                (None, Some((_, word))) => Err(lonely(word, "alias")),
                (None, None) => Ok(None),
            };
        };
        match self.family {
            Some((family, _)) if family != Family::of(address) => {
                let word = family_word(family);
                Err(at.fault(WordsFault::Address {
                    word,
                    text: at.shown,
                }))
            }
            _ => {
                let change = self.change.map(|(change, _)| change).unwrap_or_default();
                Ok(Some(SharedAddress {
                    address,
                    prefix_len,
                    change,
                }))
            }
        }
    }
}

const fn family_word(family: Family) -> &'static str {
    match family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    }
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

/// Why a text is no number within bounds.
pub(crate) enum NumberFault {
    Rubbish,
    Range(OutOfRange),
}

/// Reads a decimal number within the bounds; `field` is what it stands for.
pub(crate) fn number<T: Into<u32> + TryFrom<u32>>(
    text: &str,
    field: &'static str,
    bounds: RangeInclusive<T>,
) -> Result<T, NumberFault> {
    // The standard parser would take a sign, too.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberFault::Rubbish);
    }
    let value = text.parse().map_err(|_| NumberFault::Rubbish)?;
    let (min, max) = bounds.into_inner();
    let (min, max) = (min.into(), max.into());
    let range = OutOfRange {
        field,
        value,
        min,
        max,
    };
    if !(min..=max).contains(&value) {
        return Err(NumberFault::Range(range));
    }
    T::try_from(value).map_err(|_| NumberFault::Range(range))
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
mod tests {
    use super::*;
    use crate::auth::Authenticator;
    use proptest::prelude::*;
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    /// The words as they are printed, having been read.
    fn printed(text: &str) -> String {
        Words::parse(text).unwrap().to_string()
    }

    /// The faulty word's number, its column, and the fault.
    fn fault(text: &str) -> (usize, usize, WordsFault<'_>) {
        let error = Words::parse(text).unwrap_err();
        (error.at.word, error.at.column, error.fault)
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
            let mut out = [0; crate::LEN];
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

    #[test]
    fn each_fault_is_named_with_its_word_and_place() {
        use WordsFault::{
            Address, Duplicate, NoAddress, NoValue, NoVhid, NotVhid, Nul, Number, Range, State,
            Unknown,
        };
        let range = |field, value, min, max| {
            Range(OutOfRange {
                field,
                value,
                min,
                max,
            })
        };
        let text = Some;
        for (words, at, column, expected) in [
            ("", 1, 1, NoVhid),
            ("  ", 1, 3, NoVhid),
            ("inet", 2, 5, NoVhid),
            (
                "advskew 1 vhid 1",
                1,
                1,
                NotVhid {
                    text: text("advskew"),
                },
            ),
            (
                "inet 192.0.2.1",
                2,
                6,
                NotVhid {
                    text: text("192.0.2.1"),
                },
            ),
            ("vhid", 1, 1, NoValue { word: "vhid" }),
            (
                "vhid one",
                2,
                6,
                Number {
                    word: "vhid",
                    text: text("one"),
                },
            ),
            ("vhid 0", 2, 6, range("vhid", 0, 1, 255)),
            ("vhid 256", 2, 6, range("vhid", 256, 1, 255)),
            ("vhid 1 vhid 1", 3, 8, Duplicate { word: "vhid" }),
            ("vhid 1 advbase 0", 4, 16, range("advbase", 0, 1, 255)),
            ("vhid 1 advskew 255", 4, 16, range("advskew", 255, 0, 254)),
            (
                "vhid 1 advskew +5",
                4,
                16,
                Number {
                    word: "advskew",
                    text: text("+5"),
                },
            ),
            (
                "vhid 1 advskew 4294967296",
                4,
                16,
                Number {
                    word: "advskew",
                    text: text("4294967296"),
                },
            ),
            ("vhid 1 advskew", 3, 8, NoValue { word: "advskew" }),
            (
                "vhid 1 advskew 1 advskew",
                5,
                18,
                Duplicate { word: "advskew" },
            ),
            ("vhid 1 pass", 3, 8, NoValue { word: "pass" }),
            ("vhid 1 pass a pass b", 5, 15, Duplicate { word: "pass" }),
            ("vhid 1 pass a\0b", 4, 13, Nul),
            (
                "vhid 1 state slave",
                4,
                14,
                State {
                    text: text("slave"),
                },
            ),
            (
                "vhid 1 peer ::1",
                4,
                13,
                Address {
                    word: "peer",
                    text: text("::1"),
                },
            ),
            (
                "vhid 1 peer 0.0.0.0",
                4,
                13,
                Address {
                    word: "peer",
                    text: text("0.0.0.0"),
                },
            ),
            (
                "vhid 1 peer6 1.2.3.4",
                4,
                14,
                Address {
                    word: "peer6",
                    text: text("1.2.3.4"),
                },
            ),
            (
                "vhid 1 mcast peer 192.0.2.7",
                4,
                14,
                Duplicate { word: "peer" },
            ),
            ("vhid 1 mcast6 mcast6", 4, 15, Duplicate { word: "peer6" }),
            ("vhid 1 carpver 1", 4, 16, range("carpver", 1, 2, 3)),
            ("vhid 1 vrrpprio 0", 4, 17, range("vrrpprio", 0, 1, 255)),
            (
                "vhid 1 vrrpinterval 4096",
                4,
                21,
                range("vrrpinterval", 4096, 1, 4095),
            ),
            ("vhid 1 inet", 3, 8, NoAddress { word: "inet" }),
            ("inet6 vhid 1", 1, 1, NoAddress { word: "inet6" }),
            ("vhid 1 alias", 3, 8, NoAddress { word: "alias" }),
            ("vhid 1 -alias", 3, 8, NoAddress { word: "-alias" }),
            ("vhid 1 alias -alias", 4, 14, Duplicate { word: "alias" }),
            ("inet vhid 1 inet6 ::1", 4, 13, Duplicate { word: "family" }),
            ("vhid 1 ::1 ::1", 4, 12, Duplicate { word: "address" }),
            (
                "vhid 1 inet ::1",
                4,
                13,
                Address {
                    word: "inet",
                    text: text("::1"),
                },
            ),
            (
                "vhid 1 192.0.2.1/33",
                3,
                8,
                range("prefix length", 33, 0, 32),
            ),
            ("vhid 1 ::1/129", 3, 8, range("prefix length", 129, 0, 128)),
            (
                "vhid 1 ::1/",
                3,
                8,
                Number {
                    word: "prefix length",
                    text: text(""),
                },
            ),
            (
                "vhid 1  192.0.2.300",
                3,
                9,
                Unknown {
                    text: text("192.0.2.300"),
                },
            ),
            (
                "vhid 1 netmask",
                3,
                8,
                Unknown {
                    text: text("netmask"),
                },
            ),
        ] {
            assert_eq!(fault(words), (at, column, expected), "{words:?}");
        }
    }

    #[test]
    fn messages_are_for_people() {
        for (words, message) in [
            (
                "vhid 1 advskew 255",
                "word 4, column 16: advskew 255 is outside 0..=254",
            ),
            (
                "vhid 1 advskew ten",
                "word 4, column 16: advskew: \"ten\" is no number",
            ),
            (
                "vhid 1 \u{1b}",
                "word 3, column 8: \"\\u{1b}\" is neither a known word nor an address",
            ),
            (
                "vhid 1 pass two words",
                "word 5, column 17: a word that is not shown is neither a known word nor an address",
            ),
        ] {
            assert_eq!(Words::parse(words).unwrap_err().to_string(), message);
        }
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

    fn any_peer<B: Arbitrary, A: From<B> + core::fmt::Debug>() -> impl Strategy<Value = Peer<A>>
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
    fn without_key(words: &Words) -> impl PartialEq + core::fmt::Debug + use<> {
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
