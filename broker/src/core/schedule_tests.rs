//! The scheduler against a naive oracle: a plain list and the rules as they are written down.

use std::collections::HashMap;

use proptest::prelude::*;
use pullyard_schemas::{Scope, Seq};

use super::*;
use crate::core::hours::Window;

fn lane() -> Lane {
    Lane { target: "m".into(), scope: Scope::Any }
}

fn entry(n: u128, band: Band, key: &str, at: u64) -> Entry {
    let place = Place { queued_at: Timestamp(at), seq: Seq(u64::try_from(n).unwrap()) };
    Entry { job: JobId(uuid::Uuid::from_u128(n)), lane: lane(), band, key: key.into(), size: 10, place }
}

fn options(weights: &[(&str, u32)], age_after: Option<Duration>) -> Options {
    Options {
        limits: Limits::default(),
        weights: weights.iter().map(|(k, w)| ((*k).into(), *w)).collect(),
        age_after,
        ..Options::default()
    }
}

/// Scans a list for everything.
#[derive(Default)]
struct Oracle {
    jobs: Vec<(u64, Entry)>,
    /// Per band: keys in the order of their turn, and what the first may still take.
    turns: HashMap<Band, (Vec<Arc<str>>, u32)>,
    aged_turn: bool,
    arrivals: u64,
}

impl Oracle {
    fn push(&mut self, entry: Entry) {
        self.arrivals += 1;
        let turn = self.turns.entry(entry.band).or_default();
        if !turn.0.contains(&entry.key) {
            turn.0.push(entry.key.clone());
        }
        self.jobs.push((self.arrivals, entry));
    }

    fn of(&self, band: Band) -> Vec<&(u64, Entry)> {
        let mut jobs: Vec<_> = self.jobs.iter().filter(|(_, e)| e.band == band).collect();
        jobs.sort_by_key(|(n, e)| (e.place.queued_at, *n));
        jobs
    }

    fn remove(&mut self, job: JobId) -> Option<Entry> {
        let at = self.jobs.iter().position(|(_, e)| e.job == job)?;
        let (_, entry) = self.jobs.remove(at);
        if !self.jobs.iter().any(|(_, e)| e.band == entry.band && e.key == entry.key) {
            let turn = self.turns.entry(entry.band).or_default();
            if turn.0.first() == Some(&entry.key) {
                turn.1 = 0;
            }
            turn.0.retain(|k| *k != entry.key);
        }
        Some(entry)
    }

    fn next(&mut self, now: Timestamp, options: &Options, with_batch: bool) -> Option<Entry> {
        let up = |e: &Entry| {
            let ages = e.band != Band::Batch || options.batch.windows.is_empty();
            options.age_after.filter(|_| ages).map_or(0, |a| (now.since(e.place.queued_at).as_millis() / a.as_millis()).min(2) as usize)
        };
        let bands = Band::ALL.iter().filter(|b| with_batch || **b != Band::Batch);
        let oldest: Vec<(usize, usize, u64, Entry)> =
            bands.filter_map(|b| self.of(*b).first().map(|(n, e)| (*b as usize, up(e), *n, e.clone()))).collect();
        let best = oldest.iter().map(|(b, up, ..)| b.saturating_sub(*up)).min()?;
        let own = oldest.iter().any(|(b, ..)| *b == best);
        let aged = oldest
            .iter()
            .filter(|(b, up, ..)| *b > best && *up > 0 && b.saturating_sub(*up) <= best)
            .min_by_key(|(_, _, n, e)| (e.place.queued_at, *n));
        let job = match aged {
            Some((_, _, _, e)) if !own || self.aged_turn => {
                self.aged_turn = false;
                e.job
            }
            _ => {
                self.aged_turn = aged.is_some();
                let band = Band::ALL[best];
                let turn = self.turns.get_mut(&band).unwrap();
                let key = turn.0[0].clone();
                if turn.1 == 0 {
                    turn.1 = options.weights.get(&key).copied().unwrap_or(1);
                }
                turn.1 -= 1;
                if turn.1 == 0 {
                    turn.0.rotate_left(1);
                }
                self.of(band).iter().find(|(_, e)| e.key == key).unwrap().1.job
            }
        };
        self.remove(job)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(Band, u8, u64),
    Remove(usize),
    Next(bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (prop::sample::select(Band::ALL.to_vec()), 0u8..4, 0u64..50).prop_map(|(b, k, ago)| Step::Push(b, k, ago)),
        1 => any::<usize>().prop_map(Step::Remove),
        4 => any::<bool>().prop_map(Step::Next),
        1 => (0u64..3_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn order_is_the_oracles(steps in prop::collection::vec(step(), 0..200), ages: bool, has_hours: bool) {
        let mut options = options(&[("k1", 3), ("k2", 2)], ages.then_some(Duration::from_millis(1_000)));
        options.batch.windows.extend(has_hours.then(|| Window::parse("00:00-12:00").unwrap()));
        let (mut schedule, mut oracle) = (Schedule::new(options.clone()), Oracle::default());
        let (mut now, mut n) = (Timestamp(10_000), 0);
        for step in steps {
            match step {
                Step::Push(band, key, ago) => {
                    n += 1;
                    let e = entry(n, band, &format!("k{key}"), now.0 - ago);
                    schedule.push(&e);
                    schedule.push(&e);
                    oracle.push(e);
                }
                Step::Remove(which) => {
                    if let Some((_, e)) = oracle.jobs.get(which % oracle.jobs.len().max(1)).cloned() {
                        prop_assert!(schedule.remove(&e));
                        prop_assert!(!schedule.remove(&e));
                        oracle.remove(e.job);
                    }
                }
                Step::Next(batch) => prop_assert_eq!(schedule.next(&lane(), now, batch), oracle.next(now, &options, batch)),
                Step::Wait(ms) => now = Timestamp(now.0 + ms),
            }
            prop_assert_eq!(schedule.len(), oracle.jobs.len());
            prop_assert_eq!(schedule.bytes(), 10 * oracle.jobs.len() as u64);
        }
    }
}

#[test]
fn keys_share_by_weight() {
    let mut schedule = Schedule::new(options(&[("big", 3)], None));
    for n in 0..40 {
        schedule.push(&entry(n, Band::Normal, if n % 2 == 0 { "big" } else { "small" }, 0));
    }
    let served: Vec<_> = (0..16).filter_map(|_| schedule.next(&lane(), Timestamp(0), true)).collect();
    assert_eq!(served.iter().filter(|e| &*e.key == "big").count(), 12);
}

#[test]
fn an_old_batch_job_is_served_among_interactive_ones() {
    let mut schedule = Schedule::new(options(&[], Some(Duration::from_secs(1))));
    schedule.push(&entry(0, Band::Batch, "a", 0));
    for n in 1..10 {
        schedule.push(&entry(n, Band::Interactive, "b", 2_500));
    }
    let now = Timestamp(2_600);
    let first_two = [schedule.next(&lane(), now, true).unwrap().band, schedule.next(&lane(), now, true).unwrap().band];
    assert!(first_two.contains(&Band::Batch));
}

#[test]
fn bounds_name_whose_they_are() {
    let mut options = options(&[], None);
    options.limits = Limits { max_jobs: 3, max_bytes: 1_000, max_jobs_per_key: 2, max_bytes_per_key: 15 };
    let mut schedule = Schedule::new(options);
    schedule.push(&entry(1, Band::Normal, "a", 0));
    assert_eq!(schedule.admit("a", 10), Err(Full { scope: FullScope::Key, unit: "bytes", limit: 15, have: 10 }));
    assert_eq!(schedule.admit("b", 10), Ok(()));
    schedule.push(&entry(2, Band::Normal, "b", 0));
    schedule.push(&entry(3, Band::Normal, "c", 0));
    assert_eq!(schedule.admit("d", 1), Err(Full { scope: FullScope::All, unit: "jobs", limit: 3, have: 3 }));
}

#[test]
fn position_counts_bands_and_own_key() {
    let mut schedule = Schedule::new(options(&[], None));
    schedule.push(&entry(1, Band::Interactive, "a", 0));
    schedule.push(&entry(2, Band::Normal, "a", 0));
    schedule.push(&entry(3, Band::Normal, "a", 1));
    assert_eq!(schedule.position(&entry(3, Band::Normal, "a", 1)), Some(Position { ahead: 2 }));
    assert_eq!(expected_wait(3, 2, Duration::from_secs(1)), Some(Duration::from_secs(2)));
}

#[test]
fn with_hours_of_its_own_a_batch_does_not_age() {
    let mut options = options(&[], Some(Duration::from_secs(1)));
    options.batch.windows.push(Window::parse("22:00-07:00 Europe/Berlin").unwrap());
    let mut schedule = Schedule::new(options);
    schedule.push(&entry(1, Band::Batch, "a", 0));
    schedule.push(&entry(2, Band::Normal, "a", 60_000));
    let now = Timestamp(60_000);
    assert!(!schedule.is_aged(Timestamp(0), now));
    assert_eq!((schedule.waiting(&lane()), schedule.waiting_batch(&lane())), (2, 1));
    assert_eq!(schedule.next(&lane(), now, true).unwrap().band, Band::Normal);
    assert_eq!(schedule.next(&lane(), now, false), None);
    assert_eq!(schedule.next(&lane(), now, true).unwrap().band, Band::Batch);
}
