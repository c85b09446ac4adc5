//! Opcodes and close codes, by name.

use std::fmt;

/// The opcode of a frame (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpCode {
    /// Of a frame with a message, or a part of one.
    Data(Data),
    /// Of a frame between messages.
    Control(Control),
}

/// The opcode of a data frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// 0: it continues a message.
    Continue,
    /// 1.
    Text,
    /// 2.
    Binary,
    /// 3 to 7.
    Reserved(u8),
}

/// The opcode of a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// 8.
    Close,
    /// 9.
    Ping,
    /// 10.
    Pong,
    /// 11 to 15.
    Reserved(u8),
}

macro_rules! display_as_debug {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    )*};
}

display_as_debug!(OpCode, Data, Control);

impl From<OpCode> for u8 {
    fn from(opcode: OpCode) -> Self {
        match opcode {
            OpCode::Data(Data::Continue) => 0,
            OpCode::Data(Data::Text) => 1,
            OpCode::Data(Data::Binary) => 2,
            OpCode::Control(Control::Close) => 8,
            OpCode::Control(Control::Ping) => 9,
            OpCode::Control(Control::Pong) => 10,
            OpCode::Data(Data::Reserved(number)) | OpCode::Control(Control::Reserved(number)) => {
                number
            }
        }
    }
}

impl From<u8> for OpCode {
    /// Only the lowest four bits count, because an opcode has no more.
    fn from(byte: u8) -> Self {
        match byte & 0x0F {
            0 => Self::Data(Data::Continue),
            1 => Self::Data(Data::Text),
            2 => Self::Data(Data::Binary),
            number @ 3..8 => Self::Data(Data::Reserved(number)),
            8 => Self::Control(Control::Close),
            9 => Self::Control(Control::Ping),
            10 => Self::Control(Control::Pong),
            number => Self::Control(Control::Reserved(number)),
        }
    }
}

/// The code of a Close (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: the purpose is fulfilled.
    Normal,
    /// 1001: this side goes away.
    Away,
    /// 1002: the peer broke a rule.
    Protocol,
    /// 1003: a type of data that this side does not take.
    Unsupported,
    /// 1005: the Close had no code. It is never sent.
    Status,
    /// 1006: there was no Close. It is never sent.
    Abnormal,
    /// 1007: data that does not fit its type.
    Invalid,
    /// 1008: against a policy.
    Policy,
    /// 1009: a message that is too big.
    Size,
    /// 1010: the server did not agree to an extension.
    Extension,
    /// 1011: the server met a condition that it did not expect.
    Error,
    /// 1012: the server starts again.
    Restart,
    /// 1013: try again later.
    Again,
    /// 1015: TLS failed. It is never sent.
    #[doc(hidden)]
    Tls,
    /// 1016 to 2999.
    #[doc(hidden)]
    Reserved(u16),
    /// 3000 to 3999: registered with IANA.
    Iana(u16),
    /// 4000 to 4999: for private use.
    Library(u16),
    /// Any other number.
    #[doc(hidden)]
    Bad(u16),
}

impl CloseCode {
    /// Whether the code may stand in a Close.
    pub fn is_allowed(self) -> bool {
        !matches!(
            self,
            Self::Bad(_) | Self::Reserved(_) | Self::Status | Self::Abnormal | Self::Tls
        )
    }
}

/// The codes that have a name.
const NAMED: [(u16, CloseCode); 14] = [
    (1000, CloseCode::Normal),
    (1001, CloseCode::Away),
    (1002, CloseCode::Protocol),
    (1003, CloseCode::Unsupported),
    (1005, CloseCode::Status),
    (1006, CloseCode::Abnormal),
    (1007, CloseCode::Invalid),
    (1008, CloseCode::Policy),
    (1009, CloseCode::Size),
    (1010, CloseCode::Extension),
    (1011, CloseCode::Error),
    (1012, CloseCode::Restart),
    (1013, CloseCode::Again),
    (1015, CloseCode::Tls),
];

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Reserved(code)
            | CloseCode::Iana(code)
            | CloseCode::Library(code)
            | CloseCode::Bad(code) => code,
            named => NAMED.iter().find(|(_, code)| *code == named).map_or(0, |(number, _)| *number),
        }
    }
}

impl From<&CloseCode> for u16 {
    fn from(code: &CloseCode) -> Self {
        (*code).into()
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        match NAMED.iter().find(|(number, _)| *number == code) {
            Some((_, named)) => *named,
            None => match code {
                1016..3000 => Self::Reserved(code),
                3000..4000 => Self::Iana(code),
                4000..5000 => Self::Library(code),
                _ => Self::Bad(code),
            },
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u16::from(self).fmt(f)
    }
}
