//! What is said to etcd's gateway, and what it says (API v3: `Txn`, `LeaseGrant`, `Authenticate`).
//!
//! Keys and values are base64; numbers of 64 bits are strings, and left out if they are 0.

use std::string::{String, ToString};
use std::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::http::excerpt;
use super::{EtcdError, Keys};
use crate::failover::{Record, Revision};
use crate::io::arbiter::record::{MAX_RECORD_LEN, decode_record};

/// The longest key or value that is looked at, as base64.
const MAX_VALUE: usize = MAX_RECORD_LEN.div_ceil(3) * 4;

/// What a transaction says.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Told {
    /// Which cluster it was.
    pub(super) cluster: u64,
    /// The revision of the whole store: that of what was set, if it was.
    pub(super) revision: Revision,
    pub(super) set: bool,
    /// What the keys held, unless something was set.
    pub(super) stored: Option<(Revision, Record)>,
}

/// The question what the keys hold, as one transaction: kv/range has no two ranges.
pub(super) fn read(keys: &Keys) -> Value {
    json!({ "success": ranges(keys) })
}

/// To set the record, if it has this revision. Its holder's key goes when the lease does.
pub(super) fn swap(
    keys: &Keys,
    expected: Option<Revision>,
    record: &str,
    lease: Option<&str>,
) -> Value {
    let expected = expected.map_or(0, Revision::get).to_string();
    let put = json!({ "requestPut": { "key": base64(&keys.record), "value": base64(record) } });
    let holder = match lease {
        Some(lease) => {
            json!({ "requestPut": { "key": base64(&keys.holder), "lease": lease } })
        }
        None => json!({ "requestDeleteRange": { "key": base64(&keys.holder) } }),
    };
    json!({
        "compare": [{
            "key": base64(&keys.record),
            "target": "MOD",
            "result": "EQUAL",
            "mod_revision": expected,
        }],
        "success": [put, holder],
        "failure": ranges(keys),
    })
}

pub(super) fn grant(seconds: u64) -> Value {
    json!({ "TTL": seconds.to_string() })
}

fn ranges(keys: &Keys) -> Value {
    json!([
        { "requestRange": { "key": base64(&keys.record) } },
        { "requestRange": { "key": base64(&keys.holder) } },
    ])
}

fn base64(text: &str) -> String {
    BASE64.encode(text)
}

/// Reads the answer to [`read`] or [`swap`].
pub(super) fn told(body: &Value, swaps: bool) -> Result<Told, EtcdError> {
    let body = object("the answer", body)?;
    let header = object("header", field(body, "header")?)?;
    let cluster = number(header, "cluster_id")?;
    let revision = Revision::new(number(header, "revision")?);
    let succeeded = match body.get("succeeded") {
        None => false,
        Some(Value::Bool(succeeded)) => *succeeded,
        Some(other) => return Err(wrong("succeeded", other)),
    };
    let set = swaps && succeeded;
    let stored = if set { None } else { stored(body)? };
    Ok(Told {
        cluster,
        revision,
        set,
        stored,
    })
}

/// What the two keys hold.
fn stored(body: &Map<String, Value>) -> Result<Option<(Revision, Record)>, EtcdError> {
    let responses = field(body, "responses")?;
    let list = responses.as_array().map(Vec::as_slice);
    let Some([record, holder]) = list else {
        return Err(wrong("responses", responses));
    };
    let Some(pair) = pair(record)? else {
        return Ok(None);
    };
    let revision = Revision::new(number(pair, "mod_revision")?);
    let value = field(pair, "value")?;
    let text = value.as_str().filter(|text| text.len() <= MAX_VALUE);
    let text = text.and_then(|text| BASE64.decode(text).ok());
    let text = text.ok_or_else(|| wrong("value", value))?;
    let mut record = decode_record(&text).map_err(EtcdError::Record)?;
    if self::pair(holder)?.is_none() {
        // Its lease is over, by etcd's own clock.
        record.holder = None;
    }
    Ok(Some((revision, record)))
}

/// The key and its value, if the range has one.
fn pair(response: &Value) -> Result<Option<&Map<String, Value>>, EtcdError> {
    let response = object("responses", response)?;
    let range = response.get("response_range");
    let range = range.or_else(|| response.get("responseRange"));
    let range = range.ok_or(EtcdError::Missing {
        field: "response_range",
    })?;
    let Some(pairs) = object("response_range", range)?.get("kvs") else {
        return Ok(None);
    };
    match pairs.as_array().map(Vec::as_slice) {
        Some([]) => Ok(None),
        Some([pair]) => object("kvs", pair).map(Some),
        Some(_) | None => Err(wrong("kvs", pairs)),
    }
}

/// Reads the answer to [`grant`]: the lease, and for how many seconds it is.
pub(super) fn granted(body: &Value) -> Result<(String, u64), EtcdError> {
    let body = object("the answer", body)?;
    let lease = number(body, "ID")?;
    if lease == 0 {
        return Err(EtcdError::Missing { field: "ID" });
    }
    Ok((lease.to_string(), number(body, "TTL")?))
}

/// Reads the answer to a name and a password: the token.
pub(super) fn authenticated(body: &Value) -> Result<String, EtcdError> {
    let token = field(object("the answer", body)?, "token")?;
    let text = token.as_str().filter(|text| {
        let visible = text.bytes().all(|octet| octet.is_ascii_graphic());
        visible && (1..=4096).contains(&text.len())
    });
    // Not the value: it may be most of a secret.
    text.map(ToString::to_string).ok_or(EtcdError::Value {
        field: "token",
        value: String::new(),
    })
}

/// The message and the code of a refusal (`google.rpc.Status`).
pub(super) fn refusal(body: &[u8]) -> (String, Option<u64>) {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = value.get("message").or_else(|| value.get("error"));
    let text = text.and_then(Value::as_str);
    let message = text.map_or_else(|| excerpt(body), |text| excerpt(text.as_bytes()));
    (message, value.get("code").and_then(Value::as_u64))
}

fn object<'a>(name: &'static str, value: &'a Value) -> Result<&'a Map<String, Value>, EtcdError> {
    value.as_object().ok_or_else(|| wrong(name, value))
}

fn field<'a>(object: &'a Map<String, Value>, field: &'static str) -> Result<&'a Value, EtcdError> {
    object.get(field).ok_or(EtcdError::Missing { field })
}

/// A number of 64 bits, which is a string, or a number from other writers of JSON.
fn number(object: &Map<String, Value>, name: &'static str) -> Result<u64, EtcdError> {
    let value = field(object, name)?;
    let text = value.as_str().and_then(|text| text.parse().ok());
    text.or_else(|| value.as_u64())
        .ok_or_else(|| wrong(name, value))
}

fn wrong(field: &'static str, value: &Value) -> EtcdError {
    EtcdError::Value {
        field,
        value: excerpt(value.to_string().as_bytes()),
    }
}
