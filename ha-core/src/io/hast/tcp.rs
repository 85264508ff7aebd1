//! TCP sockets, as HAST wants them: small messages go out at once, and a peer that has vanished
//! is noticed.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens on an address; on one of IPv6, for IPv6 alone, so that IPv4 can have its own.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connects, from an address if that is given.
pub(super) async fn connect(
    to: SocketAddr,
    from: Option<SocketAddr>,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(from) = from {
        // Both connections come from the same port, if one is given.
        socket.set_reuseaddr(true)?;
        socket.bind(from)?;
    }
    let stream = socket.connect(to).await?;
    prepare(&stream, timeout)?;
    Ok(stream)
}

/// Sets what either side sets.
pub(super) fn prepare(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // The machines notice a silent peer themselves; this is for a connection whose machine has
    // forgotten it, and for systems that keep a dead one for hours.
    let quarter = (timeout / 4).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new()
        .with_time(quarter)
        .with_interval(quarter);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(timeout))?;
    Ok(())
}
