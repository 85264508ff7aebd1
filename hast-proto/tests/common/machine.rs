//! What the tests of the machines share.

#![allow(dead_code, reason = "not every test uses all of it")]

use bytes::BytesMut;
use hast_proto::frame::{Decoder, Frame, Phase, Segments};
use hast_proto::{ExtentSize, KeepDirty, Layout, Length, Metadata, ResourceName, SectorSize};

/// Makes a frame of what was encoded, as a receiver does.
pub(crate) fn received(phase: Phase, segments: &Segments) -> Frame {
    let mut buffer = BytesMut::from(&segments.concat()[..]);
    let frame = Decoder::new(phase).decode(&mut buffer).unwrap().unwrap();
    assert!(buffer.is_empty());
    frame
}

/// Sixteen extents of 8 KiB.
pub(crate) fn small_layout() -> Layout {
    let extent = ExtentSize::new(8192).unwrap();
    let media = Length::new(4096 + 512 + 16 * 8192);
    Layout::create(media, extent, SectorSize::DEFAULT).unwrap()
}

/// The block of a new provider of that layout.
pub(crate) fn small_metadata() -> Metadata {
    let keep = KeepDirty::new(2).unwrap();
    Metadata::create(ResourceName::new("shared").unwrap(), small_layout(), keep)
}
