//! A UNIX socket at a path, on which this program alone answers.

use core::time::Duration;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// How long it may take to find out whether somebody answers on a socket.
const PROBE: Duration = Duration::from_secs(1);
/// How many clients wait to be accepted.
const BACKLOG: i32 = 128;

/// Opens a socket to which those may connect whom the mode of its file allows to write. A file that
/// is there is replaced only if it is a socket on which nobody answers.
pub(crate) async fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let in_use = match listen(path, mode) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
        other => return other,
    };
    // Somebody who is too busy to answer is somebody.
    match timeout(PROBE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        _ => return Err(in_use),
    }
    // A regular file refuses connections, too.
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(in_use);
    }
    fs::remove_file(path)?;
    listen(path, mode)
}

/// Makes a socket that nobody else can use from its first moment: Linux gives the file the mode
/// that the socket has before, less what the mask of the program takes away.
fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Elsewhere a socket has no mode, and nobody can connect before the call of `listen`.
    #[cfg(target_os = "linux")]
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(mode))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    rustix::net::listen(&socket, BACKLOG)?;
    UnixListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODE: u32 = 0o600;

    #[tokio::test]
    async fn a_socket_that_is_full_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        // Nobody accepts, so that the queue fills up.
        let _busy = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        while let Ok(Ok(client)) = timeout(PROBE / 5, UnixStream::connect(&path)).await {
            waiting.push(client);
            assert!(waiting.len() < 10_000);
        }
        let error = timeout(2 * PROBE, bind(&path, MODE))
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn only_a_socket_that_nobody_answers_on_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        // Somebody's file.
        fs::write(&path, "precious").unwrap();
        let refused = bind(&path, MODE).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        // Left over.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = bind(&path, MODE).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        // In use.
        let refused = bind(&path, MODE).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).await.unwrap();
        drop(listener);
    }
}
