//! The workloads of `receive` and `send`, and an echo by each adapter, for a program that counts instructions:
//! see benches/count.
//!
//! `instructions list` names them. `instructions NAME COUNT` runs one with COUNT messages.

mod common;
#[path = "common/echo.rs"]
mod echo;

use std::hint::black_box;

use common::frames::frame_with;
use common::{Receive, Send, Sink, Work, core, floor};

/// How many bytes a socket's own buffer would hold.
const SINK: usize = 128 << 10;

/// The messages that are echoed.
const ECHOED: [&str; 2] = ["16 B", "1 KiB"];

fn receive(mut receiver: impl Receive, count: u64) {
    receiver.receive(count, &mut |payload| {
        black_box(payload);
    });
}

fn send(mut sender: impl Send, count: u64) {
    sender.send(count);
    black_box(sender.into_sink().written);
}

/// A server's frame of one message.
fn answer(work: &Work) -> Vec<u8> {
    frame_with(0x82, None, &work.payload)
}

/// Echoes `count` messages. The length shows that none is lost.
fn echo(work: &Work, run: echo::Echo, count: u64) {
    let stream = echo::Stream::new(work, Sink::new(SINK));
    run(stream.clone(), count);
    assert_eq!(stream.written(), count * answer(work).len() as u64);
}

/// Compares every byte of an echo of more messages than the client has in its stream.
fn prove(work: &Work, run: echo::Echo) {
    let (frame, count) = (answer(work), 2 * work.messages as usize + 1);
    let stream = echo::Stream::new(work, Sink::new(count * frame.len()));
    run(stream.clone(), count as u64);
    assert_eq!(stream.written(), (count * frame.len()) as u64);
    let written = stream.first(count * frame.len());
    assert!(written.chunks(frame.len()).all(|answer| answer == frame), "an answer is wrong");
}

/// A workload, and how to run it with a number of messages.
type Row<'a> = (String, Box<dyn Fn(u64) + 'a>);

fn rows<'a>(received: &'a [Work], sent: &'a [Work]) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for work in received {
        let name = |name| format!("receive {}, {name}", work.name);
        rows.push((name("bare"), Box::new(|n| receive(floor::Bare::new(work), n))));
        rows.push((name("lent"), Box::new(|n| receive(core::Borrowed::new(work), n))));
        rows.push((name("owned"), Box::new(|n| receive(core::Owned::new(work), n))));
    }
    for work in sent {
        for (role, masked) in [("client", true), ("server", false)] {
            let name = |name| format!("send as {role} {}, {name}", work.name);
            let sink = || Sink::new(SINK);
            rows.extend::<[Row<'_>; 3]>([
                (
                    name("bare"),
                    Box::new(move |n| send(floor::SendBare::new(work, masked, sink()), n)),
                ),
                (name("send"), Box::new(move |n| send(core::Copied::new(work, masked, sink()), n))),
                (
                    name("send_owned"),
                    Box::new(move |n| send(core::Shared::new(work, masked, sink()), n)),
                ),
            ]);
        }
    }
    for (adapter, way, run) in echo::ALL {
        for work in received.iter().filter(|work| ECHOED.contains(&work.name)) {
            let name = format!("echo by {adapter} {}, {way}", work.name);
            rows.push((name, Box::new(move |n| echo(work, run, n))));
        }
    }
    rows
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        // cargo bench calls it without a name, perhaps with a filter. There is nothing to time.
        [.., bench] if bench == "--bench" => {
            for work in Work::received_if(|name| ECHOED.contains(&name)) {
                echo::ALL.iter().for_each(|(_, _, run)| prove(&work, *run));
            }
            println!("each echo is right; instructions are counted by benches/count");
        }
        [list] if list == "list" => {
            let (received, sent) = (Work::received(), Work::sent());
            rows(&received, &sent).iter().for_each(|(name, _)| println!("{name}"));
        }
        [name, count] => {
            let wanted = |work: &str| name.contains(&format!(" {work}, "));
            let (received, sent) = (Work::received_if(wanted), Work::sent_if(wanted));
            let rows = rows(&received, &sent);
            let (_, run) = rows.iter().find(|(row, _)| row == name).expect("no such workload");
            run(count.parse().expect("not a number of messages"));
        }
        _ => eprintln!("instructions list, or instructions NAME COUNT: see benches/count"),
    }
}
