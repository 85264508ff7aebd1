//! One connection, in one task: what is ready at once goes from the socket to the device and back
//! without another thread or task in between.

use core::borrow::Borrow;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep};

use super::counters::Tally;
use super::export::Exported;
use super::inflight::InFlight;
use super::memory::Share;
use super::perform::{Outcome, perform};
use super::{ConnectionError, Limits};
use crate::io::block::BlockDevice;
use crate::nbd::{Agreed, Failure, Handshake, Next, Offer, Replies, Requests, Turn};

/// After so many requests other tasks get a turn.
const TURN: u32 = 64;
/// No more is taken on while so many octets wait to be sent, or more.
const BACKLOG: usize = 256 * 1024;

/// Lets the client choose from what `offers` returns; `None` if it only wanted to know something.
pub(super) async fn handshake<S, O>(
    stream: &mut S,
    offers: impl Fn() -> Arc<[O]>,
) -> Result<Option<(O, Agreed, BytesMut)>, ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    O: Borrow<Offer> + Clone,
{
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    let mut handshake = Handshake::begin(&mut out);
    loop {
        stream.write_all_buf(&mut out).await?;
        stream.flush().await?;
        let offers = offers();
        match handshake.step(&mut input, &mut out, &offers)? {
            Turn::Send => {}
            Turn::Receive => {
                input.reserve(512);
                if stream.read_buf(&mut input).await? == 0 {
                    // Some just go when they know enough.
                    return match input.len() {
                        0 => Ok(None),
                        _ => Err(ConnectionError::Truncated),
                    };
                }
            }
            Turn::Close => {
                // Most do not wait for it.
                if stream.write_all_buf(&mut out).await.is_ok() {
                    let _ = stream.shutdown().await;
                }
                return Ok(None);
            }
            Turn::Chosen(agreed) => {
                stream.write_all_buf(&mut out).await?;
                stream.flush().await?;
                let chosen = offers.get(agreed.offer).cloned();
                return Ok(chosen.map(|chosen| (chosen, agreed, input)));
            }
        }
    }
}

/// A client and the device that it has chosen.
pub(super) struct Connection<'a, S> {
    stream: S,
    device: &'a dyn BlockDevice,
    requests: Requests,
    in_flight: InFlight<'a, Outcome>,
    answers: Answers<'a>,
    /// The client is told of zeroes instead of being sent them.
    sparse: bool,
    limits: &'a Limits,
    /// Nothing more is taken on.
    leaving: bool,
    /// Something was sent that the stream may still hold.
    unflushed: bool,
    /// More has to be received before there is anything to do.
    receiving: bool,
}

/// What goes back to the client, and the memory that it gives back.
struct Answers<'a> {
    replies: Replies,
    share: Share,
    tally: &'a Tally,
}

impl Answers<'_> {
    fn reply(&mut self, outcome: Outcome) {
        if outcome.is_failure() {
            self.tally.failed.add(1);
        }
        if outcome.has_data() {
            self.share.give_back_when_sent(outcome.admitted);
        } else {
            self.share.give_back(outcome.admitted);
        }
        outcome.reply(&mut self.replies);
    }
}

/// Why no more requests are taken on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Halt {
    /// Those that were received are all under way.
    Receive,
    /// A limit is reached, or nothing more is wanted.
    Full,
    /// Others have to get a turn.
    Turn,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Connection<'a, S> {
    pub(super) fn new(
        stream: S,
        export: &'a Exported,
        agreed: Agreed,
        received: BytesMut,
        share: Share,
        limits: &'a Limits,
        tally: &'a Tally,
    ) -> Self {
        Self {
            stream,
            device: &*export.device,
            requests: Requests::new(&export.offer, agreed, received),
            in_flight: InFlight::new(),
            answers: Answers {
                replies: Replies::new(agreed.structured),
                share,
                tally,
            },
            sparse: agreed.structured,
            limits,
            leaving: false,
            unflushed: false,
            receiving: false,
        }
    }

    /// Serves the client until it leaves, or until `closing` ends: then what is under way is
    /// answered, and nothing more.
    pub(super) async fn serve(
        mut self,
        closing: impl Future<Output = ()>,
    ) -> Result<(), ConnectionError> {
        let mut closing = pin!(closing);
        let mut closed = false;
        let mut stall = Stall::new(self.limits.stall);
        poll_fn(|cx| {
            if !closed && closing.as_mut().poll(cx).is_ready() {
                closed = true;
                self.leaving = true;
            }
            let mut moved = false;
            match self.poll(cx, &mut moved) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => stall.poll(self.waits_for_client(), moved, cx).map(Err),
            }
        })
        .await?;
        // All is answered; a client that took its leave may be gone by now.
        let _ = self.stream.shutdown().await;
        Ok(())
    }

    /// Does all that can be done now. Sets `moved` if octets have come or gone.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        moved: &mut bool,
    ) -> Poll<Result<(), ConnectionError>> {
        let mut turn = TURN;
        loop {
            let answers = &mut self.answers;
            self.in_flight.poll(cx, |outcome| answers.reply(outcome));
            let halt = self.take_on(cx, &mut turn)?;
            let unsent = self.answers.replies.remaining();
            let sent = self.send(cx)?;
            let freed = self.answers.replies.remaining() < unsent;
            *moved |= freed;
            if self.leaving && self.in_flight.is_empty() && sent {
                return Poll::Ready(Ok(()));
            }
            self.receiving = halt == Halt::Receive;
            match halt {
                Halt::Receive => {
                    if !ready!(self.receive(cx))? {
                        self.leaving = true;
                    }
                    *moved = true;
                }
                Halt::Full if freed => {}
                Halt::Full => return Poll::Pending,
                Halt::Turn => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Begins requests that were received.
    fn take_on(&mut self, cx: &mut Context<'_>, turn: &mut u32) -> Result<Halt, ConnectionError> {
        while !self.leaving
            && self.in_flight.len() < self.limits.requests.get()
            && self.answers.replies.remaining() < BACKLOG
        {
            let Some(left) = turn.checked_sub(1) else {
                return Ok(Halt::Turn);
            };
            *turn = left;
            let share = &mut self.answers.share;
            match self.requests.next(|octets| share.take(octets, cx))? {
                Next::Receive => return Ok(Halt::Receive),
                Next::Wait => return Ok(Halt::Full),
                Next::Disconnect => self.leaving = true,
                Next::Refused { cookie, why } => {
                    self.answers.tally.refused.add(1);
                    self.answers.replies.failed(cookie, &Failure::from(why));
                }
                Next::Request(request) => {
                    self.answers.tally.request(&request.command);
                    let work = perform(self.device, request, self.sparse);
                    if let Some(outcome) = self.in_flight.begin(work) {
                        self.answers.reply(outcome);
                    }
                }
            }
        }
        Ok(Halt::Full)
    }

    /// Sends what there is; whether all of it is gone.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, ConnectionError> {
        while self.answers.replies.has_remaining() {
            let Poll::Ready(sent) = pin!(self.stream.write_buf(&mut self.answers.replies)).poll(cx)
            else {
                return Ok(false);
            };
            if sent? == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            self.unflushed = true;
        }
        self.answers.share.sent();
        if self.unflushed {
            let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx) else {
                return Ok(false);
            };
            flushed?;
            self.unflushed = false;
        }
        Ok(true)
    }

    /// Receives something; not if the client has closed the connection.
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ConnectionError>> {
        let received = {
            let mut room = self.requests.room();
            ready!(pin!(self.stream.read_buf(&mut room)).poll(cx))?
        };
        if received == 0 && self.requests.within() {
            return Poll::Ready(Err(ConnectionError::Truncated));
        }
        Poll::Ready(Ok(received > 0))
    }

    /// Whether nothing goes on unless the client reads, or sends the rest of a request.
    fn waits_for_client(&self) -> bool {
        self.answers.replies.has_remaining() || self.receiving && self.requests.within()
    }
}

/// Notices a client that stands still.
struct Stall {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    running: bool,
    /// It has done something since the timer was set.
    moved: bool,
}

impl Stall {
    #[expect(clippy::disallowed_methods, reason = "a driver waits")]
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            timer: Box::pin(sleep(limit)),
            running: false,
            moved: false,
        }
    }

    /// Ends if the client stands still while it should do something. The timer is set rarely: it
    /// may take up to twice the limit to notice.
    fn poll(&mut self, waiting: bool, moved: bool, cx: &mut Context<'_>) -> Poll<ConnectionError> {
        if waiting && !self.running {
            self.set();
        }
        self.moved |= moved || !waiting;
        while self.running && self.timer.as_mut().poll(cx).is_ready() {
            if !self.moved {
                let limit = self.limit;
                return Poll::Ready(ConnectionError::Stalled { limit });
            }
            if waiting {
                self.set();
            } else {
                self.running = false;
            }
        }
        Poll::Pending
    }

    #[expect(clippy::disallowed_methods, reason = "a driver reads the clock")]
    fn set(&mut self) {
        self.timer.as_mut().reset(Instant::now() + self.limit);
        self.running = true;
        self.moved = false;
    }
}
