//! A stream in memory that does not block, with the test's hand on its other end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

#[derive(Debug, Default)]
pub struct State {
    pub input: VecDeque<u8>,
    pub eof: bool,
    pub reset: bool,
    pub output: Vec<u8>,
    /// How many bytes writes may still take.
    pub room: Option<usize>,
    /// The most that one read gives.
    pub chunk: Option<usize>,
    pub flushes: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Wire(pub Rc<RefCell<State>>);

impl Wire {
    pub fn with(input: &[u8]) -> Self {
        let wire = Self::default();
        wire.give(input);
        wire
    }

    pub fn give(&self, bytes: &[u8]) {
        self.0.borrow_mut().input.extend(bytes);
    }

    pub fn end(&self) {
        self.0.borrow_mut().eof = true;
    }

    /// What was written since the last call.
    pub fn written(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().output)
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        if state.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let most = state.chunk.unwrap_or(buf.len()).min(buf.len());
        let n = most.min(state.input.len());
        if n == 0 && !state.eof {
            return Err(ErrorKind::WouldBlock.into());
        }
        for (to, from) in buf.iter_mut().zip(state.input.drain(..n)) {
            *to = from;
        }
        Ok(n)
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        let n = state.room.unwrap_or(buf.len()).min(buf.len());
        if n == 0 && !buf.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if let Some(room) = &mut state.room {
            *room -= n;
        }
        state.output.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flushes += 1;
        Ok(())
    }
}

/// A frame, masked with a key of zeros if it is a client's.
pub fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut frame = vec![first, payload.len() as u8 | if masked { 0x80 } else { 0 }];
    if masked {
        frame.extend_from_slice(&[0; 4]);
    }
    frame.extend_from_slice(payload);
    frame
}
