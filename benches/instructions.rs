//! The workloads of `receive` and `send` for a program that counts instructions: see benches/count.
//!
//! `instructions list` names them; `instructions NAME COUNT` runs one with so many messages.

mod common;

use std::hint::black_box;

use common::{Receive, Send, Sink, Work, core, floor};

/// What a socket's own buffer would hold.
const SINK: usize = 128 << 10;

fn receive(mut receiver: impl Receive, count: u64) {
    receiver.receive(count, &mut |payload| {
        black_box(payload);
    });
}

fn send(mut sender: impl Send, count: u64) {
    sender.send(count);
    black_box(sender.into_sink().written);
}

/// A workload, and how to run it with so many messages.
type Row<'a> = (String, Box<dyn Fn(u64) + 'a>);

fn main() {
    let (received, sent) = (Work::received(), Work::sent());
    let mut rows: Vec<Row<'_>> = Vec::new();
    for work in &received {
        let name = |name| format!("receive {}, {name}", work.name);
        rows.push((name("bare"), Box::new(|n| receive(floor::Bare::new(work), n))));
        rows.push((name("lent"), Box::new(|n| receive(core::Borrowed::new(work), n))));
        rows.push((name("owned"), Box::new(|n| receive(core::Owned::new(work), n))));
    }
    for work in &sent {
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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        // As cargo bench calls it, perhaps with what others are filtered by: there is nothing to time.
        [.., bench] if bench == "--bench" => {
            println!("instructions are counted by benches/count");
        }
        [list] if list == "list" => rows.iter().for_each(|(name, _)| println!("{name}")),
        [name, count] => {
            let (_, run) = rows.iter().find(|(row, _)| row == name).expect("no such workload");
            run(count.parse().expect("not a number of messages"));
        }
        _ => eprintln!("instructions list, or instructions NAME COUNT: see benches/count"),
    }
}
