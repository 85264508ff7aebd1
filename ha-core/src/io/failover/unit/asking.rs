//! The arbiter of a unit, if it has one. Without the feature `arbiter` it has none.

#[cfg(feature = "arbiter")]
pub(super) use self::asked::Asking;
#[cfg(not(feature = "arbiter"))]
pub(super) use self::nobody::Asking;

#[cfg(feature = "arbiter")]
mod asked {
    use core::future::pending;
    use std::sync::Arc;

    use super::super::event::UnitEventKind;
    use crate::failover::{Input, Request};
    use crate::io::arbiter::{Arbiter, Asker, Reply};

    #[derive(Debug)]
    pub(in super::super) struct Asking {
        asker: Option<Asker>,
        /// Whether it was told that there is no answer.
        is_silent: bool,
    }

    impl Asking {
        pub(in super::super) fn nobody() -> Self {
            Self {
                asker: None,
                is_silent: false,
            }
        }

        pub(in super::super) fn spawn(arbiter: impl Arbiter + 'static) -> Self {
            Self {
                asker: Some(Asker::spawn(arbiter)),
                is_silent: false,
            }
        }

        pub(in super::super) fn is_anybody(&self) -> bool {
            self.asker.is_some()
        }

        pub(in super::super) fn ask(&self, request: Request) {
            if let Some(asker) = &self.asker {
                asker.ask(request);
            }
        }

        /// Waits for an answer, and for what is to be told about it.
        pub(in super::super) async fn next(&mut self) -> (Input, Option<UnitEventKind>) {
            let Some(asker) = &mut self.asker else {
                return pending().await;
            };
            let Some(reply) = asker.next().await else {
                // It panicked. The machine finds it silent, and does what was chosen for that.
                return pending().await;
            };
            let input = reply.input();
            let was_silent = core::mem::replace(&mut self.is_silent, reply.result.is_err());
            let Reply { result, .. } = reply;
            let error = result.err().filter(|_| !was_silent).map(Arc::new);
            (input, error.map(|error| UnitEventKind::NoAnswer { error }))
        }
    }
}

#[cfg(not(feature = "arbiter"))]
mod nobody {
    use core::future::pending;

    use super::super::event::UnitEventKind;
    use crate::failover::{Input, Request};

    #[derive(Debug)]
    pub(in super::super) struct Asking;

    impl Asking {
        pub(in super::super) fn nobody() -> Self {
            Self
        }

        pub(in super::super) fn is_anybody(&self) -> bool {
            false
        }

        pub(in super::super) fn ask(&self, _: Request) {}

        pub(in super::super) async fn next(&mut self) -> (Input, Option<UnitEventKind>) {
            pending().await
        }
    }
}
