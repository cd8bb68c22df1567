//! Daily windows by the wall clock of a place.

use std::fmt;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::nearest::quoted;

const DAY: u16 = 24 * 60;

/// A time of day, such as `22:00-07:00 Europe/Berlin`; the zone is UTC where none is named.
#[derive(Clone, PartialEq, Eq)]
pub struct Window {
    /// Minutes of the day, the first one within.
    from: u16,
    /// The first one after; at or before `from` when the window crosses midnight.
    to: u16,
    zone: TimeZone,
}

impl Window {
    /// Reads `HH:MM-HH:MM Zone`.
    ///
    /// # Errors
    /// A message that says what was found and what is right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{} is no time of day; say it as `22:00-07:00` or `22:00-07:00 Europe/Berlin`", quoted(text));
        let mut words = text.split_whitespace();
        let (from, to) = words.next().and_then(|span| span.split_once('-')).ok_or_else(wrong)?;
        let (from, to) = (minutes(from).ok_or_else(wrong)?, minutes(to).ok_or_else(wrong)?);
        if from == DAY || from == to {
            return Err(format!("{} has no beginning or no length; a whole day is `00:00-24:00`", quoted(text)));
        }
        let zone = match words.next() {
            None => TimeZone::UTC,
            Some(name) => {
                TimeZone::get(name).map_err(|_| format!("no time zone {} is known; say one such as Europe/Berlin or UTC", quoted(name)))?
            }
        };
        if words.next().is_some() {
            return Err(wrong());
        }
        Ok(Self { from, to, zone })
    }

    /// Whether the clock on the wall is within. So an hour that a place has twice counts twice, and one that it skips never.
    fn is_open(&self, now: Timestamp) -> bool {
        let clock = self.zone.to_datetime(now);
        let minute = clock.hour().unsigned_abs() as u16 * 60 + clock.minute().unsigned_abs() as u16;
        if self.from < self.to { (self.from..self.to).contains(&minute) } else { minute >= self.from || minute < self.to }
    }

    /// The instants at which this window may open or close next, in no order.
    fn boundaries(&self, now: Timestamp) -> Vec<Timestamp> {
        let today = self.zone.to_datetime(now).date();
        let mut found: Vec<_> = self.zone.following(now).take(1).map(|change| change.timestamp()).collect();
        // A day's boundary may fall into an hour that does not exist, so that the next day's is the first.
        for date in (0..=2).filter_map(|days| today.checked_add(days.days()).ok()) {
            for minute in [self.from % DAY, self.to % DAY] {
                let Some(time) = time(minute) else { continue };
                // A time that a place has twice is two instants.
                let place = self.zone.to_ambiguous_timestamp(date.to_datetime(time));
                found.extend(place.earlier());
                found.extend(place.later());
            }
        }
        found
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{}-{} {}", clock(self.from), clock(self.to), self.zone.iana_name().unwrap_or("?"))
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Whether one of the windows is open; without any it is always open.
#[must_use]
pub fn open_at(windows: &[Window], unix_ms: u64) -> bool {
    instant(unix_ms).is_none_or(|now| open(windows, now))
}

/// When [`open_at`] next has another answer, in milliseconds; nothing when it never has.
#[must_use]
pub fn next_change(windows: &[Window], unix_ms: u64) -> Option<u64> {
    let now = instant(unix_ms)?;
    let state = open(windows, now);
    let mut boundaries: Vec<_> = windows.iter().flat_map(|window| window.boundaries(now)).filter(|at| *at > now).collect();
    boundaries.sort_unstable();
    let change = boundaries.into_iter().find(|at| open(windows, *at) != state)?;
    u64::try_from(change.as_millisecond()).ok()
}

fn open(windows: &[Window], now: Timestamp) -> bool {
    windows.is_empty() || windows.iter().any(|window| window.is_open(now))
}

fn instant(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}

fn time(minute: u16) -> Option<Time> {
    Time::new(i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?, 0, 0).ok()
}

/// The minute of the day of `HH:MM`, up to `24:00`.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    if hour.is_empty() || hour.len() > 2 || minute.len() != 2 || !text.bytes().all(|b| b.is_ascii_digit() || b == b':') {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (minute < 60).then_some(hour * 60 + minute).filter(|minute| *minute <= DAY)
}
