//! A reason to try now.

use core::fmt;
use core::task::Waker;
use core::time::Duration;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Ends the wait of a client that connects again, from any thread or task: the network is back, or a user asks for it.
///
/// ```
/// # fn watch(nudge: bowline::Nudge, network_is_back: impl Fn()) {
/// std::thread::spawn(move || loop {
/// #   let network_is_back = || ();
///     network_is_back();
///     nudge.nudge();
/// });
/// # }
/// ```
///
/// It does not shorten what the server asked for (`Retry-After`, close code 1013), nor the wait for
/// [`Reconnect::attempts_per_hour`](crate::Reconnect::attempts_per_hour). During an attempt, it ends the wait that follows if
/// the attempt fails. While a session is open it has no effect, but on the waits for its successor.
#[derive(Clone, Default)]
pub struct Nudge(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    nudged: Condvar,
}

#[derive(Default)]
struct State {
    is_nudged: bool,
    waker: Option<Waker>,
}

impl Nudge {
    /// Ends the wait.
    pub fn nudge(&self) {
        let mut state = self.lock();
        state.is_nudged = true;
        let waker = state.waker.take();
        drop(state);
        self.0.nudged.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it was nudged since the last call.
    pub(super) fn take(&self) -> bool {
        core::mem::take(&mut self.lock().is_nudged)
    }

    /// Wakes this task at the next nudge. Ask what to do after this call, not before.
    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    pub(crate) fn register(&self, waker: &Waker) {
        self.lock().waker = Some(waker.clone());
    }

    /// Waits at most this long.
    pub(crate) fn wait(&self, time: Duration) {
        let state = self.lock();
        let waited = self.0.nudged.wait_timeout_while(state, time, |state| !state.is_nudged);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Nudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nudge").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wait without an end would not come back.
    #[test]
    fn a_thread_waits_until_the_nudge() {
        let nudge = Nudge::default();
        let other = nudge.clone();
        let nudging = std::thread::spawn(move || other.nudge());
        nudge.wait(Duration::from_secs(1_000_000));
        assert!(nudge.take() && !nudge.take());
        nudging.join().unwrap();
        // One that came before the wait is not lost.
        nudge.nudge();
        nudge.wait(Duration::from_secs(1_000_000));
    }
}
