//! Text in shared storage.

use std::hash::{Hash, Hasher};
use std::str::Utf8Error;
use std::{borrow::Borrow, fmt, ops::Deref};

use bowline::Text;
use bytes::{Bytes, BytesMut};

/// UTF-8 text in shared storage. A clone copies no text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Utf8Bytes(pub(crate) Text);

impl Utf8Bytes {
    /// Text that lives as long as the program.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Text::from_static(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Bytes that the caller knows to be UTF-8. They are checked all the same, and what is not UTF-8 is replaced.
    ///
    /// # Safety
    ///
    /// None is needed. The function is unsafe because programs call it in an `unsafe` block.
    #[allow(unsafe_code)]
    pub unsafe fn from_bytes_unchecked(bytes: Bytes) -> Self {
        let text = Text::from_utf8(bytes.clone());
        Self(text.unwrap_or_else(|_| Text::from(&*String::from_utf8_lossy(&bytes))))
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for Utf8Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.shared()
    }
}

impl AsRef<str> for Utf8Bytes {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<Bytes> for Utf8Bytes {
    fn as_ref(&self) -> &Bytes {
        self.0.shared()
    }
}

impl Borrow<str> for Utf8Bytes {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Hash for Utf8Bytes {
    /// As the text, because of `Borrow<str>`.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialOrd for Utf8Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Utf8Bytes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl<T> PartialEq<T> for Utf8Bytes
where
    for<'a> &'a str: PartialEq<T>,
{
    fn eq(&self, other: &T) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Utf8Bytes").field(&self.as_str()).finish()
    }
}

macro_rules! from {
    (bytes: $($bytes:ty),*; text: $($text:ty),*) => {
        $(impl TryFrom<$bytes> for Utf8Bytes {
            type Error = Utf8Error;

            fn try_from(bytes: $bytes) -> Result<Self, Utf8Error> {
                Text::from_utf8(bytes.into()).map(Self)
            }
        })*
        $(impl From<$text> for Utf8Bytes {
            fn from(text: $text) -> Self {
                Self(text.into())
            }
        })*
    };
}

from!(bytes: Bytes, BytesMut, Vec<u8>; text: String, &str);

impl From<&String> for Utf8Bytes {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Utf8Bytes> for Bytes {
    fn from(text: Utf8Bytes) -> Self {
        text.0.into_bytes()
    }
}
