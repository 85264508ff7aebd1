//! A secondary's session: every cell of its state table, and what it promises.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "common/machine.rs"]
mod machine;

use core::time::Duration;

use bytes::Bytes;
use hast_proto::frame::{Encoder, Frame, FrameError, Phase};
use hast_proto::message::{Progress, Reply, Request};
use hast_proto::secondary::{Config, Event, Input, Output, Secondary};
use hast_proto::{
    Consistency, DiskOperation, Errno, Length, Offset, OperationId, Payload, Sequence, SyncSource,
    Version,
};
use machine::{received, small_layout};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A session, and what has come out of it but has not been answered.
struct Session {
    machine: Secondary<Duration>,
    now: Duration,
    disk: Vec<(OperationId, DiskOperation)>,
    words: Vec<String>,
}

impl Session {
    fn idle(source: SyncSource) -> Self {
        Self::with(Config::new(small_layout(), source, Consistency::Consistent))
    }

    fn with(config: Config) -> Self {
        Self {
            machine: Secondary::new(config),
            now: Duration::ZERO,
            disk: Vec::new(),
            words: Vec::new(),
        }
    }

    /// A session whose map is cleared and whose primary has said that the nodes agree.
    fn open() -> Self {
        let mut session = Self::idle(SyncSource::Primary);
        session.input(Input::Start);
        session.request(Request::Progress(Progress::Agreed));
        session.request(flush(1));
        session.all_done();
        session.words.clear();
        session
    }

    fn input(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Disk(id, operation) => {
                    self.words.push(word(&operation));
                    self.disk.push((id, operation));
                }
                Output::Reply(reply) => self.words.push(reply_word(&reply)),
                Output::Close => self.words.push("close".into()),
                Output::Ended(end) => self.words.push(format!("ended: {end}")),
                Output::Event(Event::Refused(_)) => self.words.push("refused".into()),
                Output::Event(Event::DiskError(error)) => self.words.push(format!("{error}")),
                Output::Event(_) => {}
            }
        }
    }

    fn request(&mut self, request: Request) {
        self.input(Input::Frame(frame(&request)));
    }

    /// Ends the oldest operation.
    fn done(&mut self, result: Result<Bytes, Errno>) {
        let (id, operation) = self.disk.remove(0);
        let data = match operation {
            DiskOperation::Read { length, .. } => vec![7; length.to_usize().unwrap()].into(),
            _ => Bytes::new(),
        };
        self.input(Input::Disk(id, result.map(|_| data)));
    }

    fn all_done(&mut self) {
        while !self.disk.is_empty() {
            self.done(Ok(Bytes::new()));
        }
    }

    fn take(&mut self) -> String {
        core::mem::take(&mut self.words).join(", ")
    }
}

fn word(operation: &DiskOperation) -> String {
    match operation {
        DiskOperation::Read { offset, .. } => format!("read {offset}"),
        DiskOperation::Write { offset, .. } => format!("write {offset}"),
        DiskOperation::Delete { offset, .. } => format!("delete {offset}"),
        DiskOperation::Flush => "flush".into(),
        DiskOperation::StoreMap { data, .. } => {
            assert!(data.iter().all(|octet| *octet == 0));
            "clear".into()
        }
        DiskOperation::StoreMetadata(_) => panic!("a secondary's session writes no metadata"),
        DiskOperation::StoreConsistency(mark) => format!("{mark:?}"),
    }
}

fn reply_word(reply: &Reply) -> String {
    let number = reply.sequence().map_or(0, Sequence::get);
    match reply {
        Reply::Received { .. } => format!("received {number}"),
        Reply::Done { .. } => format!("done {number}"),
        Reply::Data { payload, .. } => {
            assert_eq!(payload.open(Length::new(512)).unwrap(), vec![7; 512]);
            format!("data {number}")
        }
        Reply::Failed {
            received, error, ..
        } => format!("failed {number} {error} {received}"),
    }
}

fn frame(request: &Request) -> Frame {
    let segments = request.encode(Version::V2, &mut Encoder::new());
    received(Phase::Request, &segments)
}

fn number(number: u64) -> Sequence {
    Sequence::new(number).unwrap()
}

fn flush(sequence: u64) -> Request {
    Request::Flush {
        sequence: number(sequence),
    }
}

fn read(sequence: u64, offset: u64) -> Request {
    Request::Read {
        sequence: number(sequence),
        offset: Offset::new(offset),
        length: Length::new(512),
    }
}

fn delete(sequence: u64, offset: u64) -> Request {
    Request::Delete {
        sequence: number(sequence),
        offset: Offset::new(offset),
        length: Length::new(512),
    }
}

fn write(sequence: u64, offset: u64, memsync: bool) -> Request {
    sized_write(sequence, offset, memsync, 512, 512)
}

fn sized_write(sequence: u64, offset: u64, memsync: bool, length: u64, octets: usize) -> Request {
    Request::Write {
        sequence: number(sequence),
        offset: Offset::new(offset),
        length: Length::new(length),
        memsync,
        payload: Payload::plain(vec![9; octets].into()).unwrap(),
    }
}

/// The four states, each with one write executing where that can be.
fn in_state(state: usize) -> Session {
    if state == 0 {
        return Session::idle(SyncSource::Primary);
    }
    let mut session = Session::open();
    session.request(write(100, 4096, false));
    if state >= 2 {
        session.input(Input::Closed);
    }
    if state == 3 {
        session.all_done();
    }
    session.words.clear();
    session
}

#[test]
fn every_cell_of_the_table_is_as_it_says() {
    type Act = fn(&mut Session);
    let rows: [(&str, Act, [&str; 4]); 17] = [
        ("Start", |it| it.input(Input::Start), ["", "", "", ""]),
        ("READ", |it| it.request(read(2, 0)), ["", "read 0", "", ""]),
        (
            "DELETE",
            |it| it.request(delete(2, 0)),
            ["", "delete 0", "", ""],
        ),
        // It waits for the write.
        ("FLUSH", |it| it.request(flush(2)), ["", "", "", ""]),
        (
            "WRITE",
            |it| it.request(write(2, 0, false)),
            ["", "write 0", "", ""],
        ),
        (
            "WRITE, memsync",
            |it| it.request(write(2, 0, true)),
            ["", "received 2, write 0", "", ""],
        ),
        (
            "keepalive",
            |it| it.request(Request::Keepalive),
            ["", "", "", ""],
        ),
        (
            "copying",
            |it| it.request(Request::Progress(Progress::Copying)),
            ["", "Inconsistent", "", ""],
        ),
        (
            "agreed, as before",
            |it| it.request(Request::Progress(Progress::Agreed)),
            ["", "", "", ""],
        ),
        (
            "refused",
            |it| it.request(sized_write(2, 100, true, 512, 512)),
            ["", "refused, failed 2 EINVAL true", "", ""],
        ),
        (
            "short data",
            |it| it.request(sized_write(2, 0, true, 1024, 512)),
            ["", "close", "", ""],
        ),
        (
            "Invalid",
            |it| it.input(Input::Invalid(FrameError::EmptyList)),
            ["close, ended: empty list", "close", "", ""],
        ),
        (
            "Closed",
            |it| it.input(Input::Closed),
            ["close, ended: connection closed", "close", "", ""],
        ),
        (
            "Stop",
            |it| it.input(Input::Stop),
            ["close, ended: stopped", "close", "", ""],
        ),
        (
            "Timeout, early",
            |it| {
                it.now = TIMEOUT - Duration::from_nanos(1);
                it.input(Input::Timeout);
            },
            ["", "", "", ""],
        ),
        (
            "Timeout, silent",
            |it| {
                it.now = TIMEOUT;
                it.input(Input::Timeout);
            },
            ["", "close", "", ""],
        ),
        (
            "Disk",
            |it| {
                if !it.disk.is_empty() {
                    it.done(Ok(Bytes::new()));
                }
            },
            ["", "done 100", "ended: connection closed", ""],
        ),
    ];
    for (what, act, expected) in rows {
        for (state, expected) in expected.into_iter().enumerate() {
            let mut session = in_state(state);
            act(&mut session);
            assert_eq!(session.take(), expected, "{what} in state {state}");
        }
    }
}

#[test]
fn what_overlaps_keeps_its_order_and_nothing_else_waits() {
    let mut session = Session::open();
    session.request(write(2, 0, false));
    session.request(read(3, 0));
    session.request(write(4, 512, false));
    session.request(write(5, 0, false));
    session.request(flush(6));
    session.request(read(7, 1024));
    assert_eq!(session.take(), "write 0, write 512, read 1024");
    session.done(Ok(Bytes::new()));
    assert_eq!(session.take(), "done 2, read 0");
    // The write of 512 and the read of 1024.
    session.done(Ok(Bytes::new()));
    session.done(Ok(Bytes::new()));
    assert_eq!(session.take(), "done 4, data 7");
    session.done(Ok(Bytes::new()));
    assert_eq!(session.take(), "data 3, write 0");
    session.done(Ok(Bytes::new()));
    assert_eq!(session.take(), "done 5, flush");
    session.done(Ok(Bytes::new()));
    assert_eq!(session.take(), "done 6");
}

#[test]
fn writes_received_are_executed_after_the_connection_is_gone() {
    let mut session = Session::open();
    session.request(write(2, 0, true));
    session.request(write(3, 0, true));
    session.request(read(4, 0));
    session.input(Input::Closed);
    session.done(Ok(Bytes::new()));
    assert_eq!(
        session.take(),
        "received 2, write 0, received 3, close, write 0"
    );
    session.done(Ok(Bytes::new()));
    assert_eq!(session.take(), "ended: connection closed");
}

#[test]
fn the_disk_s_error_is_the_reply_s() {
    let mut session = Session::open();
    session.request(write(2, 0, true));
    session.done(Err(Errno::ENOSPC));
    assert_eq!(
        session.take(),
        "received 2, write 0, ENOSPC, failed 2 ENOSPC false"
    );
    assert_eq!(session.machine.stats().errors, 1);
}

#[test]
fn a_read_that_yields_too_little_is_an_error() {
    let mut session = Session::open();
    session.request(read(2, 0));
    let (id, _) = session.disk.remove(0);
    session.input(Input::Disk(id, Ok(vec![0; 511].into())));
    assert_eq!(session.take(), "read 0, EIO, failed 2 EIO false");
}

#[test]
fn the_first_request_clears_the_map_and_nothing_else_does() {
    let mut session = Session::idle(SyncSource::Secondary);
    session.input(Input::Start);
    session.request(Request::Keepalive);
    session.request(Request::Progress(Progress::Agreed));
    assert_eq!(session.take(), "");
    session.request(read(2, 0));
    assert_eq!(session.take(), "clear, read 0");
    // It failed, so the next one tries again.
    session.done(Err(Errno::EIO));
    session.request(read(3, 0));
    assert_eq!(session.take(), "clear, read 0");
    session.all_done();
    session.take();
    session.request(read(4, 0));
    assert_eq!(session.take(), "read 0");
}

#[test]
fn a_map_that_is_to_be_kept_is_not_cleared() {
    let mut config = Config::new(
        small_layout(),
        SyncSource::Secondary,
        Consistency::Consistent,
    );
    config.keep_map = true;
    let mut session = Session::with(config);
    session.input(Input::Start);
    session.request(read(1, 0));
    session.request(write(2, 512, false));
    assert_eq!(session.take(), "read 0, write 512");
    session.all_done();
    session.input(Input::Closed);
    assert!(!session.take().contains("clear"));
}

#[test]
fn the_mark_is_on_disk_before_the_first_write_and_the_clearing() {
    let mut session = Session::idle(SyncSource::Primary);
    session.input(Input::Start);
    session.request(read(2, 512));
    session.request(write(3, 0, true));
    assert_eq!(session.take(), "clear, read 512, received 3, Inconsistent");
    let mark = session.disk.remove(2);
    session.input(Input::Disk(mark.0, Ok(Bytes::new())));
    assert_eq!(session.take(), "write 0");

    let mut session = Session::idle(SyncSource::Primary);
    session.input(Input::Start);
    session.request(write(3, 0, false));
    assert_eq!(session.take(), "Inconsistent");
    session.done(Ok(Bytes::new()));
    assert_eq!(session.take(), "clear, write 0");
    assert_eq!(session.machine.consistency(), Consistency::Inconsistent);
}

#[test]
fn without_the_mark_nothing_is_written() {
    let mut session = Session::idle(SyncSource::Primary);
    session.input(Input::Start);
    session.request(write(3, 0, false));
    session.done(Err(Errno::EIO));
    assert_eq!(
        session.take(),
        "Inconsistent, close, ended: mark not stored: EIO"
    );
}

#[test]
fn a_real_primary_that_copies_nothing_more_has_finished() {
    let mut session = Session::idle(SyncSource::Primary);
    session.input(Input::Start);
    session.request(write(1, 0, false));
    session.all_done();
    session.now = TIMEOUT / 2;
    session.request(write(1, 512, false));
    session.request(Request::Keepalive);
    session.all_done();
    session.now = TIMEOUT;
    session.request(write(17, 1024, false));
    session.all_done();
    session.input(Input::Timeout);
    session.take();
    assert_eq!(session.machine.consistency(), Consistency::Inconsistent);
    session.now = TIMEOUT + TIMEOUT / 2;
    session.input(Input::Timeout);
    assert_eq!(session.take(), "Consistent");
    session.all_done();
    // Device writes change nothing, another synchronisation does.
    session.request(write(18, 0, false));
    assert_eq!(session.take(), "write 0");
    session.request(write(1, 512, false));
    assert_eq!(session.take(), "Inconsistent");
}

#[test]
fn a_failed_copy_keeps_the_mark() {
    let mut session = Session::idle(SyncSource::Primary);
    session.input(Input::Start);
    session.request(write(1, 0, false));
    session.done(Ok(Bytes::new()));
    session.done(Ok(Bytes::new()));
    session.done(Err(Errno::EIO));
    session.now = TIMEOUT - Duration::from_secs(1);
    session.request(Request::Keepalive);
    session.now = TIMEOUT;
    session.take();
    session.input(Input::Timeout);
    assert_eq!(session.take(), "");
    assert_eq!(session.machine.consistency(), Consistency::Inconsistent);
}

#[test]
fn our_own_primary_says_when_the_mark_goes() {
    let mut session = Session::open();
    session.request(Request::Progress(Progress::Copying));
    session.request(write(2, 0, false));
    assert_eq!(session.take(), "Inconsistent");
    session.done(Ok(Bytes::new()));
    session.done(Ok(Bytes::new()));
    session.request(Request::Progress(Progress::Agreed));
    assert_eq!(session.take(), "write 0, done 2, Consistent");
    // Before it is stored, the next synchronisation begins: its mark comes after.
    session.request(Request::Progress(Progress::Copying));
    session.request(write(3, 0, false));
    assert_eq!(session.take(), "");
    session.done(Ok(Bytes::new()));
    assert_eq!(session.take(), "Inconsistent");
    session.done(Ok(Bytes::new()));
    assert_eq!(session.take(), "write 0");
}

#[test]
fn a_primary_that_has_said_nothing_may_have_more() {
    let mut session = Session::idle(SyncSource::Primary);
    session.input(Input::Start);
    assert_eq!(session.machine.heard(), None);
    // What nobody understands says nothing, nor does a flush.
    session.request(flush(1));
    session.all_done();
    session.take();
    session.request(sized_write(2, 1, false, 512, 512));
    assert_eq!(session.take(), "refused, failed 2 EINVAL false");
    assert_eq!(session.machine.heard(), None);

    let mut idle = session.machine.clone();
    idle.handle(Duration::ZERO, Input::Frame(frame(&Request::Keepalive)));
    assert_eq!(idle.heard(), Some(Consistency::Consistent));

    session.request(Request::Progress(Progress::Copying));
    assert_eq!(session.machine.heard(), Some(Consistency::Inconsistent));
    assert_eq!(session.machine.consistency(), Consistency::Consistent);
    session.all_done();
    assert_eq!(session.machine.consistency(), Consistency::Inconsistent);
}

#[test]
fn the_source_is_only_marked_when_it_is_told() {
    let mut session = Session::idle(SyncSource::Secondary);
    session.input(Input::Start);
    session.request(write(1, 0, false));
    assert_eq!(session.take(), "clear, write 0");
    // The primary has everything by now, and this node has missed something since.
    session.request(Request::Progress(Progress::Agreed));
    assert_eq!(session.take(), "");
    session.request(Request::Progress(Progress::Copying));
    assert_eq!(session.take(), "Inconsistent");
}

#[test]
fn what_is_in_flight_is_bounded() {
    let mut config = Config::new(
        small_layout(),
        SyncSource::Secondary,
        Consistency::Consistent,
    );
    config.max_requests = 3;
    config.max_octets = 1024;
    let mut session = Session::with(config);
    session.input(Input::Start);
    session.request(write(2, 0, false));
    assert!(!session.machine.is_full());
    session.request(write(3, 512, false));
    assert!(session.machine.is_full(), "octets");
    session.all_done();
    for sequence in 4..7 {
        session.request(flush(sequence));
    }
    assert!(session.machine.is_full(), "requests");
    // While nobody listens, nobody is silent.
    session.now = TIMEOUT;
    session.take();
    session.input(Input::Timeout);
    assert_eq!(session.take(), "");
    session.request(flush(8));
    session.all_done();
    assert_eq!(session.take(), "close, ended: more requests than allowed");
}
