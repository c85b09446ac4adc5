//! What is a reason to connect again, when, and with what.

use std::time::Duration;

use bowline_sse::Reconnect;
use bowline_sse::client::End;
use futures_util::FutureExt;

use crate::{Answer, HEAD, chunk, cut, end, ends, get, hold, post, take, whole};

fn stopped() -> Answer {
    Answer::Close("HTTP/1.1 204 No Content\r\n\r\n".into())
}

#[tokio::test(start_paused = true)]
async fn a_response_that_ended_is_followed_by_the_next_with_the_last_event_id() {
    let first = "id: 1\ndata: a\n\nid: 2\ndata: b\n\n";
    let (source, log) = get([whole(first), whole("data: c\n\n"), hold("id: 3\ndata: d\n\n")]);
    let (mut source, ends) = ends(source);
    assert_eq!(take(&mut source, 4).await, ["a", "b", "c", "d"]);
    let ids = log.header("last-event-id");
    // An event without an id does not make it forget the one of before.
    assert_eq!(ids, [None, Some("2".to_owned()), Some("2".to_owned())]);
    assert_eq!(source.last_event_id(), "3");
    for (end, _) in &*ends.lock().unwrap() {
        assert!(matches!(end, End::Ended { unfinished: false }), "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_cut_is_not_given_and_its_id_does_not_count() {
    let (source, log) = get([
        cut("id: 1\ndata: a\n\nid: 2\ndata: lost\n"),
        whole("data: b\n\nid: 3\ndata: lost"),
        hold("data: c\n\n"),
    ]);
    let (mut source, ends) = ends(source);
    assert_eq!(take(&mut source, 3).await, ["a", "b", "c"]);
    assert_eq!(log.header("last-event-id")[1..], [Some("1".to_owned()), Some("1".to_owned())]);
    let ends = ends.lock().unwrap();
    assert!(matches!(ends[0].0, End::Cut(_)), "{:?}", ends[0]);
    assert!(matches!(ends[1].0, End::Ended { unfinished: true }), "{:?}", ends[1]);
}

#[tokio::test(start_paused = true)]
async fn the_server_says_how_long_to_wait_at_least() {
    let policy = Reconnect::default().max_delay(Duration::from_secs(1));
    // It holds for the connections after the next as well, and without an event.
    let (source, log) = get([
        cut("retry: 5000\n\n"),
        Answer::Unreachable,
        cut("retry: 100\n"),
        hold("data: a\n\n"),
    ]);
    let mut source = source.reconnect(policy);
    assert_eq!(take(&mut source, 1).await, ["a"]);
    let waits = log.waits();
    for wait in &waits[..2] {
        assert!((5_000..=6_100).contains(&wait.as_millis()), "{waits:?}");
    }
    assert!(waits[2] <= Duration::from_millis(1_200), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_server_asked_for_holds_until_it_asks_for_something_else() {
    let policy = Reconnect::default().max_delay(Duration::from_secs(1));
    let (source, log) = get([cut("retry: 5000\n"), cut("data: a\n\n"), hold("data: b\n\n")]);
    take(&mut source.reconnect(policy), 2).await;
    assert!(log.waits().iter().all(|wait| wait.as_secs() >= 5), "{:?}", log.waits());
}

#[tokio::test(start_paused = true)]
async fn attempts_in_an_hour_are_limited() {
    let (source, log) = get([cut(""), cut(""), hold("data: a\n\n")]);
    take(&mut source.reconnect(Reconnect::default().attempts_per_hour(2)), 1).await;
    let all: Duration = log.waits().iter().sum();
    assert!(all.as_secs() >= 3_600, "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn a_response_that_lasted_is_a_success() {
    // Each is held until the client takes the silence for an end.
    let lasting = || hold("data: a\n\n");
    let (source, _) = get([Answer::Unreachable, lasting(), Answer::Unreachable, lasting()]);
    let policy = Reconnect::default().max_attempts(2);
    let mut source = source.reconnect(policy).idle_timeout(Duration::from_secs(60));
    assert_eq!(take(&mut source, 2).await, ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn the_policy_limits_what_a_server_asks_for() {
    let policy = Reconnect::default()
        .max_delay(Duration::from_secs(1))
        .max_retry_after(Duration::from_secs(20));
    let (source, log) = get([cut("retry: 99999999999\n\n"), hold("data: a\n\n")]);
    take(&mut source.reconnect(policy), 1).await;
    assert!((20_000..=21_100).contains(&log.waits()[0].as_millis()), "{:?}", log.waits());
}

#[tokio::test(start_paused = true)]
async fn the_policy_says_when_to_give_up() {
    let answers = [Answer::Unreachable, Answer::Unreachable, Answer::Unreachable];
    let (source, log) = get(answers);
    let (mut source, ends) = ends(source.reconnect(Reconnect::default().max_attempts(3)));
    let end = end(&mut source).await;
    assert!(matches!(&end, End::Unreachable(error) if error.to_string().contains("refused")));
    assert_eq!((log.attempts(), ends.lock().unwrap().len()), (3, 2));
    let told: Vec<_> = ends.lock().unwrap().iter().map(|(_, wait)| wait.as_millis()).collect();
    let waited: Vec<_> = log.waits().iter().map(Duration::as_millis).collect();
    for (told, waited) in told.iter().zip(&waited) {
        // Timers have whole milliseconds.
        assert!(told.abs_diff(*waited) <= 2, "{told} {waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_can_stop_where_a_response_ends_and_go_on_where_it_breaks_off() {
    use bowline::Then;
    let policy = Reconnect::default().on_close(1001..=1001, Then::Stop);
    let (source, _) = get([cut("data: a\n\n"), whole("data: b\n\n")]);
    let mut source = source.reconnect(policy);
    assert_eq!(take(&mut source, 2).await, ["a", "b"]);
    assert!(matches!(end(&mut source).await, End::Ended { unfinished: false }));
}

#[tokio::test(start_paused = true)]
async fn status_204_stops_the_source() {
    let (mut source, log) = get([whole("data: a\n\n"), stopped()]);
    take(&mut source, 1).await;
    assert!(matches!(end(&mut source).await, End::Stopped));
    assert_eq!(log.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_is_given_up_and_made_again() {
    let silent = Answer::Hold(Vec::new());
    let half = Answer::Hold("HTTP/1.1 200 OK\r\nContent-Ty".into());
    let broken = Answer::Close(b"HTTP/1.1 200 OK\r\n".into());
    let (source, log) = get([Answer::Never, silent, half, broken, hold("data: a\n\n")]);
    let (source, ends) = ends(source);
    let mut source = source.connect_timeout(Duration::from_secs(7));
    take(&mut source, 1).await;
    assert_eq!(log.attempts(), 5);
    let ends = ends.lock().unwrap();
    assert!(ends[..3].iter().all(|(end, _)| matches!(end, End::TimedOut)), "{ends:?}");
    assert!(matches!(ends[3].0, End::Unreachable(_)), "{ends:?}");
    for (wait, (_, told)) in log.waits().iter().zip(&ends[..3]) {
        assert!((*wait - *told).as_millis().abs_diff(7_000) <= 2, "{wait:?} {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_an_end_if_the_program_wants_it() {
    let (source, _) = get([hold("id: 1\ndata: a\n\n"), hold("data: b\n\n")]);
    let (source, ends) = ends(source);
    let mut source = source.idle_timeout(Duration::from_secs(45));
    assert_eq!(take(&mut source, 2).await, ["a", "b"]);
    assert!(matches!(ends.lock().unwrap()[0].0, End::Silent));
}

#[tokio::test(start_paused = true)]
async fn comments_are_no_silence() {
    let comments = Answer::Again(HEAD.into(), chunk(": \n\n"), Duration::from_secs(30));
    let (source, log) = get([comments]);
    let mut source = source.idle_timeout(Duration::from_secs(45));
    let waiting = tokio::time::timeout(Duration::from_secs(3_600), source.next());
    assert!(waiting.await.is_err(), "no event, and no end");
    assert_eq!(log.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_timeout_silence_goes_on() {
    let (source, log) = get([hold("data: a\n\n")]);
    let mut source = source.idle_timeout(Duration::MAX).connect_timeout(None);
    take(&mut source, 1).await;
    assert!(tokio::time::timeout(Duration::from_secs(1 << 20), source.next()).await.is_err());
    assert_eq!(log.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_loses_nothing() {
    let (mut source, log) =
        get([Answer::Unreachable, cut("data: a\n\ndata: b\n\n"), hold("data: c\n\ndata: d\n\n")]);
    let mut found = Vec::new();
    while found.len() < 4 {
        // Each future is polled once and dropped.
        match source.next().now_or_never() {
            Some(event) => found.push(event.unwrap().data),
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    assert_eq!(found, ["a", "b", "c", "d"]);
    assert_eq!(log.attempts(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_dropped_closes_its_connection() {
    let (mut source, log) = get([hold("data: a\n\n")]);
    take(&mut source, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(log.gone(), 0);
    drop(source);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(log.gone(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_post_is_not_repeated_once_it_may_have_reached_the_server() {
    let refused = || Answer::Unreachable;
    // Nothing was sent: it is made again.
    let (mut source, log) = post([refused(), refused(), whole("data: a\n\n")]);
    assert_eq!(take(&mut source, 1).await, ["a"]);
    // The end of the answer is its end.
    assert!(matches!(end(&mut source).await, End::Ended { unfinished: false }));
    assert!(log.requests()[0].ends_with("\r\n\r\nwhy?"), "{:?}", log.requests());

    let (mut source, _) = post([cut("data: a\n\n")]);
    take(&mut source, 1).await;
    assert!(matches!(end(&mut source).await, End::Cut(_)));

    // There was no answer, and yet the server may have done it.
    let (mut source, _) = post([Answer::Close(Vec::new())]);
    assert!(matches!(end(&mut source).await, End::Unreachable(_)));
    let (mut source, _) = post([Answer::Hold(Vec::new())]);
    assert!(matches!(end(&mut source).await, End::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_post_is_repeated_if_the_program_says_so() {
    let answers =
        [cut("id: 1\ndata: a\n\n"), Answer::Close(Vec::new()), whole("data: b\n\n"), stopped()];
    let (source, log) = post(answers);
    let mut source = source.repeat(true);
    assert_eq!(take(&mut source, 2).await, ["a", "b"]);
    assert!(matches!(end(&mut source).await, End::Stopped));
    let requests = log.requests();
    assert!(requests.iter().all(|request| request.ends_with("\r\n\r\nwhy?")), "{requests:?}");
    assert_eq!(log.header("last-event-id")[3].as_deref(), Some("1"));
}
