//! When jobs of the band `batch` may run. Pure: time is an argument.

use std::time::Duration;

use pullyard_schemas::Timestamp;
use serde::Deserialize;

use super::hours::{Window, next_change, open_at};

/// What batch jobs may do outside their windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outside {
    /// Run where nobody of an earlier band waits, on slots beyond those that are kept free.
    #[default]
    Idle,
    /// Wait for the next window.
    Wait,
}

/// The rule: windows, and what is so outside them. Without a window batch jobs have no hours: they run at any time, and
/// age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHours {
    pub windows: Vec<Window>,
    pub outside: Outside,
    /// Slots that batch jobs leave free outside their windows, so that the next person need not wait.
    pub keep_free: usize,
}

/// What batch jobs may have at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Whatever is free after the earlier bands.
    Open,
    /// What is idle.
    Idle,
    Shut,
}

/// Windows that a wait is followed through: nine years of nights.
const MOST_WINDOWS: usize = 3_300;

impl Default for BatchHours {
    fn default() -> Self {
        Self { windows: Vec::new(), outside: Outside::Idle, keep_free: 1 }
    }
}

impl Gate {
    pub const ALL: [Self; 3] = [Self::Open, Self::Idle, Self::Shut];

    /// As people and metrics are told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Idle => "idle",
            Self::Shut => "shut",
        }
    }
}

impl BatchHours {
    #[must_use]
    pub fn gate(&self, now: Timestamp) -> Gate {
        match self.outside {
            _ if open_at(&self.windows, now.0) => Gate::Open,
            Outside::Idle => Gate::Idle,
            Outside::Wait => Gate::Shut,
        }
    }

    /// When a window opens or closes next.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        next_change(&self.windows, now.0).map(Timestamp)
    }

    /// How long from now until so much time within windows has passed, at a moment within one. What batch jobs get outside
    /// of them is not counted, because nobody can know it. `None`: not within years.
    #[must_use]
    pub fn stretch(&self, now: Timestamp, mut within: Duration) -> Option<Duration> {
        let mut at = now;
        for _ in 0..MOST_WINDOWS {
            if !open_at(&self.windows, at.0) {
                at = self.next_change(at)?;
            }
            let Some(closes) = self.next_change(at) else { return Some(at.after(within).since(now)) };
            let open = closes.since(at);
            if within < open {
                return Some(at.after(within).since(now));
            }
            within -= open;
            at = closes;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn hours(windows: &[&str], outside: Outside) -> BatchHours {
        BatchHours { windows: windows.iter().map(|w| Window::parse(w).unwrap()).collect(), outside, keep_free: 1 }
    }

    fn at(instant: &str) -> Timestamp {
        Timestamp(instant.parse::<jiff::Timestamp>().unwrap().as_millisecond().try_into().unwrap())
    }

    #[test]
    fn outside_its_window_a_batch_waits_or_takes_what_is_idle() {
        let [idle, wait] = [Outside::Idle, Outside::Wait].map(|outside| hours(&["22:00-07:00 Europe/Berlin"], outside));
        let (noon, night) = (at("2026-11-21T11:00:00Z"), at("2026-11-21T23:00:00Z"));
        assert_eq!((idle.gate(noon), wait.gate(noon)), (Gate::Idle, Gate::Shut));
        assert_eq!((idle.gate(night), wait.gate(night)), (Gate::Open, Gate::Open));
        assert_eq!(BatchHours::default().gate(noon), Gate::Open);
        assert_eq!(wait.next_change(noon), Some(at("2026-11-21T21:00:00Z")));
    }

    #[test]
    fn a_wait_goes_on_in_the_next_night() {
        let night = hours(&["22:00-07:00 Europe/Berlin"], Outside::Wait);
        let noon = at("2026-11-21T11:00:00Z");
        assert_eq!(night.stretch(noon, Duration::ZERO), Some(10 * HOUR));
        assert_eq!(night.stretch(noon, 8 * HOUR), Some(18 * HOUR));
        // The moment at which it closes is not within it any more.
        assert_eq!(night.stretch(noon, 9 * HOUR), Some(34 * HOUR));
        assert_eq!(night.stretch(at("2026-11-21T22:00:00Z"), HOUR), Some(HOUR));
        assert_eq!(BatchHours::default().stretch(noon, HOUR), Some(HOUR));
    }

    #[test]
    fn a_night_in_which_the_clock_is_changed_is_shorter_or_longer() {
        let night = hours(&["22:00-07:00 Europe/Berlin"], Outside::Wait);
        // Eight hours in spring, so that what takes eight and a half goes into the next night.
        let (spring, autumn) = (at("2026-03-28T21:00:00Z"), at("2026-10-24T20:00:00Z"));
        assert_eq!(night.stretch(spring, 8 * HOUR - Duration::from_secs(1)), Some(8 * HOUR - Duration::from_secs(1)));
        assert_eq!(night.stretch(spring, 8 * HOUR + HOUR / 2), Some(at("2026-03-29T20:30:00Z").since(spring)));
        // Ten in autumn.
        assert_eq!(night.stretch(autumn, 9 * HOUR + HOUR / 2), Some(9 * HOUR + HOUR / 2));
    }

    proptest! {
        /// Against a clock that is looked at every minute, over a year with both of its changes.
        #[test]
        fn a_wait_is_as_long_as_the_minutes_say(
            start in 0u64..525_600,
            within in 0u64..2_000,
            from in 0u16..96,
            length in 1u16..96,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]),
        ) {
            let clock = |quarter: u16| format!("{:02}:{:02}", quarter % 96 / 4, quarter % 4 * 15);
            prop_assume!(length != 96);
            let hours = hours(&[&format!("{}-{} {zone}", clock(from), clock(from + length))], Outside::Wait);
            let now = Timestamp(at("2026-01-01T00:00:00Z").0 + start * 60_000);
            let (mut minute, mut left) = (now, within);
            let naive = loop {
                if hours.gate(minute) == Gate::Open {
                    if left == 0 {
                        break minute.since(now);
                    }
                    left -= 1;
                }
                minute = Timestamp(minute.0 + 60_000);
            };
            prop_assert_eq!(hours.stretch(now, Duration::from_secs(within * 60)), Some(naive));
        }
    }
}
