//! Figures for the recorder that the program has installed, as listed in
//! [`io::hast`](super::super). Feature `metrics`.

use core::time::Duration;
use std::string::{String, ToString};

use hast_proto::ResourceName;
use hast_proto::control::Connection;
use hast_proto::primary::DeviceRequest;
use metrics::{Histogram, counter, gauge, histogram};
use tokio::time::Instant;

use super::super::resource::{Side, Status};

/// How often figures are told.
const PERIOD: Duration = Duration::from_secs(1);

/// What tells the figures of one resource.
pub(super) struct Meter {
    resource: String,
    due: Option<Instant>,
    read: Histogram,
    write: Histogram,
    delete: Histogram,
    flush: Histogram,
}

/// When a request began, and where its time is noted.
pub(super) struct Timer {
    begun: Instant,
    histogram: Histogram,
}

impl Timer {
    pub(super) fn ended(self, now: Instant) {
        let took = now.saturating_duration_since(self.begun);
        self.histogram.record(took.as_secs_f64());
    }
}

impl Meter {
    pub(super) fn new(name: &ResourceName) -> Self {
        let resource = name.as_str().to_string();
        let of = |request: &'static str| histogram!("hast_request_seconds", "resource" => resource.clone(), "request" => request);
        Self {
            due: None,
            read: of("read"),
            write: of("write"),
            delete: of("delete"),
            flush: of("flush"),
            resource,
        }
    }

    pub(super) fn timer(&self, now: Instant, request: &DeviceRequest) -> Timer {
        let histogram = match request {
            DeviceRequest::Read { .. } => &self.read,
            DeviceRequest::Write { .. } => &self.write,
            DeviceRequest::Delete { .. } => &self.delete,
            DeviceRequest::Flush => &self.flush,
        };
        Timer {
            begun: now,
            histogram: histogram.clone(),
        }
    }

    /// When figures are due.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Whether figures are due; if so, not again for a while.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_none_or(|due| due <= now);
        if due {
            self.due = Some(now + PERIOD);
        }
        due
    }

    pub(super) fn tell(&self, status: &Status) {
        let split = status.control.split_brain;
        self.gauge("hast_split_brain", f64::from(u8::from(split.is_some())));
        let remote = split.and_then(|split| split.remote);
        for (node, differing) in [
            ("local", split.map(|split| split.local)),
            ("remote", remote),
        ] {
            let octets = differing.map_or(0, |differing| differing.octets);
            gauge!("hast_split_brain_bytes", "resource" => self.resource.clone(), "node" => node)
                .set(float(octets));
        }
        let Some(worker) = &status.control.worker else {
            return self.gauge("hast_connected", 0.0);
        };
        let is = |yes: bool| f64::from(u8::from(yes));
        let done = worker.statistics;
        for (request, count, errors) in [
            ("read", done.reads, done.read_errors),
            ("write", done.writes, done.write_errors),
            ("delete", done.deletes, done.delete_errors),
            ("flush", done.flushes, done.flush_errors),
        ] {
            let resource = || self.resource.clone();
            counter!("hast_requests_total", "resource" => resource(), "request" => request)
                .absolute(count);
            counter!("hast_local_errors_total", "resource" => resource(), "request" => request)
                .absolute(errors);
        }
        self.gauge(
            "hast_connected",
            is(worker.connection == Connection::Complete),
        );
        self.gauge("hast_dirty_bytes", float(worker.dirty));
        let queues = worker.queues;
        for (queue, depth) in [
            ("local", queues.local),
            ("send", queues.send),
            ("receive", queues.receive),
        ] {
            gauge!("hast_queue_depth", "resource" => self.resource.clone(), "queue" => queue)
                .set(float(depth));
        }
        if let Side::Primary(primary) = &status.side {
            self.count("hast_map_writes_total", primary.stats.map_writes);
            self.count("hast_copied_bytes_total", primary.stats.copied);
            self.gauge("hast_in_sync", is(primary.in_sync));
            self.gauge("hast_to_copy_bytes", float(primary.to_copy));
            let left = primary.copying.and_then(|copying| copying.estimate);
            self.gauge(
                "hast_copy_left_seconds",
                left.unwrap_or_default().as_secs_f64(),
            );
        }
    }

    fn gauge(&self, name: &'static str, value: f64) {
        gauge!(name, "resource" => self.resource.clone()).set(value);
    }

    fn count(&self, name: &'static str, value: u64) {
        counter!(name, "resource" => self.resource.clone()).absolute(value);
    }
}

/// Above 2^53, to the next number that there is.
#[expect(clippy::cast_precision_loss, reason = "figures are for looking at")]
const fn float(value: u64) -> f64 {
    value as f64
}
