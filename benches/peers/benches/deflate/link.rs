//! A socket whose other end is a client that waits for each answer. It gives one frame, and then nothing until
//! it is told to.

use std::cell::{RefCell, RefMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::common::wire::Wire;

/// Both ends hold it.
#[derive(Clone)]
pub struct Link(Rc<RefCell<Ends>>);

struct Ends {
    /// Bytes before the first frame: a handshake.
    head: Vec<u8>,
    wire: Option<Arc<Wire>>,
    frame: usize,
    /// Which bytes of the head or of the wire the server may read now.
    at: usize,
    end: usize,
    /// The server read all of them, and waits.
    waits: bool,
}

thread_local! {
    /// What the server that was polled last has written. No other server writes meanwhile. It never grows during
    /// a measurement.
    static WRITTEN: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(64 << 10));
}

/// A server that has one connection.
pub struct Served {
    task: Pin<Box<dyn Future<Output = ()>>>,
    link: Link,
}

impl Link {
    fn ends(&self) -> RefMut<'_, Ends> {
        self.0.borrow_mut()
    }

    /// Shows as many bytes as there is room for, or none if all were read.
    fn read(&self, room: usize, see: impl FnOnce(&[u8])) -> bool {
        let mut ends = self.ends();
        let ends = &mut *ends;
        let from = match &ends.wire {
            Some(wire) => &wire.frames,
            None => &ends.head,
        };
        let n = room.min(ends.end - ends.at);
        see(&from[ends.at..ends.at + n]);
        ends.at += n;
        ends.waits = n == 0;
        n > 0
    }

    /// A whole frame, for a server that knows that it gets one.
    pub fn poll_frame(&self, buffer: &mut Vec<u8>) -> Poll<()> {
        match self.read(usize::MAX, |bytes| buffer.extend_from_slice(bytes)) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    pub fn write(&self, bytes: &[u8]) {
        WRITTEN.with_borrow_mut(|written| written.extend_from_slice(bytes));
    }
}

impl Served {
    /// A server that `task` runs over the link, and that reads `head` first.
    pub fn new<F: Future<Output = ()> + 'static>(head: &str, task: impl FnOnce(Link) -> F) -> Self {
        let link = Link(Rc::new(RefCell::new(Ends {
            head: head.into(),
            wire: None,
            frame: 0,
            at: 0,
            end: head.len(),
            waits: false,
        })));
        WRITTEN.with_borrow_mut(Vec::clear);
        let mut served = Self { task: Box::pin(task(link.clone())), link };
        served.run();
        served
    }

    /// What the server wrote before the first frame, if no other was polled since.
    pub fn head(&self) -> String {
        WRITTEN.with_borrow(|written| String::from_utf8(written.clone()).unwrap())
    }

    pub fn connect(&self, wire: Arc<Wire>) {
        let mut ends = self.link.ends();
        (ends.wire, ends.at, ends.end) = (Some(wire), 0, 0);
        ends.head = Vec::new();
    }

    /// Polls until the server waits for more.
    fn run(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            assert!(self.task.as_mut().poll(&mut cx).is_pending(), "the server is done");
            if self.link.ends().waits {
                break;
            }
        }
    }

    /// Sends the next message and gives the length of what came back.
    pub fn exchange(&mut self) -> usize {
        {
            let mut ends = self.link.ends();
            let ends = &mut *ends;
            debug_assert!(ends.at == ends.end && ends.waits);
            let frame = ends.wire.as_ref().unwrap().frame(ends.frame);
            (ends.at, ends.end) = (frame.start, frame.end);
            ends.frame += 1;
            ends.waits = false;
        }
        WRITTEN.with_borrow_mut(Vec::clear);
        self.run();
        WRITTEN.with_borrow(Vec::len)
    }

    /// What came back, if no other server was polled since, and what it should be.
    pub fn see(&self, see: impl FnOnce(&[u8], &str)) {
        let ends = self.link.ends();
        WRITTEN.with_borrow(|written| {
            see(written, ends.wire.as_ref().unwrap().message(ends.frame - 1))
        });
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.read(buffer.remaining(), |bytes| buffer.put_slice(bytes)) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        slices.iter().for_each(|slice| self.write(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
