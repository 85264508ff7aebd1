//! The numbered pairs of the control protocol: "role0", "role1" and so on (HAST §9.5).

#![warn(clippy::arithmetic_side_effects)]

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use super::{ControlError, ControlFault};
use crate::nv::{List, LookupError, Name, Text, Typed, Value, Writer};
use crate::types::{Excerpt, ResourceName, UnknownWord};

/// The pairs of a list by name, the first of each. An answer about many resources has thousands
/// of pairs, and looking each of them up from the front would take a time with their square.
pub(super) struct Index<'a>(BTreeMap<Name<'a>, Value<'a>>);

impl<'a> Index<'a> {
    pub(super) fn new(list: List<'a>) -> Self {
        let mut pairs = BTreeMap::new();
        for pair in list {
            pairs.entry(pair.name).or_insert(pair.value);
        }
        Self(pairs)
    }

    pub(super) fn get<T: Typed<'a>>(&self, name: &str) -> Result<T, LookupError> {
        let value = Name::new(name.as_bytes())
            .ok()
            .and_then(|name| self.0.get(&name))
            .ok_or(LookupError::Missing)?;
        T::from_value(*value).ok_or_else(|| LookupError::WrongType {
            wanted: T::TYPE,
            found: value.kind(),
        })
    }

    pub(super) fn required<T: Typed<'a>>(
        &self,
        field: &'static str,
        name: &str,
    ) -> Result<T, ControlError> {
        self.get(name)
            .map_err(|error| ControlError::Field { field, error })
    }

    /// The name of the resource with this number; `None` if the list has no more.
    pub(super) fn resource(&self, number: usize) -> Result<Option<ResourceName>, ControlError> {
        match self.required::<Text<'_>>("resource", &numbered("resource", number)) {
            Ok(name) => Ok(Some(ResourceName::from_bytes(name.as_bytes())?)),
            Err(ControlError::Field {
                error: LookupError::Missing,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn fault(
        &self,
        field: &'static str,
        name: &str,
    ) -> Result<Option<ControlFault>, ControlError> {
        match self.get(name) {
            Ok(code) => Ok(ControlFault::from_code(code)),
            Err(LookupError::Missing) => Ok(None),
            Err(error) => Err(ControlError::Field { field, error }),
        }
    }

    pub(super) fn number<T: Typed<'a>>(
        &self,
        field: &'static str,
        number: usize,
    ) -> Result<T, ControlError> {
        self.required(field, &numbered(field, number))
    }

    pub(super) fn string(
        &self,
        field: &'static str,
        number: usize,
    ) -> Result<Box<str>, ControlError> {
        let text: Text<'_> = self.number(field, number)?;
        Ok(String::from_utf8_lossy(text.as_bytes()).into())
    }

    pub(super) fn word<T: core::str::FromStr<Err = UnknownWord>>(
        &self,
        field: &'static str,
        number: usize,
    ) -> Result<T, ControlError> {
        let text: Text<'_> = self.number(field, number)?;
        let word = text
            .to_str()
            .ok_or_else(|| unknown(field, text.as_bytes()))?;
        Ok(word.parse()?)
    }
}

pub(super) fn unknown(field: &'static str, word: &[u8]) -> UnknownWord {
    let word = Excerpt::new(word);
    UnknownWord { field, word }
}

pub(super) fn numbered(field: &str, number: usize) -> String {
    format!("{field}{number}")
}

pub(super) fn push(list: &mut Writer<'_>, field: &str, number: usize, value: Value<'_>) {
    // The longest field and the longest number have some forty octets, none of them NUL.
    if let Ok(name) = Name::new(numbered(field, number).as_bytes()) {
        list.push(name, value);
    }
}

pub(super) fn text(text: &str) -> Value<'_> {
    Value::String(Text::until_nul(text))
}
