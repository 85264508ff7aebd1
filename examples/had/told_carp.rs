//! What the driver of the virtual hosts tells, as lines of events.

use ha_core::carp_proto::Event;
use ha_core::io::EventKind;
use serde::Serialize;

use super::moment::ms;

/// What happens to a virtual host, or to the interface that carries it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum CarpTold {
    /// Its state has changed.
    CarpState {
        from: String,
        to: String,
        reason: String,
    },
    /// It has something else to say.
    Carp { text: String },
    /// The demotion level has changed.
    Demotion {
        adjustment: i32,
        level: i32,
        reason: String,
    },
    /// Addresses were acquired, announced or released.
    EffectDone { effect: String, took_ms: f64 },
    /// They were not.
    EffectFailed { effect: String, reason: String },
    /// What is to serve them has panicked.
    EffectPanicked,
    /// An advertisement could not be sent.
    NotSent { family: String, reason: String },
    /// A packet was discarded.
    Discarded { source: String, reason: String },
    /// Packets cannot be read.
    NotReceived { reason: String },
}

/// What a driver tells; of whom, the caller knows.
pub(crate) fn carp(kind: &EventKind) -> CarpTold {
    match kind {
        EventKind::Protocol {
            event: Event::State {
                from, to, reason, ..
            },
            ..
        } => CarpTold::CarpState {
            from: from.to_string(),
            to: to.to_string(),
            reason: reason.to_string(),
        },
        EventKind::Protocol { event, .. } => CarpTold::Carp {
            text: event.to_string(),
        },
        EventKind::Demotion {
            adjustment,
            level,
            cause,
        } => CarpTold::Demotion {
            adjustment: *adjustment,
            level: *level,
            reason: cause.to_string(),
        },
        EventKind::Done { effect, took, .. } => CarpTold::EffectDone {
            effect: effect.to_string(),
            took_ms: ms(*took),
        },
        EventKind::Failed { effect, error, .. } => CarpTold::EffectFailed {
            effect: effect.to_string(),
            reason: error.to_string(),
        },
        EventKind::Panicked { .. } => CarpTold::EffectPanicked,
        EventKind::NotSent { family, error, .. } => CarpTold::NotSent {
            family: family.to_string(),
            reason: error.to_string(),
        },
        EventKind::Discarded {
            source, discard, ..
        } => CarpTold::Discarded {
            source: source.to_string(),
            reason: discard.to_string(),
        },
        EventKind::NotReceived { error, .. } => CarpTold::NotReceived {
            reason: error.to_string(),
        },
        other => CarpTold::Carp {
            text: other.to_string(),
        },
    }
}
