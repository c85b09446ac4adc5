//! The header of a load balancer, before anything else of a connection.

use std::io;
use std::vec::Vec;

use ::tokio::io::{AsyncRead, AsyncReadExt};

use crate::handshake::ProxyHeader;

/// Reads the header of the PROXY protocol with which a load balancer begins a connection, and not a byte more. So a TLS
/// handshake or a request may follow. [`Server::proxy_protocol`](super::Server::proxy_protocol) does it for servers
/// without TLS.
///
/// ```no_run
/// # async fn accept(
/// #     listener: tokio::net::TcpListener,
/// #     server: bowline::tokio::Server,
/// # ) -> std::io::Result<()> {
/// let (mut socket, address) = listener.accept().await?;
/// let header = bowline::tokio::read_proxy_header(&mut socket).await?;
/// let peer = header.source().unwrap_or(address);
/// let stream = std::future::ready(Ok(socket)); // or `tls.accept(socket)`
/// server.serve_from(peer, stream, |mut ws, _request| async move { ws.send("Hello").await }).await;
/// # Ok(())
/// # }
/// ```
///
/// It has no time limit of its own. Not cancel safe: the bytes that were read are gone.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] with a [`ProxyHeaderError`](crate::handshake::ProxyHeaderError), and
/// [`io::ErrorKind::UnexpectedEof`]. Drop the connection then.
pub async fn read_proxy_header<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<ProxyHeader> {
    let mut bytes = Vec::new();
    loop {
        let decoded = ProxyHeader::decode(&bytes);
        if let Some((header, _)) =
            decoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
        {
            return Ok(header);
        }
        let start = bytes.len();
        bytes.resize(start + ProxyHeader::missing(&bytes), 0);
        stream.read_exact(&mut bytes[start..]).await?;
    }
}
