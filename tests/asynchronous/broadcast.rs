//! One message to many connections, some of which do not read.

use bowline::handshake::ClientRequest;
use bowline::{Config, End, Error, Message, Prepared, Timeout};
use smol::future::{yield_now, zip};
use tokio::io::DuplexStream;

use super::adapter::*;

type Stream = Wrapped<DuplexStream>;

/// Both ends of a connection over a stream that holds so many bytes for each of them.
async fn pair(capacity: usize, config: &Config) -> (WebSocket<Stream>, WebSocket<Stream>) {
    let (near, far) = tokio::io::duplex(capacity);
    let request = ClientRequest::new("ws://localhost/").unwrap();
    let (server, client) =
        zip(accept(wrap(near), config.clone()), client(wrap(far), &request, config.clone())).await;
    (server.unwrap(), client.unwrap().0)
}

/// A member whose connection is served until it ends, which gives how.
struct Served {
    member: Member,
    sender: SendHalf<Stream>,
    end: Task<Result<(), Error>>,
}

fn serve(group: &Broadcast, server: WebSocket<Stream>) -> Served {
    let (sender, mut receiver): (_, RecvHalf<_>) = server.split();
    let member = group.join(&sender);
    let end = start_task(async move {
        while receiver.recv().await?.is_some() {}
        Ok(())
    });
    Served { member, sender, end }
}

fn numbered(i: u32) -> Message {
    Message::from(format!("{i:>8} {}", "x".repeat(1000)))
}

fn number(message: &Message) -> u32 {
    message.as_text().unwrap()[..8].trim().parse().unwrap()
}

#[test]
fn every_member_gets_every_message_in_order() {
    block_on(async {
        let configs = [
            Config::default(),
            #[cfg(feature = "deflate")]
            Config::default().deflate(bowline::Deflate::default()),
            #[cfg(feature = "deflate")]
            Config::default().deflate(bowline::Deflate::high_compression()),
            #[cfg(feature = "deflate")]
            Config::default().deflate(bowline::Deflate::low_memory()),
        ];
        let group = Broadcast::new(SlowPeer::Drop);
        let (mut served, mut readers) = (Vec::new(), Vec::new());
        // More than one turn of the group's.
        for i in 0..150 {
            let (server, mut client) = pair(64 << 10, &configs[i % configs.len()]).await;
            served.push(serve(&group, server));
            readers.push(start_task(async move {
                for i in 0..50 {
                    assert_eq!(client.recv().await.unwrap(), Some(numbered(i)));
                }
                client
            }));
        }
        assert_eq!(group.len(), 150);
        for i in 0..50 {
            let delivery = group.send(numbered(i)).await;
            assert_eq!((delivery.sent, delivery.dropped), (150, 0));
        }
        for reader in readers {
            reader.await;
        }
        drop(served);
        assert!(group.is_empty());
    });
}

#[test]
fn a_member_may_send_messages_of_its_own_between() {
    block_on(async {
        let config = Config::default();
        #[cfg(feature = "deflate")]
        let config = config.deflate(bowline::Deflate::default());
        let group = Broadcast::new(SlowPeer::Drop);
        let (server, mut client) = pair(64 << 10, &config).await;
        let mut served = serve(&group, server);
        for i in 0..40 {
            if i % 3 == 0 {
                served.sender.send(numbered(i)).await.unwrap();
            } else {
                group.send(numbered(i)).await;
            }
            assert_eq!(client.recv().await.unwrap(), Some(numbered(i)));
        }
    });
}

#[test]
fn a_member_with_a_send_queue_of_zero_gets_one_message_at_a_time() {
    block_on(async {
        for slow in [SlowPeer::Drop, SlowPeer::Skip, SlowPeer::KeepNewest] {
            let group = Broadcast::new(slow);
            let (server, mut client) = pair(64 << 10, &Config::default().max_send_queue(0)).await;
            let served = serve(&group, server);
            for i in 0..3 {
                assert_eq!(group.send(numbered(i)).await.sent, 1, "{slow:?}");
                assert_eq!(client.recv().await.unwrap(), Some(numbered(i)));
            }
            drop(served);
        }
    });
}

#[test]
fn a_member_whose_queue_is_full_below_the_mark_is_slow_too() {
    block_on(async {
        let config = Config::default().max_send_queue(8 << 10);
        for slow in [SlowPeer::Drop, SlowPeer::Skip, SlowPeer::KeepNewest] {
            let group = Broadcast::with_high_water_mark(slow, 1 << 20);
            let (server, _stuck) = pair(4 << 10, &config).await;
            let served = serve(&group, server);
            let mut last = Delivery::default();
            for i in 0..20 {
                last = group.send(numbered(i)).await;
                assert!(served.member.queued() <= (8 << 10) + 1_020);
                if last.sent == 0 {
                    break;
                }
            }
            let slow_ones = match slow {
                SlowPeer::Drop => last.dropped,
                SlowPeer::Skip => last.skipped,
                _ => last.kept,
            };
            assert_eq!(slow_ones, 1, "{slow:?}: {last:?}");
        }
    });
}

/// Sends to one member that does not read and one that does, until the first is slow and on.
async fn with_a_stuck_member(
    slow: SlowPeer,
    rounds: u32,
) -> (Broadcast, Served, WebSocket<Stream>, Vec<Delivery>) {
    let config = Config::default();
    let mark = 16 << 10;
    let group = Broadcast::with_high_water_mark(slow, mark);
    let (server, stuck) = pair(4 << 10, &config).await;
    let served = serve(&group, server);
    let (server, mut reading) = pair(4 << 10, &config).await;
    let other = serve(&group, server);
    let mut deliveries = Vec::new();
    for i in 0..rounds {
        deliveries.push(group.send(numbered(i)).await);
        // The one that reads misses nothing, whatever the other does.
        assert_eq!(reading.recv().await.unwrap(), Some(numbered(i)));
        let longest = mark + 1100;
        assert!(served.member.queued() <= longest, "{}", served.member.queued());
        assert_eq!(group.queued().into_iter().max(), Some(served.member.queued()));
    }
    assert_eq!(other.member.queued(), 0);
    (group, served, stuck, deliveries)
}

#[test]
fn a_slow_member_misses_what_does_not_fit() {
    block_on(async {
        let (_, served, mut stuck, deliveries) = with_a_stuck_member(SlowPeer::Skip, 100).await;
        let skipped: usize = deliveries.iter().map(|delivery| delivery.skipped).sum();
        assert!((70..90).contains(&skipped), "{skipped}");
        drop(served.member);
        drop(served.sender);
        // What was sent before is there, whole and in order.
        for i in 0..100 - skipped as u32 {
            assert_eq!(stuck.recv().await.unwrap(), Some(numbered(i)));
        }
        assert!(stuck.close(1000, "").await.unwrap().end.is_clean());
        served.end.await.unwrap();
    });
}

#[test]
fn a_slow_member_gets_the_newest_message_in_the_end() {
    block_on(async {
        let (group, served, mut stuck, deliveries) =
            with_a_stuck_member(SlowPeer::KeepNewest, 100).await;
        let kept = deliveries.iter().filter(|delivery| delivery.kept == 1).count() as u32;
        assert!((70..90).contains(&kept), "{kept}");
        // It reads on, so that its queue is below the mark again and not empty.
        let mut last = stuck.recv().await.unwrap().as_ref().map(number);
        for _ in 0..6 {
            last = stuck.recv().await.unwrap().as_ref().map(number);
        }
        yield_now().await;
        assert!((1..16 << 10).contains(&served.member.queued()));
        // What is newer takes the place of what was kept, it does not overtake it.
        assert_eq!(group.send(numbered(100)).await.kept, 1);
        while last != Some(100) {
            let next = stuck.recv().await.unwrap().as_ref().map(number);
            assert!(next > last && next != Some(99), "{next:?} behind {last:?}");
            last = next;
        }
        assert!(stuck.close(1000, "").await.unwrap().end.is_clean());
        served.end.await.unwrap();
    });
}

#[test]
fn a_slow_member_is_dropped() {
    block_on(async {
        let (_, served, mut stuck, deliveries) = with_a_stuck_member(SlowPeer::Drop, 100).await;
        let dropped: usize = deliveries.iter().map(|delivery| delivery.dropped).sum();
        assert_eq!(dropped, 1);
        assert!(deliveries.last().unwrap().refused == 1);
        match served.end.await {
            Err(Error::Ended(End::TimedOut(Timeout::Send))) => {}
            other => panic!("{other:?}"),
        }
        drop(served.sender);
        drop(served.member);
        // It sees the stream end, without a Close.
        let error = loop {
            if let Err(error) = stuck.recv().await {
                break error;
            }
        };
        assert!(matches!(error, Error::Ended(End::PeerGone(_))), "{error:?}");
    });
}

#[test]
fn a_stuck_member_delays_nobody_and_what_waits_for_it_is_bounded() {
    block_on(async {
        const FRAME: usize = 4 + 8 + 1 + 1000;
        let config = Config::default();
        let mark = 16 << 10;
        for slow in [SlowPeer::Drop, SlowPeer::Skip, SlowPeer::KeepNewest] {
            let group = Broadcast::with_high_water_mark(slow, mark);
            // The first that is sent to, with more than a turn of others behind it.
            let (server, _never_read) = pair(4 << 10, &config).await;
            let stuck = serve(&group, server);
            let (mut served, mut clients) = (Vec::new(), Vec::new());
            for _ in 0..100 {
                let (server, client) = pair(4 << 10, &config).await;
                served.push(serve(&group, server));
                clients.push(client);
            }
            let mut longest = 0;
            for i in 0..40 {
                let delivery = group.send(numbered(i)).await;
                assert!(delivery.sent >= clients.len(), "{slow:?}: {delivery:?}");
                for client in &mut clients {
                    assert_eq!(client.recv().await.unwrap(), Some(numbered(i)));
                }
                longest = longest.max(stuck.member.queued());
            }
            // Full to the mark, and not more than the message beyond it that found room.
            assert!((mark + 1..=mark + FRAME).contains(&longest), "{slow:?}: {longest}");
            let left = if slow == SlowPeer::Drop { 0 } else { longest };
            assert_eq!(stuck.member.queued(), left, "{slow:?}");
        }
    });
}

#[test]
fn who_has_left_gets_nothing_and_the_place_is_taken_again() {
    block_on(async {
        let config = Config::default();
        let group = Broadcast::new(SlowPeer::Skip);
        let (server, mut first) = pair(4 << 10, &config).await;
        let one = serve(&group, server);
        let (server, mut second) = pair(4 << 10, &config).await;
        let two = serve(&group, server);
        group.send("both").await;
        drop(one.member);
        assert_eq!(group.len(), 1);
        assert_eq!(group.send("second").await.sent, 1);
        let (server, mut third) = pair(4 << 10, &config).await;
        let three = serve(&group, server);
        assert_eq!(group.send("second and third").await.sent, 2);
        drop((one.sender, two, three));
        let mut got = Vec::new();
        for client in [&mut first, &mut second, &mut third] {
            assert!(client.start_close(1000, "").await.is_ok());
            let mut texts = Vec::new();
            while let Ok(Some(message)) = client.recv().await {
                texts.push(message.as_text().unwrap().to_string());
            }
            got.push(texts);
        }
        assert_eq!(got[0], ["both"]);
        assert_eq!(got[1], ["both", "second", "second and third"]);
        assert_eq!(got[2], ["second and third"]);
    });
}

#[test]
fn an_ended_connection_or_an_open_message_is_refused() {
    block_on(async {
        let config = Config::default();
        let group = Broadcast::new(SlowPeer::Skip);
        let (server, mut client) = pair(4 << 10, &config).await;
        let mut served = serve(&group, server);
        served.sender.send_part("begun ", false).await.unwrap();
        assert_eq!(group.send(Prepared::new("refused")).await.refused, 1);
        served.sender.send_part("ended", true).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some("begun ended".into()));
        assert!(client.close(1000, "").await.unwrap().end.is_clean());
        served.end.await.unwrap();
        assert_eq!(group.send("too late").await.refused, 1);
    });
}

#[test]
fn readiness_tells_when_a_feed_does_not_wait() {
    block_on(async {
        let config = Config::default().max_send_queue(10_000);
        let (mut server, mut client) = pair(1000, &config).await;
        // A feed does not wait while there is room, whoever reads.
        for i in 0..10 {
            server.ready().await.unwrap();
            server.feed(numbered(i)).await.unwrap();
        }
        assert!(server.queued() >= 9_000, "{}", server.queued());
        let reader = start_task(async move {
            for i in 0..12 {
                assert_eq!(client.recv().await.unwrap(), Some(numbered(i)));
            }
        });
        for i in 10..12 {
            server.ready().await.unwrap();
            assert!(server.queued() < 10_000);
            server.feed(numbered(i)).await.unwrap();
        }
        server.flush().await.unwrap();
        assert_eq!(server.queued(), 0);
        reader.await;
    });
}
