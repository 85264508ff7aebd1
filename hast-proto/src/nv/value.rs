//! Names and values of pairs, valid by construction.

#![warn(clippy::arithmetic_side_effects)]

use core::fmt;
use core::marker::PhantomData;

/// The type of a pair (HAST §2.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these seventeen")]
pub enum Type {
    /// A signed octet.
    I8,
    /// An unsigned octet.
    U8,
    /// A signed 16-bit number.
    I16,
    /// An unsigned 16-bit number.
    U16,
    /// A signed 32-bit number.
    I32,
    /// An unsigned 32-bit number.
    U32,
    /// A signed 64-bit number.
    I64,
    /// An unsigned 64-bit number.
    U64,
    /// Signed octets.
    I8Array,
    /// Unsigned octets.
    U8Array,
    /// Signed 16-bit numbers.
    I16Array,
    /// Unsigned 16-bit numbers.
    U16Array,
    /// Signed 32-bit numbers.
    I32Array,
    /// Unsigned 32-bit numbers.
    U32Array,
    /// Signed 64-bit numbers.
    I64Array,
    /// Unsigned 64-bit numbers.
    U64Array,
    /// Octets without NUL.
    String,
}

/// The types by their codes, from 1 on, with the names of the original.
const TYPES: [(Type, &str); 17] = [
    (Type::I8, "int8"),
    (Type::U8, "uint8"),
    (Type::I16, "int16"),
    (Type::U16, "uint16"),
    (Type::I32, "int32"),
    (Type::U32, "uint32"),
    (Type::I64, "int64"),
    (Type::U64, "uint64"),
    (Type::I8Array, "int8_array"),
    (Type::U8Array, "uint8_array"),
    (Type::I16Array, "int16_array"),
    (Type::U16Array, "uint16_array"),
    (Type::I32Array, "int32_array"),
    (Type::U32Array, "uint32_array"),
    (Type::I64Array, "int64_array"),
    (Type::U64Array, "uint64_array"),
    (Type::String, "string"),
];

impl Type {
    /// Takes a type's code, 1 to 17.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        let index = usize::from(code).checked_sub(1)?;
        TYPES.get(index).map(|(kind, _)| *kind)
    }

    /// Returns the code, 1 to 17.
    #[must_use]
    pub const fn code(self) -> u8 {
        // The variants stand in the order of their codes; a test holds them to it.
        (self as u8).saturating_add(1)
    }

    /// Returns the name, such as `"uint8_array"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        TYPES.get(self as usize).map_or("", |(_, name)| name)
    }

    /// The octets of one element; a string's are single octets.
    const fn element_len(self) -> u32 {
        match self {
            Self::I8 | Self::U8 | Self::I8Array | Self::U8Array | Self::String => 1,
            Self::I16 | Self::U16 | Self::I16Array | Self::U16Array => 2,
            Self::I32 | Self::U32 | Self::I32Array | Self::U32Array => 4,
            Self::I64 | Self::U64 | Self::I64Array | Self::U64Array => 8,
        }
    }

    /// Whether data of `size` octets can be of this type.
    pub(super) const fn fits(self, size: u32) -> bool {
        let len = self.element_len();
        match self {
            Self::I8
            | Self::U8
            | Self::I16
            | Self::U16
            | Self::I32
            | Self::U32
            | Self::I64
            | Self::U64 => size == len,
            // A length of 1, 2, 4 or 8 leaves a remainder in the bits below it.
            _ => size != 0 && size & len.saturating_sub(1) == 0,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why octets are no name, string or array of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidText {
    /// There are too many octets.
    #[error("{len} octets where at most {max} are allowed")]
    TooLong {
        /// How many there are.
        len: usize,
        /// How many may be.
        max: usize,
    },
    /// There is a NUL among them.
    #[error("NUL at position {position}")]
    Nul {
        /// Where, counted from 0.
        position: usize,
    },
    /// They are none, or no whole number of elements.
    #[error("{len} octets are no whole number of elements of {element_len}, at least one")]
    Elements {
        /// How many there are.
        len: usize,
        /// How many make an element.
        element_len: usize,
    },
}

/// The longest data: with NUL and padding the length fits 32 bits.
const MAX_DATA: usize = 0x7fff_fff0;

/// A name of a pair: at most 254 octets without NUL.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// The longest name, in octets: its length with the NUL is one octet.
    pub const MAX_LEN: usize = 254;

    /// Takes `name` as the name of a pair.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if it is too long or contains NUL.
    pub const fn new(name: &'a [u8]) -> Result<Self, InvalidText> {
        match check(name, Self::MAX_LEN) {
            Ok(()) => Ok(Self(name)),
            Err(error) => Err(error),
        }
    }

    /// A name known when the crate is compiled; a wrong one does not compile in a `const`.
    #[expect(
        clippy::panic,
        reason = "it happens when the crate is compiled, if ever"
    )]
    pub(crate) const fn literal(name: &'static str) -> Name<'static> {
        match Name::new(name.as_bytes()) {
            Ok(name) => name,
            Err(_) => panic!("no name of a pair"),
        }
    }

    /// A name out of a valid list.
    pub(super) const fn of_valid(name: &'a [u8]) -> Self {
        Self(name)
    }

    /// Returns the octets, without the NUL.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// A string of a list: octets without NUL, in no particular encoding.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Takes `text` as a string.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if it contains NUL or is 2 GiB long.
    pub const fn new(text: &'a [u8]) -> Result<Self, InvalidText> {
        match check(text, MAX_DATA) {
            Ok(()) => Ok(Self(text)),
            Err(error) => Err(error),
        }
    }

    /// Takes what there is before the first NUL, as the original would.
    #[must_use]
    pub fn until_nul(text: &'a str) -> Self {
        let text = text.as_bytes();
        let len = text.iter().position(|octet| *octet == 0);
        let text = text.get(..len.unwrap_or(text.len())).unwrap_or_default();
        Self(text.get(..MAX_DATA).unwrap_or(text))
    }

    /// Returns the octets, without the NUL.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the string, if it is UTF-8.
    #[must_use]
    pub const fn to_str(self) -> Option<&'a str> {
        match core::str::from_utf8(self.0) {
            Ok(text) => Some(text),
            Err(_) => None,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

const fn check(octets: &[u8], max: usize) -> Result<(), InvalidText> {
    let len = octets.len();
    if len > max {
        return Err(InvalidText::TooLong { len, max });
    }
    // A loop over ever shorter slices, for iterators do not work in a `const`.
    let mut rest = octets;
    let mut position = 0_usize;
    while let Some((octet, others)) = rest.split_first() {
        if *octet == 0 {
            return Err(InvalidText::Nul { position });
        }
        position = position.saturating_add(1);
        rest = others;
    }
    Ok(())
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else is to implement it")]
    pub trait Sealed {}
}

/// A number that lists can hold, alone or in an array. It is implemented for the eight of them
/// and for nothing else.
pub trait Element: Copy + sealed::Sealed {
    /// The type of an array of them.
    const ARRAY: Type;

    /// Reads the number from its octets, little-endian; 0 if there are not as many as it needs.
    #[doc(hidden)]
    fn read(octets: &[u8]) -> Self;
}

/// A value that can be looked up by its type. It is implemented for the eight kinds of numbers,
/// [`Array`]s of them, and [`Text`].
pub trait Typed<'a>: Sized + sealed::Sealed {
    /// The type that a pair must have.
    const TYPE: Type;

    /// Takes the value if it is of this type.
    #[doc(hidden)]
    fn from_value(value: Value<'a>) -> Option<Self>;
}

/// One or more numbers of a list, little-endian in its buffer.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Array<'a, T> {
    octets: &'a [u8],
    element: PhantomData<T>,
}

impl<'a, T: Element> Array<'a, T> {
    /// Takes the octets of the elements, each little-endian.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if there is no element, a part of one, or 2 GiB of them: a list cannot
    /// hold an empty array.
    pub const fn new(octets: &'a [u8]) -> Result<Self, InvalidText> {
        let (len, element_len) = (octets.len(), size_of::<T>());
        if len > MAX_DATA {
            return Err(InvalidText::TooLong { len, max: MAX_DATA });
        }
        if len == 0 || len & element_len.saturating_sub(1) != 0 {
            return Err(InvalidText::Elements { len, element_len });
        }
        Ok(Self::of_valid(octets))
    }

    const fn of_valid(octets: &'a [u8]) -> Self {
        Self {
            octets,
            element: PhantomData,
        }
    }

    /// Returns the elements.
    pub fn iter(self) -> impl ExactSizeIterator<Item = T> + use<'a, T> {
        self.octets.chunks_exact(size_of::<T>()).map(T::read)
    }

    /// Returns the octets of the elements, each little-endian.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.octets
    }
}

impl<T: Element + fmt::Debug> fmt::Debug for Array<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The value of a pair.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the protocol has these seventeen")]
pub enum Value<'a> {
    /// A signed octet.
    I8(i8),
    /// An unsigned octet.
    U8(u8),
    /// A signed 16-bit number.
    I16(i16),
    /// An unsigned 16-bit number.
    U16(u16),
    /// A signed 32-bit number.
    I32(i32),
    /// An unsigned 32-bit number.
    U32(u32),
    /// A signed 64-bit number.
    I64(i64),
    /// An unsigned 64-bit number.
    U64(u64),
    /// Signed octets.
    I8Array(Array<'a, i8>),
    /// Unsigned octets.
    U8Array(Array<'a, u8>),
    /// Signed 16-bit numbers.
    I16Array(Array<'a, i16>),
    /// Unsigned 16-bit numbers.
    U16Array(Array<'a, u16>),
    /// Signed 32-bit numbers.
    I32Array(Array<'a, i32>),
    /// Unsigned 32-bit numbers.
    U32Array(Array<'a, u32>),
    /// Signed 64-bit numbers.
    I64Array(Array<'a, i64>),
    /// Unsigned 64-bit numbers.
    U64Array(Array<'a, u64>),
    /// Octets without NUL.
    String(Text<'a>),
}

impl<'a> Value<'a> {
    /// Returns the type.
    #[must_use]
    pub const fn kind(self) -> Type {
        match self {
            Self::I8(_) => Type::I8,
            Self::U8(_) => Type::U8,
            Self::I16(_) => Type::I16,
            Self::U16(_) => Type::U16,
            Self::I32(_) => Type::I32,
            Self::U32(_) => Type::U32,
            Self::I64(_) => Type::I64,
            Self::U64(_) => Type::U64,
            Self::I8Array(_) => Type::I8Array,
            Self::U8Array(_) => Type::U8Array,
            Self::I16Array(_) => Type::I16Array,
            Self::U16Array(_) => Type::U16Array,
            Self::I32Array(_) => Type::I32Array,
            Self::U32Array(_) => Type::U32Array,
            Self::I64Array(_) => Type::I64Array,
            Self::U64Array(_) => Type::U64Array,
            Self::String(_) => Type::String,
        }
    }

    /// Reads the value from data whose length fits the type.
    pub(super) fn decode(kind: Type, data: &'a [u8]) -> Option<Self> {
        Some(match kind {
            Type::I8 => Self::I8(i8::read(data)),
            Type::U8 => Self::U8(u8::read(data)),
            Type::I16 => Self::I16(i16::read(data)),
            Type::U16 => Self::U16(u16::read(data)),
            Type::I32 => Self::I32(i32::read(data)),
            Type::U32 => Self::U32(u32::read(data)),
            Type::I64 => Self::I64(i64::read(data)),
            Type::U64 => Self::U64(u64::read(data)),
            Type::I8Array => Self::I8Array(Array::of_valid(data)),
            Type::U8Array => Self::U8Array(Array::of_valid(data)),
            Type::I16Array => Self::I16Array(Array::of_valid(data)),
            Type::U16Array => Self::U16Array(Array::of_valid(data)),
            Type::I32Array => Self::I32Array(Array::of_valid(data)),
            Type::U32Array => Self::U32Array(Array::of_valid(data)),
            Type::I64Array => Self::I64Array(Array::of_valid(data)),
            Type::U64Array => Self::U64Array(Array::of_valid(data)),
            // All but the NUL at the end.
            Type::String => Self::String(Text(data.split_last()?.1)),
        })
    }

    /// Calls `write` with the data, and whether a NUL follows.
    pub(super) fn with_data(self, write: impl FnOnce(&[u8], bool)) {
        match self {
            Self::I8(number) => write(&number.to_le_bytes(), false),
            Self::U8(number) => write(&number.to_le_bytes(), false),
            Self::I16(number) => write(&number.to_le_bytes(), false),
            Self::U16(number) => write(&number.to_le_bytes(), false),
            Self::I32(number) => write(&number.to_le_bytes(), false),
            Self::U32(number) => write(&number.to_le_bytes(), false),
            Self::I64(number) => write(&number.to_le_bytes(), false),
            Self::U64(number) => write(&number.to_le_bytes(), false),
            Self::I8Array(array) => write(array.octets, false),
            Self::U8Array(array) => write(array.octets, false),
            Self::I16Array(array) => write(array.octets, false),
            Self::U16Array(array) => write(array.octets, false),
            Self::I32Array(array) => write(array.octets, false),
            Self::U32Array(array) => write(array.octets, false),
            Self::I64Array(array) => write(array.octets, false),
            Self::U64Array(array) => write(array.octets, false),
            Self::String(text) => write(text.0, true),
        }
    }
}

/// The same three implementations for each kind of number.
macro_rules! number {
    ($number:ty, $one:ident, $many:ident) => {
        impl sealed::Sealed for $number {}
        impl sealed::Sealed for Array<'_, $number> {}

        impl Element for $number {
            const ARRAY: Type = Type::$many;

            fn read(octets: &[u8]) -> Self {
                octets.try_into().map_or(0, Self::from_le_bytes)
            }
        }

        impl<'a> Typed<'a> for $number {
            const TYPE: Type = Type::$one;

            fn from_value(value: Value<'a>) -> Option<Self> {
                match value {
                    Value::$one(number) => Some(number),
                    _ => None,
                }
            }
        }

        impl<'a> Typed<'a> for Array<'a, $number> {
            const TYPE: Type = Type::$many;

            fn from_value(value: Value<'a>) -> Option<Self> {
                match value {
                    Value::$many(array) => Some(array),
                    _ => None,
                }
            }
        }
    };
}

number!(i8, I8, I8Array);
number!(u8, U8, U8Array);
number!(i16, I16, I16Array);
number!(u16, U16, U16Array);
number!(i32, I32, I32Array);
number!(u32, U32, U32Array);
number!(i64, I64, I64Array);
number!(u64, U64, U64Array);

impl sealed::Sealed for Text<'_> {}

impl<'a> Typed<'a> for Text<'a> {
    const TYPE: Type = Type::String;

    fn from_value(value: Value<'a>) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn codes_and_types_agree() {
        for code in 1..=17 {
            let kind = Type::from_code(code).unwrap();
            assert_eq!(kind.code(), code);
            assert_eq!(TYPES[usize::from(code) - 1].0, kind);
        }
        assert_eq!(Type::from_code(0), None);
        assert_eq!(Type::from_code(18), None);
        assert_eq!(u16::ARRAY, <Array<'_, u16> as Typed<'_>>::TYPE);
    }

    #[test]
    fn only_whole_elements_make_an_array() {
        assert!(Type::U32Array.fits(8) && !Type::U32Array.fits(6) && !Type::U32Array.fits(0));
        assert!(Type::U32.fits(4) && !Type::U32.fits(8));
        let error = InvalidText::Elements {
            len: 3,
            element_len: 2,
        };
        assert_eq!(Array::<u16>::new(&[1, 2, 3]), Err(error));
        assert!(Array::<u8>::new(&[]).is_err());
        let array = Array::<i16>::new(&[0xff, 0xff, 2, 0]).unwrap();
        assert_eq!(array.iter().collect::<Vec<_>>(), [-1, 2]);
    }

    #[test]
    fn names_and_strings_hold_no_nul() {
        assert_eq!(Name::new(b"a\0"), Err(InvalidText::Nul { position: 1 }));
        let error = InvalidText::TooLong { len: 255, max: 254 };
        assert_eq!(Name::new(&[b'x'; 255]), Err(error));
        assert_eq!(Text::new(b"\0"), Err(InvalidText::Nul { position: 0 }));
        assert_eq!(Text::until_nul("ab\0c").to_str(), Some("ab"));
        assert_eq!(Text::until_nul("ab").as_bytes(), b"ab");
    }
}
