//! Reasons not to pull: requests and tokens per minute.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills evenly over a minute and holds a minute's worth at the most.
#[derive(Debug)]
pub(crate) struct PerMinute {
    limit: f64,
    /// Below zero when something cost more than was foreseen.
    level: f64,
    at: Instant,
}

impl PerMinute {
    pub(crate) fn new(limit: u32, now: Instant) -> Self {
        Self { limit: f64::from(limit), level: f64::from(limit), at: now }
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.duration_since(self.at).as_secs_f64() * self.limit / 60.0;
        self.level = (self.level + gained).min(self.limit);
        self.at = now;
    }

    /// How many whole units are there; when none is, how long until the next.
    pub(crate) fn ready(&mut self, now: Instant) -> Result<usize, Duration> {
        self.fill(now);
        if self.level >= 1.0 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and a u32")]
            return Ok(self.level as usize);
        }
        Err(Duration::from_secs_f64((1.0 - self.level) * 60.0 / self.limit.max(1e-9)).max(Duration::from_millis(1)))
    }

    pub(crate) fn spend(&mut self, units: u64, now: Instant) {
        self.fill(now);
        #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
        let units = units as f64;
        self.level -= units;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_gives_a_minutes_worth() {
        let start = Instant::now();
        let mut bucket = PerMinute::new(60, start);
        assert_eq!(bucket.ready(start), Ok(60));
        bucket.spend(60, start);
        assert_eq!(bucket.ready(start), Err(Duration::from_secs(1)));
        assert_eq!(bucket.ready(start + Duration::from_secs(30)), Ok(30));
        assert_eq!(bucket.ready(start + Duration::from_secs(600)), Ok(60));
    }

    #[test]
    fn a_debt_is_paid_first() {
        let start = Instant::now();
        let mut bucket = PerMinute::new(600, start);
        bucket.spend(1_200, start);
        assert!(bucket.ready(start + Duration::from_secs(59)).is_err());
        assert!(bucket.ready(start + Duration::from_secs(61)).is_ok());
    }
}
