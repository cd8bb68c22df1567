//! Durations, sizes and other values with a notation of their own, for `deserialize_with`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

pub(super) use crate::core::nearest::quoted;

/// A number and its unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.trim_start()))
}

/// Reads `500ms`, `30s`, `5m`, `2h` or `7d`.
///
/// # Errors
/// A message that says what was found and what is right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{} is no duration; say a whole number and a unit: 500ms, 30s, 5m, 2h or 7d", quoted(text));
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        "" if number == 0 => 0,
        "" => return Err(format!("`{number}` is a duration without a unit; say `{number}s` or `{number}ms`")),
        _ => return Err(wrong()),
    };
    // A thousand years is more than any use, and keeps sums with the clock far from overflow.
    let most = 1000 * 365 * 24 * 60 * 60 * 1000;
    match number.checked_mul(millis) {
        Some(total) if total <= most => Ok(Duration::from_millis(total)),
        Some(_) | None => Err(format!("{} is too long a duration", quoted(text))),
    }
}

/// Reads `4096`, `64KB`, `16GB` or `64MiB`.
///
/// # Errors
/// A message that says what was found and what is right.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{} is no size; say a whole number of bytes, or one with a unit: 64KB, 64MB, 16GB or 64MiB", quoted(text));
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let bytes: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(bytes).ok_or_else(|| format!("{} is too large a size", quoted(text)))
}

fn parsed<'de, D: Deserializer<'de>, T>(deserializer: D, parse: fn(&str) -> Result<T, String>) -> Result<T, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn optional<'de, D: Deserializer<'de>, T>(deserializer: D, parse: fn(&str) -> Result<T, String>) -> Result<Option<T>, D::Error> {
    Option::<String>::deserialize(deserializer)?.as_deref().map(parse).transpose().map_err(D::Error::custom)
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parsed(deserializer, parse_duration)
}

pub(super) fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    optional(deserializer, parse_duration)
}

/// Zero means never.
pub(super) fn duration_or_never<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(optional_duration(deserializer)?.filter(|duration| !duration.is_zero()))
}

pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    parsed(deserializer, parse_size)
}

pub(super) fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    optional(deserializer, parse_size)
}

pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parsed(deserializer, parse_listen)
}

/// An address to listen on.
///
/// # Errors
/// When it is neither an IP address with a port nor `localhost` with one.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse::<u16>().ok()) {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| format!("{} is no address to listen on; say an IP address and a port: 127.0.0.1:8787", quoted(text)))
}

pub(super) fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 32]>, D::Error> {
    // The text stays out of the message: it may be the key itself.
    optional(deserializer, |text| {
        let wrong = || format!("this is no SHA-256; say its 64 hexadecimal digits, not {} characters", text.chars().count());
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(digest)
    })
}
