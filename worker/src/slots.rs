//! What a backend carries at once, and how fast it is at it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pullyard_schemas::{JobId, Token};
use tokio::sync::Semaphore;

/// How much of the sums an attempt leaves: the last ten or so make up the figure.
const REMAINS: f64 = 0.9;

/// The slots of each backend, by its name. They outlive a change of its settings, because what runs then still holds them.
#[derive(Debug, Default)]
pub(crate) struct AllSlots(Mutex<HashMap<Arc<str>, Slots>>);

#[derive(Debug)]
struct Slots {
    free: Arc<Semaphore>,
    total: usize,
    load: Arc<Load>,
}

impl AllSlots {
    /// The backend's slots, as many as it shall have now, and what runs on them.
    pub(crate) fn of(&self, backend: &Arc<str>, total: usize) -> (Arc<Semaphore>, Arc<Load>) {
        let mut all = lock(&self.0);
        let fresh = || Slots { free: Arc::new(Semaphore::new(0)), total: 0, load: Arc::default() };
        let slots = all.entry(backend.clone()).or_insert_with(fresh);
        slots.free.add_permits(total.saturating_sub(slots.total));
        let surplus = slots.total.saturating_sub(total);
        let held = surplus - slots.free.forget_permits(surplus);
        if held > 0 {
            // They go as the attempts that hold them end.
            let (free, held) = (slots.free.clone(), u32::try_from(held).unwrap_or(u32::MAX));
            tokio::spawn(async move {
                if let Ok(permits) = free.acquire_many_owned(held).await {
                    permits.forget();
                }
            });
        }
        slots.total = total;
        (slots.free.clone(), slots.load.clone())
    }

    /// Attempts that have not been reported to their end.
    pub(crate) fn running(&self) -> Vec<(JobId, Token)> {
        lock(&self.0).values().flat_map(|slots| lock(&slots.load.running).iter().copied().collect::<Vec<_>>()).collect()
    }
}

/// What runs at a backend.
#[derive(Debug, Default)]
pub(crate) struct Load {
    running: Mutex<BTreeSet<(JobId, Token)>>,
    pace: Mutex<Pace>,
}

/// Sums that fade, so that the last attempts weigh most.
#[derive(Debug, Default)]
struct Pace {
    tokens: f64,
    seconds: f64,
}

impl Load {
    /// The attempt runs until what is returned is dropped.
    pub(crate) fn begin(self: Arc<Self>, job: JobId, token: Token) -> Running {
        lock(&self.running).insert((job, token));
        Running { of: self, attempt: (job, token) }
    }

    pub(crate) fn busy(&self) -> u32 {
        u32::try_from(lock(&self.running).len()).unwrap_or(u32::MAX)
    }

    /// Output tokens per second of the time that attempts took, over about the last ten that had output.
    pub(crate) fn tokens_per_second(&self) -> Option<f64> {
        let pace = lock(&self.pace);
        (pace.seconds > 0.0).then(|| pace.tokens / pace.seconds)
    }

    /// An attempt took so long for so much output.
    pub(crate) fn took(&self, tokens: u64, time: Duration) {
        if tokens == 0 || time.is_zero() {
            return;
        }
        let mut pace = lock(&self.pace);
        pace.tokens = pace.tokens * REMAINS + tokens as f64;
        pace.seconds = pace.seconds * REMAINS + time.as_secs_f64();
    }
}

/// An attempt that counts as running.
#[derive(Debug)]
pub(crate) struct Running {
    of: Arc<Load>,
    attempt: (JobId, Token),
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.of.running).remove(&self.attempt);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fewer_slots_take_hold_as_attempts_end() {
        let (all, name) = (AllSlots::default(), Arc::from("b"));
        let (free, _) = all.of(&name, 3);
        let held: Vec<_> = (0..3).map(|_| free.clone().try_acquire_owned().unwrap()).collect();
        let (free, _) = all.of(&name, 1);
        drop(held);
        tokio::task::yield_now().await;
        assert_eq!(free.available_permits(), 1);
        assert_eq!(all.of(&name, 2).0.available_permits(), 2);
    }

    #[test]
    fn the_last_attempts_make_the_pace() {
        let load = Arc::new(Load::default());
        assert_eq!(load.tokens_per_second(), None);
        load.took(0, Duration::from_secs(9));
        load.took(100, Duration::from_secs(1));
        assert_eq!(load.tokens_per_second(), Some(100.0));
        (0..60).for_each(|_| load.took(100, Duration::from_secs(10)));
        assert!(load.tokens_per_second().is_some_and(|rate| (10.0..10.5).contains(&rate)));
        let (one, two) = (load.clone().begin(JobId::NONE, Token(1)), load.clone().begin(JobId::NONE, Token(2)));
        assert_eq!(load.busy(), 2);
        drop((one, two));
        assert_eq!(load.busy(), 0);
    }
}
