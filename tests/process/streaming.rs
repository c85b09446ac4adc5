//! Messages in parts through each adapter (docs/design.md decision 11): of unknown length, in both directions, in memory
//! that does not grow with the message.

use std::net::{TcpListener, TcpStream};

use bowline::{Config, RecvBuf, Role};

use crate::counting::process_peak;
use crate::support::*;
use crate::turn;

const SIZE: usize = 64 << 20;
const PART: usize = 10_000;
const MIB: isize = 1 << 20;

fn unlimited() -> Config {
    Config::default().max_message_size(u64::MAX)
}

/// What the stream of all parts has at this place.
fn byte_at(at: usize) -> u8 {
    (at % 251) as u8
}

/// Checks the parts of one message as they come.
#[derive(Default)]
struct Check {
    received: usize,
    done: bool,
}

impl Check {
    fn part(&mut self, part: &bowline::Part<'_>) {
        let bytes = part.payload.as_bytes();
        assert_eq!(part.first, self.received == 0);
        if let (Some(first), Some(last)) = (bytes.first(), bytes.last()) {
            assert_eq!(*first, byte_at(self.received));
            assert_eq!(*last, byte_at(self.received + bytes.len() - 1));
        }
        self.received += bytes.len();
        self.done = part.last;
    }
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, peer)
}

#[test]
fn a_message_of_64_mib_passes_through_the_blocking_adapter_in_less_than_one_mib() {
    let _turn = turn();
    let peak = process_peak(|| {
        let (ours, peer) = tcp();
        let mut threads = Vec::new();
        // Both directions at once, so both roles send and receive.
        for (stream, role) in [(ours, Role::Server), (peer, Role::Client)] {
            let connection = connection(role, &unlimited());
            let ws =
                bowline::blocking::WebSocket::from_connection(stream, connection, RecvBuf::new());
            let (mut sender, mut receiver) = ws.unwrap().split().unwrap();
            threads.push(spawn(move || {
                let pattern = pattern(PART + 251);
                let mut at = 0;
                while at < SIZE {
                    let n = PART.min(SIZE - at);
                    let from = at % 251;
                    sender.send_part(&pattern[from..from + n], false).unwrap();
                    at += n;
                }
                sender.send_part(&b""[..], true).unwrap();
            }));
            threads.push(spawn(move || {
                let mut check = Check::default();
                while !check.done {
                    check.part(&receiver.recv_part().unwrap().unwrap());
                }
                assert_eq!(check.received, SIZE);
            }));
        }
        for thread in threads {
            thread.wait_at_most(3 * LONG, "64 MiB");
        }
    });
    assert!(peak < MIB, "{peak} bytes at the peak");
}

macro_rules! passes_through {
    ($name:ident, $adapter:ident) => {
        #[test]
        fn $name() {
            use crate::support::$adapter::{WebSocket, block_on, start_task, wrap};
            let _turn = turn();
            let peak = process_peak(|| {
                let (ours, peer) = tokio::io::duplex(64 << 10);
                let mut tasks = Vec::new();
                for (stream, role) in [(ours, Role::Server), (peer, Role::Client)] {
                    let connection = connection(role, &unlimited());
                    let ws = WebSocket::from_connection(wrap(stream), connection, RecvBuf::new());
                    let (mut sender, mut receiver) = ws.split();
                    tasks.push(start_task(async move {
                        let pattern = pattern(PART + 251);
                        let mut at = 0;
                        while at < SIZE {
                            let n = PART.min(SIZE - at);
                            let from = at % 251;
                            sender.send_part(&pattern[from..from + n], false).await.unwrap();
                            at += n;
                        }
                        sender.send_part(&b""[..], true).await.unwrap();
                    }));
                    tasks.push(start_task(async move {
                        let mut check = Check::default();
                        while !check.done {
                            check.part(&receiver.recv_part().await.unwrap().unwrap());
                        }
                        assert_eq!(check.received, SIZE);
                    }));
                }
                block_on(async {
                    for task in tasks {
                        task.await;
                    }
                });
            });
            assert!(peak < MIB, "{peak} bytes at the peak");
        }
    };
}

passes_through!(
    a_message_of_64_mib_passes_through_the_tokio_adapter_in_less_than_one_mib,
    over_tokio
);
#[cfg(feature = "futures-io")]
passes_through!(
    a_message_of_64_mib_passes_through_the_adapter_for_futures_io_in_less_than_one_mib,
    over_futures
);
