//! Buffers: where bytes lie, and how much memory they may take.

mod away;
pub(crate) mod budget;
pub(crate) mod held;
pub(crate) mod pool;
pub(crate) mod read_ahead;
pub(crate) mod recv_buf;
pub(crate) mod send_buf;

pub use away::OwnedSpace;
pub use budget::Budget;
pub use recv_buf::RecvBuf;
pub use send_buf::{OwnedPending, SendBuf};
