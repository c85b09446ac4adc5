//! An echo server's protocol for a program without std. That it links is the test: a staticlib that
//! pulled in std would define the panic handler twice.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use bowline::handshake::{Accept, ServerHandshake};
use bowline::{Config, Connection, Progress, RecvBuf, SendBuf};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

const HEAP: usize = 1 << 20;

/// Hands out memory once and never takes it back: enough to link.
struct Bump {
    heap: UnsafeCell<[u8; HEAP]>,
    next: AtomicUsize,
}

// SAFETY: each byte of the heap is handed out at most once, by an atomic counter.
unsafe impl Sync for Bump {}

// SAFETY: the blocks are aligned, inside the heap, and never overlap.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let need = layout.size() + layout.align();
        let at = self.next.fetch_add(need, Ordering::Relaxed);
        if at + need > HEAP {
            return core::ptr::null_mut();
        }
        let start = self.heap.get().cast::<u8>().wrapping_add(at);
        start.wrapping_add(start.align_offset(layout.align()))
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump { heap: UnsafeCell::new([0; HEAP]), next: AtomicUsize::new(0) };

/// A server's end of one connection.
pub struct Echo {
    handshake: ServerHandshake,
    connection: Option<Connection>,
    input: RecvBuf,
    out: SendBuf,
}

impl Echo {
    /// Takes bytes from the transport; false once there is nothing more to expect.
    fn feed(&mut self, bytes: &[u8], config: &Config) -> bool {
        let room = self.input.space();
        let n = bytes.len().min(room.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.input.filled(n);
        let Some(connection) = &mut self.connection else {
            return match self.handshake.read(&mut self.input) {
                Ok(None) => true,
                Ok(Some(request)) => {
                    let accepted = request
                        .upgrade(config)
                        .ok()
                        .and_then(|upgrade| upgrade.accept(Accept::new()).ok());
                    self.connection = accepted.map(|(connection, response)| {
                        response.encode(&mut self.out);
                        connection
                    });
                    self.connection.is_some()
                }
                Err(error) => {
                    error.response().encode(&mut self.out);
                    false
                }
            };
        };
        loop {
            match connection.advance(&mut self.input, &mut self.out) {
                Ok(Progress::Event) => {
                    if let Some(event) = self.input.event() {
                        let _ = connection.send(event, &mut self.out);
                    }
                }
                Ok(Progress::NeedInput) => {
                    connection.on_time(Duration::ZERO, &self.input, &mut self.out);
                    return true;
                }
                Ok(Progress::Ended) | Err(_) => return false,
            }
        }
    }
}

/// # Safety
///
/// `bytes` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bowline_echo(bytes: *const u8, len: usize) -> usize {
    let config = Config::default();
    let mut echo = Echo {
        handshake: ServerHandshake::new(config.clone()),
        connection: None,
        input: RecvBuf::new(),
        out: SendBuf::new(),
    };
    // SAFETY: the caller's promise.
    echo.feed(unsafe { core::slice::from_raw_parts(bytes, len) }, &config);
    echo.out.len()
}
