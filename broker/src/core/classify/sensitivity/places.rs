//! Where a person lives. No rule of addresses holds everywhere, so several hints must come together.

use super::super::text::{SEED, hash_of, step};
use super::{Found, Kind, Words};

/// Words that make a number near them a house's, as words of their own.
const STREETS: &[&str] = &[
    "street",
    "st",
    "road",
    "rd",
    "avenue",
    "ave",
    "lane",
    "ln",
    "drive",
    "dr",
    "boulevard",
    "blvd",
    "court",
    "ct",
    "terrace",
    "crescent",
    "highway",
    "hwy",
    "parkway",
    "pkwy",
    "rue",
    "chemin",
    "allée",
    "calle",
    "avenida",
    "avda",
    "plaza",
    "paseo",
    "via",
    "viale",
    "piazza",
    "corso",
    "rua",
    "travessa",
    "praça",
    "ul",
    "ulica",
    "utca",
    "út",
    "gade",
    "gate",
    "gata",
    "улица",
    "ул",
    "проспект",
    "straße",
    "strasse",
    "str",
];

/// How a street's name ends where it is one word.
const ENDINGS: &[&str] = &[
    "straße", "strasse", "str", "weg", "allee", "platz", "gasse", "vej", "vejen", "gade", "gata", "gatan", "gate", "vägen", "veien",
    "straat", "laan", "plein", "katu", "kuja", "tie", "utca", "tér",
];

/// What stands before the number of a flat.
static FLATS: Words<14> = Words::of([
    "apt",
    "apartment",
    "suite",
    "flat",
    "unit no",
    "po box",
    "p.o. box",
    "postfach",
    "box",
    "psc",
    "apo",
    "wohnung",
    "appartement",
    "piso",
]);

static TOLD: Words<9> =
    Words::of(["address:", "address is", "lives at", "live at", "living at", "resides at", "adresse:", "anschrift:", "dirección:"]);
static TITLE: Words<1> = Words::of(["address:"]);
static SAID: Words<24> = Words::of([
    "address",
    "lives at",
    "lives on",
    "lives in",
    "living at",
    "live at",
    "reside at",
    "resides at",
    "moved to",
    "adresse",
    "anschrift",
    "wohnt",
    "wohnhaft",
    "dirección",
    "direccion",
    "indirizzo",
    "endereço",
    "habite",
    "vive en",
    "адрес",
    "ship to",
    "deliver to",
    "billing",
    "shipping",
]);

/// Looks at the surroundings of a number of so many digits.
pub(super) fn number(bytes: &[u8], start: usize, end: usize, count: usize, found: &mut Found) {
    let beside = bytes.get(end) == Some(&b' ') || start.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b' ');
    if found.has(Kind::Address) || count > 9 || !beside || found.spent() {
        return;
    }
    let mut hints = 0;
    // An address is told, and a number follows at once.
    let (before, after) =
        (bytes.get(start.saturating_sub(24)..start).unwrap_or_default(), bytes.get(end..(end + 32).min(bytes.len())).unwrap_or_default());
    if !after.iter().any(|b| b.is_ascii_alphabetic()) && !before.iter().any(|b| b.is_ascii_alphabetic()) {
        return;
    }
    if found.near(bytes, start.saturating_sub(14), start, &FLATS) {
        hints += 2;
    }
    let street = street(after) || street_before(before);
    if !street && hints == 0 {
        let told = found.near(bytes, start.saturating_sub(14), start, &TOLD)
            || (found.near(bytes, start.saturating_sub(20), start, &TITLE) && before.ends_with(b" "));
        if told && capital(after) {
            found.add(Kind::Address);
        }
        return;
    }
    hints += 2 * i32::from(street);
    let around = (start.saturating_sub(90), end + 90);
    hints += i32::from(found.near(bytes, around.0, around.1, &SAID));
    hints += i32::from(postcode(bytes.get(end..around.1.min(bytes.len())).unwrap_or_default()));
    hints += i32::from(hints == 2 && street && found.near(bytes, end, around.1, &FLATS));
    // A house's number, a name, and a number again.
    hints += i32::from(hints == 2 && !street && before.contains(&b'\n'));
    if hints >= 3 {
        found.add(Kind::Address);
    }
}

fn capital(after: &[u8]) -> bool {
    matches!(after, [b' ', c, ..] if c.is_ascii_uppercase() || !c.is_ascii())
}

/// Whether one of the next words on the line is a street.
fn street(after: &[u8]) -> bool {
    let line = after.split(|b| *b == b'\n').next().unwrap_or_default();
    line.first() == Some(&b' ') && line.split(|b| matches!(b, b' ' | b',')).filter(|word| !word.is_empty()).take(4).any(is_street)
}

/// Whether the number follows a street's name.
fn street_before(before: &[u8]) -> bool {
    let line = before.rsplit(|b| *b == b'\n').next().unwrap_or_default();
    line.last() == Some(&b' ') && line.rsplit(|b| *b == b' ').filter(|word| !word.is_empty()).take(3).any(is_street)
}

fn is_street(word: &[u8]) -> bool {
    let capital = word.first().is_some_and(|b| b.is_ascii_uppercase() || *b >= 0x80);
    let point = word.last() == Some(&b'.');
    let bare = word.strip_suffix(b".").unwrap_or(word);
    let hash = bare.iter().fold(SEED, |hash, byte| step(hash, byte.to_ascii_lowercase()));
    if STREET_HASHES.contains(&hash) {
        return capital || point || !ALSO_WORDS.contains(&hash);
    }
    capital && bare.len() > 5 && ENDINGS.iter().any(|ending| bare.len() > ending.len() + 2 && bare.ends_with(ending.as_bytes()))
}

const fn hashes<const N: usize>(words: &[&str]) -> [u32; N] {
    let mut hashes = [0; N];
    let mut at = 0;
    while at < N {
        hashes[at] = hash_of(words[at]);
        at += 1;
    }
    hashes
}

const STREET_HASHES: [u32; STREETS.len()] = hashes(STREETS);

/// Without a capital these are something else.
const ALSO_WORDS: [u32; 14] =
    hashes(&["st", "via", "drive", "court", "lane", "gate", "dr", "ct", "str", "plaza", "road", "street", "ul", "highway"]);

/// Whether a postal code and a place, or a state and its code, come next.
fn postcode(after: &[u8]) -> bool {
    after.windows(7).any(|w| {
        let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        (matches!(w.first(), Some(b' ' | b'\n' | b'-')) && w.get(1..6).is_some_and(digits) && !w.get(6).is_some_and(u8::is_ascii_digit))
            || (w.first().is_some_and(u8::is_ascii_uppercase)
                && w.get(1..3).is_some_and(|p| p.iter().any(u8::is_ascii_digit))
                && w.get(3) == Some(&b' ')
                && w.get(4).is_some_and(u8::is_ascii_digit)
                && w.get(5..7).is_some_and(|p| p.iter().all(u8::is_ascii_uppercase)))
            || (w.get(..4).is_some_and(digits) && w.get(4) == Some(&b'-') && w.get(5..7).is_some_and(digits))
    }) || after.ends_with(b"\n") && after.iter().rev().skip(1).take(5).all(u8::is_ascii_digit)
        || after.len() >= 5 && after.iter().rev().take(5).all(u8::is_ascii_digit) && after.len() < 90
}
