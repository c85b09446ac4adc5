//! The timer of a message goes with it. tokio alone shows that here: futures-timer frees its timers in a thread of its own,
//! which the counts of this thread do not see.

#![cfg(feature = "tokio")]

use crate::counting::live;
use crate::on_tokio::at_rest::{echo, hundred, open};
use crate::support::*;
use bowline::Config;

#[test]
fn the_timer_of_a_message_that_came_in_two_pieces_goes_with_it() {
    for role in ROLES {
        let wire = to(role, BINARY, &[7; 1024]);
        // The thread's pool holds one buffer of each kind from here on.
        let (mut warm, warm_stream) = open(role, &Config::default(), 2048);
        warm_stream.push(&wire);
        assert_eq!(echo(&mut warm), 1);

        let mut idle = hundred(role);
        let baseline = live();
        for (ws, stream) in &mut idle {
            stream.push(&wire[..500]);
            assert_eq!(echo(ws), 0);
            stream.push(&wire[500..]);
            assert_eq!(echo(ws), 1);
        }
        assert_eq!(live() - baseline, 0, "bytes that 100 idle connections hold");
    }
}
