//! Which marks are certainly on disk.

use alloc::vec::Vec;
use core::ops::{Range, RangeInclusive};

use bytes::Bytes;

/// The part of the map on disk that can be relied on, whatever moment the node crashes at: while
/// a write of the map is on its way, only the marks that are in what it replaces *and* in what
/// it brings.
///
/// A write of data may go to a disk when [`covers`](Self::covers) says so. That is also so if a
/// map with its mark is on its way already for another write, which has to wait as well.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Stored {
    marks: Vec<u8>,
    storing: Option<(usize, Bytes)>,
}

impl Stored {
    /// Takes what was found on disk.
    pub(crate) const fn new(marks: Vec<u8>) -> Self {
        Self {
            marks,
            storing: None,
        }
    }

    /// Whether all these extents are marked.
    pub(crate) fn covers(&self, extents: RangeInclusive<u32>) -> bool {
        extents.into_iter().all(|extent| {
            let index = usize::try_from(extent >> 3).unwrap_or(usize::MAX);
            let octet = self.marks.get(index);
            octet.is_some_and(|octet| octet & (1 << (extent & 7)) != 0)
        })
    }

    pub(crate) const fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    /// A part of the map is on its way to disk.
    pub(crate) fn start(&mut self, range: Range<usize>, image: &Bytes) {
        if let Some(marks) = self.marks.get_mut(range.clone()) {
            for (mark, new) in marks.iter_mut().zip(image) {
                *mark &= new;
            }
        }
        self.storing = Some((range.start, image.clone()));
    }

    /// It is there.
    pub(crate) fn finish(&mut self) {
        let Some((start, image)) = self.storing.take() else {
            return;
        };
        let marks = self.marks.iter_mut().skip(start);
        for (mark, new) in marks.zip(&image) {
            *mark = *new;
        }
    }

    /// It may or may not be there.
    pub(crate) fn fail(&mut self) {
        self.storing = None;
    }
}
