//! The device of a primary.

use core::num::NonZeroU32;
use std::boxed::Box;
use std::io;
use std::vec::Vec;

use async_trait::async_trait;
use bytes::Bytes;
use hast_proto::primary::DeviceRequest;
use hast_proto::{Errno, Length, Offset};
use tokio::sync::{mpsc, oneshot};

use super::super::block::{BlockDevice, Geometry, Room};
use super::engine::{Call, Message};

/// What zeroes are written in.
static ZEROES: [u8; 128 * 1024] = [0; 128 * 1024];
/// The longest READ or WRITE: what one resource holds at a time.
const LONGEST: u32 = 32 << 20;

/// A primary's device, for as long as it is primary.
pub(super) struct Device {
    messages: mpsc::UnboundedSender<Message>,
    /// Which time of being primary it belongs to.
    term: u64,
    geometry: Geometry,
}

impl Device {
    pub(super) fn new(
        messages: mpsc::UnboundedSender<Message>,
        term: u64,
        below: Geometry,
        size: Length,
    ) -> Self {
        let longest = below.longest.get().min(LONGEST);
        let geometry = Geometry {
            size: size.get(),
            longest: NonZeroU32::new(longest).unwrap_or(below.longest),
            ..below
        };
        Self {
            messages,
            term,
            geometry,
        }
    }

    async fn call(&self, request: DeviceRequest) -> io::Result<Vec<Bytes>> {
        let (reply, answer) = oneshot::channel();
        let call = Call {
            term: self.term,
            request,
            reply,
        };
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let sent = self.messages.send(Message::Call(call));
        sent.map_err(|_| gone())?;
        match answer.await.map_err(|_| gone())? {
            Ok(data) => Ok(data),
            Err(Errno::ENXIO) => Err(gone()),
            Err(error) => Err(to_io(error)),
        }
    }

    fn check_data(&self, offset: u64, length: u64) -> io::Result<()> {
        if length > self.geometry.longest.get().into() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.geometry.check(offset, length)
    }
}

/// An error as the system numbers it.
fn to_io(error: Errno) -> io::Error {
    #[cfg(target_os = "freebsd")]
    return io::Error::from_raw_os_error(error.get().into());
    #[cfg(not(target_os = "freebsd"))]
    io::Error::from_raw_os_error(error.to_linux())
}

#[async_trait]
impl BlockDevice for Device {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    async fn read(&self, offset: u64, length: u32) -> io::Result<Vec<Bytes>> {
        self.check_data(offset, length.into())?;
        if length == 0 {
            return Ok(Vec::new());
        }
        let (offset, length) = (Offset::new(offset), Length::new(length.into()));
        self.call(DeviceRequest::Read { offset, length }).await
    }

    async fn write(&self, offset: u64, data: Bytes) -> io::Result<()> {
        self.check_data(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        let offset = Offset::new(offset);
        let written = self.call(DeviceRequest::Write { offset, data }).await;
        written.map(|_| ())
    }

    async fn flush(&self) -> io::Result<()> {
        self.call(DeviceRequest::Flush).await.map(|_| ())
    }

    async fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.geometry.check(offset, length)?;
        if length == 0 {
            return Ok(());
        }
        let (offset, length) = (Offset::new(offset), Length::new(length));
        let deleted = self.call(DeviceRequest::Delete { offset, length }).await;
        deleted.map(|_| ())
    }

    /// The protocol has no way to say this but to write zeroes, which "hole" makes short. The
    /// peer writes them, too, so that nothing is given back.
    async fn write_zeroes(&self, offset: u64, length: u64, _: Room) -> io::Result<()> {
        self.geometry.check(offset, length)?;
        let (mut at, end) = (offset, offset.saturating_add(length));
        while at < end {
            let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let zeroes = Bytes::from_static(&ZEROES).split_to(left.min(ZEROES.len()));
            let written = zeroes.len() as u64;
            self.write(at, zeroes).await?;
            at = at.saturating_add(written);
        }
        Ok(())
    }
}
