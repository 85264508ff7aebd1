//! One connection: frames in, frames out.

use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use std::boxed::Box;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hast_proto::frame::{Decoder, Frame, FrameError, Phase, Segments};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// What a connection runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What is read at once, at least: frames of small requests come many at a time.
const READ: usize = 64 * 1024;
/// How many pieces one system call writes: those of some forty messages.
const PIECES: usize = 128;
/// How many octets are read in one turn, before others have theirs.
const TURN: usize = 256 * 1024;

/// Why no more frames come.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection has ended.
    Closed,
    /// It has failed.
    Failed(io::Error),
    /// What came is no frame, or the connection has ended within one.
    Invalid(FrameError),
}

/// A connection.
pub(super) struct Link {
    stream: Box<dyn Stream>,
    decoder: Decoder,
    received: BytesMut,
    /// The octets of the last frame: the next one is probably as long.
    last_frame: usize,
    /// How many octets may be read before [`Link::refill`].
    allowance: usize,
    sending: VecDeque<Bytes>,
    queued: usize,
}

impl Link {
    pub(super) fn new(stream: impl Stream + 'static, phase: Phase) -> Self {
        Self {
            stream: Box::new(stream),
            decoder: Decoder::new(phase),
            received: BytesMut::new(),
            last_frame: 0,
            allowance: TURN,
            sending: VecDeque::new(),
            queued: 0,
        }
    }

    /// From now on, another kind of frame comes.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.decoder.enter(phase);
    }

    /// Allows as much to be read as a turn may.
    pub(super) fn refill(&mut self) {
        self.allowance = TURN;
    }

    /// Whether a turn has read all that it may: there may be more.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.allowance == 0
    }

    /// Returns the next frame. Its payload stays where it was read to.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Broken>> {
        loop {
            match self.decoder.decode(&mut self.received) {
                Ok(Some(frame)) => {
                    self.last_frame = frame.payload().len();
                    return Poll::Ready(Ok(frame));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(Broken::Invalid(error))),
            }
            if self.allowance == 0 {
                return Poll::Pending;
            }
            let read = match ready!(self.poll_read(cx)) {
                Ok(read) => read,
                Err(error) => return Poll::Ready(Err(Broken::Failed(error))),
            };
            self.allowance = self.allowance.saturating_sub(read);
            if read == 0 {
                let broken = match self.decoder.finish(&self.received) {
                    Ok(()) => Broken::Closed,
                    Err(error) => Broken::Invalid(error),
                };
                return Poll::Ready(Err(broken));
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let wanted = self.decoder.wanted();
        // A large payload is read to where it ends, so that what follows need not be moved to
        // where it can become large itself.
        let most = if wanted > READ {
            wanted
        } else {
            READ.max(self.last_frame.saturating_add(READ / 16))
        };
        let room = self.received.capacity().saturating_sub(self.received.len());
        if room < wanted.max(self.last_frame.min(READ)) {
            self.received.reserve(most);
        }
        let room = self.received.capacity().saturating_sub(self.received.len());
        let mut limited = (&mut self.received).limit(room.min(most));
        pin!(self.stream.read_buf(&mut limited)).poll(cx)
    }

    /// Waits for the end of a connection on which nothing is due: whatever comes is its end.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut octet = [0];
        let read = pin!(self.stream.read(&mut octet)).poll(cx);
        read.map(|_| ())
    }

    /// Puts a frame behind those that are to be sent.
    pub(super) fn push(&mut self, frame: Segments) {
        self.queued = self.queued.saturating_add(frame.len());
        self.sending
            .extend(frame.into_iter().filter(|piece| !piece.is_empty()));
    }

    /// How many octets are to be sent.
    pub(super) const fn queued(&self) -> usize {
        self.queued
    }

    /// How many frames are to be sent, more or less.
    pub(super) fn waiting(&self) -> usize {
        self.sending.len().div_ceil(3)
    }

    /// Sends what is to be sent, as far as that can be done at once.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sending.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (slot, piece) in pieces.iter_mut().zip(&self.sending) {
                *slot = IoSlice::new(piece);
                count += 1;
            }
            let pieces = pieces.get(..count).unwrap_or_default();
            let stream = Pin::new(&mut *self.stream);
            let written = ready!(stream.poll_write_vectored(cx, pieces))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent(written);
        }
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn sent(&mut self, mut octets: usize) {
        self.queued = self.queued.saturating_sub(octets);
        while let Some(piece) = self.sending.front_mut() {
            if octets < piece.len() {
                piece.advance(octets);
                return;
            }
            octets = octets.saturating_sub(piece.len());
            self.sending.pop_front();
        }
    }

    /// Sends what is to be sent, and closes.
    pub(super) async fn close(mut self) {
        let flushed = core::future::poll_fn(|cx| self.poll_flush(cx)).await;
        if flushed.is_ok() {
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.stream).await;
        }
    }
}
