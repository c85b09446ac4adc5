//! What a [`Driver`](super::Driver) tells its event loop.

use crate::handshake::{ConnectError, Request, RequestError, Response};
use crate::memory::send_buf::SendBuf;
use crate::protocol::connection::Connection;
use crate::protocol::error::End;
use crate::protocol::message::MessageRef;

/// What happened at one end of a WebSocket: see [`Driver::poll`](super::Driver::poll).
///
/// A server gives `Request`, then messages, `Ended`, `Shutdown` and `Done`; or `Refused`, `Shutdown` and `Done`. A
/// client gives `Opened` first, or `ConnectFailed` and `Done`. If the peer is gone, or time is up, `Shutdown` may
/// be left out.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriverEvent<'a> {
    /// Server: a request came (RFC 6455 §4.2.1). Answer it with [`Driver::accept`](super::Driver::accept) or
    /// [`Driver::refuse`](super::Driver::refuse), now or later.
    Request(&'a Request),
    /// Server: a request was refused, and why. The client gets an answer, unless it is gone.
    Refused(RequestError),
    /// Client: the connection is open (RFC 6455 §4.1). The response says what the server selected.
    Opened(Response),
    /// Client: there is no connection, and why.
    ConnectFailed(ConnectError),
    /// A whole message (RFC 6455 §6.2), or a ping or pong with
    /// [`Config::report_control_frames`](crate::Config::report_control_frames).
    Message {
        /// The message. It lies in the input buffer, and lives until the next call of the driver.
        message: MessageRef<'a>,
        /// What sends the reply: `connection.send(message, out)` is an echo.
        connection: &'a mut Connection,
        /// The queue for it.
        out: &'a mut SendBuf,
    },
    /// How the connection ended (RFC 6455 §7.1.4). Go on: the last bytes may have to be written.
    Ended(&'a End),
    /// Shut the write side of the socket now (RFC 6455 §7.1.1). An error does not matter.
    Shutdown,
    /// Drop the socket. This event comes once, and last.
    Done,
}
