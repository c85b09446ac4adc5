//! `reunite` loses nothing, and gives both halves back where it cannot; `with_ref` lends the stream.

use std::pin::pin;
use std::time::Duration;

use bowline::{Config, End, Error, Message, Refusal, Role, Timeout};
use futures_util::Sink;

use super::adapter::*;
use crate::support::stream::{Far, cancelled, finish, poll};
use crate::support::*;

const ROLE: Role = Role::Server;

fn halves(role: Role, config: &Config) -> (SendHalf<Io>, RecvHalf<Io>, Far) {
    let (ws, far) = open(role, config);
    let (sender, receiver) = ws.split();
    (sender, receiver, far)
}

#[test]
fn in_the_middle_of_everything_nothing_is_lost() {
    for role in ROLES {
        for again in [false, true] {
            let (mut sender, mut receiver, far) = halves(role, &no_timeouts());
            // Bytes are queued, a message is being sent in parts, another is being received, and one after it is read
            // already. A ping is owed.
            far.room(3);
            finish(sender.feed("queued")).unwrap();
            assert!(cancelled(sender.flush(), 1).is_none());
            finish(sender.send_part("par", false)).unwrap();
            let text = text_in_fragments(role, "received in fragments");
            let wire = [text, to(role, TEXT, b"next"), to(role, BINARY, &[7; 100])].concat();
            let (early, late) = wire.split_at(30);
            far.push(early);
            assert!(poll(pin!(receiver.recv())).is_pending());
            let mut ws = receiver.reunite(sender).unwrap();
            assert!(ws.queued() > 0);
            if again {
                let (sender, receiver) = ws.split();
                ws = receiver.reunite(sender).unwrap();
            }
            far.push(late);
            assert_eq!(finish(ws.recv()).unwrap(), Some("received in fragments".into()));
            let (mut sender, receiver) = ws.split();
            // What was read before stays, and the half may end the message.
            far.room(usize::MAX);
            finish(sender.send_part("ts", true)).unwrap();
            let mut ws = receiver.reunite(sender).unwrap();
            assert_eq!(finish(ws.recv()).unwrap(), Some("next".into()));
            assert_eq!(finish(ws.recv()).unwrap().unwrap().as_bytes(), [7; 100]);
            finish(ws.send("whole again")).unwrap();
            let sent = shorthand(&far.frames(role));
            let texts: Vec<_> = sent.iter().filter(|(o, _)| *o < CLOSE).map(|(_, t)| t).collect();
            assert_eq!(texts, ["queued", "par", "ts", "whole again"]);
            assert_eq!(sent.iter().filter(|(opcode, _)| *opcode == PONG).count(), 2);
            far.push(&close_to(role, 1000));
            far.eof();
            assert_eq!(finish(ws.recv()).unwrap(), None);
            assert!(matches!(ws.end(), Some(End::Closed { .. })));
            drop(ws);
            assert_eq!(far.lock().handles, 0);
        }
    }
}

#[test]
fn the_state_of_the_connection_comes_along() {
    // Nothing can be sent after Close.
    let (mut sender, receiver, far) = halves(ROLE, &no_timeouts());
    finish(sender.close(1001, "")).unwrap();
    let mut ws = receiver.reunite(sender).unwrap();
    assert!(matches!(finish(ws.send("x")), Err(Error::Send(e)) if e.refusal() == Refusal::Closed));
    far.push(&close_to(ROLE, 1001));
    far.eof();
    assert_eq!(finish(ws.recv()).unwrap(), None);

    // A peer that was given up, and bytes that were lost.
    let config = Config::default().send_timeout(Duration::ZERO);
    let (mut sender, receiver, far) = halves(ROLE, &config);
    far.room(0);
    finish(sender.send("lost")).unwrap_err();
    let mut ws = receiver.reunite(sender).unwrap();
    for result in [finish(ws.flush()), finish(ws.recv()).map(drop)] {
        assert!(matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Send)))), "{result:?}");
    }

    // The promise of a sink, and the message that one took.
    let config = no_timeouts().max_send_queue(10);
    let ready = |sender: &mut SendHalf<Io>| {
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        Sink::<Message>::poll_ready(std::pin::Pin::new(sender), cx).is_ready()
    };
    let (mut first, receiver, far) = halves(ROLE, &config);
    let mut second = first.clone();
    far.room(0);
    assert!(ready(&mut first) && ready(&mut second));
    finish(first.feed("0123456789")).unwrap();
    std::pin::Pin::new(&mut second).start_send("held".into()).unwrap();
    drop(second);
    // `feed` keeps the promise of the sink.
    let mut ws = receiver.reunite(first).unwrap();
    std::pin::Pin::new(&mut ws).start_send("promised".into()).unwrap();
    far.room(usize::MAX);
    finish(ws.flush()).unwrap();
    assert_eq!(
        payloads(&far.frames(ROLE), TEXT),
        [&b"0123456789"[..], b"held", b"promised"]
    );
}

#[test]
fn a_deadline_that_runs_goes_on() {
    let config = Config::default().send_timeout(Duration::from_millis(20));
    let (mut sender, receiver, far) = halves(ROLE, &config);
    far.room(0);
    assert!(cancelled(sender.send("x"), 1).is_none());
    let mut ws = receiver.reunite(sender).unwrap();
    let result = block_on(ws.recv());
    assert!(matches!(result, Err(Error::Ended(End::TimedOut(Timeout::Send)))), "{result:?}");
}

#[test]
fn halves_that_do_not_fit_come_back_and_go_on() {
    let (sender, receiver, far) = halves(ROLE, &no_timeouts());
    let (strange_sender, strange_receiver, _strange) = halves(ROLE, &no_timeouts());
    let error = receiver.reunite(strange_sender).unwrap_err();
    assert!(error.to_string().contains("different connections"), "{error}");
    let (strange_sender, receiver) = error.into_halves();
    strange_receiver.reunite(strange_sender).unwrap();

    let clone = sender.clone();
    let error = receiver.reunite(sender).unwrap_err();
    assert!(error.to_string().contains("clone"), "{error}");
    assert_eq!(format!("{error:?}"), "ReuniteError { why: Shared, .. }");
    let (sender, mut receiver) = error.into_halves();
    drop(sender);

    let group = Broadcast::new(SlowPeer::Skip);
    let member = group.join(&clone);
    let error = receiver.reunite(clone).unwrap_err();
    assert!(error.to_string().contains("Broadcast"), "{error}");
    let mut sender;
    (sender, receiver) = error.into_halves();
    // They are as they were: the sender does not think that nobody receives.
    assert_eq!(finish(sender.close(1000, "")).unwrap(), None);
    assert!(poll(pin!(receiver.recv())).is_pending());
    drop(member);
    let mut ws = receiver.reunite(sender).unwrap();
    far.push(&close_to(ROLE, 1000));
    far.eof();
    assert_eq!(finish(ws.recv()).unwrap(), None);
}

#[test]
fn each_half_lends_its_stream() {
    let (ws, far) = open(ROLE, &no_timeouts());
    let address = |stream: &Io| std::ptr::from_ref(stream).addr();
    assert!(format!("{:?}", ws.get_ref()).contains("Io"));
    let (sender, receiver) = ws.split();
    assert_eq!(sender.with_ref(address), receiver.with_ref(address));
    // The queue is not locked meanwhile, so what others ask of it is answered.
    let other = sender.clone();
    let queued = sender.with_ref(move |_| in_time("queued", move || other.queued()));
    assert_eq!(queued, 0);
    drop((sender, receiver));
    assert_eq!(far.lock().handles, 0);
}
