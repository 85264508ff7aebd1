//! The two steps by which a primary and a secondary begin a session (HAST §1.4, §1.5).

use super::{MessageError, Refusal, Refused, optional, required};
use crate::decision::Changes;
use crate::frame::{Encoder, Frame, MAX_OPENING, Segments};
use crate::layout::Layout;
use crate::nv::{Array, List, Name, Text, Value, Writer};
use crate::payload::{Payload, PayloadError, Sealer};
use crate::types::{
    Checksum, Compression, Counters, ExtentSize, Length, NumberError, ResourceId, ResourceName,
    SyncSource, Token, Version,
};

const RESOURCE: Name<'static> = Name::literal("resource");
const VERSION: Name<'static> = Name::literal("version");
const TOKEN: Name<'static> = Name::literal("token");
const VIRGIN: Name<'static> = Name::literal("virgin");
const RESUID: Name<'static> = Name::literal("resuid");
const LOCALCNT: Name<'static> = Name::literal("localcnt");
const REMOTECNT: Name<'static> = Name::literal("remotecnt");
const DATASIZE: Name<'static> = Name::literal("datasize");
const EXTENTSIZE: Name<'static> = Name::literal("extentsize");
const SYNCSRC: Name<'static> = Name::literal("syncsrc");
const MAPSIZE: Name<'static> = Name::literal("mapsize");
/// Pairs of this crate, which a real peer does not look for.
const REUNION: Name<'static> = Name::literal("reunion");
const UNCHANGED: Name<'static> = Name::literal("unchanged");

/// What a primary says first on each of its connections. A token tells the second step from the
/// first.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these two")]
pub enum Opening {
    /// On the first connection.
    First(FirstStep),
    /// On the second connection.
    Second(SecondStep),
}

/// The first step: it asks for a token.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the protocol has these two pairs"
)]
pub struct FirstStep {
    /// Which resource.
    pub resource: ResourceName,
    /// The version offered. A version-1 primary offers none; numbers above 2 may come and are
    /// lowered by [`Version::settle`].
    pub version: Option<u8>,
}

/// The second step: it brings the token back and says what the primary knows.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these pairs")]
pub struct SecondStep {
    /// Which resource.
    pub resource: ResourceName,
    /// The token from the answer to the first step.
    pub token: Token,
    /// Whether the primary has made the resource identifier just now.
    pub virgin: bool,
    /// The resource identifier.
    pub resource_id: Option<ResourceId>,
    /// The primary's counters.
    pub counters: Counters,
    /// What a primary of this crate tells a secondary of this crate beside.
    pub reunion: Option<Reunion>,
}

/// What a primary tells for the case that both have counted: an extension of this crate. It is
/// told only to a secondary whose [`Welcome`] has asked for it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the extension has these two parts"
)]
pub struct Reunion {
    /// Whether the primary may have changes; if not, it gives way.
    pub changes: Changes,
    /// Its activemap, unless that is too long.
    pub map: Option<Map>,
}

impl Opening {
    /// Reads the first message on a connection that a secondary has accepted.
    ///
    /// # Errors
    ///
    /// [`MessageError`]; the original closes the connection without an answer, but for
    /// [`MessageError::Resource`], see there.
    pub fn decode(frame: &Frame) -> Result<Self, MessageError> {
        let list = frame.list();
        let reunion = Reunion::read(frame)?;
        let resource = required::<Text<'_>>(list, "resource")?;
        let token = optional::<Array<'_, u8>>(list, "token")?
            .map(token)
            .transpose()?;
        let resource = ResourceName::from_bytes(resource.as_bytes())?;
        let Some(token) = token else {
            Payload::none(frame.payload())?;
            let version = optional(list, "version")?;
            return Ok(Self::First(FirstStep { resource, version }));
        };
        Ok(Self::Second(SecondStep {
            resource,
            token,
            virgin: list.contains("virgin"),
            resource_id: ResourceId::new(required(list, "resuid")?),
            counters: read_counters(list)?,
            reunion,
        }))
    }

    /// Writes the message. `version` is the header's: 1 in the first message of a fresh primary,
    /// afterwards the one negotiated last (HAST §1.3).
    #[must_use]
    pub fn encode(&self, version: Version, encoder: &mut Encoder) -> Segments {
        let map = match self {
            Self::First(_) => None,
            Self::Second(step) => step.reunion.as_ref().and_then(|it| it.map.as_ref()),
        };
        let payload = map.map(|map| &map.payload);
        encoder.message(version, payload, |list| match self {
            Self::First(step) => {
                list.push(RESOURCE, text(step.resource.as_str()));
                if let Some(version) = step.version {
                    list.push(VERSION, Value::U8(version));
                }
            }
            Self::Second(step) => {
                list.push(RESOURCE, text(step.resource.as_str()));
                write_token(&step.token, list);
                if step.virgin {
                    list.push(VIRGIN, Value::I8(1));
                }
                list.push(RESUID, Value::U64(ResourceId::stored(step.resource_id)));
                write_counters(step.counters, list);
                if let Some(reunion) = &step.reunion {
                    reunion.write(list);
                }
            }
        })
    }

    /// Returns the resource that either step is about.
    #[must_use]
    pub const fn resource(&self) -> &ResourceName {
        match self {
            Self::First(step) => &step.resource,
            Self::Second(step) => &step.resource,
        }
    }
}

impl Reunion {
    /// Takes the pairs, if they are there; without them there is no payload either.
    fn read(frame: &Frame) -> Result<Option<Self>, MessageError> {
        let list = frame.list();
        let Some(unchanged) = optional::<u8>(list, "unchanged")? else {
            Payload::none(frame.payload())?;
            return Ok(None);
        };
        let changes = match unchanged {
            0 => Changes::Possible,
            _ => Changes::None,
        };
        let map = Map::read(frame)?;
        Ok(Some(Self { changes, map }))
    }

    fn write(&self, list: &mut Writer<'_>) {
        let unchanged = u8::from(self.changes == Changes::None);
        list.push(UNCHANGED, Value::U8(unchanged));
        if let Some(map) = &self.map {
            list.push(MAPSIZE, Value::U32(map.size));
        }
    }
}

/// What a secondary answers to the first step, on the same connection.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it does or it does not")]
pub enum FirstAnswer {
    /// Go on.
    Welcome(Welcome),
    /// Do not. Also sent on the second connection, where nobody reads it.
    Refused(Refused),
}

/// A secondary's consent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these pairs")]
pub struct Welcome {
    /// The version of the session; `None` from a version-1 secondary.
    pub version: Option<Version>,
    /// What the second step must bring back.
    pub token: Token,
    /// Whether the secondary understands a [`Reunion`]: an extension of this crate.
    pub reunion: bool,
}

impl Welcome {
    /// Returns the version of the session.
    #[must_use]
    pub fn settled(&self) -> Version {
        self.version.unwrap_or(Version::V1)
    }
}

impl FirstAnswer {
    /// Reads the answer to the first step.
    ///
    /// # Errors
    ///
    /// [`MessageError`]; the primary closes the connection.
    pub fn decode(frame: &Frame) -> Result<Self, MessageError> {
        let list = frame.list();
        Payload::none(frame.payload())?;
        if let Some(refused) = Refused::read(list)? {
            return Ok(Self::Refused(refused));
        }
        let version = match optional(list, "version")? {
            None => None,
            Some(version) => Some(Version::from_header(version)?),
        };
        let token = token(required(list, "token")?)?;
        let reunion = list.contains("reunion");
        Ok(Self::Welcome(Welcome {
            version,
            token,
            reunion,
        }))
    }

    /// Writes the answer. The header's version is the one settled, or 2 in a refusal, as the
    /// original has it.
    #[must_use]
    pub fn encode(&self, encoder: &mut Encoder) -> Segments {
        match self {
            Self::Welcome(welcome) => encoder.message(welcome.settled(), None, |list| {
                if let Some(version) = welcome.version {
                    list.push(VERSION, Value::U8(version.get()));
                }
                write_token(&welcome.token, list);
                if welcome.reunion {
                    list.push(REUNION, Value::U8(1));
                }
            }),
            Self::Refused(refused) => {
                encoder.message(Version::NEWEST, None, |list| refused.write(list))
            }
        }
    }
}

/// What a secondary answers to the second step, on the *first* connection.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "it does or it does not")]
pub enum SecondAnswer {
    /// The session begins.
    Accepted(Accepted),
    /// It does not.
    Refused {
        /// What the secondary has; missing in a refusal on the second connection.
        standing: Option<Standing>,
        /// Why.
        refused: Refused,
        /// The secondary's activemap, if both have counted and the primary is of this crate: an
        /// extension.
        map: Option<Map>,
    },
}

/// What a secondary has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these pairs")]
pub struct Standing {
    /// The octets of its data area, which must be as many as the primary's.
    pub data_size: Length,
    /// Its extent size, which must be the primary's.
    pub extent_size: ExtentSize,
    /// Its counters.
    pub counters: Counters,
}

/// A session begins.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the protocol has these pairs")]
pub struct Accepted {
    /// What the secondary has.
    pub standing: Standing,
    /// Whether the secondary has adopted the resource identifier just now.
    pub virgin: bool,
    /// Who has the current data.
    pub source: SyncSource,
    /// The secondary's activemap, if it matters.
    pub map: Option<Map>,
}

/// An activemap on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Map {
    size: u32,
    payload: Payload,
}

/// Why an activemap cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// It has not a bit for every extent.
    #[error("map of {have} octets where {need} are needed")]
    Short {
        /// Its octets.
        have: Length,
        /// Those needed.
        need: Length,
    },
    /// It is damaged.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

impl Map {
    /// Takes the sealed octets of a map of `size` octets. `None` if that is 0, which says that
    /// there is no map, or if it is not the length of a payload that is not compressed.
    #[must_use]
    pub fn new(size: u32, payload: Payload) -> Option<Self> {
        let compressed = payload.compression() != Compression::None;
        let len = Length::of(payload.wire_bytes());
        (size != 0 && (compressed || len == Length::new(size.into())))
            .then_some(Self { size, payload })
    }

    /// Takes the map that follows a list.
    fn read(frame: &Frame) -> Result<Option<Self>, MessageError> {
        let list = frame.list();
        match optional(list, "mapsize")?.unwrap_or(0) {
            0 => {
                Payload::none(frame.payload())?;
                Ok(None)
            }
            size => {
                let payload = Payload::receive(list, frame.payload().clone())?;
                Ok(Some(Self { size, payload }))
            }
        }
    }

    /// Opens the map if it has a bit for every extent of a layout. It may have more.
    ///
    /// # Errors
    ///
    /// [`MapError`]
    pub fn open_for(&self, layout: &Layout) -> Result<bytes::Bytes, MapError> {
        // Compared before it is opened; one that is too long is bounded by `open`.
        let (have, need) = (self.size(), layout.used_map_len());
        if have < need {
            return Err(MapError::Short { have, need });
        }
        Ok(self.open(have)?)
    }

    fn sealed(self, sealer: &mut Sealer) -> Self {
        let Self { size, payload } = self;
        let payload = payload.sealed(sealer);
        Self { size, payload }
    }

    /// Seals a map for an [`Opening`], in which there is room for [`MAX_OPENING`] octets.
    ///
    /// [`MAX_OPENING`]: crate::frame::MAX_OPENING
    pub(crate) fn for_opening(octets: bytes::Bytes) -> Option<Self> {
        let size = u32::try_from(octets.len()).ok()?;
        let mut sealer = Sealer::new(Compression::Lzf, Checksum::Crc32);
        let map = Self::new(size, Payload::plain(octets)?)?.sealed(&mut sealer);
        (map.payload.wire_bytes().len() <= MAX_OPENING).then_some(map)
    }

    /// Returns the octets of the map, which the sender chose: compare them with the geometry
    /// before you call [`open`](Self::open).
    #[must_use]
    pub fn size(&self) -> Length {
        Length::new(self.size.into())
    }

    /// Verifies and inflates the map, if it has the size expected. A real peer's may be longer
    /// than the geometry needs (HAST §4.2), so that the expected size usually is
    /// [`size`](Self::size) after a comparison with a limit.
    ///
    /// # Errors
    ///
    /// As [`Payload::open`].
    pub fn open(&self, expected: Length) -> Result<bytes::Bytes, PayloadError> {
        self.payload.open(expected)
    }
}

impl SecondAnswer {
    /// Reads the answer to the second step.
    ///
    /// # Errors
    ///
    /// [`MessageError`]; the primary closes both connections.
    pub fn decode(frame: &Frame) -> Result<Self, MessageError> {
        let list = frame.list();
        if let Some(refused) = Refused::read(list)? {
            // Nobody looks at the rest of a refusal, so that nothing in it is an error.
            let standing = Standing::read(list).ok();
            let map = match refused.reason {
                Refusal::SplitBrain => Map::read(frame).ok().flatten(),
                _ => {
                    Payload::none(frame.payload())?;
                    None
                }
            };
            return Ok(Self::Refused {
                standing,
                refused,
                map,
            });
        }
        let map = Map::read(frame)?;
        Ok(Self::Accepted(Accepted {
            standing: Standing::read(list)?,
            virgin: list.contains("virgin"),
            source: SyncSource::from_code(required(list, "syncsrc")?)?,
            map,
        }))
    }

    /// Compresses and checksums its map, if it has one and that is plain, as the original does
    /// with the secondary's settings.
    #[must_use]
    pub fn sealed(mut self, sealer: &mut Sealer) -> Self {
        let (Self::Accepted(Accepted { map, .. }) | Self::Refused { map, .. }) = &mut self;
        *map = map.take().map(|map| map.sealed(sealer));
        self
    }

    /// Writes the answer; `version` is the one settled in the first step.
    #[must_use]
    pub fn encode(&self, version: Version, encoder: &mut Encoder) -> Segments {
        match self {
            Self::Accepted(accepted) => {
                let payload = accepted.map.as_ref().map(|map| &map.payload);
                encoder.message(version, payload, |list| accepted.write(list))
            }
            Self::Refused {
                standing,
                refused,
                map,
            } => {
                let payload = map.as_ref().map(|map| &map.payload);
                encoder.message(version, payload, |list| {
                    if let Some(standing) = standing {
                        standing.write(list);
                    }
                    refused.write(list);
                    if let Some(map) = map {
                        list.push(MAPSIZE, Value::U32(map.size));
                    }
                })
            }
        }
    }
}

impl Accepted {
    fn write(&self, list: &mut Writer<'_>) {
        self.standing.write(list);
        if self.virgin {
            list.push(VIRGIN, Value::I8(1));
        }
        list.push(SYNCSRC, Value::U8(self.source.code()));
        let size = self.map.as_ref().map_or(0, |map| map.size);
        list.push(MAPSIZE, Value::U32(size));
    }
}

impl Standing {
    fn read(list: List<'_>) -> Result<Self, MessageError> {
        Ok(Self {
            data_size: Length::new(unsigned("datasize", required(list, "datasize")?)?),
            extent_size: {
                let size: i32 = required(list, "extentsize")?;
                ExtentSize::new(unsigned("extentsize", size.into())?)?
            },
            counters: read_counters(list)?,
        })
    }

    fn write(&self, list: &mut Writer<'_>) {
        // No provider has 8 EiB, and no extent 2 GiB.
        let data_size = i64::try_from(self.data_size.get()).unwrap_or(i64::MAX);
        let extent_size = i32::try_from(self.extent_size.get()).unwrap_or(i32::MAX);
        list.push(DATASIZE, Value::I64(data_size));
        list.push(EXTENTSIZE, Value::I32(extent_size));
        write_counters(self.counters, list);
    }
}

fn unsigned(field: &'static str, value: i64) -> Result<u64, NumberError> {
    u64::try_from(value).map_err(|_| NumberError::Negative { field, value })
}

fn text(text: &str) -> Value<'_> {
    Value::String(Text::until_nul(text))
}

fn token(array: Array<'_, u8>) -> Result<Token, MessageError> {
    let octets = array.as_bytes();
    octets
        .try_into()
        .map(Token::new)
        .map_err(|_| MessageError::Token { len: octets.len() })
}

fn write_token(token: &Token, list: &mut Writer<'_>) {
    if let Ok(octets) = Array::new(token.as_bytes()) {
        list.push(TOKEN, Value::U8Array(octets));
    }
}

fn read_counters(list: List<'_>) -> Result<Counters, MessageError> {
    Ok(Counters {
        local: required(list, "localcnt")?,
        remote: required(list, "remotecnt")?,
    })
}

fn write_counters(counters: Counters, list: &mut Writer<'_>) {
    list.push(LOCALCNT, Value::U64(counters.local));
    list.push(REMOTECNT, Value::U64(counters.remote));
}
