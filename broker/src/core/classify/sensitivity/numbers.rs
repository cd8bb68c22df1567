//! Numbers that name or reach a person, or pay: cards, accounts, identities, telephones.

use std::ops::{Deref, Range};

use super::{Found, Kind, Words, places};

/// So far before and after a number words are looked for that say what it is.
const BEFORE: usize = 48;
const AFTER: usize = 28;

/// A number as people write it: groups of digits with single marks between them.
#[derive(Debug, Default)]
struct Number {
    digits: Few<u8>,
    groups: Few<u8>,
    marks: Few<u8>,
    start: usize,
    end: usize,
    plus: bool,
    bracket: bool,
}

/// More than any number that means something here.
const MOST_DIGITS: usize = 24;

/// A short list that needs no memory of its own; what is too much for it is left out.
#[derive(Debug, Default)]
struct Few<T> {
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

    fn only(&self, marks: &[u8]) -> bool {
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
static LICENSE: Words<9> = Words::of([
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
static NINE: Words<7> = Words::of(["ssn", "social security", "passport", "reisepass", "pasaporte", "passeport", "bsn"]);
static BRAZIL: Words<1> = Words::of(["cpf"]);
static ELEVEN: Words<5> = Words::of(["steuer", "pesel", "personal", "fødselsnummer", "identification"]);
static INDIA: Words<1> = Words::of(["aadhaar"]);
static CANADA: Words<3> = Words::of(["sin number", "my sin", "social insurance"]);
static EIGHT: Words<5> = Words::of(["passport", "reisepass", "pasaporte", "passeport", "bsn"]);
static PASSPORT: Words<4> = Words::of(["passport", "reisepass", "pasaporte", "passeport"]);
static SUM: Words<2> = Words::of(["compute", "calculate"]);
static SOCIAL: Words<30> = Words::of([
    "ssn",
    "social security",
    "itin",
    "sin",
    "social insurance",
    "tax id",
    "taxpayer",
    "tin",
    "national insurance",
    "nino",
    "cpf",
    "dni",
    "nie",
    "nif",
    "curp",
    "bsn",
    "pesel",
    "personnummer",
    "aadhaar",
    "steuer-id",
    "steueridentifikationsnummer",
    "sozialversicherungsnummer",
    "codice fiscale",
    "national id",
    "id number",
    "identity number",
    "passport",
    "reisepass",
    "pasaporte",
    "passeport",
]);
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
struct Close<'b> {
    bytes: &'b [u8],
    from: usize,
    to: usize,
    found: &'b Found,
}

impl Close<'_> {
    fn to<const N: usize>(&self, words: &Words<N>) -> bool {
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

/// How long an account number is in each country that has them.
const IBANS: &[(&[u8; 2], u8)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SC", 31),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
];

/// Whether the first digit of an account number is at a place: two letters before it, and the remainder by 97 is one.
fn iban(bytes: &[u8], at: usize) -> bool {
    let Some(start) = at.checked_sub(2) else { return false };
    if start > 0 && bytes.get(start - 1).is_some_and(u8::is_ascii_alphanumeric) {
        return false;
    }
    let Some(&[a, b]) = bytes.get(start..at) else { return false };
    let country = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
    let Some((_, length)) = IBANS.iter().find(|(code, _)| **code == country) else { return false };
    let mut characters = bytes.iter().skip(start).take(48).filter(|b| !matches!(b, b' ' | b'-'));
    let own: Vec<u8> = characters.by_ref().take(usize::from(*length)).map(u8::to_ascii_uppercase).collect();
    if own.len() < usize::from(*length) || !own.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let turned = own.iter().skip(4).chain(own.iter().take(4));
    let remainder = turned.fold(0u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    remainder == 1
}

fn identity(number: &Number, bytes: &[u8], close: &Close<'_>) -> bool {
    let digits = &*number.digits;
    let value = |from: usize, to: usize| digits.iter().take(to).skip(from).fold(0u32, |sum, digit| sum * 10 + u32::from(*digit));
    match &*number.groups {
        // The United States' has this shape and no checksum.
        [3, 2, 4] if number.only(b"-") || (number.only(b" -") && close.to(&SOCIAL)) => {
            value(0, 3) != 0 && value(3, 5) != 0 && value(5, 9) != 0
        }
        [9] => close.to(&NINE),
        [3, 3, 3, 2] => brazil(digits),
        [11] => (close.to(&BRAZIL) && brazil(digits)) || (close.to(&ELEVEN) && close.to(&SOCIAL)),
        [4, 4, 4] => close.to(&INDIA),
        [3, 3, 3] => close.to(&CANADA) && luhn(digits),
        [17] if matches!(bytes.get(number.end), Some(b'x' | b'X')) => china(digits, 10),
        [18] => china(digits.get(..17).unwrap_or_default(), digits.last().copied().unwrap_or(0)),
        [6, 4] | [8, 4] if number.only(b"-+") => luhn(digits.get(digits.len() - 10..).unwrap_or_default()) && close.to(&SOCIAL),
        [8] => close.to(&EIGHT),
        _ => false,
    }
}

/// Brazil's ends with two check digits.
fn brazil(digits: &[u8]) -> bool {
    let check = |count: usize| -> bool {
        let sum: u32 = digits.iter().take(count).enumerate().map(|(nth, digit)| u32::from(*digit) * (count as u32 + 1 - nth as u32)).sum();
        digits.get(count).is_some_and(|digit| u32::from(*digit) == (sum * 10 % 11) % 10)
    };
    digits.len() == 11 && digits.iter().any(|digit| Some(digit) != digits.first()) && check(9) && check(10)
}

/// China's has a birthday in it and ends with a check digit, of which ten is an X.
fn china(digits: &[u8], check: u8) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: [u8; 11] = [1, 0, 10, 9, 8, 7, 6, 5, 4, 3, 2];
    let year = digits.iter().take(10).skip(6).fold(0u32, |sum, digit| sum * 10 + u32::from(*digit));
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    digits.len() == 17 && (1900..2100).contains(&year) && CHECKS.get((sum % 11) as usize) == Some(&check)
}

/// Identities with letters in them: the United Kingdom's, Spain's, Italy's, and passports that are called so.
fn lettered(bytes: &[u8], token: &Range<usize>, found: &mut Found) {
    let own = bytes.get(token.clone()).unwrap_or_default();
    if own.len() > 16 || own.len() < 7 {
        return;
    }
    let letters = |range: Range<usize>| own.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_uppercase));
    let digits = |range: Range<usize>| own.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let close = Close { bytes, from: token.start.saturating_sub(BEFORE), to: token.end + AFTER, found };
    let spain = |from: usize| {
        let value = own
            .iter()
            .take(from + 8)
            .skip(from.min(1))
            .filter(|b| b.is_ascii_digit())
            .fold(0usize, |sum, b| sum * 10 + usize::from(b - b'0'));
        let first = match own.first() {
            Some(b'Y') => 10_000_000,
            Some(b'Z') => 20_000_000,
            _ => 0,
        };
        b"TRWAGMYFPDXBNJZSQVHLCKE".get((value + first) % 23) == own.last()
    };
    let is = match own.len() {
        9 if letters(0..2) && digits(2..8) && letters(8..9) => true,
        9 if digits(0..8) && letters(8..9) => spain(0),
        9 if matches!(own.first(), Some(b'X' | b'Y' | b'Z')) && digits(1..8) && letters(8..9) => spain(1),
        16 => letters(0..6) && digits(6..8) && letters(8..9) && digits(9..11) && letters(11..12) && digits(12..15) && letters(15..16),
        7..=9 if own.iter().all(u8::is_ascii_alphanumeric) && own.iter().filter(|b| b.is_ascii_digit()).count() >= 5 => close.to(&PASSPORT),
        _ => false,
    };
    let license = !is && own.iter().filter(|b| b.is_ascii_digit()).count() >= 4 && close.to(&LICENSE);
    if is {
        found.add(Kind::NationalId);
    } else if license {
        found.add(Kind::DriverLicense);
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
        assert!(brazil(&digits("52998224725")) && !brazil(&digits("52998224726")) && !brazil(&[1; 11]));
        assert!(china(&digits("11010519491231002"), 10) && !china(&digits("11010519491231003"), 10));
        let account = |text: &str| iban(text.as_bytes(), 2);
        assert!(account("GB82 WEST 1234 5698 7654 32") && account("DE89370400440532013000"));
        assert!(!account("DE89370400440532013001") && !account("DE8937040044") && !account("XX89370400440532013000"));
    }
}
