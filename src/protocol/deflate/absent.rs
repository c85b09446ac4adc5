//! A build without compression. Nothing is ever agreed on, so there is no [`Side`], and a function that takes
//! one is never called.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Inflated, Parameter};
use crate::protocol::config::Config;
use crate::protocol::error::Rule;
use crate::protocol::recv::Role;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Agreed {}

impl Agreed {
    pub(crate) fn sides(self, _role: Role) -> (Side, Side) {
        match self {}
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {}

#[derive(Debug, Default)]
pub(crate) struct Inflating {}

impl Inflating {
    pub(crate) fn begin_frame(&mut self, peer: Side, _offset: u64) {
        match peer {}
    }

    pub(crate) fn frame_offset(&self) -> u64 {
        0
    }

    pub(crate) fn inflated(&self) -> u64 {
        0
    }

    pub(crate) fn kept(&self) -> usize {
        0
    }

    pub(crate) fn unmasked(&self) -> usize {
        0
    }

    pub(crate) fn set_unmasked(&mut self, _n: usize) {}

    pub(crate) fn allowance(&self, _wire: u64, _config: &Config) -> u64 {
        0
    }

    pub(crate) fn inflate(&mut self, _input: &[u8], _output: &mut [u8], _frames: u32) -> Inflated {
        Inflated::default()
    }

    pub(crate) fn finish(&mut self) -> Result<(), Rule> {
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Deflating {}

impl Deflating {
    pub(crate) fn deflate(
        &mut self,
        side: Side,
        _payload: &[u8],
        _last: bool,
        _config: &Config,
        _out: &mut Vec<u8>,
    ) {
        match side {}
    }

    pub(crate) fn deflate_alone(side: Side, _payload: &[u8], _config: &Config, _out: &mut Vec<u8>) {
        match side {}
    }

    pub(crate) fn sent_alone(&mut self, side: Side, _payload: &[u8]) {
        match side {}
    }
}

#[derive(Default)]
pub(crate) struct PreparedFrames {}

impl PreparedFrames {
    pub(crate) fn get(&self, side: Side, _encode: impl FnOnce() -> Bytes) -> Bytes {
        match side {}
    }
}

pub(crate) fn is_worth(_len: usize, _config: &Config) -> bool {
    false
}

pub(crate) fn offer(_config: &Config) -> Option<String> {
    None
}

pub(crate) fn accept<'a>(
    _config: &Config,
    _offer: impl Iterator<Item = Parameter<'a>>,
) -> Option<(Agreed, String)> {
    None
}

pub(crate) fn check<'a>(
    _config: &Config,
    _answer: impl Iterator<Item = Parameter<'a>>,
) -> Option<Agreed> {
    None
}
