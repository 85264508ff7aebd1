//! Where clients connect to.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
#[cfg(unix)]
use std::path::Path;

#[cfg(unix)]
use socket2::{Domain, SockAddr, Socket, Type};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

/// How long a TCP client says nothing before it is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Whoever can connect to a device can read and write all of it.
#[cfg(unix)]
const MODE: u32 = 0o600;
/// How many clients wait to be accepted.
#[cfg(unix)]
const BACKLOG: i32 = 128;

/// A socket that clients connect to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Listener {
    /// Of TCP.
    Tcp(TcpListener),
    /// Of this machine.
    #[cfg(unix)]
    Unix(UnixListener),
}

/// A client that has connected.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Makes a socket that nobody else can use from its first moment: nobody can connect before it
/// listens, which it does with its mode already.
#[cfg(unix)]
fn listen(path: &Path) -> io::Result<UnixListener> {
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::PermissionsExt;

    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(OwnedFd::from(socket).into())
}

impl Listener {
    /// Listens to a TCP address.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    pub async fn tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::Tcp(TcpListener::bind(address).await?))
    }

    /// Listens to a UNIX socket at `path`. One that a server has left behind there is replaced.
    /// Its mode is 0600 whatever the umask is: only this user may connect, and nobody has connected
    /// before. Whoever lets others connect makes [`Listener::Unix`] of a socket of his own.
    ///
    /// # Errors
    ///
    /// What the socket reports; [`io::ErrorKind::AddrInUse`] if another server listens there, or
    /// if there is something else.
    #[cfg(unix)]
    pub async fn unix(path: impl AsRef<Path>) -> io::Result<Self> {
        use std::os::unix::fs::FileTypeExt;

        let path = path.as_ref();
        let is_socket = |path: &Path| {
            path.symlink_metadata()
                .is_ok_and(|metadata| metadata.file_type().is_socket())
        };
        if is_socket(path) {
            if let Err(error) = UnixStream::connect(path).await {
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    std::fs::remove_file(path)?;
                }
            }
        }
        listen(path).map(Self::Unix)
    }

    /// Returns the address that TCP clients connect to.
    ///
    /// # Errors
    ///
    /// What the socket reports; [`io::ErrorKind::Unsupported`] for a UNIX socket.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            #[cfg(unix)]
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Waits for a client.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // If one fails, the client is gone already, which its connection will find out.
                let _ = stream.set_nodelay(true);
                let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
                let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                Ok(Stream::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}
