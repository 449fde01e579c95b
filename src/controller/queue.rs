//! The queue of applications that want to be looked at.
//!
//! Each application is in it at most once, with the strongest level that was asked for, and is worked on by one task
//! at a time; what is asked for meanwhile is done after. So the queue is as long as there are applications, and an
//! application that hangs holds up nobody but itself.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// A queue of keys with a level each.
pub struct Queue<K, L> {
    state: Mutex<State<K, L>>,
    wake: Notify,
}

struct State<K, L> {
    /// What is wanted of each key, and when.
    wanted: HashMap<K, Wanted<L>>,
    running: HashSet<K>,
    due: BinaryHeap<Reverse<(Instant, u64, K)>>,
    sequence: u64,
}

struct Wanted<L> {
    level: L,
    at: Instant,
}

impl<K: Clone + Eq + Hash + Ord, L: Copy + Ord> Queue<K, L> {
    /// An empty queue.
    pub fn new() -> Self {
        let state =
            State { wanted: HashMap::new(), running: HashSet::new(), due: BinaryHeap::new(), sequence: 0 };
        Self { state: Mutex::new(state), wake: Notify::new() }
    }

    /// Asks for a key to be worked on now.
    pub fn add(&self, key: K, level: L) {
        self.add_after(key, level, Duration::ZERO);
    }

    /// Asks for a key to be worked on after a while. Together with an earlier request the sooner time and the higher
    /// level count.
    pub fn add_after(&self, key: K, level: L, delay: Duration) {
        let at = Instant::now() + delay;
        let mut state = self.lock();
        let wanted = match state.wanted.get(&key) {
            Some(earlier) => Wanted { level: earlier.level.max(level), at: earlier.at.min(at) },
            None => Wanted { level, at },
        };
        let at = wanted.at;
        let earlier = state.wanted.insert(key.clone(), wanted);
        // An entry of the heap that still holds is not made twice: the heap would grow with each event.
        if !state.running.contains(&key) && earlier.is_none_or(|earlier| earlier.at != at) {
            state.sequence += 1;
            let sequence = state.sequence;
            state.due.push(Reverse((at, sequence, key)));
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Waits for the next key. It counts as running until [`Queue::done`]. With it comes how long it was due.
    pub async fn next(&self) -> (K, L, Duration) {
        loop {
            let wait = {
                let mut state = self.lock();
                match state.take(Instant::now()) {
                    Take::Ready(key, level, waited) => return (key, level, waited),
                    Take::Wait(until) => until,
                }
            };
            match wait {
                Some(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        () = self.wake.notified() => {}
                    }
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// Ends the work on a key.
    pub fn done(&self, key: &K) {
        let mut state = self.lock();
        state.running.remove(key);
        if let Some(at) = state.wanted.get(key).map(|wanted| wanted.at) {
            state.sequence += 1;
            let sequence = state.sequence;
            state.due.push(Reverse((at, sequence, key.clone())));
            drop(state);
            self.wake.notify_one();
        }
    }

    /// How many keys are due now and wait to be taken, for metrics.
    pub fn depth(&self) -> usize {
        let state = self.lock();
        let now = Instant::now();
        let due = |(key, wanted): &(&K, &Wanted<L>)| wanted.at <= now && !state.running.contains(*key);
        state.wanted.iter().filter(due).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<K, L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash + Ord, L: Copy + Ord> Default for Queue<K, L> {
    fn default() -> Self {
        Self::new()
    }
}

enum Take<K, L> {
    Ready(K, L, Duration),
    Wait(Option<Instant>),
}

impl<K: Clone + Eq + Hash + Ord, L: Copy + Ord> State<K, L> {
    fn take(&mut self, now: Instant) -> Take<K, L> {
        while let Some(Reverse((at, _, key))) = self.due.peek() {
            // Entries of the heap are never moved: one whose key is running, gone or wanted at another time is stale.
            let current = self.wanted.get(key).is_some_and(|wanted| wanted.at == *at);
            if !current || self.running.contains(key) {
                self.due.pop();
                continue;
            }
            if *at > now {
                return Take::Wait(Some(*at));
            }
            let (key, waited) = (key.clone(), now.duration_since(*at));
            self.due.pop();
            if let Some(wanted) = self.wanted.remove(&key) {
                self.running.insert(key.clone());
                return Take::Ready(key, wanted.level, waited);
            }
        }
        Take::Wait(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<K: Clone + Eq + Hash + Ord, L: Copy + Ord> Queue<K, L> {
        async fn take(&self) -> (K, L) {
            let (key, level, _) = self.next().await;
            (key, level)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_once_with_the_highest_level() {
        let queue = Queue::new();
        queue.add("app", 1);
        queue.add("app", 3);
        queue.add("app", 2);
        assert_eq!(queue.take().await, ("app", 3));
        queue.done(&"app");
        queue.add("other", 0);
        assert_eq!(queue.take().await, ("other", 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_during_the_work_is_done_after_it() {
        let queue = Queue::new();
        queue.add("app", 1);
        assert_eq!(queue.take().await, ("app", 1));
        queue.add("app", 2);
        queue.add("other", 0);
        assert_eq!(queue.take().await, ("other", 0));
        queue.done(&"app");
        assert_eq!(queue.take().await, ("app", 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_time_does_not_put_off_a_sooner_one() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.add_after("app", 1, Duration::from_secs(120));
        queue.add_after("app", 1, Duration::from_secs(5));
        queue.add_after("app", 1, Duration::from_secs(60));
        assert_eq!(queue.take().await, ("app", 1));
        assert_eq!(start.elapsed().as_secs(), 5);
        queue.done(&"app");
        assert_eq!(queue.depth(), 0);
    }
}
