//! What `{:?}` shows: nothing that was received or is to be sent.

mod common;

use bowline::{Config, Role};
use common::*;

#[test]
fn buffers_do_not_show_their_content() {
    for role in ROLES {
        let secret = b"SECRETSECRETSECRETSECRET";
        let mut side = Side::new(role, Config::default());
        side.fill(&to(role, false, BINARY, secret));
        assert_eq!(side.advance(), Ok(bowline::Progress::NeedInput));
        side.connection.send(&secret[..], &mut side.out).unwrap();
        side.receive(&to(role, true, PING, secret));
        let shown = format!("{:?} {:?} {:?}", side.connection, side.input, side.out);
        for form in [format!("{secret:?}"), "SECRET".to_string()] {
            let form = form.trim_matches(['[', ']']);
            // A client's queue is masked, but what is masked with a key beside it is not hidden.
            assert!(!shown.contains(form), "{role:?} {} characters", shown.len());
        }
        assert!(shown.len() < 4_000, "{} characters", shown.len());
    }
}

#[test]
fn a_buffer_does_not_show_what_another_connection_left_in_it() {
    let secret = b"SECRETSECRETSECRETSECRET";
    let mut one = Side::new(Role::Client, Config::default());
    one.receive(&to(Role::Client, true, BINARY, secret));
    drop(one);
    let mut other = Side::new(Role::Client, Config::default());
    other.fill(b"\x81");
    let shown = format!("{:?}", other.input);
    assert!(!shown.contains(format!("{secret:?}").trim_matches(['[', ']'])));
}
