//! What another node says of itself is believed as far as it can be: it is somebody else's program,
//! perhaps of another version, and what it says is reckoned with and shown.

use serde_json::{Map, Value};

use super::snapshot::{Node, Snapshot};

/// The largest time: some three hundred years of milliseconds. Sums of such times are finite, too.
const MAX_NUMBER: f64 = 1e13;
/// The longest text.
const MAX_TEXT: usize = 4096;

/// Why it is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("no status of a node: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("{field}: the number {value:e} is out of range")]
    Number { field: String, value: f64 },
    #[error("{field}: a text of {octets} octets, where at most {MAX_TEXT} are possible")]
    Text { field: String, octets: usize },
    /// It is another node than the one that was asked, or this one.
    #[error("it says that it is node {id}, {name}")]
    Another { id: u8, name: String },
}

impl Refused {
    /// What it is counted as.
    pub(crate) const fn why(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Number { .. } => "number",
            Self::Text { .. } => "text",
            Self::Another { .. } => "another-node",
        }
    }
}

/// Reads what this node says of itself.
pub(crate) fn snapshot(text: &[u8], node: &Node) -> Result<Snapshot, Refused> {
    let mut value = serde_json::from_slice(text)?;
    sift(&mut value, "status")?;
    let snapshot: Snapshot = serde_json::from_value(value)?;
    if snapshot.node != *node {
        let Node { id, name } = snapshot.node;
        return Err(Refused::Another { id, name });
    }
    Ok(snapshot)
}

/// Looks at all numbers and texts, and makes the texts fit to be shown.
fn sift(value: &mut Value, field: &str) -> Result<(), Refused> {
    match value {
        Value::Number(number) => {
            // Times and shares may be written as integers; integers elsewhere are counts.
            let is_time = field.ends_with("_ms") || field == "share";
            let float = number.as_f64().filter(|_| is_time || number.is_f64());
            match float {
                Some(value) if value.abs() > MAX_NUMBER => Err(Refused::Number {
                    field: field.to_owned(),
                    value,
                }),
                _ => Ok(()),
            }
        }
        Value::String(text) => {
            *text = sifted(text, field)?;
            Ok(())
        }
        Value::Array(values) => values.iter_mut().try_for_each(|value| sift(value, field)),
        Value::Object(fields) => {
            let mut named = Map::new();
            for (name, mut value) in core::mem::take(fields) {
                let name = sifted(&name, field)?;
                sift(&mut value, &name)?;
                named.insert(name, value);
            }
            *fields = named;
            Ok(())
        }
        Value::Null | Value::Bool(_) => Ok(()),
    }
}

fn sifted(text: &str, field: &str) -> Result<String, Refused> {
    match text.len() {
        ..=MAX_TEXT => Ok(plain(text)),
        octets => Err(Refused::Text {
            field: field.to_owned(),
            octets,
        }),
    }
}

/// What comes from elsewhere may hold what makes a terminal do things, or shows other lines or
/// another order than there is.
pub(crate) fn plain(text: &str) -> String {
    let visible = |char: char| match char {
        // Marks of direction, separators of lines, and what has no width.
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => '?',
        '\u{2060}'..='\u{206f}' | '\u{feff}' => '?',
        _ if char.is_control() => '?',
        _ => char,
    };
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture;
    use super::super::overview::{Overview, Seen};
    use super::super::text;
    use super::*;

    /// What alpha says of itself, and who it is.
    fn told() -> (Value, Node) {
        let snapshot = fixture::overview()
            .peers
            .swap_remove(0)
            .seen
            .unwrap()
            .snapshot;
        let node = snapshot.node.clone();
        let mut told = serde_json::to_value(snapshot).unwrap();
        *told.pointer_mut("/units/0/last").unwrap() = json!({
            "began": { "at": "2026-11-21T19:20:00Z", "monotonic_ms": 7200000.0 },
            "kind": "giving",
            "cause": "command switch",
            "end": { "at_ms": 30.0, "state": "standby", "reason": "everything is undone" },
            "phases": [{ "what": "demoting", "began_ms": 0.0, "ended_ms": 30.0 }],
            "runs": [{
                "step": "nfs-server", "action": "stop", "began_ms": 1.0, "ended_ms": 29.0,
                "result": "done", "share": 93.3,
            }],
            "runs_left_out": 0,
        });
        (told, node)
    }

    /// Taken, with that in this place.
    fn taken(place: &str, what: Value) -> Result<Snapshot, Refused> {
        let (mut told, node) = told();
        *told.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = what;
        snapshot(&serde_json::to_vec(&told).unwrap(), &node)
    }

    #[test]
    fn what_a_node_says_is_taken_as_it_is() {
        let (value, node) = told();
        let text = serde_json::to_vec(&value).unwrap();
        let taken = snapshot(&text, &node).unwrap();
        assert_eq!(taken.units[0].last.as_ref().unwrap().runs.len(), 1);
        let again = serde_json::to_vec(&taken).unwrap();
        assert_eq!(snapshot(&again, &node).unwrap(), taken);
    }

    #[test]
    fn what_cannot_be_believed_is_refused() {
        let long = "x".repeat(MAX_TEXT + 1);
        let table = [
            ("/monotonic_ms", json!(1e308), "number"),
            ("/monotonic_ms", json!(-1e308), "number"),
            ("/monotonic_ms", json!(2e13), "number"),
            ("/monotonic_ms", json!(20_000_000_000_000_u64), "number"),
            ("/monotonic_ms", json!(u64::MAX), "number"),
            ("/units/0/last/end/at_ms", json!(1e308), "number"),
            ("/units/0/last/runs/0/ended_ms", json!(1e308), "number"),
            ("/units/0/last/runs/0/share", json!(1e300), "number"),
            ("/monotonic_ms", json!(null), "malformed"),
            ("/at", json!("yesterday"), "malformed"),
            ("/node/id", json!(256), "malformed"),
            ("/units/0/state", json!("asleep"), "malformed"),
            ("/units/0/name", json!(long), "text"),
            ("/units/0/last/runs/0/step", json!(long), "text"),
            ("/node/id", json!(0), "another-node"),
            ("/node/name", json!("beta"), "another-node"),
            ("/node/name", json!("alpha\u{1b}[2J"), "another-node"),
        ];
        for (place, what, why) in table {
            let refused = taken(place, what.clone()).unwrap_err();
            assert_eq!(refused.why(), why, "{place}: {refused}");
            let text = refused.to_string();
            assert_eq!(plain(&text), text, "{place}");
        }
        let (_, node) = told();
        for text in ["", "{}", "[[", "1e999", "{\"node\":{\"id\":0}}", "\u{fffd}"] {
            let refused = snapshot(text.as_bytes(), &node).unwrap_err();
            assert_eq!(refused.why(), "malformed", "{text}");
        }
        let deep = "[".repeat(100_000);
        let refused = snapshot(deep.as_bytes(), &node).unwrap_err();
        assert_eq!(refused.why(), "malformed");
    }

    #[test]
    fn whatever_is_taken_can_be_shown_and_told_on() {
        let nasty = "a\u{1b}[2Jb\n\r\u{7}\u{9b}31m\u{202e}c\u{2028}\u{200b}\u{feff}";
        let edge = json!(MAX_NUMBER);
        for (place, what) in [
            ("/units/0/name", json!(nasty)),
            ("/units/0/blocked", json!(nasty)),
            ("/units/0/storage/role", json!(nasty)),
            ("/units/0/storage/peer", json!(nasty)),
            ("/units/0/storage/resource/replication", json!(nasty)),
            ("/units/0/addresses/0/role", json!(nasty)),
            ("/units/0/addresses/0/failed", json!(nasty)),
            ("/units/0/addresses/0/stats", json!({ nasty: 1 })),
            ("/units/0/last/cause", json!(nasty)),
            ("/units/0/last/runs/0/action", json!(nasty)),
            ("/units/0/last/runs/0/step", json!("x".repeat(MAX_TEXT))),
            ("/units/0/last/runs/0/ended_ms", edge.clone()),
            ("/units/0/last/runs/0/began_ms", json!(-MAX_NUMBER)),
            ("/units/0/last/end/at_ms", edge),
            ("/at", json!("9999-12-31T23:59:59.999Z")),
        ] {
            let snapshot = taken(place, what).unwrap_or_else(|error| panic!("{place}: {error}"));
            let mut now = fixture::overview();
            let seen = now.peers[0].seen.take().unwrap();
            now.peers[0].seen = Some(Seen { snapshot, ..seen });
            let overview = Overview::new(now.own, now.peers);
            let shown = text::status(&overview);
            assert_eq!(plain(&shown.replace('\n', " ")), shown.replace('\n', " "));
            assert!(shown.len() < 1 << 16, "{place}");
            let told = serde_json::to_vec(&overview).unwrap();
            let heard: Overview = serde_json::from_slice(&told).unwrap();
            assert_eq!(text::status(&heard), shown, "{place}");
        }
    }
}
