//! An NBD client of few words: one request at a time, and every answer is waited for; or writes
//! that are not waited for at once.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

const OPTION: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
const GO: u32 = 7;
const ACK: u32 = 1;
const INFO: u32 = 3;

/// How long an answer may take. A node that loses its peer may wait for it first.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
enum Command {
    Read = 0,
    Write = 1,
    Flush = 3,
    Trim = 4,
}

/// A connection to an export.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    size: u64,
    cookie: u64,
}

impl Client {
    pub(crate) fn connect(socket: &Path, export: &str) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let greeting: [u8; 18] = read(&mut stream)?;
        check(greeting.starts_with(b"NBDMAGICIHAVEOPT"), "a greeting")?;
        // Fixed newstyle, no zeroes.
        stream.write_all(&3_u32.to_be_bytes())?;

        let name = export.as_bytes();
        let mut go = Vec::new();
        go.extend(OPTION.to_be_bytes());
        go.extend(GO.to_be_bytes());
        go.extend((name.len() as u32 + 6).to_be_bytes());
        go.extend((name.len() as u32).to_be_bytes());
        go.extend(name);
        go.extend([0, 0]);
        stream.write_all(&go)?;
        let mut size = None;
        loop {
            check(
                u64::from_be_bytes(read(&mut stream)?) == OPTION_REPLY,
                "a reply",
            )?;
            let _option: [u8; 4] = read(&mut stream)?;
            let kind = u32::from_be_bytes(read(&mut stream)?);
            let mut data = vec![0; u32::from_be_bytes(read(&mut stream)?) as usize];
            stream.read_exact(&mut data)?;
            match kind {
                ACK => break,
                INFO if data.starts_with(&[0, 0]) => {
                    size = data[2..10].try_into().ok().map(u64::from_be_bytes);
                }
                INFO => {}
                error => return Err(io::Error::other(format!("refused: {error:#x}"))),
            }
        }
        let size = size.ok_or_else(|| io::Error::other("no size"))?;
        Ok(Self {
            stream,
            size,
            cookie: 0,
        })
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn read(&mut self, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        self.ask(Command::Read, offset, length, &[])
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.ask(Command::Write, offset, data.len() as u32, data)?;
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.ask(Command::Flush, 0, 0, &[])?;
        Ok(())
    }

    pub(crate) fn trim(&mut self, offset: u64, length: u32) -> io::Result<()> {
        self.ask(Command::Trim, offset, length, &[])?;
        Ok(())
    }

    /// Begins to write. The answers come by [`answer`](Self::answer).
    pub(crate) fn begin_write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.send(Command::Write, offset, data.len() as u32, data)
    }

    /// Waits for the next answer to a write that was begun.
    pub(crate) fn answer(&mut self) -> io::Result<()> {
        self.receive()?;
        Ok(())
    }

    fn ask(
        &mut self,
        command: Command,
        offset: u64,
        length: u32,
        data: &[u8],
    ) -> io::Result<Vec<u8>> {
        self.send(command, offset, length, data)?;
        check(self.receive()? == self.cookie, "this answer")?;
        let mut data = match command {
            Command::Read => vec![0; length as usize],
            _ => Vec::new(),
        };
        self.stream.read_exact(&mut data)?;
        Ok(data)
    }

    fn send(&mut self, command: Command, offset: u64, length: u32, data: &[u8]) -> io::Result<()> {
        self.cookie += 1;
        let mut request = Vec::with_capacity(28 + data.len());
        request.extend(REQUEST.to_be_bytes());
        request.extend([0, 0]);
        request.extend((command as u16).to_be_bytes());
        request.extend(self.cookie.to_be_bytes());
        request.extend(offset.to_be_bytes());
        request.extend(length.to_be_bytes());
        request.extend(data);
        self.stream.write_all(&request)
    }

    /// Returns the cookie of the next answer.
    fn receive(&mut self) -> io::Result<u64> {
        check(
            u32::from_be_bytes(read(&mut self.stream)?) == REPLY,
            "an answer",
        )?;
        let error = u32::from_be_bytes(read(&mut self.stream)?);
        let cookie = u64::from_be_bytes(read(&mut self.stream)?);
        match error {
            0 => Ok(cookie),
            error => Err(io::Error::other(format!("error {error}"))),
        }
    }
}

fn read<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    stream.read_exact(&mut octets)?;
    Ok(octets)
}

fn check(is_right: bool, what: &str) -> io::Result<()> {
    match is_right {
        true => Ok(()),
        false => Err(io::Error::other(format!("not {what}"))),
    }
}
