//! Messages on their way to octets.

use hast_proto::Sealer;
use hast_proto::Version;
use hast_proto::frame::{Encoder, Segments};
use hast_proto::message::{Reply, Request};

use super::super::settings::Settings;

/// Compresses, checksums and writes what is sent.
pub(super) struct Outbox {
    sealer: Sealer,
    encoder: Encoder,
}

impl Outbox {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            sealer: Sealer::new(settings.compression, settings.checksum),
            encoder: Encoder::new(),
        }
    }

    pub(super) fn configure(&mut self, settings: &Settings) {
        self.sealer = Sealer::new(settings.compression, settings.checksum);
    }

    pub(super) fn request(&mut self, request: Request, version: Version) -> Segments {
        let sealed = request.sealed(&mut self.sealer);
        sealed.encode(version, &mut self.encoder)
    }

    pub(super) fn reply(&mut self, reply: Reply, version: Version) -> Segments {
        let sealed = reply.sealed(&mut self.sealer);
        sealed.encode(version, &mut self.encoder)
    }
}
