//! A small NBD client, written from the specification alone.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) const EXPORT_NAME: u32 = 1;
pub(crate) const ABORT: u32 = 2;
pub(crate) const LIST: u32 = 3;
pub(crate) const STARTTLS: u32 = 5;
pub(crate) const INFO: u32 = 6;
pub(crate) const GO: u32 = 7;
pub(crate) const STRUCTURED_REPLY: u32 = 8;
pub(crate) const LIST_META_CONTEXT: u32 = 9;
pub(crate) const SET_META_CONTEXT: u32 = 10;
pub(crate) const EXTENDED_HEADERS: u32 = 11;

pub(crate) const ACK: u32 = 1;
pub(crate) const ERR_UNSUP: u32 = (1 << 31) + 1;
pub(crate) const ERR_INVALID: u32 = (1 << 31) + 3;
pub(crate) const ERR_UNKNOWN: u32 = (1 << 31) + 6;
pub(crate) const ERR_TOO_BIG: u32 = (1 << 31) + 9;

pub(crate) const READ: u16 = 0;
pub(crate) const WRITE: u16 = 1;
pub(crate) const DISC: u16 = 2;
pub(crate) const FLUSH: u16 = 3;
pub(crate) const TRIM: u16 = 4;
pub(crate) const CACHE: u16 = 5;
pub(crate) const WRITE_ZEROES: u16 = 6;
pub(crate) const BLOCK_STATUS: u16 = 7;

pub(crate) const FUA: u16 = 1;
pub(crate) const NO_HOLE: u16 = 2;
pub(crate) const DF: u16 = 4;
pub(crate) const REQ_ONE: u16 = 8;
pub(crate) const FAST_ZERO: u16 = 16;

/// The octets of an option.
pub(crate) fn option(code: u32, data: &[u8]) -> Vec<u8> {
    let mut octets = b"IHAVEOPT".to_vec();
    octets.put_u32(code);
    octets.put_u32(data.len() as u32);
    octets.put_slice(data);
    octets
}

/// A string with its length in front of it.
pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut octets = (text.len() as u32).to_be_bytes().to_vec();
    octets.put_slice(text.as_bytes());
    octets
}

/// The data of INFO and GO.
pub(crate) fn info(name: &str, wanted: &[u16]) -> Vec<u8> {
    let mut octets = string(name);
    octets.put_u16(wanted.len() as u16);
    wanted.iter().for_each(|kind| octets.put_u16(*kind));
    octets
}

/// The data of the options about metadata contexts.
pub(crate) fn contexts(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut octets = string(name);
    octets.put_u32(queries.len() as u32);
    queries
        .iter()
        .for_each(|query| octets.put_slice(&string(query)));
    octets
}

/// The octets of a request without data.
pub(crate) fn request(flags: u16, command: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut octets = 0x2560_9513_u32.to_be_bytes().to_vec();
    octets.put_u16(flags);
    octets.put_u16(command);
    octets.put_u64(cookie);
    octets.put_u64(offset);
    octets.put_u32(length);
    octets
}

/// The octets of a WRITE.
pub(crate) fn write(cookie: u64, offset: u64, data: &[u8]) -> Vec<u8> {
    let mut octets = request(0, WRITE, cookie, offset, data.len() as u32);
    octets.put_slice(data);
    octets
}

/// A simple reply, or a chunk of a structured one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Reply {
    Simple {
        error: u32,
        cookie: u64,
    },
    Chunk {
        done: bool,
        kind: u16,
        cookie: u64,
        payload: Vec<u8>,
    },
}

/// A connection to a server.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Receives the greeting and sends `flags`.
    pub(crate) async fn greet(mut stream: S, flags: u32) -> Self {
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"NBDMAGICIHAVEOPT\0\x03");
        stream.write_u32(flags).await.unwrap();
        Self { stream }
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    /// Sends an option and returns its answers, up to an acknowledgement or an error.
    pub(crate) async fn option(&mut self, code: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
        self.send(&option(code, data)).await;
        let mut answers = Vec::new();
        loop {
            assert_eq!(self.stream.read_u64().await.unwrap(), 0x3_e889_0455_65a9);
            assert_eq!(self.stream.read_u32().await.unwrap(), code);
            let kind = self.stream.read_u32().await.unwrap();
            let data = self.octets().await;
            answers.push((kind, data));
            if kind == ACK || kind >= 1 << 31 {
                return answers;
            }
        }
    }

    async fn octets(&mut self) -> Vec<u8> {
        let length = self.stream.read_u32().await.unwrap();
        self.exactly(length as usize).await
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.stream.read_exact(&mut data).await.unwrap();
        data
    }

    /// Chooses `name` with everything that there is. Panics if that is refused.
    pub(crate) async fn choose(stream: S, name: &str) -> Self {
        let mut client = Self::greet(stream, 3).await;
        let ack = vec![(ACK, Vec::new())];
        assert_eq!(client.option(STRUCTURED_REPLY, &[]).await, ack);
        let allocation = contexts(name, &["base:allocation"]);
        let selected = client.option(SET_META_CONTEXT, &allocation).await;
        assert_eq!(selected.last(), ack.last());
        let answers = client.option(GO, &info(name, &[])).await;
        assert_eq!(answers.last(), ack.last());
        client
    }

    /// Chooses `name` with nothing but simple replies.
    pub(crate) async fn choose_simple(stream: S, name: &str) -> Self {
        let mut client = Self::greet(stream, 3).await;
        client.send(&option(EXPORT_NAME, name.as_bytes())).await;
        client.exactly(10).await;
        client
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        match self.stream.read_u32().await.unwrap() {
            0x6744_6698 => Reply::Simple {
                error: self.stream.read_u32().await.unwrap(),
                cookie: self.stream.read_u64().await.unwrap(),
            },
            0x668e_33ef => Reply::Chunk {
                done: self.stream.read_u16().await.unwrap() == 1,
                kind: self.stream.read_u16().await.unwrap(),
                cookie: self.stream.read_u64().await.unwrap(),
                payload: self.octets().await,
            },
            magic => panic!("a reply that begins with {magic:#x}"),
        }
    }

    /// The error of a request's reply, 0 if it is done.
    pub(crate) async fn outcome(&mut self, cookie: u64) -> u32 {
        match self.reply().await {
            Reply::Simple { error, cookie: of } => {
                assert_eq!(of, cookie);
                error
            }
            Reply::Chunk {
                done: true,
                kind: 0x8001,
                cookie: of,
                payload,
            } => {
                assert_eq!(of, cookie);
                (&payload[..]).get_u32()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Writes; the error, 0 if it is done.
    pub(crate) async fn write(&mut self, offset: u64, data: &[u8]) -> u32 {
        self.send(&write(7, offset, data)).await;
        self.outcome(7).await
    }

    /// Reads by structured replies, however many chunks there are.
    pub(crate) async fn read(
        &mut self,
        flags: u16,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, u32> {
        self.send(&request(flags, READ, 8, offset, length)).await;
        let mut data = BytesMut::zeroed(length as usize);
        let mut covered = 0;
        loop {
            let Reply::Chunk {
                done,
                kind,
                cookie: 8,
                payload,
            } = self.reply().await
            else {
                panic!("no chunk");
            };
            let mut payload = &payload[..];
            match kind {
                0 => {}
                1 => {
                    let at = (payload.get_u64() - offset) as usize;
                    data[at..at + payload.len()].copy_from_slice(payload);
                    covered += payload.len();
                }
                2 => {
                    payload.get_u64();
                    covered += payload.get_u32() as usize;
                }
                0x8001 => return Err(payload.get_u32()),
                kind => panic!("chunk of type {kind}"),
            }
            if done {
                assert_eq!(covered, length as usize);
                return Ok(data.to_vec());
            }
        }
    }

    /// The extents that BLOCK_STATUS tells of.
    pub(crate) async fn status(
        &mut self,
        flags: u16,
        offset: u64,
        length: u32,
    ) -> Result<Vec<(u32, u32)>, u32> {
        self.send(&request(flags, BLOCK_STATUS, 9, offset, length))
            .await;
        match self.reply().await {
            Reply::Chunk {
                done: true,
                kind: 5,
                cookie: 9,
                payload,
            } => {
                assert_eq!(payload[..4], [0, 0, 0, 1]);
                let extents = payload[4..].chunks_exact(8);
                Ok(extents
                    .map(|mut extent| (extent.get_u32(), extent.get_u32()))
                    .collect())
            }
            Reply::Chunk {
                kind: 0x8001,
                payload,
                ..
            } => Err((&payload[..]).get_u32()),
            other => panic!("{other:?}"),
        }
    }

    /// Whether the server closes the connection without another word.
    pub(crate) async fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]).await, Ok(0) | Err(_))
    }
}
