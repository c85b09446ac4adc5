//! A stream of bytes beside messages of the same size, over loopback TCP: one direction, both ends in one thread.
//!
//!     cargo bench --features tokio --bench bytes
//!
//! The two take turns, so that what else the machine does meets both. It prints medians.

use std::time::{Duration, Instant};

use bowline::tokio::{ByteStream, WebSocket};
use bowline::{Config, Connection, MessageRef, RecvBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How often each is measured, and how many bytes it carries then.
const ROUNDS: usize = 21;
const BYTES: usize = 64 << 20;

type Ends = (WebSocket<TcpStream>, WebSocket<TcpStream>);

async fn ends() -> Ends {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let far = listener.accept().await.unwrap().0;
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
    }
    let open = |stream, connection| WebSocket::from_connection(stream, connection, RecvBuf::new());
    let server = Connection::server(Config::default());
    let client = Connection::client(Config::default(), [7; 32]);
    (open(near, server), open(far, client))
}

/// Messages of `size` bytes, each of them sent at once.
async fn messages((mut from, mut to): Ends, size: usize) {
    let payload = vec![7; size];
    let send = async {
        for _ in 0..BYTES / size {
            from.send(MessageRef::Binary(&payload)).await.unwrap();
        }
    };
    let receive = async {
        let mut left = BYTES / size * size;
        while left > 0 {
            left -= to.recv_borrowed().await.unwrap().unwrap().0.as_bytes().len();
        }
    };
    tokio::join!(send, receive);
}

/// The same as a stream.
async fn bytes((from, to): Ends, size: usize) {
    let (mut from, mut to) = (ByteStream::new(from), ByteStream::new(to));
    let payload = vec![7; size];
    let send = async {
        for _ in 0..BYTES / size {
            from.write_all(&payload).await.unwrap();
        }
        from.flush().await.unwrap();
    };
    let receive = async {
        let mut buffer = vec![0; 64 << 10];
        let mut left = BYTES / size * size;
        while left > 0 {
            left -= to.read(&mut buffer).await.unwrap();
        }
    };
    tokio::join!(send, receive);
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{:>8}  {:>14}  {:>14}  bytes to messages", "size", "messages", "bytes");
    for size in [1 << 10, 4 << 10, 32 << 10] {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let pair = runtime.block_on(ends());
            let start = Instant::now();
            runtime.block_on(messages(pair, size));
            first.push(start.elapsed());
            let pair = runtime.block_on(ends());
            let start = Instant::now();
            runtime.block_on(bytes(pair, size));
            second.push(start.elapsed());
        }
        let mut ratios: Vec<f64> =
            first.iter().zip(&second).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let rate = |times: &mut [Duration]| format!("{:.0} MiB/s", 64.0 / median(times));
        let (messages, bytes) = (rate(&mut first), rate(&mut second));
        println!("{size:>8}  {messages:>14}  {bytes:>14}  {:.2}", ratios[ROUNDS / 2]);
    }
}
