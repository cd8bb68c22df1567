//! Weighs the words and the structure of each text.

use std::borrow::Cow;

use memchr::{memchr_iter, memmem};

use super::words::{BACK, CUES, Cue, EXTENSIONS, OPERATORS, TRACES, UNSPACED};
use super::{Class, Request, Role, Signal};

/// Only the ends of a long text are looked at, so that a megabyte takes no longer than a page.
const HEAD: usize = 16 << 10;
const TAIL: usize = 4 << 10;

/// At most this many system texts and earlier turns are looked at, so that a long talk takes no longer either.
const TEXTS: usize = 8;

/// A last turn up to this many bytes may lean on the turns before it.
const SHORT: usize = 160;

/// People ask first and paste after, so a word beyond this many bytes says less.
const INSTRUCTION: usize = 600;

/// An estimate of the prompt's tokens, from how many bytes a token of each script takes.
pub(super) fn tokens(request: &Request<'_>) -> u32 {
    let texts = request.system.iter().chain(request.turns.iter().map(|turn| &turn.text));
    let total: f32 = texts.map(|text| estimate(text.as_bytes()) + 4.0).sum();
    total.ceil() as u32
}

/// The tokens of one text.
pub(super) fn estimate(text: &[u8]) -> f32 {
    let count = |low: u8, high: u8| first_bytes(text, low, high) as f32;
    count(0, 0x7f) / 4.0 + count(0xc0, 0xdf) * 0.5 + count(0xe0, 0xef) * 0.8 + count(0xf0, 0xff) * 1.5
}

/// Counts characters by their first bytes; a sum that fits a byte in each piece lets the compiler count many at once.
fn first_bytes(text: &[u8], low: u8, high: u8) -> usize {
    text.chunks(255).map(|piece| usize::from(piece.iter().map(|byte| u8::from((low..=high).contains(byte))).sum::<u8>())).sum()
}

/// Every signal of a request, weighed by where it stands.
pub(super) fn gather(request: &Request<'_>) -> Vec<Signal> {
    let mut signals = vec![Signal { name: "default", found: String::new(), weight: 1.2, class: Class::Quick }];
    if request.images {
        signals.push(Signal { name: "image_part", found: String::new(), weight: 10.0, class: Class::Vision });
    }
    for text in request.system.iter().take(TEXTS) {
        Scan::of(text, 0.25, &mut signals);
    }
    let mut users = request.turns.iter().filter(|turn| turn.role == Role::User).rev();
    let Some(last) = users.next() else { return signals };
    let back = Scan::of(&last.text, 1.0, &mut signals);
    if back && last.text.len() <= SHORT {
        for turn in users.take(TEXTS) {
            Scan::of(&turn.text, 0.5, &mut signals);
        }
    }
    signals
}

/// What one text holds.
struct Scan<'s> {
    signals: &'s mut Vec<Signal>,
    /// Where this text's signals begin.
    start: usize,
    factor: f32,
    /// Which cues were seen; each counts once.
    seen: Vec<usize>,
    /// The words so far, lower-case, each after one space.
    words: String,
    numbers: usize,
    formulas: usize,
    after_number: bool,
    identifiers: usize,
    files: usize,
    refers_back: bool,
}

impl<'s> Scan<'s> {
    /// Weighs a text, and says whether it refers to something before it.
    fn of(text: &str, factor: f32, signals: &'s mut Vec<Signal>) -> bool {
        let text = ends(text);
        let mut scan = Self {
            start: signals.len(),
            signals,
            factor,
            seen: Vec::new(),
            words: String::with_capacity(text.len() + 1),
            numbers: 0,
            formulas: 0,
            after_number: false,
            identifiers: 0,
            files: 0,
            refers_back: false,
        };
        scan.words(&text);
        if !text.is_ascii() {
            for &(class, weight, phrase) in UNSPACED {
                if memmem::find(text.as_bytes(), phrase.as_bytes()).is_some() {
                    scan.add("word", phrase, weight, class);
                }
            }
        }
        scan.structure(&text);
        scan.refers_back
    }

    fn add(&mut self, name: &'static str, found: impl ToString, weight: f32, class: Class) {
        self.signals.push(Signal { name, found: found.to_string(), weight: weight * self.factor, class });
    }

    fn words(&mut self, text: &str) {
        let mut rest = text;
        let mut before = ' ';
        while let Some(start) = rest.find(is_word) {
            let (gap, from) = rest.split_at(start);
            let joint = gap.chars().next_back().unwrap_or(before);
            let end = from.find(|c| !is_word(c)).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            let suffix = if matches!(word, "c" | "C" | "f" | "F") { ["++", "#"].into_iter().find(|s| after.starts_with(s)) } else { None };
            let at = text.len() - from.len();
            self.word(word, suffix.unwrap_or(""), at, gap, joint, after);
            before = word.chars().next_back().unwrap_or(' ');
            rest = after;
        }
    }

    fn word(&mut self, word: &str, suffix: &str, at: usize, gap: &str, joint: char, after: &str) {
        let start = self.words.len();
        self.words.push(' ');
        for c in word.chars() {
            if c.is_ascii() { self.words.push(c.to_ascii_lowercase()) } else { self.words.extend(c.to_lowercase()) }
        }
        self.words.push_str(suffix);
        let lower = self.words.get(start + 1..).unwrap_or_default();
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            self.numbers += 1;
            // A date or a range has no space around its dash.
            let sign = gap.trim_matches(|c: char| c.is_whitespace() || matches!(c, '(' | ')')).chars().next();
            let spaced = gap.contains(' ');
            self.formulas += usize::from(match sign {
                Some('+' | '*' | '^' | '=' | '×' | '÷' | '<' | '>') => at > 0,
                Some('-' | '/') => spaced && self.after_number,
                _ => false,
            });
            self.after_number = true;
            return;
        }
        self.after_number = false;
        if gap == "." && EXTENSIONS.contains(&lower) && !after.starts_with('.') {
            self.files += 1;
        }
        self.identifiers += usize::from(is_identifier(word) || (after.starts_with("(") && joint != '\\' && word.len() > 2));
        self.refers_back |= BACK.contains(&lower);
        for (number, cue) in CUES.get(lower).into_iter().flatten() {
            let Cue { phrase, class, weight } = cue;
            if self.words.ends_with(phrase.as_str()) && !self.seen.contains(number) {
                self.seen.push(*number);
                let near = if at < INSTRUCTION { 1.0 } else { 0.5 };
                let found = phrase.trim_start().to_owned();
                self.signals.push(Signal { name: "word", found, weight: weight * near * self.factor, class: *class });
            }
        }
    }

    fn structure(&mut self, text: &str) {
        use Class::{Code, Quick, Reasoning, Vision};
        let bytes = text.as_bytes();
        let has = |needle: &str| memmem::find(bytes, needle.as_bytes()).is_some();
        let ticks = memchr_iter(b'`', bytes).count();
        let fence = has("```");
        if fence {
            self.add("code_fence", "```", 3.5, Code);
        } else if ticks >= 2 {
            self.add("inline_code", ticks / 2, 1.5, Code);
        }
        if let Some(trace) = TRACES.iter().find(|trace| has(trace)) {
            self.add("trace", trace, 2.5, Code);
        }
        let operators: Vec<&str> = OPERATORS.iter().copied().filter(|op| has(op)).collect();
        // Numbers and formulas next to words of programming are most likely an example's input.
        let start = self.start;
        let worded: f32 = self.signals.iter().skip(start).filter(|s| s.class == Code).map(|s| s.weight).sum();
        let code = !operators.is_empty() || fence || worded >= 2.0 * self.factor;
        if !operators.is_empty() {
            self.add("operators", operators.join(" ").replace('\n', ""), (operators.len() as f32 * 0.8).min(4.0), Code);
        }
        if self.files > 0 {
            self.add("file_names", self.files, 1.5, Code);
        }
        if self.identifiers > 0 {
            self.add("identifiers", self.identifiers, (self.identifiers as f32 * 0.4).min(2.0), Code);
        }
        let commands = bytes.windows(2).filter(|pair| matches!(pair, [b'\\', b] if b.is_ascii_alphabetic() && *b != b'n')).count();
        let inline = bytes
            .windows(2)
            .filter(|pair| {
                matches!(pair, [b'$', b] if b.is_ascii_alphabetic() || matches!(b, b'\\' | b'('))
                    || matches!(pair, [b, b'$'] if b.is_ascii_digit())
            })
            .count();
        if !fence && (commands > 0 || inline > 0) {
            self.add("latex", commands + inline, if commands > 0 { 3.0 } else { 2.0 }, Reasoning);
        }
        if self.formulas > 0 && !code {
            self.add("formulas", self.formulas, (self.formulas as f32 * 0.8).min(2.4), Reasoning);
        }
        let questions = memchr_iter(b'?', bytes).count() + memmem::find_iter(bytes, "？").count();
        if self.numbers >= 2 && !code && text.len() < 2000 {
            let weight = 0.3 * self.numbers.min(5) as f32 + if questions > 0 { 1.2 } else { 0.0 };
            self.add("numbers", self.numbers, weight, Reasoning);
        }
        if has("(B)") || has("\nB)") || has("\nB.") || has("(b)") || has("Options:") {
            self.add("options", "(B)", 1.5, Reasoning);
        }
        if questions >= 3 {
            self.add("questions", questions, 0.4, Reasoning);
        }
        if text.len() > 2000 && !code {
            self.add("long_prose", text.len(), 0.4, Reasoning);
        }
        if text.len() < 80 && !code {
            self.add("short", text.len(), 0.3, Quick);
        }
        if has("<image") {
            self.add("image_mark", "<image", 5.0, Vision);
        }
    }
}

/// The first and the last part of a long text, or the whole of another.
fn ends(text: &str) -> Cow<'_, str> {
    if text.len() <= HEAD + TAIL {
        return Cow::Borrowed(text);
    }
    let (head, _) = text.split_at(text.floor_char_boundary(HEAD));
    let (_, tail) = text.split_at(text.ceil_char_boundary(text.len() - TAIL));
    Cow::Owned(format!("{head}\n{tail}"))
}

/// Scripts from Bengali on are mostly written without spaces, or have cues of their own, so they end a word.
fn is_word(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { c < '\u{980}' && c.is_alphanumeric() }
}

/// Whether a word is written as only programs write words, as in `snake_case` and `camelCase`.
fn is_identifier(word: &str) -> bool {
    let snake = word.trim_matches('_').contains('_') && word.contains(|c: char| c.is_ascii_alphabetic());
    let bytes = word.as_bytes();
    let camel = bytes.windows(2).filter(|pair| matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase())).count() > 0;
    snake || (camel && !word.starts_with("Mc") && word.len() > 4)
}
