//! What a `handshake::Driver` holds, by a counting allocator: while it waits no more than its connection, and of what
//! is dropped nothing.

use std::time::Duration;

use bowline::Config;
use bowline::handshake::{Accept, ClientRequest, Driver, Response};

use crate::counting::*;

const MIB: usize = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);

/// Carries what one end sends to the other, and lets that look at it.
fn carry(from: &mut Driver, to: &mut Driver) {
    while from.wants_write() && to.wants_read() {
        let (bytes, space) = (from.pending(), to.space());
        let n = bytes.len().min(space.len());
        space[..n].copy_from_slice(&bytes[..n]);
        to.filled(n);
        from.sent(n);
    }
    while to.poll().is_some() {}
}

#[test]
fn a_driver_that_waits_holds_no_more_than_its_connection() {
    const COUNT: usize = 100;
    let size = size_of::<Driver>();
    assert!(size <= 272, "{size} bytes");
    let config = Config::default();
    let request = ClientRequest::new("ws://localhost/").unwrap();
    let (mut servers, mut clients) = (Vec::with_capacity(COUNT), Vec::with_capacity(COUNT));
    // The pool of this thread keeps what is given back.
    let mut before = 0;
    for i in 0..=COUNT {
        if i == 1 {
            (servers, clients) = (Vec::with_capacity(COUNT), Vec::with_capacity(COUNT));
            before = live();
        }
        let mut server = Driver::server(config.clone());
        let mut client = Driver::client(&request, config.clone(), [7; 32]);
        carry(&mut client, &mut server);
        server.accept(Accept::new()).unwrap();
        carry(&mut server, &mut client);
        let (connection, out) = client.connection().expect("it is open");
        connection.send("Hello", out).unwrap();
        carry(&mut client, &mut server);
        assert_eq!(server.deadline(SECOND).or(client.deadline(SECOND)), None);
        servers.push(server);
        clients.push(client);
    }
    let of_clients = live() - before;
    assert!(of_clients <= 512 * COUNT as isize, "{of_clients} bytes for both");
    clients.clear();
    assert!(live() <= before, "a server's end has {} bytes", live() - before);
    assert_eq!(servers.len(), COUNT);
}

/// Puts bytes into a driver as reads do.
fn bring(driver: &mut Driver, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = driver.space();
        let n = bytes.len().min(space.len());
        space[..n].copy_from_slice(&bytes[..n]);
        driver.filled(n);
        bytes = &bytes[n..];
    }
}

#[test]
fn a_driver_that_leaves_keeps_nothing_of_what_comes() {
    // More than the pool of this thread keeps.
    const ROOM: isize = 300 << 10;
    let mut driver = Driver::server(Config::default());
    let before = live();
    bring(&mut driver, b"POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    bring(&mut driver, &vec![0; 4 * MIB]);
    assert!(live() - before > 3 * MIB as isize);
    assert!(driver.poll().is_some());
    driver.refuse(&Response::new(404));
    assert!(live() - before < ROOM, "{} bytes", live() - before);
    driver.sent(usize::MAX);
    assert!(driver.poll().is_some() && driver.wants_read());
    bring(&mut driver, &vec![0; MIB - 1]);
    assert!(driver.wants_read() && live() - before < ROOM, "{} bytes", live() - before);
    bring(&mut driver, &[0]);
    assert!(driver.poll().is_some() && driver.is_done());
}

#[test]
fn drivers_that_wait_keep_little_more_than_what_was_not_taken() {
    const COUNT: usize = 20;
    let request = ClientRequest::new("ws://localhost/").unwrap();
    let before = live();
    let mut servers = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let mut server = Driver::server(Config::default());
        let mut client = Driver::client(&request, Config::default(), [7; 32]);
        carry(&mut client, &mut server);
        server.accept(Accept::new()).unwrap();
        carry(&mut server, &mut client);
        let (connection, out) = server.connection().expect("it is open");
        connection.send(&[0; 60_000][..], out).unwrap();
        server.sent(59_000);
        assert!(server.deadline(SECOND).is_some());
        servers.push(server);
    }
    // The pool of this thread keeps some buffers.
    let kept = live() - before;
    assert!(kept < 20 * COUNT as isize * 1024, "{kept} bytes");
}
