//! The protocol core, in memory and with time as an argument: a file for each section of RFC 6455, or behaviour.

#[path = "../support/mod.rs"]
mod support;

mod battery;
mod completion;
mod debug_output;
mod driver;
mod errors;
mod fairness;
mod keepalive;
mod labels;
mod layers;
mod message;
mod outbox;
mod parts;
mod prepared;
mod properties;
mod rate_limit;
mod raw_frames;
mod rfc6455_10_4_budget;
mod rfc6455_10_4_limits;
mod rfc6455_10_4_pool;
mod rfc6455_5_1_masking;
mod rfc6455_5_2_framing;
mod rfc6455_5_4_fragmentation;
mod rfc6455_5_4_send_frame;
mod rfc6455_5_5_1_close;
mod rfc6455_5_5_control;
mod rfc6455_7_closing;
mod rfc6455_8_1_buffers;
mod rfc6455_8_1_utf8;
mod secrets;
mod send_queue;
mod send_timeout;
mod settings;
mod stats;
mod timers;
mod vectored;
