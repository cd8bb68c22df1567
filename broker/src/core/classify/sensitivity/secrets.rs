//! Keys, tokens and passwords.

use std::ops::Range;

use super::{Found, Kind, Words};

/// How keys begin, of what sort they are, and how many characters follow at least.
const PREFIXES: &[(&str, Kind, usize)] = &[
    ("sk-", Kind::ApiKey, 16),
    ("sk_live_", Kind::ApiKey, 12),
    ("sk_test_", Kind::ApiKey, 12),
    ("rk_live_", Kind::ApiKey, 12),
    ("rk_test_", Kind::ApiKey, 12),
    ("pk_live_", Kind::ApiKey, 12),
    ("whsec_", Kind::ApiKey, 16),
    ("AIza", Kind::ApiKey, 24),
    ("ghp_", Kind::Token, 20),
    ("gho_", Kind::Token, 20),
    ("ghu_", Kind::Token, 20),
    ("ghs_", Kind::Token, 20),
    ("ghr_", Kind::Token, 20),
    ("github_pat_", Kind::Token, 20),
    ("glpat-", Kind::Token, 16),
    ("gldt-", Kind::Token, 16),
    ("npm_", Kind::Token, 20),
    ("pypi-", Kind::Token, 30),
    ("xoxb-", Kind::Token, 16),
    ("xoxp-", Kind::Token, 16),
    ("xoxa-", Kind::Token, 16),
    ("xoxr-", Kind::Token, 16),
    ("xoxs-", Kind::Token, 16),
    ("xoxe-", Kind::Token, 16),
    ("xapp-", Kind::Token, 16),
    ("hf_", Kind::Token, 20),
    ("gsk_", Kind::ApiKey, 20),
    ("r8_", Kind::ApiKey, 20),
    ("nvapi-", Kind::ApiKey, 20),
    ("xai-", Kind::ApiKey, 20),
    ("pplx-", Kind::ApiKey, 20),
    ("tgp_v1_", Kind::ApiKey, 20),
    ("SG.", Kind::ApiKey, 30),
    ("ya29.", Kind::Token, 20),
    ("dop_v1_", Kind::Token, 20),
    ("shpat_", Kind::Token, 20),
    ("shpss_", Kind::Token, 20),
    ("lin_api_", Kind::ApiKey, 20),
    ("dckr_pat_", Kind::Token, 16),
    ("hvs.", Kind::Token, 20),
    ("sbp_", Kind::Token, 20),
    ("key-", Kind::ApiKey, 30),
    ("AGE-SECRET-KEY-", Kind::PrivateKey, 20),
];

/// Whether a key follows its heading, and not only the talk of one.
pub(super) fn private_key(bytes: &[u8], heading: usize) -> bool {
    let body =
        bytes.iter().skip(heading + "PRIVATE KEY-----".len()).take(200).filter(|b| !matches!(b, b'\n' | b'\r' | b' ' | b'\\' | b'n'));
    let key = body.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b':' | b',' | b'-')).count();
    let begin = bytes.get(heading.saturating_sub(24)..heading).unwrap_or_default();
    key >= 40 && begin.windows(6).any(|piece| piece == b"BEGIN ")
}

/// Names after which a secret stands, without case and without what joins words.
const PASSWORDS: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "passwort",
    "kennwort",
    "contraseña",
    "motdepasse",
    "пароль",
    "密码",
    "パスワード",
    "pass",
];
const KEYS: &[&str] = &[
    "apikey",
    "secret",
    "secretkey",
    "accesskey",
    "accountkey",
    "token",
    "accesstoken",
    "authtoken",
    "clientsecret",
    "privatekey",
    "credential",
    "credentials",
    "secretaccesskey",
    "sharedaccesskey",
    "signingkey",
    "encryptionkey",
];

/// What stands for a secret in documents.
const PLACEHOLDERS: &[&str] = &[
    "example",
    "your",
    "xxxx",
    "placeholder",
    "changeme",
    "change_me",
    "redacted",
    "dummy",
    "sample",
    "insert",
    "replace",
    "my-secret",
    "mysecret",
    "....",
    "****",
    "test_key",
    "abcdef",
    "123456789",
    "undefined",
    "process.env",
    "os.environ",
];

fn is_placeholder(value: &[u8]) -> bool {
    PLACEHOLDERS.iter().any(|word| value.windows(word.len()).any(|piece| piece.eq_ignore_ascii_case(word.as_bytes())))
}

/// How a secret's characters are mixed.
struct Mix {
    digits: usize,
    lower: usize,
    upper: usize,
    distinct: u32,
}

impl Mix {
    fn of(value: &[u8]) -> Self {
        let mut seen = 0u128;
        let mut mix = Self { digits: 0, lower: 0, upper: 0, distinct: 0 };
        for byte in value {
            mix.digits += usize::from(byte.is_ascii_digit());
            mix.lower += usize::from(byte.is_ascii_lowercase());
            mix.upper += usize::from(byte.is_ascii_uppercase());
            seen |= 1 << (byte & 127);
        }
        mix.distinct = seen.count_ones();
        mix
    }

    /// Nobody writes a word like this.
    fn is_random(&self) -> bool {
        self.distinct >= 8
            && if self.digits > 0 { self.lower + self.upper > 0 } else { self.lower > 2 && self.upper > 2 && self.distinct >= 12 }
    }
}

static BEARER: Words<3> = Words::of(["bearer", "basic", "token"]);

/// Looks at the letters and digits around a digit, and returns where to go on: past it when it was a secret.
pub(super) fn token(bytes: &[u8], range: Range<usize>, found: &mut Found) -> usize {
    let own = bytes.get(range.clone()).unwrap_or_default();
    if own.len() < 16 {
        return 0;
    }
    // It may follow a path or an assignment without a space.
    for (prefix, kind, least) in PREFIXES {
        let prefix = prefix.as_bytes();
        if own.starts_with(prefix) && own.len() >= prefix.len() + least {
            let value = own.get(prefix.len()..).unwrap_or_default();
            if Mix::of(value).is_random() && !is_placeholder(value) {
                found.add(*kind);
                return range.end;
            }
        }
    }
    let upper = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if own.len() == 20 && (own.starts_with(b"AKIA") || own.starts_with(b"ASIA")) && own.iter().all(upper) && !is_placeholder(own) {
        found.add(Kind::ApiKey);
        return range.end;
    }
    // Three parts, of which the first two are JSON in base64.
    if own.starts_with(b"eyJ") && own.len() > 40 && own.iter().filter(|byte| **byte == b'.').count() >= 2 {
        found.add(Kind::Token);
        return range.end;
    }
    if own.len() >= 20 && BEARER.near(bytes, range.start.saturating_sub(8), range.start) && Mix::of(own).is_random() && !is_placeholder(own)
    {
        found.add(Kind::Token);
        return range.end;
    }
    // A bot's number, a colon, and 35 characters.
    if own.len() >= 35
        && range.start >= 9
        && bytes.get(range.start - 1) == Some(&b':')
        && bytes.get(range.start - 9..range.start - 1).is_some_and(|n| n.iter().all(u8::is_ascii_digit))
    {
        found.add(Kind::Token);
        return range.end;
    }
    0
}

/// Looks at what stands on both sides of `=` or `:`.
pub(super) fn assignment(bytes: &[u8], at: usize, found: &mut Found) {
    if bytes.get(at + 1..at + 3) == Some(b"//") {
        connection(bytes, at, found);
        return;
    }
    let name_end = at - bytes.iter().take(at).rev().take(3).take_while(|b| matches!(b, b' ' | b'"' | b'\'')).count();
    // Most names end otherwise, and most of a program is names.
    let Some(&[a, b, c]) = name_end.checked_sub(3).and_then(|from| bytes.get(from..name_end)) else { return };
    let end = [a | 0x20, b | 0x20, c | 0x20];
    if c < 0x80 && !matches!(&end, b"ord" | b"swd" | b"pwd" | b"ase" | b"ort" | b"ret" | b"key" | b"ken" | b"ial" | b"als" | b"ass") {
        return;
    }
    let named: Vec<u8> = bytes
        .get(name_end.saturating_sub(40)..name_end)
        .unwrap_or_default()
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-') || !b.is_ascii())
        .filter(|b| !matches!(b, b'_' | b'-'))
        .map(u8::to_ascii_lowercase)
        .collect();
    let ends = |names: &[&str]| {
        names.iter().any(|name| named.len() >= name.len() && name.bytes().rev().eq(named.iter().copied().take(name.len())))
    };
    let (password, key) = (ends(PASSWORDS), ends(KEYS));
    if password || key {
        let value = value(bytes, at + 1);
        if password && is_password(value) {
            found.add(Kind::Password);
        } else if key && value.len() >= 12 && Mix::of(value).is_random() && !looks_like_code(value) && !is_placeholder(value) {
            found.add(Kind::ApiKey);
        }
    }
}

/// What follows, up to where a value ends.
fn value(bytes: &[u8], from: usize) -> &[u8] {
    let start = from + bytes.iter().skip(from).take(4).take_while(|b| matches!(b, b' ' | b'"' | b'\'' | b'`' | b'=')).count();
    let length =
        bytes.iter().skip(start).take(200).take_while(|b| !matches!(b, b' ' | b'"' | b'\'' | b'`' | b'\n' | b'\t' | b',' | b'<')).count();
    bytes.get(start..start + length).unwrap_or_default()
}

fn looks_like_code(value: &[u8]) -> bool {
    value.iter().any(|b| matches!(b, b'(' | b')' | b'[' | b'{' | b'|')) || matches!(value.first(), Some(b'$' | b'<' | b'%' | b'*'))
}

fn is_password(value: &[u8]) -> bool {
    let value = value.strip_suffix(b";").or_else(|| value.strip_suffix(b".")).unwrap_or(value);
    let mix = Mix::of(value);
    let marks = value.iter().filter(|b| matches!(b, b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'&' | b'*' | b'?')).count();
    (6..=80).contains(&value.len())
        && mix.lower + mix.upper > 0
        && mix.digits + marks > 0
        && mix.distinct >= 5
        && !looks_like_code(value)
        && !is_placeholder(value)
        // A field of something.
        && (marks > 0 || !value.contains(&b'.'))
}

/// A password that is told in a sentence.
pub(super) fn told_password(text: &str, from: usize) -> bool {
    is_password(value(text.as_bytes(), from))
}

/// `scheme://user:password@host`.
fn connection(bytes: &[u8], at: usize, found: &mut Found) {
    let from = at + 3;
    let length = bytes
        .iter()
        .skip(from)
        .take(300)
        .take_while(|b| !b.is_ascii_whitespace() && !matches!(b, b'/' | b'"' | b'\'' | b'`' | b'>' | b')'))
        .count();
    let authority = bytes.get(from..from + length).unwrap_or_default();
    let Some(host) = authority.iter().rposition(|b| *b == b'@') else { return };
    let user = authority.get(..host).unwrap_or_default();
    let Some(colon) = user.iter().position(|b| *b == b':') else { return };
    let password = user.get(colon + 1..).unwrap_or_default();
    let written_out = [&b"password"[..], b"pass", b"pwd", b"secret", b"user"].iter().any(|word| password.eq_ignore_ascii_case(word));
    if password.len() >= 4 && !written_out && !looks_like_code(password) && !is_placeholder(password) {
        found.add(Kind::ConnectionString);
    }
}
