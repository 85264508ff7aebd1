//! The control socket: a client connects, asks one question, gets one answer, and that is all
//! (HAST §9.5). A client that says nothing holds up nobody but itself.

use core::time::Duration;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use hast_proto::conf::Endpoint;
use hast_proto::control::{ControlRequest, StatusAnswer};
use hast_proto::frame::{Decoder, Encoder, Frame, Phase, Segments};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::debug;

use super::{clients, socket};

/// User and group may connect.
const MODE: u32 = 0o660;
/// How many clients are served at a time; others wait.
const CLIENTS: usize = 32;
/// How long a client may take to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket. Its file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Control {
    /// Opens the socket, at which `answer` is asked.
    ///
    /// The original also takes orders by TCP, from anybody. Here an address of that kind is
    /// refused: nothing would protect it.
    pub(crate) async fn open<Answering>(
        address: &str,
        answer: impl Fn(ControlRequest) -> Answering + Send + Sync + 'static,
    ) -> io::Result<Self>
    where
        Answering: Future<Output = Segments> + Send + 'static,
    {
        let path = path(address)?;
        let listener = socket::bind(&path, MODE).await?;
        let answer = Arc::new(answer);
        let task = tokio::spawn(clients::serve(
            listener,
            CLIENTS,
            "control socket",
            move |client| {
                let answer = answer.clone();
                async move { converse(client, &*answer).await }
            },
        ));
        Ok(Self { path, task })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.path);
    }
}

fn path(address: &str) -> io::Result<PathBuf> {
    let refused = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    match Endpoint::parse(address) {
        Ok(Endpoint::Unix(path)) => Ok(Path::new(path).to_owned()),
        Ok(_) => Err(refused("only UNIX sockets take orders".to_owned())),
        Err(error) => Err(refused(error.to_string())),
    }
}

async fn converse<Answering>(
    mut client: UnixStream,
    answer: &impl Fn(ControlRequest) -> Answering,
) -> io::Result<()>
where
    Answering: Future<Output = Segments>,
{
    let frame = timeout(PATIENCE, hear(&mut client)).await??;
    let answer = match ControlRequest::decode(&frame) {
        // Once begun it is done, whether the client waits for it or not.
        Ok(request) => answer(request).await,
        Err(error) => {
            debug!(%error, "control socket: a request is refused");
            match error.fault() {
                Some(fault) => StatusAnswer::refused(fault).encode(&mut Encoder::new()),
                None => return Ok(()),
            }
        }
    };
    timeout(PATIENCE, async {
        client.write_all(&answer.concat()).await?;
        client.shutdown().await
    })
    .await?
}

async fn hear(client: &mut UnixStream) -> io::Result<Frame> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut decoder = Decoder::new(Phase::Control);
    let mut buffer = BytesMut::new();
    loop {
        if let Some(frame) = decoder.decode(&mut buffer).map_err(invalid)? {
            return Ok(frame);
        }
        if client.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use hast_proto::control::{ControlFault, Resources, RoleAnswer};
    use hast_proto::{ResourceName, Role};
    use tempfile::TempDir;
    use tokio::time::Instant;

    use super::*;

    /// A socket that answers each order with one resource of that role.
    async fn open(folder: &TempDir) -> (Control, PathBuf) {
        let path = folder.path().join("control");
        let address = format!("uds://{}", path.display());
        let answer = async |request| {
            let ControlRequest::SetRole(role, Resources::Named(names)) = request else {
                return StatusAnswer::refused(ControlFault::Other(77)).encode(&mut Encoder::new());
            };
            let resources = names.into_iter().map(|name| (name, Ok(role))).collect();
            let fault = None;
            RoleAnswer { resources, fault }.encode(&mut Encoder::new())
        };
        (Control::open(&address, answer).await.unwrap(), path)
    }

    async fn ask(path: &Path, octets: &[u8]) -> io::Result<Frame> {
        let mut client = UnixStream::connect(path).await.unwrap();
        client.write_all(octets).await.unwrap();
        hear(&mut client).await
    }

    fn role(role: Role) -> Vec<u8> {
        let names = vec![ResourceName::new("shared").unwrap()];
        let request = ControlRequest::SetRole(role, Resources::Named(names));
        request.encode(&mut Encoder::new()).concat().to_vec()
    }

    #[tokio::test]
    async fn a_question_is_answered_and_the_file_goes_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (control, path) = open(&folder).await;
        let frame = ask(&path, &role(Role::Primary)).await.unwrap();
        let answer = RoleAnswer::decode(&frame).unwrap();
        assert_eq!(answer.resources[0].1, Ok(Role::Primary));
        drop(control);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn nonsense_is_answered_as_the_original_does() {
        let folder = tempfile::tempdir().unwrap();
        let (_control, path) = open(&folder).await;
        let fault = |frame: io::Result<Frame>| StatusAnswer::decode(&frame.unwrap()).unwrap().fault;
        // Command 2 without a resource; command 9.
        let without = b"\x02\x16\0\0\0\x02\x04\x01\0\0\0cmd\0\0\0\0\0\x02\0\0\0\0\0\0\0";
        assert_eq!(
            fault(ask(&path, without).await),
            Some(ControlFault::Invalid)
        );
        // No command at all, no frame, and half of one: no answer.
        let mut zero = without.to_vec();
        zero[19] = 0;
        for octets in [&zero[..], b"\x09garbage", b"\x02\xff\xff\xff\xff"] {
            let silence = ask(&path, octets).await.unwrap_err();
            assert!(
                matches!(
                    silence.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ),
                "{silence}"
            );
        }
    }

    #[tokio::test]
    async fn clients_that_say_nothing_do_not_keep_others_out_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let (_control, path) = open(&folder).await;
        let mut idle = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = UnixStream::connect(&path).await.unwrap();
            client.write_all(b"\x02").await.unwrap();
            idle.push(client);
        }
        let began = Instant::now();
        ask(&path, &role(Role::Init)).await.unwrap();
        assert!(began.elapsed() < 2 * PATIENCE);
    }

    #[tokio::test]
    async fn nobody_is_listened_to_by_tcp() {
        for address in ["tcp://127.0.0.1:1", "localhost", "uds://"] {
            let refused = Control::open(address, async |_| unreachable!()).await;
            assert_eq!(
                refused.unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{address}"
            );
        }
    }
}
