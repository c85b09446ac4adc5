//! What connections cost, by a counting allocator (RFC 6455 §10.4): memory follows the bytes that came, never what a
//! peer announces, and an idle connection holds none.

use crate::counting::*;
use crate::support::*;
use bowline::{Config, Connection, Message, Progress, RecvBuf, Role, SendBuf};
use bytes::Bytes;

#[test]
fn the_counting_allocator_counts() {
    let before = counts();
    let most = peak(|| drop(vec![0_u8; 1_000]));
    assert_eq!(most, 1_000);
    let after = counts();
    assert_eq!(after.live, before.live);
    assert_eq!(after.allocations - before.allocations, 1);
    assert_eq!(after.allocated - before.allocated, 1_000);
}

#[test]
fn a_connection_and_its_buffers_are_small() {
    let size = size_of::<Connection>() + size_of::<RecvBuf>() + size_of::<SendBuf>();
    assert!(size <= 192, "{size} bytes");
}

#[test]
fn a_connection_that_nothing_came_on_has_no_heap_but_the_clients_generator() {
    let config = Config::default();
    for role in ROLES {
        let before = live();
        let side = Side::new(role, config.clone());
        let heap = live() - before;
        match role {
            Role::Server => assert_eq!(heap, 0),
            Role::Client => assert!(heap <= 512, "{heap} bytes"),
        }
        drop(side);
        assert_eq!(live(), before);
    }
}

#[test]
fn a_length_that_is_announced_costs_nothing() {
    const COUNT: usize = 1_000;
    let config = Config::default();
    for role in ROLES {
        let mut sides = Vec::with_capacity(COUNT);
        let bytes =
            [header(0x82, role == Role::Server, Form::SixtyFour, MIB as u64), vec![1]].concat();
        let before = live();
        for _ in 0..COUNT {
            let mut side = Side::new(role, config.clone());
            side.receive(&bytes);
            side.input.release();
            sides.push(side);
        }
        let each = (live() - before - POOLED) / COUNT as isize;
        assert!(each < 8 << 10, "{each} bytes each");
        // The one byte that came and where it is, and a client's generator of keys.
        let most = if role == Role::Server { 1 + 64 } else { 512 };
        assert!(each <= most, "{each} bytes each");
    }
    // Nor does the largest length there is, to a receiver that would take it.
    let config = Config::default().max_message_size(u64::MAX);
    for role in ROLES {
        let bytes = header(0x82, role == Role::Server, Form::SixtyFour, u64::MAX >> 1);
        let most = peak(|| {
            let mut side = Side::new(role, config.clone());
            side.receive(&bytes);
            side.receive(&[0; 100]);
        });
        assert!(most <= POOLED + 1_024, "{most} bytes");
    }
}

#[test]
fn fragments_that_are_held_open_cost_their_bytes() {
    const COUNT: usize = 50;
    let config = Config::default();
    for role in ROLES {
        for release_between in [true, false] {
            let mut sides = Vec::with_capacity(COUNT);
            let (first, next) = (
                fragment_to(role, false, BINARY, b"x"),
                fragment_to(role, false, CONTINUATION, b"x"),
            );
            let before = live();
            for _ in 0..COUNT {
                let mut side = Side::new(role, config.clone());
                side.receive(&first);
                for _ in 1..1_023 {
                    if release_between {
                        side.input.release();
                    }
                    side.receive(&next);
                }
                side.input.release();
                sides.push(side);
            }
            let each = (live() - before - POOLED) / COUNT as isize;
            assert!(each <= 2 << 10, "{each} bytes each");
            // They are messages, for all that.
            for side in &mut sides {
                side.receive(&to(role, CONTINUATION, b""));
                assert_eq!(side.events.pop(), Some(binary(&[b'x'; 1_023])));
                side.events = Vec::new();
            }
        }
    }
}

#[test]
fn a_message_costs_what_came_of_it_however_small_the_reads_are() {
    for role in ROLES {
        let payload = vec![0; MIB];
        let bytes = to(role, BINARY, &payload);
        for at_once in [1, 100, 4_096, 65_536, usize::MAX] {
            let mut side = Side::new(role, Config::default());
            let mut held_last = 0;
            let before = live();
            let most = peak(|| {
                let mut received = 0;
                while received < bytes.len() - 1 {
                    received += read(&mut side.input, &bytes[received..bytes.len() - 1], at_once);
                    assert_eq!(side.advance(), Ok(Progress::NeedInput));
                    let held = live() - before;
                    // At most double of what came is held at any time, and what the pool has.
                    let most = 2 * received as isize + POOLED + WIDE + 1_024;
                    assert!(held <= most, "{held} for {received}");
                    held_last = held;
                }
            });
            assert_eq!(read(&mut side.input, &bytes[bytes.len() - 1..], 1), 1);
            assert_eq!(side.advance(), Ok(Progress::Event));
            assert!(side.input.event().unwrap().as_bytes() == payload);
            // What is held before the last byte comes: 1.1 times the payload.
            assert!(held_last <= MIB as isize * 11 / 10 + POOLED + WIDE, "{held_last} bytes held");
            // While the message moves to a larger buffer, both are there.
            assert!(most <= 2 * MIB as isize + POOLED + WIDE, "{most} bytes by {at_once}");
        }
    }
}

#[test]
fn the_work_for_a_message_grows_with_its_size_however_it_is_fragmented() {
    // Moving a message to a new buffer shows as bytes allocated. Were it moved for each so many
    // bytes read, not for each doubling, twice the message would be four times the work.
    let work = |role, count: usize, piece: &[u8]| {
        let config = Config::default().max_fragments(u32::MAX).max_message_size(u64::MAX);
        let next = fragment_to(role, false, CONTINUATION, piece);
        let mut bytes = fragment_to(role, false, BINARY, piece);
        bytes.extend(next.repeat(count - 2));
        bytes.extend(to(role, CONTINUATION, piece));
        let mut side = Side::new(role, config);
        let before = counts();
        let (mut at, mut reads) = (0, 0);
        while at < bytes.len() {
            at += read(&mut side.input, &bytes[at..], 16 << 10);
            reads += 1;
            let progress = side.advance();
            assert_eq!(progress == Ok(Progress::Event), at == bytes.len());
        }
        assert_eq!(side.input.event().unwrap().as_bytes().len(), count * piece.len());
        // Nor is the socket asked for a few bytes again and again.
        assert!(reads <= bytes.len() / 2_048 + 20, "{reads} reads for {} bytes", bytes.len());
        counts().allocated - before.allocated
    };
    for role in ROLES {
        for piece in [&b"x"[..], &[7; 40]] {
            let count = MIB / piece.len();
            let (one, four) = (work(role, count, piece), work(role, 4 * count, piece));
            assert!((four as f64 / one as f64) < 2.3 * 2.3, "{one} bytes, then {four}");
            let payload = 4 * count * piece.len();
            assert!(four <= 16 * payload, "{four} bytes for {payload}");
        }
    }
}

#[test]
fn a_flood_of_pings_that_are_not_read_costs_what_the_first_of_them_did() {
    let config = Config::default();
    for role in ROLES {
        for len in [0, 5, 125] {
            let mut side = Side::new(role, config.clone());
            let ping = to(role, PING, &vec![b'p'; len]);
            let before = live();
            let flood = |side: &mut Side, count: usize| {
                for _ in 0..count / 50 {
                    side.receive(&ping.repeat(50));
                }
                side.input.release();
            };
            let first = peak(|| flood(&mut side, 4_000));
            let held = live() - before;
            // The buffer of each direction, the pongs that wait, and the bytes of this test.
            assert!(first <= POOLED + WIDE + (20 << 10), "{first} bytes");
            let more = peak(|| flood(&mut side, 20_000));
            assert_eq!(live() - before, held, "it grows");
            assert!(more <= 20 << 10, "{more} bytes");
        }
    }
}

#[test]
fn a_flood_of_empty_messages_costs_nothing() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let bytes = to(role, TEXT, b"").repeat(2_000);
        let mut flood = |times: usize| {
            let mut messages = 0;
            for _ in 0..times {
                side.fill(&bytes);
                while side.advance() == Ok(Progress::Event) {
                    messages += 1;
                }
            }
            assert_eq!(messages, times * 2_000);
        };
        flood(1);
        let before = counts();
        flood(100);
        assert_eq!(counts().allocations, before.allocations);
        assert_eq!(counts().live, before.live);
    }
}

#[test]
fn a_peer_that_goes_on_sending_after_our_close_costs_one_buffer() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        side.connection.start_close(1000, "", &mut side.out).unwrap();
        let _ = side.take_out();
        let bytes = to(role, BINARY, &[0; 30_000]);
        let most = peak(|| {
            for _ in 0..300 {
                let mut at = 0;
                while at < bytes.len() {
                    at += read(&mut side.input, &bytes[at..], usize::MAX);
                    let _ = side.advance().unwrap();
                }
            }
        });
        assert!(most <= 3 * POOLED, "{most} bytes");
    }
}

/// Some of everything, both ways. The same each time, so that the pool is the same afterwards.
fn traffic(side: &mut Side, large: &Bytes) {
    let role = side.role;
    for size in [0, 5, 4_096, 100_000, MIB] {
        let payload = vec![b'x'; size];
        side.receive(&to(role, TEXT, &payload));
        side.receive(&fragment_to(role, false, BINARY, &payload[..size / 2]));
        side.receive(&to(role, PING, b"?"));
        side.receive(&to(role, CONTINUATION, &payload[size / 2..]));
        side.connection.send(&payload[..], &mut side.out).unwrap();
        let _ = side.take_out();
        side.connection.send_owned(Message::from(large.clone()), &mut side.out).unwrap();
        side.connection.send("behind a large one", &mut side.out).unwrap();
        let _ = side.take_out();
        side.connection.send_part("a", false, &mut side.out).unwrap();
        side.connection.ping(b"", &mut side.out).unwrap();
        side.connection.send_part("b", true, &mut side.out).unwrap();
        drop(side.connection.send_borrowed("c", &mut side.out).unwrap());
        let _ = side.take_out();
    }
    side.events = Vec::new();
    side.input.release();
}

#[test]
fn an_idle_connection_holds_no_heap_after_traffic() {
    let large = Bytes::from(vec![7; 200_000]);
    let config = Config::default();
    for role in ROLES {
        // The first fills the pool.
        traffic(&mut Side::new(role, config.clone()), &large);
        let mut side = Side::new(role, config.clone());
        let before = live();
        traffic(&mut side, &large);
        assert_eq!(live(), before);
        // What is there of the next frame is all that it costs, and where it is.
        side.receive(&to(role, TEXT, b"Hello")[..3]);
        side.input.release();
        assert!(live() - before <= 3 + 64);
        side.receive(&to(role, TEXT, b"Hello")[3..]);
        assert_eq!(side.events, [text("Hello")]);
    }
}

#[test]
fn the_pool_does_not_grow_with_the_number_of_connections() {
    for role in ROLES {
        let before = live();
        let mut sides: Vec<_> = (0..200).map(|_| Side::new(role, Config::default())).collect();
        for side in &mut sides {
            side.receive(&to(role, TEXT, b"Hello"));
            side.connection.send("Hello", &mut side.out).unwrap();
        }
        drop(sides);
        let kept = live() - before;
        assert!(kept <= 16 * (POOLED + WIDE) + 4_096, "{kept} bytes stay");
    }
}

#[test]
fn a_message_is_received_and_sent_back_without_an_allocation() {
    for role in ROLES {
        for size in [5, 1_000, 20_000] {
            for release in [false, true] {
                for vectored in [false, true] {
                    let mut side = Side::new(role, Config::default());
                    let payload = vec![b'x'; size];
                    let bytes = [
                        to(role, TEXT, &payload),
                        fragment_to(role, false, BINARY, &payload[..size / 2]),
                        to(role, CONTINUATION, &payload[size / 2..]),
                    ]
                    .concat();
                    let mut echo = || {
                        let (mut at, mut echoed) = (0, 0);
                        while at < bytes.len() {
                            at += read(&mut side.input, &bytes[at..], usize::MAX);
                            while side.advance() == Ok(Progress::Event) {
                                let event = side.input.event().unwrap();
                                if vectored {
                                    let mut frame = side
                                        .connection
                                        .send_borrowed(event, &mut side.out)
                                        .unwrap();
                                    let n = frame.slices().map(<[u8]>::len).sum();
                                    frame.sent(n);
                                } else {
                                    side.connection.send(event, &mut side.out).unwrap();
                                }
                                echoed += 1;
                                side.out.sent(side.out.len());
                            }
                            if release {
                                side.input.release();
                            }
                        }
                        assert_eq!(echoed, 2);
                    };
                    // The first ones fill the pool.
                    (0..3).for_each(|_| echo());
                    let before = counts().allocations;
                    (0..100).for_each(|_| echo());
                    // A remainder that waits has an allocation of its own, so 20,000 bytes cost one
                    // where the memory is given back in the middle of a message.
                    let count = counts().allocations - before;
                    if !release || size < 20_000 {
                        assert_eq!(count, 0, "{role:?} {size} {release} {vectored}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_message_for_many_is_held_once() {
    const COUNT: usize = 100;
    let payload = Bytes::from(vec![7; MIB]);
    let config = Config::default();
    let mut sides: Vec<_> = (0..COUNT).map(|_| Side::new(Role::Server, config.clone())).collect();
    let before = live();
    for side in &mut sides {
        side.connection.send_owned(Message::from(payload.clone()), &mut side.out).unwrap();
    }
    let each = (live() - before) / COUNT as isize;
    assert!(each <= POOLED + 512, "{each} bytes each");
}

#[test]
fn a_queue_that_never_runs_empty_does_not_keep_what_left() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default());
        let payload = [7; 1_000];
        side.connection.send(&payload[..], &mut side.out).unwrap();
        let most = peak(|| {
            for _ in 0..5_000 {
                side.connection.send(&payload[..], &mut side.out).unwrap();
                side.out.sent(1_004);
            }
        });
        assert!(most <= 4 << 10, "{most} bytes for 5 MB");
    }
}

#[test]
fn a_message_in_parts_costs_one_buffer_whatever_its_size() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default().max_message_size(u64::MAX));
        let len = 64 * MIB;
        side.fill(&header(0x81, role == Role::Server, Form::SixtyFour, len as u64));
        let zeros = vec![0; 1 << 17];
        // A server unmasks the zeros to the key, which is text only with a key that is.
        if role == Role::Server {
            side = Side::new(role, Config::default().max_message_size(u64::MAX));
            let mut head = header(0x81, true, Form::SixtyFour, len as u64);
            let at = head.len() - 4;
            head[at..].copy_from_slice(b"text");
            side.fill(&head);
        }
        let most = peak(|| {
            let (mut sent, mut received) = (0, 0);
            while received < len {
                match side.connection.advance_parts(&mut side.input, &mut side.out) {
                    Ok(Progress::Event) => received += side.input.event().unwrap().as_bytes().len(),
                    Ok(Progress::NeedInput) => {
                        let n = read(&mut side.input, &zeros, len - sent);
                        assert!(n > 0, "{received} of {sent} bytes were lent");
                        sent += n;
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
        assert!(most <= POOLED + WIDE, "{most} bytes");
    }
}

#[test]
fn the_rest_of_a_message_that_is_skipped_costs_one_buffer() {
    for role in ROLES {
        let mut side = Side::new(role, Config::default().max_message_size(u64::MAX));
        let piece = fragment_to(role, false, CONTINUATION, &[0; 30_000]);
        side.fill(&fragment_to(role, false, BINARY, b"begin"));
        let begun = side.connection.advance_parts(&mut side.input, &mut side.out);
        assert_eq!(begun, Ok(Progress::Event));
        let most = peak(|| {
            for _ in 0..300 {
                let mut at = 0;
                while at < piece.len() {
                    at += read(&mut side.input, &piece[at..], usize::MAX);
                    assert_eq!(side.advance(), Ok(Progress::NeedInput));
                }
            }
        });
        assert!(most <= 3 * POOLED, "{most} bytes");
    }
}

#[test]
fn reads_end_where_long_messages_of_one_size_do() {
    for role in ROLES {
        let whole = |len| to(role, BINARY, &vec![7; len]);
        // Fragments of several sizes, and what may come between them.
        let fragments = [
            fragment_to(role, false, BINARY, &[7; 100]),
            fragment_to(role, false, CONTINUATION, &[7; 40 << 10]),
            to(role, PING, b"x"),
            fragment_to(role, false, CONTINUATION, &[]),
            to(role, CONTINUATION, &[7; 20 << 10]),
        ]
        .concat();
        for (message, in_a_read) in [(whole(16 << 10), 7), (whole(64 << 10), 1), (fragments, 2)] {
            let mut side = Side::new(role, Config::default());
            // A peer that always has more, as a full socket buffer has.
            let mut wire = message.iter().copied().cycle();
            let mut reads = 0;
            let (mut received, mut uncut) = (0, 0);
            while reads < 12 {
                match side.advance().unwrap() {
                    Progress::Event => received += 1,
                    Progress::NeedInput => {
                        // The first reads find out how long the messages are.
                        if reads >= 4 && side.input.unread().is_empty() && received == in_a_read {
                            uncut += 1;
                        }
                        (reads, received) = (reads + 1, 0);
                        let space = side.input.space();
                        space.fill_with(|| wire.next().unwrap());
                        let n = space.len();
                        side.input.filled(n);
                    }
                    Progress::Ended => unreachable!("nobody closes"),
                }
            }
            assert_eq!(uncut, 8, "{role:?}, messages of {} bytes", message.len());
            // A shorter read says that there is no more, and what comes then is read as it comes.
            side.input.release();
            let some = side.input.space().len().min(message.len());
            side.input.space()[..some].copy_from_slice(&message[..some]);
            side.input.filled(some);
            assert!(side.input.space().len() >= message.len() - some);
        }
    }
}

#[test]
fn reads_end_where_messages_do_that_are_longer_than_a_buffer() {
    for role in ROLES {
        let fragments = [
            fragment_to(role, false, BINARY, &[7; 100 << 10]),
            fragment_to(role, false, CONTINUATION, &[7; 100 << 10]),
            to(role, CONTINUATION, &[7; 30 << 10]),
        ];
        for message in [fragments.concat(), to(role, BINARY, &[7; 230 << 10])] {
            let mut side = Side::new(role, Config::default());
            let mut wire = message.iter().copied().cycle();
            let (mut came, mut events, mut uncut) = (0, 0, 0);
            while events < 8 {
                match side.advance().unwrap() {
                    Progress::Event => {
                        events += 1;
                        uncut += usize::from(came == events * message.len());
                    }
                    Progress::NeedInput => {
                        let space = side.input.space();
                        space.fill_with(|| wire.next().unwrap());
                        let n = space.len();
                        side.input.filled(n);
                        came += n;
                    }
                    Progress::Ended => unreachable!("nobody closes"),
                }
            }
            // The first shows how long they are.
            assert!(uncut >= 6, "{role:?}: {uncut} of {events}");
        }
    }
}

#[test]
fn a_large_event_is_taken_without_a_copy_of_it() {
    for role in ROLES {
        let payload = vec![7; 10 * MIB];
        let bytes = to(role, BINARY, &payload);
        let config = Config::default().max_message_size(u64::MAX);
        let mut side = Side::new(role, config);
        side.fill(&bytes);
        assert_eq!(side.advance(), Ok(Progress::Event));
        let before = counts().allocated;
        let message = side.input.take_event().unwrap();
        let allocated = counts().allocated - before;
        assert!(allocated <= 1_024, "{allocated} bytes");
        assert!(message.as_bytes() == payload);
        // A small one never holds on to a large buffer.
        let before = live();
        side.receive(&to(role, BINARY, &[7; 100]));
        let message = side.events.pop().unwrap();
        side.events = Vec::new();
        side.input.release();
        assert!(live() - before <= 200 + POOLED, "{} bytes", live() - before);
        assert_eq!(message.as_bytes(), [7; 100]);
    }
}

#[test]
fn an_event_that_fills_most_of_a_pooled_buffer_takes_it_along() {
    let (narrow, wide) = (POOLED as usize, WIDE as usize);
    for role in ROLES {
        for (size, is_copied) in [
            (narrow / 2 - 100, true),
            (narrow / 2 + 100, false),
            (wide / 2 - 100, true),
            (wide / 2 + 100, false),
        ] {
            let mut side = Side::new(role, Config::default());
            let messages = [7, 8].map(|byte| to(role, BINARY, &vec![byte; size]));
            let mut two = || {
                let [first, second] = messages.each_ref().map(|bytes| taken(&mut side, bytes));
                // What a message lies in is lent to no other meanwhile.
                for (message, byte) in [(&first, 7), (&second, 8)] {
                    assert_eq!(message.as_bytes().len(), size);
                    assert!(message.as_bytes().iter().all(|&b| b == byte));
                }
                side.input.release();
            };
            // The first ones fill the pool, to which each buffer comes back.
            (0..3).for_each(|_| two());
            let before = counts().allocated;
            two();
            let allocated = counts().allocated - before;
            let expected = if is_copied { 2 * size..2 * size + 512 } else { 0..512 };
            assert!(expected.contains(&allocated), "{size}: {allocated} bytes");
        }
        // With much of the next message behind it, it is copied.
        let mut side = Side::new(role, Config::default());
        let long = to(role, BINARY, &[7; 70 << 10]);
        side.fill(&[&long[..], &long[..50 << 10]].concat());
        assert_eq!(side.advance(), Ok(Progress::Event));
        let before = counts().allocated;
        drop(side.input.take_event());
        let allocated = counts().allocated - before;
        assert!((70 << 10..71 << 10).contains(&allocated), "{allocated} bytes");
    }
}

/// Receives one message and takes it.
fn taken(side: &mut Side, bytes: &[u8]) -> Message {
    side.fill(bytes);
    assert_eq!(side.advance(), Ok(Progress::Event));
    side.input.take_event().unwrap()
}

#[test]
fn ended_connections_leave_nothing_behind() {
    let config = Config::default();
    let endings: [fn(&mut Side); 5] = [
        |_| (),
        |side| assert!(side.try_receive(&[0xF1]).is_err()),
        |side| side.receive(&to(side.role, CLOSE, &close_payload(1000, b"why"))),
        |side| side.receive(&fragment_to(side.role, false, TEXT, b"open")),
        |side| side.connection.send(&[0; 100_000][..], &mut side.out).unwrap(),
    ];
    for role in ROLES {
        let churn = || {
            for ending in endings {
                let mut side = Side::new(role, config.clone());
                side.receive(&to(role, PING, b"?"));
                side.receive(&to(role, PING, b"?"));
                ending(&mut side);
            }
        };
        churn();
        let before = live();
        (0..20).for_each(|_| churn());
        assert_eq!(live(), before);
    }
}

#[test]
fn keepalive_costs_nothing_while_it_is_off_and_little_while_it_is_on() {
    let heap = |config: Config| {
        let before = live();
        let side = Side::new(Role::Server, config);
        let heap = live() - before;
        drop(side);
        heap
    };
    assert_eq!(heap(Config::default()), 0);
    let second = std::time::Duration::from_secs(1);
    let config = Config::default().ping_interval(second);
    let _other = config.clone();
    let on = heap(config);
    assert!((1..=152).contains(&on), "{on} bytes");
    let config = Config::default().idle_timeout(second);
    let _other = config.clone();
    assert_eq!(heap(config), on);
}

#[test]
fn stats_cost_nothing_while_they_are_off_and_little_while_they_are_on() {
    let heap = |role, config: Config| {
        let before = live();
        let side = Side::new(role, config);
        let heap = live() - before;
        drop(side);
        heap
    };
    let on = Config::default().stats(true);
    let _other = on.clone();
    assert_eq!(heap(Role::Server, Config::default()), 0);
    // The masking keys, in the size class that they always had.
    let client = heap(Role::Client, Config::default());
    assert!((320..=328).contains(&client), "{client} bytes");
    let more = heap(Role::Server, on.clone());
    assert!((1..=SERVER_STATS).contains(&more), "{more} bytes");
    println!("{client} for a client, {more} for a server with stats");
    assert!(heap(Role::Client, on) <= SERVER_STATS);
}

/// What a connection with `Config::stats` has more, as `Config::stats` says.
const SERVER_STATS: isize = 850;
