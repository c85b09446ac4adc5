//! The tasks that wait for one socket.

use core::task::Waker;
use std::boxed::Box;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;
use std::vec::Vec;

/// Who waits for the socket to take bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Receiving,
    Sending(Place),
}

/// Which of the sending halves of a connection waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// That of the half that is no clone. The others are one more than their index among the clones.
    pub(crate) const FIRST: Self = Self(0);
}

/// A socket remembers one waker for writing, but all halves write: this one wakes each of them.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Wakers>);

#[derive(Debug, Default)]
struct Wakers {
    receiving: Option<Waker>,
    sending: Option<Waker>,
    /// Most connections have no clones.
    clones: Option<Box<Clones>>,
}

#[derive(Debug, Default)]
struct Clones {
    wakers: Vec<Option<Waker>>,
    /// The places of clones that were dropped, for the next ones.
    free: Vec<Place>,
}

impl Wakers {
    #[inline]
    fn slot(&mut self, side: Side) -> Option<&mut Option<Waker>> {
        match side {
            Side::Receiving => Some(&mut self.receiving),
            Side::Sending(Place::FIRST) => Some(&mut self.sending),
            Side::Sending(Place(n)) => self.clones.as_mut()?.wakers.get_mut(n as usize - 1),
        }
    }
}

impl Waiters {
    /// No waker is dropped or woken in `run`: that may drop a task, and the half that the task has comes back here.
    #[inline]
    fn with<T>(&self, run: impl FnOnce(&mut Wakers) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[inline]
    pub(crate) fn register(&self, side: Side, waker: &Waker) {
        let replaced = self.with(|wakers| match wakers.slot(side)? {
            Some(known) if known.will_wake(waker) => None,
            slot => slot.replace(waker.clone()),
        });
        drop(replaced);
    }

    fn take(&self, side: Side) -> Option<Waker> {
        self.with(|wakers| wakers.slot(side)?.take())
    }

    pub(crate) fn wake_receiving(&self) {
        if let Some(waker) = self.take(Side::Receiving) {
            waker.wake();
        }
    }

    pub(crate) fn wake_all(&self) {
        let (receiving, sending, clones) = self.with(|wakers| {
            let clones = wakers.clones.as_ref().map_or(0, |clones| clones.wakers.len());
            (wakers.receiving.take(), wakers.sending.take(), clones)
        });
        [receiving, sending].into_iter().flatten().for_each(Waker::wake);
        // Each is looked up once, so one that waits again meanwhile is not woken again.
        for n in 1..=clones {
            if let Some(waker) = self.take(Side::Sending(Place(n as u32))) {
                waker.wake();
            }
        }
    }

    /// A place for a clone.
    pub(crate) fn enter(&self) -> Place {
        self.with(|wakers| {
            let clones = wakers.clones.get_or_insert_default();
            clones.free.pop().unwrap_or_else(|| {
                clones.wakers.push(None);
                Place(clones.wakers.len() as u32)
            })
        })
    }

    /// A half is dropped. What it had registered must not keep its task.
    pub(crate) fn leave(&self, place: Place) {
        let dropped = self.with(|wakers| {
            let waker = wakers.slot(Side::Sending(place))?.take();
            if place != Place::FIRST
                && let Some(clones) = &mut wakers.clones
            {
                clones.free.push(place);
                if clones.free.len() == clones.wakers.len() {
                    wakers.clones = None;
                }
            }
            waker
        });
        drop(dropped);
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::{Wake, Waker};
    use std::vec::Vec;

    use super::{Place, Side, Waiters};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn each_place_has_a_waker_of_its_own_and_gives_it_back() {
        let waiters = Waiters::default();
        let count = Arc::new(Count::default());
        let places: Vec<Place> =
            [Place::FIRST].into_iter().chain((0..3).map(|_| waiters.enter())).collect();
        for &place in &places {
            waiters.register(Side::Sending(place), &Waker::from(Arc::clone(&count)));
        }
        assert_eq!(Arc::strong_count(&count), 5);
        waiters.leave(places[2]);
        assert_eq!(Arc::strong_count(&count), 4, "a half that is gone keeps its task");
        waiters.wake_all();
        assert_eq!((count.0.load(Ordering::SeqCst), Arc::strong_count(&count)), (3, 1));
        // The place goes to the next clone, and the last one to go leaves nothing.
        assert_eq!(waiters.enter(), places[2]);
        places[1..].iter().for_each(|&place| waiters.leave(place));
        assert!(waiters.with(|wakers| wakers.clones.is_none()));
    }

    /// A task that waits again each time it is woken.
    struct Again(Arc<Waiters>, Mutex<Option<Place>>, AtomicUsize);

    impl Wake for Again {
        fn wake(self: Arc<Self>) {
            self.2.fetch_add(1, Ordering::SeqCst);
            let place = *self.1.lock().unwrap();
            let waiters = Arc::clone(&self.0);
            waiters.register(Side::Sending(place.unwrap()), &Waker::from(self));
        }
    }

    #[test]
    fn who_waits_again_at_once_is_woken_once() {
        let waiters = Arc::new(Waiters::default());
        let tasks: Vec<Arc<Again>> = (0..3)
            .map(|_| {
                let place = waiters.enter();
                let task =
                    Again(Arc::clone(&waiters), Mutex::new(Some(place)), AtomicUsize::new(0));
                let task = Arc::new(task);
                waiters.register(Side::Sending(place), &Waker::from(Arc::clone(&task)));
                task
            })
            .collect();
        waiters.wake_all();
        assert!(tasks.iter().all(|task| task.2.load(Ordering::SeqCst) == 1));
        // Breaks the cycles.
        tasks.iter().for_each(|task| waiters.leave(task.1.lock().unwrap().take().unwrap()));
    }

    /// The waker of a task that has a half: when the waker goes, so does the half.
    struct Owner(Arc<Waiters>, Place);

    impl Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Owner {
        fn drop(&mut self) {
            self.0.leave(self.1);
        }
    }

    #[test]
    fn a_half_that_goes_with_a_waker_finds_no_lock_held() {
        let waiters = Arc::new(Waiters::default());
        let owner = || Waker::from(Arc::new(Owner(Arc::clone(&waiters), waiters.enter())));
        waiters.register(Side::Receiving, &owner());
        waiters.register(Side::Receiving, &owner());
        waiters.register(Side::Sending(Place::FIRST), &owner());
        waiters.leave(Place::FIRST);
        waiters.wake_receiving();
        assert!(waiters.with(|wakers| wakers.clones.is_none()));
    }
}
