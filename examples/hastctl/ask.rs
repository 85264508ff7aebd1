//! One question to hastd, and its answer. Whatever hastd this is: FreeBSD's speaks the same.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::BytesMut;
use hast_proto::ResourceName;
use hast_proto::Role;
use hast_proto::conf::{Config, DEFAULT_PORT, Endpoint};
use hast_proto::control::{
    ControlAnswer, ControlError, ControlRequest, DiscardAnswer, DiscardOrder, Resources,
    RoleAnswer, StatusAnswer,
};
use hast_proto::frame::{Decoder, Encoder, Frame, Phase};

use super::failure::{Failure, Status};

/// How long hastd may be silent. The original's waits for as long as a worker takes to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has the role of resources changed; the answer tells the roles before.
pub(crate) fn role(config: &Config, role: Role, names: &[String]) -> Result<RoleAnswer, Failure> {
    let request = ControlRequest::SetRole(role, resources(names)?);
    answer(ControlAnswer::<Role>::decode(&ask(config, &request)?))
}

/// Asks how resources are.
pub(crate) fn status(config: &Config, names: &[String]) -> Result<StatusAnswer, Failure> {
    let request = ControlRequest::Status(resources(names)?);
    answer(StatusAnswer::decode(&ask(config, &request)?))
}

/// Has what a node has changed alone saved to a file, and discarded.
pub(crate) fn discard(
    config: &Config,
    name: &str,
    file: &Path,
    node: &str,
    force: bool,
) -> Result<DiscardAnswer, Failure> {
    let usage = |error: &dyn core::fmt::Display| Failure::new(Status::Usage, error);
    let resource = ResourceName::new(name).map_err(|error| usage(&error))?;
    // hastd has another working folder.
    let file = std::path::absolute(file).map_err(|error| usage(&error))?;
    let file = file
        .to_str()
        .ok_or_else(|| usage(&"the path is not UTF-8"))?;
    let order = DiscardOrder {
        resource,
        file: file.into(),
        node: node.into(),
        force,
    };
    // However long the saving takes.
    let answered = ask_for(config, &ControlRequest::Discard(order), None);
    answer(DiscardAnswer::decode(&answered?))
}

/// The resources that names stand for. Like the original, hastctl lets hastd find out which of
/// them it knows.
fn resources(names: &[String]) -> Result<Resources, Failure> {
    match names {
        [] => Ok(Resources::All),
        [first, ..] if first == "all" => Ok(Resources::All),
        names => {
            let names = names.iter().map(|name| ResourceName::new(name));
            let names = names.collect::<Result<_, _>>();
            names
                .map(Resources::Named)
                .map_err(|error| Failure::new(Status::Usage, error))
        }
    }
}

fn answer<T>(answer: Result<T, ControlError>) -> Result<T, Failure> {
    answer
        .map_err(|error| Failure::new(Status::Unavailable, format!("the answer of hastd: {error}")))
}

fn ask(config: &Config, request: &ControlRequest) -> Result<Frame, Failure> {
    ask_for(config, request, Some(PATIENCE))
}

/// Asks, and waits so long for an answer.
fn ask_for(
    config: &Config,
    request: &ControlRequest,
    patience: Option<Duration>,
) -> Result<Frame, Failure> {
    let address = config.control();
    let cannot_connect = |error: &dyn core::fmt::Display| {
        Failure::new(
            Status::System,
            format!("cannot connect to hastd at {address}: {error}"),
        )
    };
    let endpoint = Endpoint::parse(address).map_err(|error| cannot_connect(&error))?;
    match endpoint {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).map_err(|error| cannot_connect(&error))?;
            let limited = stream
                .set_read_timeout(patience)
                .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
            limited.map_err(|error| cannot_connect(&error))?;
            converse(stream, request)
        }
        Endpoint::Tcp { host, port, .. } => {
            let port = port.unwrap_or(DEFAULT_PORT);
            let stream =
                TcpStream::connect((host, port)).map_err(|error| cannot_connect(&error))?;
            let limited = stream
                .set_read_timeout(patience)
                .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
            limited.map_err(|error| cannot_connect(&error))?;
            converse(stream, request)
        }
        _ => Err(cannot_connect(&"it is not an address for that")),
    }
}

fn converse(mut stream: impl Read + Write, request: &ControlRequest) -> Result<Frame, Failure> {
    let failed = |error: &dyn core::fmt::Display| {
        Failure::new(
            Status::Unavailable,
            format!("no answer from hastd: {error}"),
        )
    };
    let request = request.encode(&mut Encoder::new()).concat();
    stream.write_all(&request).map_err(|error| failed(&error))?;
    let mut decoder = Decoder::new(Phase::Control);
    let mut buffer = BytesMut::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(frame) = decoder
            .decode(&mut buffer)
            .map_err(|error| failed(&error))?
        {
            return Ok(frame);
        }
        let count = match stream.read(&mut chunk) {
            Ok(0) => return Err(failed(&"it closes the connection")),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(failed(&format!("nothing for {} s", PATIENCE.as_secs())));
            }
            Err(error) => return Err(failed(&error)),
        };
        buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use hast_proto::control::ControlFault;

    use super::*;

    /// Plays a hastd that says this, an octet at a time.
    struct Hastd {
        heard: Vec<u8>,
        says: VecDeque<u8>,
    }

    impl Read for Hastd {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let Some(octet) = self.says.pop_front() else {
                return Ok(0);
            };
            into[0] = octet;
            Ok(1)
        }
    }

    impl Write for Hastd {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.heard.extend(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn converse_with(says: &[u8]) -> Result<Frame, Failure> {
        let request = ControlRequest::Status(Resources::All);
        let hastd = Hastd {
            heard: Vec::new(),
            says: says.iter().copied().collect(),
        };
        converse(hastd, &request)
    }

    #[test]
    fn an_answer_is_read_however_it_is_sliced() {
        let refused = StatusAnswer::refused(ControlFault::Invalid);
        let says = refused.encode(&mut Encoder::new()).concat();
        let frame = converse_with(&says).unwrap();
        assert_eq!(StatusAnswer::decode(&frame), Ok(refused));
    }

    #[test]
    fn no_answer_is_a_failure_of_its_own() {
        let status = |says: &[u8]| converse_with(says).unwrap_err().status;
        assert_eq!(status(b""), 69);
        assert_eq!(status(b"\x02\x16\0\0"), 69);
        assert_eq!(status(b"\x09\x16\0\0\0"), 69);
        // More than any answer has: refused before memory is taken for it.
        assert_eq!(status(b"\x02\xff\xff\xff\xff"), 69);
    }

    #[test]
    fn only_a_first_name_all_means_all() {
        let names = |names: &[&str]| {
            resources(
                &names
                    .iter()
                    .map(|&name| name.to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(names(&[]), Ok(Resources::All));
        assert_eq!(names(&["all", "x"]), Ok(Resources::All));
        assert!(matches!(names(&["x", "all"]), Ok(Resources::Named(two)) if two.len() == 2));
        assert_eq!(names(&[""]).unwrap_err().status, 64);
    }
}
