//! What the two nodes say to each other: one type for each direction and phase (HAST §1, §3).
//!
//! | phase | from | type |
//! |---|---|---|
//! | either handshake step | primary | [`Opening`] |
//! | answer to the first | secondary | [`FirstAnswer`] |
//! | answer to the second | secondary | [`SecondAnswer`] |
//! | session | primary | [`Request`] |
//! | session | secondary | [`Reply`] |
//!
//! Each is made from a [`Frame`](crate::frame::Frame) by `decode` and written by `encode`, which
//! are inverse for every message that a real peer sends. Pairs may come in any order and unknown
//! ones are ignored; "memsync", "received", "virgin" and "wait" count by presence, whatever their
//! value and type. A pair of the wrong type is an error, where the original takes most of them
//! for missing.

#![warn(clippy::arithmetic_side_effects)]

mod handshake;
mod refusal;
mod reply;
mod request;

pub use handshake::{Accepted, FirstAnswer, FirstStep, Map, Opening, Reunion, SecondAnswer};
pub use handshake::{MapError, SecondStep, Standing, Welcome};
pub use refusal::{Refusal, Refused};
pub use reply::Reply;
pub use request::{Bounds, Progress, Request, RequestError, RequestFault};

use crate::nv::{List, LookupError, Typed};
use crate::payload::PayloadError;
use crate::types::{NumberError, ResourceNameError, Token};

/// Why a frame is not the message due.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A pair is missing or has the wrong type.
    #[error("{field} is {error}")]
    Field {
        /// The pair's name.
        field: &'static str,
        /// What is wrong with it.
        error: LookupError,
    },
    /// A number is out of range.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// "resource" is no name. The original would look for it and answer
    /// [`Refusal::NotConfigured`].
    #[error(transparent)]
    Resource(#[from] ResourceNameError),
    /// "token" has not the length of a token.
    #[error("token of {len} octets where {} are expected", Token::LEN)]
    Token {
        /// Its octets.
        len: usize,
    },
    /// The payload is missing, is there where none is due, or is described in a way that nobody
    /// understands.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// Looks up a pair that must be there.
fn required<'a, T: Typed<'a>>(list: List<'a>, field: &'static str) -> Result<T, MessageError> {
    list.get(field)
        .map_err(|error| MessageError::Field { field, error })
}

/// Looks up a pair that may be missing.
fn optional<'a, T: Typed<'a>>(
    list: List<'a>,
    field: &'static str,
) -> Result<Option<T>, MessageError> {
    list.optional(field)
        .map_err(|error| MessageError::Field { field, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Decoder, Encoder, Frame, Phase};
    use crate::nv::{Array, Name, Text, Type, Value};
    use crate::types::{Errno, Sequence, Version};
    use bytes::{Bytes, BytesMut};

    fn frame(pairs: &[(&'static str, Value<'_>)], payload: &'static [u8]) -> Frame {
        let mut list = BytesMut::new();
        let mut writer = crate::nv::Writer::new(&mut list);
        for (name, value) in pairs {
            writer.push(Name::literal(name), *value);
        }
        let list = List::parse(&list).unwrap();
        let payload = Bytes::from_static(payload);
        let segments = Encoder::new().encode(Version::V2, list, payload).unwrap();
        let mut buffer = BytesMut::from(&segments.concat()[..]);
        Decoder::new(Phase::Answer)
            .decode(&mut buffer)
            .unwrap()
            .unwrap()
    }

    fn text(text: &str) -> Value<'_> {
        Value::String(Text::until_nul(text))
    }

    fn missing(field: &'static str) -> MessageError {
        let error = LookupError::Missing;
        MessageError::Field { field, error }
    }

    #[test]
    fn each_fault_of_an_opening_has_its_error() {
        let error = |pairs: &[_]| Opening::decode(&frame(pairs, b"")).unwrap_err();
        let resource = ("resource", text("shared"));
        let octets = [7; 16];
        let token = ("token", Value::U8Array(Array::new(&octets).unwrap()));
        let short = ("token", Value::U8Array(Array::new(&octets[..8]).unwrap()));
        let (id, local) = (("resuid", Value::U64(1)), ("localcnt", Value::U64(0)));
        assert_eq!(error(&[("version", Value::U8(2))]), missing("resource"));
        let empty = ResourceNameError::Length { len: 0 };
        assert_eq!(
            error(&[("resource", text(""))]),
            MessageError::Resource(empty)
        );
        assert_eq!(error(&[resource, short]), MessageError::Token { len: 8 });
        assert_eq!(error(&[resource, token]), missing("resuid"));
        assert_eq!(error(&[resource, token, id]), missing("localcnt"));
        assert_eq!(error(&[resource, token, id, local]), missing("remotecnt"));
        let wrong = MessageError::Field {
            field: "token",
            error: LookupError::WrongType {
                wanted: Type::U8Array,
                found: Type::String,
            },
        };
        assert_eq!(error(&[resource, ("token", text("x"))]), wrong);
        let payload = frame(&[resource, ("size", Value::U32(1))], b"x");
        let unexpected = PayloadError::Unexpected { len: 1 };
        assert_eq!(
            Opening::decode(&payload),
            Err(MessageError::Payload(unexpected))
        );
    }

    #[test]
    fn each_fault_of_a_first_answer_has_its_error() {
        let error = |pairs: &[_]| FirstAnswer::decode(&frame(pairs, b"")).unwrap_err();
        assert_eq!(error(&[("version", Value::U8(2))]), missing("token"));
        let version = NumberError::Range {
            field: "version",
            value: 3,
            min: 0,
            max: 2,
        };
        assert_eq!(
            error(&[("version", Value::U8(3))]),
            MessageError::Number(version)
        );
    }

    #[test]
    fn each_fault_of_a_second_answer_has_its_error() {
        let valid = [
            ("datasize", Value::I64(1 << 30)),
            ("extentsize", Value::I32(1 << 21)),
            ("localcnt", Value::U64(0)),
            ("remotecnt", Value::U64(0)),
            ("syncsrc", Value::U8(1)),
            ("mapsize", Value::U32(0)),
        ];
        assert!(SecondAnswer::decode(&frame(&valid, b"")).is_ok());
        // All but the size of the map must be there.
        for (index, (field, _)) in valid.iter().enumerate() {
            let mut pairs = valid.to_vec();
            pairs.remove(index);
            let answer = SecondAnswer::decode(&frame(&pairs, b""));
            match *field {
                "mapsize" => assert!(answer.is_ok()),
                field => assert_eq!(answer, Err(missing(field))),
            }
        }
        let with = |field, value| {
            let mut pairs = valid;
            let pair = pairs.iter_mut().find(|(name, _)| *name == field);
            pair.unwrap().1 = value;
            match SecondAnswer::decode(&frame(&pairs, b"")).unwrap_err() {
                MessageError::Number(error) => error,
                error => panic!("{error}"),
            }
        };
        let negative = |field| NumberError::Negative { field, value: -512 };
        assert_eq!(with("datasize", Value::I64(-512)), negative("datasize"));
        assert_eq!(with("extentsize", Value::I32(-512)), negative("extentsize"));
        let uneven = NumberError::PowerOfTwo {
            field: "extentsize",
            value: 513,
        };
        assert_eq!(with("extentsize", Value::I32(513)), uneven);
        let source = NumberError::Range {
            field: "syncsrc",
            value: 0,
            min: 1,
            max: 2,
        };
        assert_eq!(with("syncsrc", Value::U8(0)), source);
        let mut pairs = valid;
        pairs[5].1 = Value::U32(512);
        let answer = SecondAnswer::decode(&frame(&pairs, b""));
        assert_eq!(answer, Err(MessageError::Payload(PayloadError::Missing)));
    }

    #[test]
    fn a_map_is_as_long_as_it_says() {
        let plain = crate::payload::Payload::plain(Bytes::from_static(&[7; 64])).unwrap();
        assert_eq!(Map::new(0, plain.clone()), None);
        assert_eq!(Map::new(65, plain.clone()), None);
        assert!(Map::new(64, plain).is_some());
    }

    #[test]
    fn each_fault_of_a_reply_has_its_error() {
        let decode = |pairs: &[_]| Reply::decode(&frame(pairs, b""));
        assert_eq!(decode(&[("error", Value::I16(5))]), Err(missing("seq")));
        let zero = NumberError::Range {
            field: "seq",
            value: 0,
            min: 1,
            max: u64::MAX,
        };
        assert_eq!(
            decode(&[("seq", Value::U64(0))]),
            Err(MessageError::Number(zero))
        );
        // Only a failure may be without a number.
        let failed = Reply::Failed {
            sequence: None,
            received: false,
            error: Errno::EINVAL,
        };
        assert_eq!(
            decode(&[("seq", Value::U64(0)), ("error", Value::I16(22))]),
            Ok(failed)
        );
        // An error of 0 is none, and one of another system is EIO.
        let seq = ("seq", Value::U64(7));
        let sequence = Sequence::new(7).unwrap();
        let done = Reply::Done { sequence };
        assert_eq!(decode(&[seq, ("error", Value::I16(0))]), Ok(done));
        let failed = Reply::Failed {
            sequence: Some(sequence),
            received: false,
            error: Errno::EIO,
        };
        assert_eq!(decode(&[seq, ("error", Value::I16(110))]), Ok(failed));
        // Nothing follows a failure or a first answer.
        let unexpected = MessageError::Payload(PayloadError::Unexpected { len: 1 });
        for pair in [("error", Value::I16(5)), ("received", text(""))] {
            let frame = frame(&[seq, pair, ("size", Value::U32(1))], b"x");
            assert_eq!(Reply::decode(&frame), Err(unexpected));
        }
    }

    #[test]
    fn a_payload_where_none_is_due_ends_the_session() {
        let size = ("size", Value::U32(1));
        for code in [1, 3, 4, 5] {
            let pairs = [
                ("cmd", Value::U8(code)),
                ("seq", Value::U64(7)),
                ("offset", Value::U64(0)),
                ("length", Value::U64(512)),
                size,
            ];
            let error = Request::decode(&frame(&pairs, b"x")).unwrap_err();
            let unexpected = PayloadError::Unexpected { len: 1 };
            assert_eq!(error.fault, RequestFault::Payload(unexpected));
            assert_eq!(error.reply(), None);
        }
    }
}
