//! Settings.

use std::cell::RefCell;

use bowline::Config;

/// The settings of a connection. A `None` of a limit is no limit.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WebSocketConfig {
    /// It has no effect: buffers are lent while there are bytes in them. Default 128 KiB.
    pub read_buffer_size: usize,
    /// From how many queued bytes on `write` writes them. Default 128 KiB.
    pub write_buffer_size: usize,
    /// How many bytes may be queued. Beyond, `write` gives the message back. Default: no limit.
    pub max_write_buffer_size: usize,
    /// The most bytes of a received message. Default 64 MiB.
    pub max_message_size: Option<usize>,
    /// The most bytes of a received frame. Default 16 MiB.
    pub max_frame_size: Option<usize>,
    /// Server: take frames without a mask, against RFC 6455 §5.1. Default `false`.
    pub accept_unmasked_frames: bool,
    /// Client: fail with [`NoSubProtocol`](crate::error::SubProtocolError::NoSubProtocol) if the server selects none of the
    /// subprotocols that were offered, as tungstenite does. RFC 6455 §4.2.2 lets a server select none. Default `false`.
    pub require_subprotocol: bool,
    /// Compress messages, if the peer agrees (permessage-deflate, RFC 7692). Default `None`: no compression.
    ///
    /// It is for handshakes of this crate: `accept`, `client`, `connect` and their kin. For a server that answers the
    /// request itself, such as axum, see [`compression`](crate::compression).
    #[cfg(feature = "deflate")]
    pub compression: Option<bowline::Deflate>,
    /// What a handshake of another crate agreed on.
    #[cfg(feature = "deflate")]
    pub(crate) agreed: Option<bowline::Agreed>,
}

impl Default for WebSocketConfig {
    /// Inside of [`compression::Scope`](crate::compression::Scope), with what that agreed on.
    fn default() -> Self {
        let config = Self::NEW;
        #[cfg(feature = "deflate")]
        let config = crate::compression::apply(config);
        config
    }
}

macro_rules! setters {
    ($($name:ident: $type:ty,)*) => {$(
        #[doc = concat!("Sets [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = $name;
            self
        }
    )*};
}

impl WebSocketConfig {
    const NEW: Self = Self {
        read_buffer_size: 128 << 10,
        write_buffer_size: 128 << 10,
        max_write_buffer_size: usize::MAX,
        max_message_size: Some(64 << 20),
        max_frame_size: Some(16 << 20),
        accept_unmasked_frames: false,
        require_subprotocol: false,
        #[cfg(feature = "deflate")]
        compression: None,
        #[cfg(feature = "deflate")]
        agreed: None,
    };

    setters! {
        read_buffer_size: usize,
        write_buffer_size: usize,
        max_write_buffer_size: usize,
        max_message_size: Option<usize>,
        max_frame_size: Option<usize>,
        accept_unmasked_frames: bool,
        require_subprotocol: bool,
    }

    /// Sets [`compression`](Self#structfield.compression).
    #[cfg(feature = "deflate")]
    pub fn compression(mut self, settings: impl Into<Option<bowline::Deflate>>) -> Self {
        self.compression = settings.into();
        self
    }

    pub(crate) fn assert_valid(&self) {
        assert!(
            self.max_write_buffer_size > self.write_buffer_size,
            "max_write_buffer_size must be above write_buffer_size",
        );
    }

    /// The limits of a frame and of a message.
    pub(crate) fn limits(&self) -> [Option<usize>; 2] {
        [self.max_frame_size, self.max_message_size]
    }

    /// What bowline has to know of these settings.
    fn key(&self) -> Key {
        Key {
            limits: self.limits(),
            unmasked: self.accept_unmasked_frames,
            #[cfg(feature = "deflate")]
            compression: self.compression,
        }
    }

    /// The settings for bowline. Connections with the same ones share them, so the last are kept for each thread.
    pub(crate) fn bowline(&self) -> Config {
        thread_local! {
            static LAST: RefCell<Option<(Key, Config)>> = const { RefCell::new(None) };
        }
        let key = self.key();
        let make = || key.config();
        let shared = LAST.try_with(|last| {
            let mut last = last.borrow_mut();
            match &*last {
                Some((known, config)) if *known == key => config.clone(),
                _ => last.insert((key, make())).1.clone(),
            }
        });
        shared.unwrap_or_else(|_| make())
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Key {
    limits: [Option<usize>; 2],
    unmasked: bool,
    #[cfg(feature = "deflate")]
    compression: Option<bowline::Deflate>,
}

impl Key {
    fn config(&self) -> Config {
        let [frame, message] =
            self.limits.map(|limit| limit.map_or(u64::MAX, |limit| limit as u64));
        let config = Config::default()
            .max_frame_size(frame)
            .max_message_size(message)
            .accept_unmasked_frames(self.unmasked)
            // `max_write_buffer_size` is counted in another way.
            .max_send_queue(usize::MAX)
            .report_control_frames(true)
            // Programs that check origins do it in their callback.
            .allow_any_origin()
            // What tungstenite takes.
            .max_headers(crate::handshake::headers::MAX_HEADERS)
            .max_head_size(64 << 10);
        #[cfg(feature = "deflate")]
        let config = config.deflate(self.compression);
        config
    }
}
