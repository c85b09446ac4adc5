//! The opening handshake (RFC 6455 §4).

pub mod client;
pub mod headers;
pub mod machine;
pub mod server;

use std::fmt;
use std::io::{ErrorKind, Read, Write};

use bowline::{RecvBuf, SendBuf};

use self::machine::HandshakeMachine;
use crate::error::{Error, Result};

/// A side of the handshake, for [`MidHandshake`].
pub trait HandshakeRole {
    /// The stream.
    type InternalStream: Read + Write;
    /// What the handshake gives.
    type FinalResult;
    /// The same without the stream.
    #[doc(hidden)]
    type Opened;

    /// Goes on. If the error is [`Error::Io`] with `WouldBlock`, call it again.
    #[doc(hidden)]
    fn run<S: Read + Write>(&mut self, stream: &mut S) -> Result<Self::Opened>;

    #[doc(hidden)]
    fn finish(opened: Self::Opened, stream: Self::InternalStream) -> Self::FinalResult;
}

/// A handshake that has begun.
#[derive(Debug)]
pub struct MidHandshake<Role: HandshakeRole> {
    /// Boxed, because it is part of an error.
    role: Box<Role>,
    machine: HandshakeMachine<Role::InternalStream>,
}

impl<Role: HandshakeRole> MidHandshake<Role> {
    pub(crate) fn new(role: Role, stream: Role::InternalStream) -> Self {
        Self { role: Box::new(role), machine: HandshakeMachine::new(stream) }
    }

    /// What holds the stream.
    pub fn get_ref(&self) -> &HandshakeMachine<Role::InternalStream> {
        &self.machine
    }

    /// What holds the stream.
    pub fn get_mut(&mut self) -> &mut HandshakeMachine<Role::InternalStream> {
        &mut self.machine
    }

    /// Goes on with the handshake.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Interrupted`] if the stream would block.
    pub fn handshake(mut self) -> Result<Role::FinalResult, HandshakeError<Role>> {
        match self.role.run(self.machine.get_mut()) {
            Ok(opened) => Ok(Role::finish(opened, self.machine.into_inner())),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                Err(HandshakeError::Interrupted(self))
            }
            Err(error) => Err(HandshakeError::Failure(error)),
        }
    }
}

/// Why there is no WebSocket, or not yet.
pub enum HandshakeError<Role: HandshakeRole> {
    /// The stream would block. Call [`MidHandshake::handshake`] when it is ready.
    Interrupted(MidHandshake<Role>),
    /// It failed.
    Failure(Error),
}

impl<Role: HandshakeRole> fmt::Debug for HandshakeError<Role> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted(_) => f.write_str("HandshakeError::Interrupted(..)"),
            Self::Failure(error) => write!(f, "HandshakeError::Failure({error:?})"),
        }
    }
}

impl<Role: HandshakeRole> fmt::Display for HandshakeError<Role> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted(_) => f.write_str("the stream would block during the handshake"),
            Self::Failure(error) => error.fmt(f),
        }
    }
}

impl<Role: HandshakeRole> std::error::Error for HandshakeError<Role> {}

impl<Role: HandshakeRole> From<Error> for HandshakeError<Role> {
    fn from(error: Error) -> Self {
        Self::Failure(error)
    }
}

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
pub fn derive_accept_key(request_key: &[u8]) -> String {
    // A key is ASCII. What is not gives a value that answers no key.
    bowline::handshake::accept_key(&String::from_utf8_lossy(request_key))
}

/// Reads once. The end of the stream counts as having read.
fn fill(stream: &mut impl Read, input: &mut RecvBuf) -> Result<()> {
    match stream.read(input.space()) {
        Ok(0) => input.eof(),
        Ok(n) => input.filled(n),
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Writes all of it, and flushes.
fn drain(stream: &mut impl Write, out: &mut SendBuf) -> Result<()> {
    while !out.is_empty() {
        match stream.write(out.pending()) {
            Ok(0) => return Err(Error::Io(ErrorKind::WriteZero.into())),
            Ok(n) => out.sent(n),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(stream.flush()?)
}
