//! What the data of options say, and how they are answered (NBD, Option types).

use bytes::{BufMut, BytesMut};

use super::offer::Offer;
use super::wire::{ALLOCATION, Fields, OPTION_REPLY, answer, info};

/// The data of `INFO` and `GO`.
#[derive(Debug)]
pub(super) struct InfoRequest<'a> {
    pub(super) name: &'a str,
    wants_name: bool,
    wants_description: bool,
}

impl<'a> InfoRequest<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(data);
        let mut request = Self {
            name: fields.string()?,
            wants_name: false,
            wants_description: false,
        };
        for _ in 0..fields.u16()? {
            match fields.u16()? {
                info::NAME => request.wants_name = true,
                info::DESCRIPTION => request.wants_description = true,
                // The size and the blocks are told unasked; what is unknown is not told.
                _ => {}
            }
        }
        fields.end()?;
        Some(request)
    }

    /// Tells about `offer`, all but the acknowledgement.
    pub(super) fn answer(&self, option: u32, offer: &Offer, structured: bool, out: &mut BytesMut) {
        reply(out, option, answer::INFO, |out| {
            out.put_u16(info::EXPORT);
            out.put_u64(offer.size);
            out.put_u16(offer.flags(structured));
        });
        reply(out, option, answer::INFO, |out| {
            out.put_u16(info::BLOCK_SIZE);
            out.put_u32(offer.block.get());
            out.put_u32(offer.preferred.get());
            out.put_u32(offer.longest.get());
        });
        if self.wants_name {
            reply(out, option, answer::INFO, |out| {
                out.put_u16(info::NAME);
                out.put_slice(offer.name.as_bytes());
            });
        }
        if self.wants_description && !offer.description.is_empty() {
            reply(out, option, answer::INFO, |out| {
                out.put_u16(info::DESCRIPTION);
                out.put_slice(offer.description.as_bytes());
            });
        }
    }
}

/// The data of `LIST_META_CONTEXT` and `SET_META_CONTEXT`.
#[derive(Debug)]
pub(super) struct ContextRequest<'a> {
    pub(super) name: &'a str,
    /// There is none.
    pub(super) no_query: bool,
    /// One names `base:allocation`.
    pub(super) allocation: bool,
    /// One names all that there is below `base:`, which selects nothing but lists it.
    pub(super) all_of_base: bool,
}

impl<'a> ContextRequest<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(data);
        let name = fields.string()?;
        let queries = fields.u32()?;
        let mut request = Self {
            name,
            no_query: queries == 0,
            allocation: false,
            all_of_base: false,
        };
        // Each takes four octets at least, so that this ends soon whatever the number is.
        for _ in 0..queries {
            match fields.string()? {
                ALLOCATION => request.allocation = true,
                "base:" => request.all_of_base = true,
                _ => {}
            }
        }
        fields.end()?;
        Some(request)
    }
}

/// An answer to `option` whose data `fill` writes.
pub(super) fn reply(out: &mut BytesMut, option: u32, kind: u32, fill: impl FnOnce(&mut BytesMut)) {
    out.put_u64(OPTION_REPLY);
    out.put_u32(option);
    out.put_u32(kind);
    let length_at = out.len();
    out.put_u32(0);
    let data_at = out.len();
    fill(out);
    // An answer is a few names long at most.
    let length = u32::try_from(out.len() - data_at).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(length_at..data_at) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// An answer without data.
pub(super) fn acknowledge(out: &mut BytesMut, option: u32) {
    reply(out, option, answer::ACK, |_| {});
}

/// A refusal, with a reason for people to read.
pub(super) fn refuse(out: &mut BytesMut, option: u32, kind: u32, why: &str) {
    reply(out, option, kind, |out| out.put_slice(why.as_bytes()));
}
