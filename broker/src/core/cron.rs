//! Recurring times, as cron has them: five fields by the wall clock of a place. Pure: time is an argument.
//!
//! A time that the clock skips is the moment at which it jumps. A time that it has twice is the first of the two, unless
//! every hour is meant: then both.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan as _};

use super::nearest::quoted;

/// The days that are looked through for the next time: a 29th of February on a given weekday comes every 40 years at the
/// most.
const MOST_DAYS: i32 = 366 * 41;
/// No clock is set back or forward by more, but where a place moves across the date line.
const LONGEST_CHANGE: i64 = 3;

/// When something recurs.
#[derive(Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether both days of the month and of the week are named, so that either will do.
    either: bool,
}

struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field {
        name: "month",
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    // Sunday is 0 and 7.
    Field { name: "day of the week", least: 0, most: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

const NAMED: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

impl Cron {
    /// Reads `minute hour day month weekday`, with names, ranges, lists and steps, or one such as `@daily`.
    ///
    /// # Errors
    /// A message that says what was found and what is right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let spelled = match text.strip_prefix('@') {
            None => text,
            Some(_) => NAMED
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(text))
                .map(|(_, meant)| *meant)
                .ok_or_else(|| format!("{} is not known; say one of {}", quoted(text), NAMED.map(|(name, _)| name).join(", ")))?,
        };
        let words: Vec<&str> = spelled.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = words.as_slice() else {
            return Err(format!("{} has {} fields; five are needed: minute, hour, day, month, weekday", quoted(text), words.len()));
        };
        let [of_minute, of_hour, of_day, of_month, of_weekday] = &FIELDS;
        let weekdays = of_weekday.parse(weekday)?;
        let cron = Self {
            text: text.to_owned(),
            minutes: of_minute.parse(minute)?,
            hours: of_hour.parse(hour)?,
            days: of_day.parse(day)?,
            months: of_month.parse(month)?,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        if cron.next(0, &TimeZone::UTC).is_none() {
            return Err(format!("{} never comes, because no such month has that day", quoted(text)));
        }
        Ok(cron)
    }

    /// The first time after this instant, both in milliseconds; nothing where none comes in a lifetime.
    #[must_use]
    pub fn next(&self, after: u64, zone: &TimeZone) -> Option<u64> {
        let after = Timestamp::from_millisecond(i64::try_from(after).ok()?).ok()?;
        let local = zone.to_datetime(after);
        let from = local.checked_sub(LONGEST_CHANGE.hours()).ok()?;
        let mut best: Option<Timestamp> = None;
        for days in -1..MOST_DAYS {
            let date = local.date().checked_add(days.days()).ok()?;
            if self.is_on(date) {
                for at in self.times(date).filter(|at| *at >= from) {
                    let instants = self.instants(at, zone);
                    // An hour that comes twice is before its second time over for all of it. The first times are in order.
                    if best.is_some_and(|best| instants.first().is_some_and(|first| *first > best)) {
                        break;
                    }
                    let here = instants.into_iter().find(|t| *t > after);
                    best = [best, here].into_iter().flatten().min();
                }
            }
            if best.is_some_and(|best| zone.to_datetime(best).date() < date) {
                break;
            }
        }
        u64::try_from(best?.as_millisecond()).ok()
    }

    fn is_on(&self, date: Date) -> bool {
        let has = |set: u64, n: i8| set >> n & 1 == 1;
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.either { day || weekday } else { day && weekday }
    }

    fn times(&self, date: Date) -> impl Iterator<Item = DateTime> {
        let (hours, minutes) = (self.hours, self.minutes);
        let hours = (0..24i8).filter(move |hour| hours >> hour & 1 == 1);
        hours
            .flat_map(move |hour| (0..60i8).filter(move |minute| minutes >> minute & 1 == 1).map(move |minute| date.at(hour, minute, 0, 0)))
    }

    fn instants(&self, at: DateTime, zone: &TimeZone) -> Vec<Timestamp> {
        let place = zone.to_ambiguous_timestamp(at);
        let both = || [place.earlier(), place.later()].into_iter().filter_map(Result::ok);
        match place.offset() {
            AmbiguousOffset::Unambiguous { .. } => both().take(1).collect(),
            AmbiguousOffset::Gap { .. } => {
                let before = both().min();
                before.and_then(|before| zone.following(before).next()).map(|jump| jump.timestamp()).into_iter().collect()
            }
            AmbiguousOffset::Fold { .. } => both().take(if self.hours == 0xff_ffff { 2 } else { 1 }).collect(),
        }
    }
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.part(part)?))
    }

    fn part(&self, text: &str) -> Result<u64, String> {
        let (range, step) = match text.split_once('/') {
            None => (text, None),
            Some((range, step)) => match step.parse::<u8>() {
                Ok(step @ 1..=59) => (range, Some(step)),
                _ => return Err(format!("{} is no step of a {}; say one such as */15", quoted(step), self.name)),
            },
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, if self.most == 7 { 6 } else { self.most }),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            None => {
                let from = self.number(range)?;
                (from, if step.is_some() { self.most } else { from })
            }
        };
        if from > to {
            return Err(format!("{} goes backwards; say it as two parts of a list", quoted(range)));
        }
        Ok((from..=to).step_by(step.unwrap_or(1).into()).fold(0, |set, n| set | 1 << n))
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)).and_then(|at| u8::try_from(at).ok());
        let number = named.map(|at| at + if self.names.len() == 12 { 1 } else { 0 }).or_else(|| {
            Some(text).filter(|text| text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit())).and_then(|text| text.parse().ok())
        });
        number.filter(|n| (self.least..=self.most).contains(n)).ok_or_else(|| {
            let names = if self.names.is_empty() {
                String::new()
            } else {
                format!(", or a name such as {}", self.names.first().copied().unwrap_or_default())
            };
            format!("{} is no {}; say a number from {} to {}{names}", quoted(text), self.name, self.least, self.most)
        })
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(instant: &str) -> u64 {
        instant.parse::<Timestamp>().unwrap().as_millisecond().try_into().unwrap()
    }

    fn nexts(cron: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
        let (cron, zone) = (Cron::parse(cron).unwrap(), TimeZone::get(zone).unwrap());
        let mut at = ms(after);
        let mut next = || {
            at = cron.next(at, &zone).unwrap();
            Timestamp::from_millisecond(at.try_into().unwrap()).unwrap().to_string()
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn fields_are_numbers_names_ranges_lists_and_steps() {
        // A Saturday.
        let now = "2026-11-21T14:15:30Z";
        for (cron, next) in [
            ("* * * * *", "2026-11-21T14:16:00Z"),
            ("*/20 * * * *", "2026-11-21T14:20:00Z"),
            ("5/20 * * * *", "2026-11-21T14:25:00Z"),
            ("0 22 * * 1-5", "2026-11-23T22:00:00Z"),
            ("0 22 * * MON-FRI", "2026-11-23T22:00:00Z"),
            ("0 0 * * 7", "2026-11-22T00:00:00Z"),
            ("0 0 * * sun,tue", "2026-11-22T00:00:00Z"),
            ("0 0 * * 5-7", "2026-11-22T00:00:00Z"),
            ("30 9-17/4 1,15 * *", "2026-12-01T09:30:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            // Either the first or a Monday; with a star, both.
            ("0 0 1 * mon", "2026-11-23T00:00:00Z"),
            ("0 0 */2 * mon", "2026-11-23T00:00:00Z"),
            ("0 0 1 jan,jul *", "2027-01-01T00:00:00Z"),
            ("@hourly", "2026-11-21T15:00:00Z"),
            ("@Daily", "2026-11-22T00:00:00Z"),
            ("@weekly", "2026-11-22T00:00:00Z"),
            ("@monthly", "2026-12-01T00:00:00Z"),
            ("@yearly", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(nexts(cron, "UTC", now, 1), [next], "{cron}");
        }
        assert_eq!(nexts("0 0 29 2 *", "UTC", now, 2)[1], "2032-02-29T00:00:00Z");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (cron, why) in [
            ("0 22 * *", "has 4 fields"),
            ("60 * * * *", "`60` is no minute; say a number from 0 to 59"),
            ("* * * * fry", "`fry` is no day of the week; say a number from 0 to 7, or a name such as sun"),
            ("* * 0 * *", "`0` is no day of the month"),
            ("*/0 * * * *", "`0` is no step of a minute"),
            ("* 7-22,x * * *", "`x` is no hour"),
            ("* 22-7 * * *", "`22-7` goes backwards"),
            ("0 0 31 feb *", "never comes"),
            ("@nightly", "`@nightly` is not known; say one of @hourly"),
            ("* * * * * ", ""),
        ] {
            match Cron::parse(cron) {
                Err(message) => assert!(!why.is_empty() && message.contains(why), "{cron}: {message}"),
                Ok(_) => assert!(why.is_empty(), "{cron}"),
            }
        }
    }

    #[test]
    fn a_skipped_time_is_the_jump_and_a_doubled_one_comes_once() {
        let spring = "2026-03-28T12:00:00Z";
        assert_eq!(nexts("30 2 * * *", "Europe/Berlin", spring, 2), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        assert_eq!(
            nexts("0,30 2,3 * * *", "Europe/Berlin", spring, 3),
            ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:00:00Z"]
        );
        let autumn = "2026-10-24T12:00:00Z";
        assert_eq!(nexts("30 2 * * *", "Europe/Berlin", autumn, 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let hourly = ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"];
        assert_eq!(nexts("@hourly", "Europe/Berlin", "2026-10-24T23:30:00Z", 3), hourly);
        let quarters = ["2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:15:00Z"];
        assert_eq!(nexts("*/15 * * * *", "Europe/Berlin", "2026-10-25T00:31:00Z", 3), quarters);
        // A day that a place has skipped.
        assert_eq!(nexts("0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z", 1), ["2011-12-30T10:00:00Z"]);
    }

    /// Looks at every minute.
    fn naive(cron: &Cron, after: u64, zone: &TimeZone, until: u64) -> Option<u64> {
        let matches = |at: DateTime| cron.is_on(at.date()) && cron.hours >> at.hour() & 1 == 1 && cron.minutes >> at.minute() & 1 == 1;
        let local = |ms: u64| zone.to_datetime(Timestamp::from_millisecond(ms.try_into().unwrap()).unwrap());
        let mut at = after / 60_000 * 60_000 + 60_000;
        while at <= until {
            let (now, before) = (local(at), local(at - 60_000));
            let mut skipped = before.checked_add(1.minute()).unwrap();
            while skipped < now {
                if matches(skipped) {
                    return Some(at);
                }
                skipped = skipped.checked_add(1.minute()).unwrap();
            }
            let first = zone.to_ambiguous_timestamp(now).earlier().unwrap().as_millisecond() == i64::try_from(at).unwrap();
            if matches(now) && (first || cron.hours == 0xff_ffff) {
                return Some(at);
            }
            at += 60_000;
        }
        None
    }

    proptest! {
        #[test]
        fn the_next_time_is_the_first_minute_that_fits(
            minute in prop::sample::select(vec!["*", "0", "*/15", "5,35", "59"]),
            hour in prop::sample::select(vec!["*", "2", "1-3", "0,23", "*/6"]),
            day in prop::sample::select(vec!["*", "*", "28-31", "1"]),
            weekday in prop::sample::select(vec!["*", "*", "0", "mon-fri"]),
            zone in prop::sample::select(vec!["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "America/St_Johns", "Asia/Beirut"]),
            change in 0usize..4,
            offset in 0u64..4_320,
        ) {
            let cron = Cron::parse(&format!("{minute} {hour} {day} * {weekday}")).unwrap();
            let zone = TimeZone::get(zone).unwrap();
            // Around a change of the clock.
            let begin = Timestamp::from_millisecond(ms("2014-06-01T00:00:00Z").try_into().unwrap()).unwrap();
            let change = zone.following(begin).nth(change).map_or(begin, |change| change.timestamp());
            let after = u64::try_from(change.as_millisecond()).unwrap() + 1_440 * 60_000 - offset * 60_000;
            let until = after + 5 * 86_400_000;
            let found = cron.next(after, &zone);
            prop_assert_eq!(found.filter(|at| *at <= until), naive(&cron, after, &zone, until));
        }
    }
}
