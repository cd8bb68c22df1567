//! Order statistics, and how figures are written.

use std::time::Duration;

/// Measured values, in order. Kept whole: a run has at most a few million, and buckets would blur the tails that bars are on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    /// The value that the share `q` of all values does not exceed; 0 where there are none.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let rank = (q * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.clamp(1, self.0.len().max(1)) - 1).copied().unwrap_or(0.0)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.quantile(0.50)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }
}

/// The middle of one figure per round, which a disturbed round does not move.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let Sample(values) = Sample::of(values.into_iter().collect());
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (n, half) if n % 2 == 1 => values[half],
        (_, half) => f64::midpoint(values[half - 1], values[half]),
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A time given in microseconds, in the unit that a person would use.
pub(crate) fn time(us: f64) -> String {
    match us.abs() {
        a if a >= 10_000_000.0 => format!("{:.1} s", us / 1e6),
        a if a >= 1_000_000.0 => format!("{:.2} s", us / 1e6),
        a if a >= 100_000.0 => format!("{:.0} ms", us / 1e3),
        a if a >= 1_000.0 => format!("{:.2} ms", us / 1e3),
        _ => format!("{us:.0} µs"),
    }
}

/// A count with its thousands set apart.
pub(crate) fn count(n: f64) -> String {
    let digits = format!("{n:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
