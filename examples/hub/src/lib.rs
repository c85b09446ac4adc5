//! Topics with members, on one node or on many.
//!
//! A [`Hub`] is what the servers of the examples share: a chat's rooms, and the channels of ActionCable, Phoenix and Pusher are topics.
//! It knows no WebSocket. A session [joins](Hub::join) a topic, takes [events](Member::next) from it, and sends them in its own way.
//!
//! ```text
//! session ── Member ──┐
//! session ── Member ──┤ topic: a task ──┬── own members, at once
//! session ── Member ──┘                 └── Broker: memory, SQLite, Redis, NATS ── other nodes
//! ```
//!
//! What holds:
//!
//! - *One order.* The broker numbers the messages of a topic. All members on all nodes get the numbered messages in that order, each once.
//! - *Own members first.* They get a message as soon as it has its number, before it comes back from the broker.
//! - *No silent gap.* A node that missed messages reads them from the broker. If the broker has them no longer, members are told by
//!   [`Event::CatchUp`].
//! - *A broker that is away stops nobody.* The members of a node go on talking among themselves, and are told by [`Event::Reachable`]. What is
//!   said meanwhile comes without a number, and gets it when the broker is back ([`Event::Settled`]).
//! - *A slow member delays nobody.* Its queue is bounded. When it is full, the member gets what is in it and then the end.
//! - *Presence is a lease.* Each node says who is on it. Who is on a node that has died is gone when the lease has run out.

pub mod broker;
mod event;
mod member;
mod node;
mod presence;
mod seats;
mod topic;

pub use event::{Draft, Event, Message, ParsePositionError, Person, Position, Published};
pub use member::Member;
pub use node::{Connect, History, Hub, Settings};
pub use seats::Seats;

/// The broker cannot be reached, or did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away;

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the broker cannot be reached")
    }
}

impl std::error::Error for Away {}
