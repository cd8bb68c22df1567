//! Numbers that name or reach a person, or pay: cards, accounts, identities, telephones.

use std::ops::{Deref, Range};

use super::accounts::iban;
use super::identities::{identity, lettered};
use super::{Found, Kind, Words, places};

/// So far before and after a number words are looked for that say what it is.
pub(super) const BEFORE: usize = 48;
pub(super) const AFTER: usize = 28;

/// A number as people write it: groups of digits with single marks between them.
#[derive(Debug, Default)]
pub(super) struct Number {
    pub(super) digits: Few<u8>,
    pub(super) groups: Few<u8>,
    marks: Few<u8>,
    start: usize,
    pub(super) end: usize,
    plus: bool,
    bracket: bool,
}

/// More than any number that means something here.
const MOST_DIGITS: usize = 24;

/// A short list that needs no memory of its own; what is too much for it is left out.
#[derive(Debug, Default)]
pub(super) struct Few<T> {
    own: [T; MOST_DIGITS + 1],
    count: usize,
}

impl<T> Few<T> {
    fn push(&mut self, value: T) {
        if let Some(place) = self.own.get_mut(self.count) {
            *place = value;
            self.count += 1;
        }
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.own.get(..self.count).unwrap_or_default()
    }
}

impl Number {
    fn read(bytes: &[u8], at: usize) -> Self {
        let mut number = Self { start: at, end: at, ..Self::default() };
        loop {
            let from = number.end;
            while let Some(digit) = bytes.get(number.end).filter(|byte| byte.is_ascii_digit())
                && number.end - from <= MOST_DIGITS
            {
                number.digits.push(digit - b'0');
                number.end += 1;
            }
            number.groups.push((number.end - from) as u8);
            if number.digits.len() > MOST_DIGITS {
                break;
            }
            // Between groups there is one mark, or a bracket with one.
            let (mark, width) = match bytes.get(number.end..).unwrap_or_default() {
                [b' ', b'-', b' ', d, ..] if d.is_ascii_digit() => (b'-', 3),
                [b')', b' ' | b'-', d, ..] if d.is_ascii_digit() => (b')', 2),
                [b' ', b'(', d, ..] if d.is_ascii_digit() => (b'(', 2),
                [mark @ (b' ' | b'-' | b'.' | b'/' | b')' | b'('), d, ..] if d.is_ascii_digit() => (*mark, 1),
                _ => break,
            };
            number.marks.push(mark);
            number.end += width;
        }
        let mut before = bytes.iter().take(at).rev();
        match before.next() {
            Some(b'+') => number.plus = true,
            Some(b'(') => {
                number.bracket = true;
                number.plus = before.next() == Some(&b'+');
            }
            _ => {}
        }
        number
    }

    pub(super) fn only(&self, marks: &[u8]) -> bool {
        self.marks.iter().all(|mark| marks.contains(mark))
    }
}

/// Looks at the number that begins at a place, and returns where to go on.
pub(super) fn number(bytes: &[u8], at: usize, token: Range<usize>, found: &mut Found) -> usize {
    let before = at.checked_sub(1).and_then(|before| bytes.get(before)).copied();
    if before.is_some_and(|b| b.is_ascii_alphabetic()) {
        if !found.has(Kind::Iban) && iban(bytes, at) {
            found.add(Kind::Iban);
        }
        lettered(bytes, &token, found);
        return token.end.max(at + 1);
    }
    let number = Number::read(bytes, at);
    let count = number.digits.len();
    if count < 7 {
        places::number(bytes, number.start, number.end, count, found);
        return number.end.max(at + 1);
    }
    let alone = !bytes.get(number.end).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && !before.is_some_and(|b| matches!(b, b'_' | b'#' | b'.' | b'=' | b'x'));
    places::number(bytes, number.start, number.end, count, found);
    if count >= 7 {
        let close = Close { bytes, from: at.saturating_sub(BEFORE), to: number.end + AFTER, found };
        let kind = if (13..=19).contains(&count)
            && number.only(b" -")
            && luhn(&number.digits)
            && ((issuer(&number.digits) && !close.to(&NOT_CARD)) || close.to(&CARD))
        {
            Some(Kind::PaymentCard)
        } else if identity(&number, bytes, &close) {
            Some(Kind::NationalId)
        } else if close.to(&LICENSE) {
            Some(Kind::DriverLicense)
        } else {
            (alone && telephone(&number, &close)).then_some(Kind::Phone)
        };
        if let Some(kind) = kind {
            found.add(kind);
        }
        lettered(bytes, &token, found);
    }
    number.end.max(at + 1)
}

static CARD: Words<12> =
    Words::of(["card", "visa", "mastercard", "amex", "credit", "debit", "karte", "tarjeta", "carte", "cartão", "kreditkarte", "cvv"]);
static NOT_CARD: Words<10> =
    Words::of(["imei", "isbn", "order", "tracking", "transaction", "reference", "sku", "invoice", "timestamp", "serial"]);
pub(super) static LICENSE: Words<9> = Words::of([
    "driver's license",
    "drivers license",
    "driver license",
    "driver's licence",
    "driving licence",
    "driving license",
    "führerschein",
    "permiso de conducir",
    "permis de conduire",
]);
static SUM: Words<2> = Words::of(["compute", "calculate"]);
static CALL: Words<49> = Words::of([
    "phone",
    "telephone",
    "tel",
    "call",
    "calls",
    "called",
    "mobile",
    "cell",
    "cellphone",
    "fax",
    "sms",
    "text me",
    "whatsapp",
    "dial",
    "ring",
    "voicemail",
    "answering",
    "reach me",
    "reach him",
    "reach her",
    "contact",
    "messages to",
    "registered",
    "desk",
    "office",
    "hotline",
    "telefon",
    "telefonnummer",
    "handy",
    "anrufen",
    "rufnummer",
    "teléfono",
    "telefono",
    "móvil",
    "llamar",
    "téléphone",
    "appeler",
    "portable",
    "cellulare",
    "telefone",
    "celular",
    "телефон",
    "звонить",
    "звоните",
    "手机",
    "电话",
    "手機",
    "電話",
    "携帯",
]);
static NOT_CALL: Words<27> = Words::of([
    "order",
    "sku",
    "isbn",
    "issn",
    "invoice",
    "ticket",
    "tracking",
    "transaction",
    "commit",
    "version",
    "compute",
    "calculate",
    "mod",
    "timestamp",
    "sum of",
    "serial",
    "multiply",
    "divided",
    "port",
    "epoch",
    "mersenne",
    "factor",
    "prime",
    "digits",
    "sequence",
    "decimal",
    "binary",
]);

/// What stands around a number.
pub(super) struct Close<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) found: &'b Found,
}

impl Close<'_> {
    pub(super) fn to<const N: usize>(&self, words: &Words<N>) -> bool {
        self.found.near(self.bytes, self.from, self.to, words)
    }
}

/// The check of payment cards: every second digit counts twice.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(nth, digit)| {
            let digit = u32::from(*digit);
            if nth % 2 == 0 { digit } else { (digit * 2) / 10 + (digit * 2) % 10 }
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != 0)
}

/// Whether a card network gives out numbers that begin so and are so long.
fn issuer(digits: &[u8]) -> bool {
    let start = digits.iter().take(4).fold(0u32, |sum, digit| sum * 10 + u32::from(*digit));
    let count = digits.len();
    match start {
        4000..=4999 => matches!(count, 13 | 16 | 19),
        5100..=5599 | 2221..=2720 => count == 16,
        3400..=3499 | 3700..=3799 => count == 15,
        3000..=3059 | 3600..=3699 | 3800..=3999 => count == 14 || count == 16,
        3528..=3589 => count >= 16,
        1800 | 2131 => count == 15,
        6011 | 6440..=6599 | 6200..=6299 | 8100..=8171 => count >= 16,
        5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763 => count >= 12,
        _ => false,
    }
}

fn telephone(number: &Number, close: &Close<'_>) -> bool {
    let (digits, groups) = (&*number.digits, &*number.groups);
    if !(7..=15).contains(&digits.len()) || digits.iter().all(|digit| *digit <= 1) {
        return false;
    }
    // A date, perhaps with a time.
    let year = matches!(digits, [1 | 2, ..]);
    let date = matches!(groups, [4, 1..=2, 1..=2, ..] if year) || matches!(groups, [1..=2, 1..=2, 4, ..]) || (groups == [4, 4] && year);
    let separated = groups.len() >= 2;
    if number.plus {
        return digits.len() >= 8 && !close.to(&SUM);
    }
    if date || close.to(&NOT_CALL) {
        return false;
    }
    let trunk = digits.first() == Some(&0)
        && digits.get(1) != Some(&0)
        && separated
        && (9..=11).contains(&digits.len())
        && groups.first().is_some_and(|first| (2..=5).contains(first))
        && groups.iter().all(|group| *group >= 2)
        && number.only(b" -./()");
    let american = matches!(groups, [3, 3, 4] | [1, 3, 3, 4]) && digits.first().is_some_and(|digit| *digit > 0);
    let bracketed = number.bracket && separated && number.marks.first() == Some(&b')');
    trunk || american || bracketed || close.to(&CALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_hold() {
        let digits = |text: &str| text.bytes().map(|b| b - b'0').collect::<Vec<u8>>();
        assert!(luhn(&digits("4111111111111111")) && !luhn(&digits("4111111111111112")) && !luhn(&[0; 16]));
    }
}
