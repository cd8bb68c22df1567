//! Whether a job that may go anywhere is kept for the local backends. Pure.
//!
//! Where local and cloud backends serve a target, its jobs are offered to the local ones alone as long as those can start
//! them in time, and to all of them past that. What is offered to all may still be taken by a local one that is free.

use std::time::Duration;

use pullyard_schemas::Timestamp;

use super::schedule::expected_wait;

/// What serves a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    pub local: usize,
    pub local_alive: bool,
    /// Local and cloud.
    pub all: usize,
    pub alive: bool,
}

/// How a target's jobs of scope `any` stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub waiting: usize,
    /// Offered to local backends alone, and not started.
    pub kept: usize,
    /// Offered to all, and not started.
    pub free: usize,
    /// Attempts that run on local backends, as far as that is known.
    pub running: usize,
    /// What a local attempt takes; zero where nothing is known.
    pub pace: Duration,
}

/// To whom a job is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// To the local backends, in the hope that they are soon free.
    Kept,
    /// To all, because the local ones are not free in time.
    Spilled,
    /// To all, because there is no choice.
    Plain,
}

/// When offers to local backends alone were last made or taken, and until when none are made because they were not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Motion {
    pub moved: Timestamp,
    pub halted_until: Timestamp,
}

impl Slots {
    /// Whether there is a choice between local and cloud.
    #[must_use]
    pub fn is_mixed(&self) -> bool {
        self.local_alive && self.local > 0 && self.all > self.local
    }

    /// A dead lane keeps one offer, for the probe that finds out whether it lives again.
    fn window(&self) -> usize {
        if self.alive { self.all } else { self.all.min(1) }
    }
}

impl Standing {
    /// How long the last of those that wait would wait if only local backends took them.
    #[must_use]
    pub fn backlog(&self, slots: &Slots) -> Option<Duration> {
        expected_wait((self.kept + self.waiting).saturating_sub(1), slots.local, self.pace)
    }
}

impl Motion {
    /// When the offers to local backends alone count as not taken in time, if there are any.
    #[must_use]
    pub fn overdue(&self, standing: &Standing, after: Duration) -> Option<Timestamp> {
        (standing.kept > 0).then(|| self.moved.after(after))
    }
}

/// When a job with so many ahead may start, where there is a choice between local and cloud.
#[must_use]
pub fn expected_start(slots: &Slots, standing: &Standing, ahead: usize, after: Duration) -> Option<Duration> {
    if ahead + standing.running < slots.local {
        return Some(Duration::ZERO);
    }
    let local = expected_wait(ahead, slots.local, standing.pace)?;
    if local > after { expected_wait(ahead, slots.all, standing.pace) } else { Some(local) }
}

/// To whom the next job is offered; `None`: to nobody yet. `after` is how long the local backends may let jobs wait.
#[must_use]
pub fn next(slots: &Slots, standing: &Standing, motion: &Motion, after: Duration, now: Timestamp) -> Option<Aim> {
    if !slots.is_mixed() || after.is_zero() || now < motion.halted_until {
        return (standing.kept + standing.free < slots.window()).then_some(Aim::Plain);
    }
    if standing.running + standing.kept < slots.local {
        return Some(Aim::Kept);
    }
    if standing.backlog(slots).is_some_and(|wait| wait > after) {
        // Where even those are all offered, it waits where it can still go either way.
        return (standing.free < slots.all - slots.local).then_some(Aim::Spilled);
    }
    (standing.kept < slots.local).then_some(Aim::Kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(20);
    const MIXED: Slots = Slots { local: 2, local_alive: true, all: 6, alive: true };

    fn aim(slots: Slots, standing: Standing) -> Option<Aim> {
        next(&slots, &standing, &Motion::default(), AFTER, Timestamp(1))
    }

    /// Both local slots have a job, and a local attempt takes ten seconds.
    fn full(waiting: usize) -> Standing {
        Standing { waiting, running: 2, pace: Duration::from_secs(10), ..Standing::default() }
    }

    #[test]
    fn a_free_local_slot_goes_before_the_cloud() {
        assert_eq!(aim(MIXED, Standing { waiting: 1_000, pace: AFTER * 10, ..Standing::default() }), Some(Aim::Kept));
        assert_eq!(aim(MIXED, Standing { running: 1, ..full(1_000) }), Some(Aim::Kept));
    }

    #[test]
    fn the_cloud_is_used_past_the_bound_only() {
        // Four that wait are served in twenty seconds, and no more.
        assert_eq!(aim(MIXED, full(4)), Some(Aim::Kept));
        assert_eq!(aim(MIXED, full(5)), Some(Aim::Spilled));
        assert_eq!(aim(MIXED, Standing { kept: 2, ..full(2) }), None, "the bound is kept, and the window is full");
        assert_eq!(aim(MIXED, Standing { kept: 2, ..full(3) }), Some(Aim::Spilled));
        assert_eq!(aim(MIXED, Standing { kept: 2, free: 4, ..full(1_000) }), None, "four cloud slots have their offers");
        // Nothing is known of the pace: it is seen by the offers that nobody takes.
        assert_eq!(aim(MIXED, Standing { kept: 2, pace: Duration::ZERO, ..full(1_000) }), None);
    }

    #[test]
    fn without_a_choice_there_is_no_bound() {
        for slots in [Slots { local_alive: false, ..MIXED }, Slots { local: 0, local_alive: false, ..MIXED }, Slots { local: 6, ..MIXED }] {
            assert_eq!(aim(slots, full(1)), Some(Aim::Plain), "{slots:?}");
            assert_eq!(aim(slots, Standing { free: 6, ..full(1) }), None, "{slots:?}");
        }
        let dead = Slots { local_alive: false, alive: false, ..MIXED };
        assert_eq!((aim(dead, full(1)), aim(dead, Standing { free: 1, ..full(1) })), (Some(Aim::Plain), None));
        let at_once = next(&MIXED, &full(1), &Motion::default(), Duration::ZERO, Timestamp(1));
        assert_eq!(at_once, Some(Aim::Plain));
    }

    #[test]
    fn offers_that_nobody_takes_halt_the_keeping() {
        let motion = Motion { moved: Timestamp(5_000), halted_until: Timestamp(0) };
        assert_eq!(motion.overdue(&Standing { kept: 1, ..full(0) }, AFTER), Some(Timestamp(25_000)));
        assert_eq!(motion.overdue(&full(9), AFTER), None, "nothing is offered that could be taken");
        let halted = Motion { halted_until: Timestamp(45_000), ..motion };
        assert_eq!(next(&MIXED, &Standing::default(), &halted, AFTER, Timestamp(44_999)), Some(Aim::Plain));
        assert_eq!(next(&MIXED, &Standing::default(), &halted, AFTER, Timestamp(45_000)), Some(Aim::Kept));
    }

    /// A local slot that takes ten seconds and two in the cloud that take one, with a job every so often.
    fn spilled(every: u64) -> usize {
        let slots = Slots { local: 1, local_alive: true, all: 3, alive: true };
        let (mut waiting, mut kept, mut free, mut ends, mut spilled) = (0, 0, 0_usize, None::<u64>, 0);
        for now in 0..3_600_u64 {
            waiting += usize::from(now % every == 0);
            if ends.is_some_and(|at| at <= now) {
                ends = None;
            }
            loop {
                let standing = Standing { waiting, kept, free, running: usize::from(ends.is_some()), pace: Duration::from_secs(10) };
                let aim = if waiting == 0 { None } else { next(&slots, &standing, &Motion::default(), AFTER, Timestamp(now * 1_000)) };
                match aim {
                    Some(Aim::Kept) => kept += 1,
                    Some(Aim::Spilled | Aim::Plain) => free += 1,
                    None => break,
                }
                waiting -= 1;
                if ends.is_none() && kept > 0 {
                    (kept, ends) = (kept - 1, Some(now + 10));
                }
            }
            spilled += free;
            free = 0;
        }
        spilled
    }

    #[test]
    fn what_local_backends_can_do_costs_nothing() {
        assert_eq!(spilled(11), 0);
        let (half, most) = (spilled(5), spilled(1));
        assert!((320..=400).contains(&half), "{half} of 720 jobs, of which 360 fit");
        assert!((3_200..=3_260).contains(&most), "{most} of 3600 jobs, of which 360 fit");
    }
}
