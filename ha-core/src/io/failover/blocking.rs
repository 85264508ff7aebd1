//! System calls that may take long, each in a thread of its own.
//!
//! Nothing can stop a thread that waits for a dead disk. The runtime's own threads for such work
//! are waited for when it ends, which would then never be; these are not.

use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::string::ToString;
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

/// Does `work`, which goes on when the future is dropped.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (reply, answer) = oneshot::channel();
    thread::Builder::new()
        .name("ha-blocking".to_string())
        .spawn(move || {
            // Whoever asked may be gone.
            let _ = reply.send(work());
        })?;
    answer
        .await
        .map_err(|_| io::Error::other("the thread that did it panicked"))
}

/// Does the same thing again and again, but not before it has ended the last time.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeated {
    is_busy: Arc<AtomicBool>,
}

impl Repeated {
    /// As [`blocking`].
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ResourceBusy`] while the last one has not ended, besides those of threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        if self.is_busy.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        // Dropped with the work, wherever that ends.
        let busy = Busy(self.is_busy.clone());
        blocking(move || {
            let result = work();
            drop(busy);
            result
        })
        .await
    }
}

struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
