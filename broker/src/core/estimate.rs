//! When what waits on a lane will be done. Pure, and no better than what it is told: the mean of past attempts, and that
//! nothing else arrives.

use std::time::Duration;

use pullyard_schemas::{Band, Timestamp};

use super::batch_hours::BatchHours;
use super::schedule::expected_wait;

/// What is known of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// By band.
    pub waiting: [usize; 3],
    /// Offered to workers and not begun.
    pub offered: usize,
    pub running: usize,
    pub slots: usize,
    /// What an attempt takes; zero where nothing is known.
    pub pace: Duration,
}

/// How long until the last that waits in each band is done. Nothing where nothing waits, or where it cannot be known.
#[must_use]
pub fn all_done(load: &Load, hours: &BatchHours, now: Timestamp) -> [Option<Duration>; 3] {
    Band::ALL.map(|band| {
        let earlier = load.waiting.iter().take(band as usize + 1).sum::<usize>();
        if load.waiting[band as usize] == 0 || load.pace.is_zero() || load.slots == 0 {
            return None;
        }
        let before = load.offered + earlier - 1;
        let start = if before + load.running < load.slots { Duration::ZERO } else { expected_wait(before, load.slots, load.pace)? };
        let start = if band == Band::Batch { hours.stretch(now, start)? } else { start };
        // What has begun when a window closes may end.
        Some(start + load.pace)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::batch_hours::Outside;
    use crate::core::hours::Window;

    const PACE: Duration = Duration::from_secs(10);

    #[test]
    fn what_is_not_known_is_not_told() {
        let load = Load { waiting: [0, 3, 0], slots: 2, pace: PACE, ..Load::default() };
        let told = |load| all_done(&load, &BatchHours::default(), Timestamp(0));
        assert_eq!(told(load), [None, Some(Duration::from_secs(25)), None]);
        assert_eq!(told(Load { slots: 0, ..load }), [None; 3]);
        assert_eq!(told(Load { pace: Duration::ZERO, ..load }), [None; 3]);
        assert_eq!(told(Load { waiting: [1, 0, 0], ..load }), [Some(PACE), None, None]);
    }

    #[test]
    fn a_batch_is_done_in_the_night_that_has_room_for_it() {
        let windows = vec![Window::parse("22:00-07:00 Europe/Berlin").unwrap()];
        let hours = BatchHours { windows, outside: Outside::Wait, keep_free: 0 };
        let at = |instant: &str| Timestamp(instant.parse::<jiff::Timestamp>().unwrap().as_millisecond().try_into().unwrap());
        let noon = at("2026-03-28T11:00:00Z");
        // Nine and a half hours of work, and a night of eight: an hour and a half are left for the next one.
        let load = Load { waiting: [0, 0, 3_420], slots: 1, pace: PACE, ..Load::default() };
        let done = all_done(&load, &hours, noon)[2].unwrap();
        assert_eq!(noon.after(done), at("2026-03-29T21:30:10Z"));
    }

    proptest! {
        /// Against slots that are served one job after the other.
        #[test]
        fn it_is_right_to_within_an_attempt(
            jobs in 1usize..500,
            begun in prop::collection::vec(0.0..1.0, 1..9),
        ) {
            let load = Load { waiting: [jobs, 0, 0], running: begun.len(), slots: begun.len(), pace: PACE, ..Load::default() };
            let mut free: Vec<f64> = begun.iter().map(|done| PACE.as_secs_f64() * (1.0 - done)).collect();
            let mut end = 0.0f64;
            for _ in 0..jobs {
                free.sort_by(f64::total_cmp);
                free[0] += PACE.as_secs_f64();
                end = end.max(free[0]);
            }
            let told = all_done(&load, &BatchHours::default(), Timestamp(0))[0].unwrap().as_secs_f64();
            prop_assert!((told - end).abs() <= PACE.as_secs_f64() * 1.001, "{told} {end}");
        }
    }
}
