//! `Stream` and `Sink`, for the combinators of the futures ecosystem.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_sink::Sink;

use super::io::Io;
use super::reader::{Link, Reader};
use super::waiters::Place;
use super::{RecvHalf, SendHalf, WebSocket};
use crate::adapter::Error;
use crate::protocol::close::CloseCode;
use crate::protocol::error::Refusal;
use crate::protocol::message::Message;

/// Gives an error once, then the end.
fn poll_next<I: Io>(
    reader: &mut Reader<I>,
    link: &mut impl Link,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Message, Error>>> {
    if reader.is_terminated {
        return Poll::Ready(None);
    }
    let item = match ready!(reader.poll_next(cx, link, false)) {
        Ok(()) => reader.input.take_event().map(Ok),
        Err(error) => Some(Err(error)),
    };
    reader.is_terminated = !matches!(item, Some(Ok(_)));
    Poll::Ready(item)
}

impl<I: Io> Stream for WebSocket<I> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        // Combinators may have split it between two tasks.
        this.writer.share();
        poll_next(&mut this.reader, &mut *this.writer, cx)
    }
}

impl<I: Io> FusedStream for WebSocket<I> {
    fn is_terminated(&self) -> bool {
        self.reader.is_terminated
    }
}

impl<I: Io> Stream for RecvHalf<I> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        poll_next(&mut this.reader, &mut this.link, cx)
    }
}

impl<I: Io> FusedStream for RecvHalf<I> {
    fn is_terminated(&self) -> bool {
        self.reader.is_terminated
    }
}

/// `start_send` is `feed`, `flush` writes, and `close` sends Close 1000. To receive the peer's Close, go on with
/// the stream until it ends.
impl<I: Io> Sink<Message> for WebSocket<I> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.writer.is_full() {
            match self.as_mut().poll_flush(cx) {
                Poll::Pending if !self.writer.is_full() => {}
                other => ready!(other)?,
            }
        }
        self.writer.promise();
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let writer = &mut *self.get_mut().writer;
        let promised = writer.take_promise();
        writer.start_send(message, promised)?;
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        this.writer.share();
        let result = ready!(this.writer.poll_flush(cx, Place::FIRST, &mut this.reader.replies));
        if let Err(Error::Ended(end)) = &result {
            this.reader.receiver.give_up(end.clone());
        }
        Poll::Ready(result)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // What was taken before goes before Close.
        ready!(self.as_mut().poll_ready(cx))?;
        let this = self.get_mut();
        let writer = &mut *this.writer;
        match writer.sender.start_close(CloseCode::NORMAL, "", &mut writer.out) {
            // The stream may be in another task. It has a deadline from now on.
            Ok(()) => writer.wake(),
            Err(error) if error.refusal() == Refusal::Closed => {}
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        Pin::new(this).poll_flush(cx)
    }
}

/// As the sink of [`WebSocket`].
impl<I: Io> Sink<Message> for SendHalf<I> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.get_mut().poll_promise(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.get_mut().start_send(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        SendHalf::poll_flush(self.get_mut(), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        // What was taken before goes before Close.
        ready!(this.poll_room(cx))?;
        this.start_close(CloseCode::NORMAL, "")?;
        SendHalf::poll_flush(this, cx)
    }
}
