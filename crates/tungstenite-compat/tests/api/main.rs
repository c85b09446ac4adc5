//! What programs of tungstenite count on, and where this differs from it.

mod closing;
mod frames;
mod opening;
mod talking;
mod values;
mod wire;
