//! `Stream` and `Sink`, for the combinators of the futures ecosystem.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use ::futures_io::{AsyncRead, AsyncWrite};
use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_sink::Sink;

use super::io::Reader;
use super::{RecvHalf, SendHalf, WebSocket};
use crate::adapter::Error;
use crate::protocol::close::CloseCode;
use crate::protocol::message::Message;

/// An error once, then the end.
fn item(reader: &mut Reader, result: Result<(), Error>) -> Option<Result<Message, Error>> {
    let item = result.map(|()| reader.input.take_event()).transpose();
    reader.done |= !matches!(item, Some(Ok(_)));
    item
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_terminated() {
            return Poll::Ready(None);
        }
        // Combinators may have split it between two tasks.
        this.socket.share();
        let result = ready!(this.reader.poll_next(cx, &mut this.socket, false));
        Poll::Ready(item(&mut this.reader, result))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for WebSocket<S> {
    fn is_terminated(&self) -> bool {
        self.reader.done
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for RecvHalf<S> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_terminated() {
            return Poll::Ready(None);
        }
        let result = ready!(this.poll_event(cx, false));
        Poll::Ready(item(&mut this.reader, result))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FusedStream for RecvHalf<S> {
    fn is_terminated(&self) -> bool {
        self.reader.done
    }
}

/// `start_send` is `feed`, `flush` writes, and `close` sends Close 1000; go on with the stream until
/// it ends to have the peer's Close.
impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        this.socket.share();
        this.poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let socket = &mut self.get_mut().socket;
        Ok(socket.sender.send_owned(message, &mut socket.out)?)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        this.socket.share();
        WebSocket::poll_flush(this, cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        this.socket.share();
        // A refusal means that there is nothing left to close.
        if this.socket.sender.start_close(CloseCode::NORMAL, "", &mut this.socket.out).is_ok() {
            // The stream, in a task of its own, has a deadline from now on.
            this.socket.wake();
        }
        WebSocket::poll_flush(this, cx)
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
