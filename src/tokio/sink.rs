//! `Stream` and `Sink`, for the combinators of the futures ecosystem.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite};
use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_sink::Sink;

use super::io::{Link, Reader};
use super::{RecvHalf, SendHalf, WebSocket};
use crate::adapter::Error;
use crate::protocol::close::CloseCode;
use crate::protocol::message::Message;

/// An error once, then the end.
fn poll_next(
    reader: &mut Reader,
    link: &mut impl Link,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Message, Error>>> {
    if reader.failed {
        return Poll::Ready(None);
    }
    Poll::Ready(match ready!(reader.poll_next(cx, link, false)) {
        Ok(()) => {
            let message = reader.input.take_event();
            reader.failed |= message.is_none();
            message.map(Ok)
        }
        Err(error) => {
            reader.failed = true;
            Some(Err(error))
        }
    })
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        // Combinators may have split it between two tasks.
        this.writer.share();
        poll_next(&mut this.reader, &mut this.writer, cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for WebSocket<S> {
    fn is_terminated(&self) -> bool {
        self.reader.failed
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for RecvHalf<S> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        poll_next(&mut this.reader, &mut this.link, cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for RecvHalf<S> {
    fn is_terminated(&self) -> bool {
        self.reader.failed
    }
}

/// `start_send` is `feed`, `flush` writes, and `close` sends Close 1000; go on with the stream until
/// it ends to have the peer's Close.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.writer.is_full() {
            return Poll::Ready(Ok(()));
        }
        match self.as_mut().poll_flush(cx) {
            Poll::Pending if !self.writer.is_full() => Poll::Ready(Ok(())),
            other => other,
        }
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let writer = &mut self.get_mut().writer;
        Ok(writer.sender.send_owned(message, &mut writer.out)?)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        this.writer.share();
        let result = ready!(this.writer.poll_flush(cx, &mut this.reader.replies));
        if let Err(Error::Ended(end)) = &result {
            this.reader.receiver.give_up(end.clone());
        }
        Poll::Ready(result)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        // A refusal means that there is nothing left to close.
        let writer = &mut this.writer;
        if writer.sender.start_close(CloseCode::NORMAL, "", &mut writer.out).is_ok() {
            // The stream, in a task of its own, has a deadline from now on.
            writer.wake();
        }
        Pin::new(this).poll_flush(cx)
    }
}

/// As the sink of [`WebSocket`].
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for SendHalf<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.get_mut().poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.get_mut().queue(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        SendHalf::poll_flush(self.get_mut(), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        // A refusal means that there is nothing left to close.
        let _ = this.start_close(CloseCode::NORMAL, "");
        SendHalf::poll_flush(this, cx)
    }
}
