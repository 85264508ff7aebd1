//! What a client of the NBD server may send.

#[path = "../../ha-core/tests/nbd_script/mod.rs"]
#[allow(clippy::cast_possible_truncation, reason = "lengths are small")]
mod nbd_script;

use bytes::BytesMut;
use ha_core::nbd::Agreed;
use nbd_script::{answer, offers, play, play_requests};

/// A connection; the first octet says how: its lowest bit, that there is no handshake; the next
/// two, what was agreed on then; the rest, how the octets are cut.
///
/// Nothing panics; what comes out can be done and had memory; the slicing makes no difference;
/// replies are sent as they were put in.
pub fn nbd(data: &[u8]) {
    let Some((how, octets)) = data.split_first() else {
        return;
    };
    let step = usize::from(how >> 3).max(1);
    if how & 1 == 0 {
        let whole = play([octets]);
        assert_eq!(play(octets.chunks(step)), whole, "sliced by {step}");
        let structured = whole.agreed.is_some_and(|agreed| agreed.structured);
        answer(&whole.requests, structured, choices(octets));
        return;
    }
    let agreed = Agreed {
        offer: usize::from(how >> 2 & 1),
        structured: how & 2 != 0,
        allocation: how & 2 != 0,
    };
    let offers = offers();
    let whole = play_requests(&offers, agreed, BytesMut::new(), [octets]);
    let sliced = play_requests(&offers, agreed, BytesMut::new(), octets.chunks(step));
    assert_eq!(sliced, whole, "sliced by {step}");
    answer(&whole.0, agreed.structured, choices(octets));
}

/// What the input chooses, again and again.
fn choices(octets: &[u8]) -> impl FnMut() -> u8 {
    let mut octets = octets.iter().copied().cycle();
    move || octets.next().unwrap_or(1)
}
