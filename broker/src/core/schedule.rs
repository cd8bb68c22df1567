//! Who goes next. Pure: time is an argument, and the same calls give the same order.
//!
//! Bands go in order; within a band keys share by weight (deficit round robin, one job is one unit); within a key the
//! oldest goes first. A job that has waited `age_after` counts as one band earlier, twice that as two: where aged jobs
//! meet a band's own, the two take turns, so that nothing starves and a backlog of old batch jobs takes half at most.
//! Where batch jobs have hours of their own, these are what they are promised, and they do not age.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pullyard_schemas::{Band, JobId, Lane, Timestamp};

use super::batch_hours::{BatchHours, Gate};
pub use super::line::Place;
use super::line::{Item, Line};

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub job: JobId,
    pub lane: Lane,
    pub band: Band,
    pub key: Arc<str>,
    /// Bytes of the body.
    pub size: u64,
    pub place: Place,
}

/// The most that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub max_jobs: u64,
    pub max_bytes: u64,
    pub max_jobs_per_key: u64,
    pub max_bytes_per_key: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_jobs: 2_000_000, max_bytes: 16 << 30, max_jobs_per_key: 2_000_000, max_bytes_per_key: 16 << 30 }
    }
}

/// What the operator sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub limits: Limits,
    /// A key's share of its band; 1 unless named, and never below.
    pub weights: HashMap<Arc<str>, u32>,
    /// `None`: jobs do not age.
    pub age_after: Option<Duration>,
    /// How long jobs may have to wait for a local backend before they may go to the cloud too.
    pub spill_after: Duration,
    pub batch: BatchHours,
}

/// Whose bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullScope {
    Key,
    All,
}

/// A bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    pub scope: FullScope,
    /// `jobs` or `bytes`.
    pub unit: &'static str,
    pub limit: u64,
    pub have: u64,
}

/// Where a waiting job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Jobs of this lane that go first if nothing else arrives and nothing ages; exact for a single key, within one
    /// round of the keys otherwise.
    pub ahead: usize,
}

/// When a job with so many ahead may start; `None` when nothing serves the lane or nothing is known of its pace.
#[must_use]
pub fn expected_wait(ahead: usize, slots: usize, mean_attempt: Duration) -> Option<Duration> {
    if slots == 0 || mean_attempt.is_zero() {
        return None;
    }
    Some(mean_attempt.mul_f64((ahead + 1) as f64 / slots as f64))
}

/// What a lane's own slots and those that its servers share with other lanes leave to batch jobs that may only have what is
/// idle. `busy` counts what runs on, or is offered to, any of these servers.
#[must_use]
pub fn idle_room(slots: usize, busy: usize, keep_free: usize) -> usize {
    slots.saturating_sub(busy).saturating_sub(keep_free)
}

#[derive(Debug, Default)]
struct Track {
    keys: HashMap<u32, Line>,
    /// Keys with jobs, in turn; the first is being served.
    turn: VecDeque<u32>,
    /// What the first key may still take before the next one's turn.
    credit: u32,
    /// Each key's first job, by age.
    heads: BTreeSet<(Place, u32)>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Yard {
    bands: [Track; 3],
    /// Whether an aged job goes next where one meets a band's own.
    aged_turn: bool,
    waiting: usize,
}

#[derive(Debug)]
struct Names<T> {
    ids: HashMap<T, u32>,
    names: Vec<T>,
}

/// Every waiting job of every lane. `push` and `next` cost the logarithm of the number of keys, `remove` a little more.
#[derive(Debug, Default)]
pub struct Schedule {
    options: Options,
    lanes: Names<Lane>,
    keys: Names<Arc<str>>,
    yards: Vec<Yard>,
    per_key: HashMap<u32, (u64, u64)>,
    waiting: usize,
    bytes: u64,
}

impl Schedule {
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    #[must_use]
    pub fn spill_after(&self) -> Duration {
        self.options.spill_after
    }

    #[must_use]
    pub fn batch(&self) -> &BatchHours {
        &self.options.batch
    }

    #[must_use]
    pub fn gate(&self, now: Timestamp) -> Gate {
        self.options.batch.gate(now)
    }

    /// # Errors
    /// When one more job of this key and size would exceed a bound.
    pub fn admit(&self, key: &str, size: u64) -> Result<(), Full> {
        let limits = &self.options.limits;
        let (jobs, bytes) = self.keys.ids.get(key).and_then(|k| self.per_key.get(k)).copied().unwrap_or_default();
        let full = |scope, unit, limit, have, more: u64| if have + more > limit { Err(Full { scope, unit, limit, have }) } else { Ok(()) };
        full(FullScope::All, "jobs", limits.max_jobs, self.waiting as u64, 1)?;
        full(FullScope::All, "bytes", limits.max_bytes, self.bytes, size)?;
        full(FullScope::Key, "jobs", limits.max_jobs_per_key, jobs, 1)?;
        full(FullScope::Key, "bytes", limits.max_bytes_per_key, bytes, size)
    }

    /// Puts a job among the waiting; one that waits already stays where it is.
    pub fn push(&mut self, entry: &Entry) {
        let (lane, key) = (self.lanes.id(&entry.lane), self.keys.id(&entry.key));
        self.yards.resize_with(self.lanes.names.len(), Yard::default);
        let Some(yard) = self.yards.get_mut(lane as usize) else { return };
        if yard.bands[entry.band as usize].put(key, Item { place: entry.place, job: entry.job, size: entry.size }) {
            yard.waiting += 1;
            self.waiting += 1;
            self.bytes += entry.size;
            let of_key = self.per_key.entry(key).or_default();
            of_key.0 += 1;
            of_key.1 += entry.size;
        }
    }

    /// Takes a job out; `false` when it does not wait there.
    pub fn remove(&mut self, entry: &Entry) -> bool {
        let Some((lane, key)) = self.ids(entry) else { return false };
        self.take(lane, entry.band as usize, key, entry.place).is_some()
    }

    fn ids(&self, entry: &Entry) -> Option<(u32, u32)> {
        Some((*self.lanes.ids.get(&entry.lane)?, *self.keys.ids.get(&entry.key)?))
    }

    fn take(&mut self, lane: u32, band: usize, key: u32, place: Place) -> Option<Item> {
        let yard = self.yards.get_mut(lane as usize)?;
        let item = yard.bands[band].take(key, place)?;
        yard.waiting -= 1;
        self.waiting -= 1;
        self.bytes = self.bytes.saturating_sub(item.size);
        if let Some(of_key) = self.per_key.get_mut(&key) {
            of_key.0 = of_key.0.saturating_sub(1);
            of_key.1 = of_key.1.saturating_sub(item.size);
            if of_key.0 == 0 {
                self.per_key.remove(&key);
            }
        }
        Some(item)
    }

    /// Takes the job of this lane that goes next; batch jobs only where they may.
    pub fn next(&mut self, lane: &Lane, now: Timestamp, with_batch: bool) -> Option<Entry> {
        let lane = *self.lanes.ids.get(lane)?;
        let yard = self.yards.get_mut(lane as usize)?;
        let bands = if with_batch { 3 } else { Band::Batch as usize };
        let (age_after, batch_ages) = (self.options.age_after, self.options.batch.windows.is_empty());
        let age_after = |band: usize| age_after.filter(|_| batch_ages || band != Band::Batch as usize);
        let tracks = || yard.bands.iter().enumerate().take(bands);
        let best = tracks().filter_map(|(band, track)| Some(band.saturating_sub(track.aged(now, age_after(band))?))).min()?;
        let own = yard.bands[best].waiting > 0;
        let aged = tracks().skip(best + 1).filter_map(|(band, track)| {
            let up = track.aged(now, age_after(band))?;
            (up > 0 && band.saturating_sub(up) <= best).then(|| track.heads.first().map(|head| (*head, band))).flatten()
        });
        let (band, key, place) = match aged.min() {
            Some(((place, key), band)) if !own || yard.aged_turn => {
                yard.aged_turn = false;
                (band, key, place)
            }
            aged => {
                yard.aged_turn = aged.is_some();
                let (keys, weights) = (&self.keys, &self.options.weights);
                let weight = |key: u32| keys.names.get(key as usize).and_then(|name| weights.get(name)).copied().unwrap_or(1).max(1);
                let (key, place) = yard.bands[best].fair(weight)?;
                (best, key, place)
            }
        };
        let item = self.take(lane, band, key, place)?;
        Some(Entry {
            job: item.job,
            lane: self.lanes.names.get(lane as usize)?.clone(),
            band: Band::ALL[band],
            key: self.keys.names.get(key as usize)?.clone(),
            size: item.size,
            place,
        })
    }

    #[must_use]
    pub fn waiting(&self, lane: &Lane) -> usize {
        self.lanes.ids.get(lane).and_then(|id| self.yards.get(*id as usize)).map_or(0, |yard| yard.waiting)
    }

    /// How many of them are of each band.
    #[must_use]
    pub fn waiting_by_band(&self, lane: &Lane) -> [usize; 3] {
        let yard = self.lanes.ids.get(lane).and_then(|id| self.yards.get(*id as usize));
        yard.map_or([0; 3], |yard| yard.bands.each_ref().map(|track| track.waiting))
    }

    #[must_use]
    pub fn waiting_batch(&self, lane: &Lane) -> usize {
        self.waiting_by_band(lane)[Band::Batch as usize]
    }

    /// Whether a job waits that goes before batch jobs by its band.
    #[must_use]
    pub fn overtakes_batch(&self, lane: &Lane) -> bool {
        self.waiting(lane) > self.waiting_batch(lane)
    }

    /// Whether a batch job that has waited since then counts as one of an earlier band.
    #[must_use]
    pub fn is_aged(&self, since: Timestamp, now: Timestamp) -> bool {
        let ages = self.options.age_after.filter(|_| self.options.batch.windows.is_empty());
        ages.is_some_and(|age_after| !age_after.is_zero() && now.since(since) >= age_after)
    }

    /// Every lane that ever had a job, with how many wait.
    pub fn lanes(&self) -> impl Iterator<Item = (&Lane, usize)> {
        self.lanes.names.iter().zip(&self.yards).map(|(lane, yard)| (lane, yard.waiting))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where a job stands; `None` when it does not wait.
    #[must_use]
    pub fn position(&self, entry: &Entry) -> Option<Position> {
        let (lane, key) = self.ids(entry)?;
        let line = self.yards.get(lane as usize)?.bands[entry.band as usize].keys.get(&key)?;
        line.rank(entry.place)?;
        Some(self.position_if(entry))
    }

    /// Where a job would stand if it waited.
    #[must_use]
    pub fn position_if(&self, entry: &Entry) -> Position {
        let Some(yard) = self.lanes.ids.get(&entry.lane).and_then(|lane| self.yards.get(*lane as usize)) else {
            return Position { ahead: 0 };
        };
        let earlier: usize = yard.bands.iter().take(entry.band as usize).map(|track| track.waiting).sum();
        let track = &yard.bands[entry.band as usize];
        let weight = |name: Option<&Arc<str>>| u64::from(name.and_then(|n| self.options.weights.get(n)).copied().unwrap_or(1).max(1));
        let key = self.keys.ids.get(&entry.key).copied();
        let mine = key.and_then(|key| track.keys.get(&key)).map_or(0, |line| line.before(entry.place));
        let others: u64 = track
            .keys
            .iter()
            .filter(|(other, _)| Some(**other) != key)
            .map(|(other, jobs)| {
                let share = (mine as u64 * weight(self.keys.names.get(*other as usize))).div_ceil(weight(Some(&entry.key)));
                (jobs.len() as u64).min(share)
            })
            .sum();
        Position { ahead: earlier + mine + usize::try_from(others).unwrap_or(usize::MAX) }
    }
}

impl Track {
    /// How many bands the oldest job has risen; `None` when there is none.
    fn aged(&self, now: Timestamp, age_after: Option<Duration>) -> Option<usize> {
        let (place, _) = self.heads.first()?;
        let Some(age_after) = age_after.filter(|a| !a.is_zero()) else { return Some(0) };
        Some(usize::try_from(now.since(place.queued_at).as_millis() / age_after.as_millis().max(1)).unwrap_or(2).min(2))
    }

    /// The job whose key's turn it is. The credit counts what the first key may still take.
    fn fair(&mut self, weight: impl Fn(u32) -> u32) -> Option<(u32, Place)> {
        let key = *self.turn.front()?;
        if self.credit == 0 {
            self.credit = weight(key);
        }
        let place = self.keys.get(&key)?.first()?.place;
        self.credit -= 1;
        if self.credit == 0 {
            self.turn.rotate_left(1);
        }
        Some((key, place))
    }

    fn put(&mut self, key: u32, item: Item) -> bool {
        let line = self.keys.entry(key).or_default();
        let head = line.first().map(|first| first.place);
        if !line.insert(item) {
            return false;
        }
        self.waiting += 1;
        match head {
            None => {
                self.turn.push_back(key);
                self.heads.insert((item.place, key));
            }
            Some(head) if item.place < head => {
                self.heads.remove(&(head, key));
                self.heads.insert((item.place, key));
            }
            Some(_) => {}
        }
        true
    }

    fn take(&mut self, key: u32, place: Place) -> Option<Item> {
        let line = self.keys.get_mut(&key)?;
        let item = line.remove(place)?;
        self.waiting -= 1;
        // Only the head's own place is in the set.
        if self.heads.remove(&(place, key))
            && let Some(next) = line.first()
        {
            self.heads.insert((next.place, key));
        }
        if line.len() == 0 {
            self.keys.remove(&key);
            if self.turn.front() == Some(&key) {
                self.credit = 0;
            }
            self.turn.retain(|k| *k != key);
        }
        Some(item)
    }
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { ids: HashMap::new(), names: Vec::new() }
    }
}

impl<T: std::hash::Hash + Eq + Clone> Names<T> {
    fn id(&mut self, name: &T) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        self.ids.insert(name.clone(), id);
        id
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
