//! The record as text: JSON, so that an operator can read it where it is kept.

use core::time::Duration;
use std::borrow::ToOwned;
use std::string::{String, ToString};
use std::vec::Vec;

use serde_json::{Map, Value, json};

use crate::failover::{MAX_TIME, NodeId, NodeSet, Record};

/// The longest record in octets. One that names all 64 nodes takes 300.
pub const MAX_RECORD_LEN: usize = 1024;

/// The form that is described here. A later one gets another number.
const FORMAT: u64 = 1;

const FIELDS: [&str; 5] = ["format", "generation", "holder", "ttl_ns", "up_to_date"];

/// Why a text is no record, or a record no text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is too long.
    #[error("{len} octets where at most {MAX_RECORD_LEN} are possible")]
    TooLong {
        /// Its octets.
        len: usize,
    },
    /// It is no JSON object.
    #[error("no JSON object: {error}")]
    Json {
        /// What is wrong with it.
        error: String,
    },
    /// A field is missing.
    #[error("{field} is missing")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// There is a field that is not known, and might mean something.
    #[error("{field:?} is not known")]
    Unknown {
        /// Its name.
        field: String,
    },
    /// A field has a value that it cannot have.
    #[error("{field}: {value} where {wanted} is needed")]
    Value {
        /// Which.
        field: &'static str,
        /// The value.
        value: String,
        /// What it could be.
        wanted: &'static str,
    },
}

/// Writes a record as it is stored:
///
/// ```
/// use core::time::Duration;
/// use ha_core::failover::{NodeId, Record};
/// use ha_core::io::arbiter::{decode_record, encode_record};
///
/// let node = NodeId::new(1)?;
/// let record = Record {
///     generation: 7,
///     up_to_date: node.into(),
///     holder: Some(node),
///     ttl: Duration::from_secs(15),
/// };
/// let text = encode_record(&record)?;
/// assert_eq!(
///     text,
///     r#"{"format":1,"generation":7,"holder":1,"ttl_ns":15000000000,"up_to_date":[1]}"#,
/// );
/// assert_eq!(decode_record(text.as_bytes())?, record);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`RecordError::Value`] if its time is longer than [`MAX_TIME`].
pub fn encode_record(record: &Record) -> Result<String, RecordError> {
    let ttl = u64::try_from(record.ttl.as_nanos()).ok();
    let ttl = ttl.filter(|_| record.ttl <= MAX_TIME);
    let ttl = ttl.ok_or_else(|| RecordError::Value {
        field: "ttl_ns",
        value: record.ttl.as_nanos().to_string(),
        wanted: TTL,
    })?;
    let up_to_date: Vec<u8> = record.up_to_date.iter().map(NodeId::get).collect();
    let value = json!({
        "format": FORMAT,
        "generation": record.generation,
        "holder": record.holder.map(NodeId::get),
        "ttl_ns": ttl,
        "up_to_date": up_to_date,
    });
    Ok(value.to_string())
}

/// Reads a record that [`encode_record`] has written.
///
/// # Errors
///
/// [`RecordError`] if it is none. Nothing is left out and nothing assumed: whoever reads it decides
/// by it who may write.
pub fn decode_record(text: &[u8]) -> Result<Record, RecordError> {
    if text.len() > MAX_RECORD_LEN {
        return Err(RecordError::TooLong { len: text.len() });
    }
    let object: Map<String, Value> =
        serde_json::from_slice(text).map_err(|error| RecordError::Json {
            error: error.to_string(),
        })?;
    if let Some(field) = object.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let field = field.to_owned();
        return Err(RecordError::Unknown { field });
    }
    let format = number(&object, "format", "1")?;
    if format != FORMAT {
        return Err(wrong("format", &format.into(), "1"));
    }
    let ttl = number(&object, "ttl_ns", TTL)?;
    let duration = Duration::from_nanos(ttl);
    if duration > MAX_TIME {
        return Err(wrong("ttl_ns", &ttl.into(), TTL));
    }
    let holder = match get(&object, "holder")? {
        Value::Null => None,
        value => Some(node("holder", value)?),
    };
    let nodes = get(&object, "up_to_date")?;
    let list = nodes
        .as_array()
        .ok_or_else(|| wrong("up_to_date", nodes, "a list of nodes"))?;
    let mut up_to_date = NodeSet::EMPTY;
    for value in list {
        up_to_date = up_to_date.with(node("up_to_date", value)?);
    }
    Ok(Record {
        generation: number(&object, "generation", "a number")?,
        up_to_date,
        holder,
        ttl: duration,
    })
}

/// In words what [`MAX_TIME`] is.
const TTL: &str = "a number of nanoseconds within a year";

fn get<'a>(object: &'a Map<String, Value>, field: &'static str) -> Result<&'a Value, RecordError> {
    object.get(field).ok_or(RecordError::Missing { field })
}

fn number(
    object: &Map<String, Value>,
    field: &'static str,
    wanted: &'static str,
) -> Result<u64, RecordError> {
    let value = get(object, field)?;
    value.as_u64().ok_or_else(|| wrong(field, value, wanted))
}

fn node(field: &'static str, value: &Value) -> Result<NodeId, RecordError> {
    let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
    let node = number.and_then(|number| NodeId::new(number).ok());
    node.ok_or_else(|| wrong(field, value, "a node from 0 to 63"))
}

/// The text was not long, so the value is not either.
fn wrong(field: &'static str, value: &Value, wanted: &'static str) -> RecordError {
    RecordError::Value {
        field,
        value: value.to_string(),
        wanted,
    }
}
