//! What sort of model a request wants.
//!
//! [`read`] borrows what a request says from its body, and [`classify`] weighs the words and the structure of it. Both are pure
//! and take microseconds, so a request can be classified on its way in.

mod read;
mod signals;
mod words;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use pullyard_schemas::Needs;
use serde::Serialize;

pub use read::{Unreadable, read};

/// What a request says, borrowed from its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// The texts of every system or developer message.
    pub system: Vec<Cow<'a, str>>,
    /// Every user and assistant message in order.
    pub turns: Vec<Turn<'a>>,
    /// Whether any message has an image part.
    pub images: bool,
    /// Whether the request offers tools.
    pub tools: bool,
    /// Whether the reply must be JSON.
    pub json: bool,
    /// The size of the body.
    pub bytes: usize,
    /// The reply's limit in tokens.
    pub max_tokens: Option<u32>,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn<'a> {
    pub role: Role,
    pub text: Cow<'a, str>,
}

/// Who says a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
}

/// The sort of model a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    Quick,
    Code,
    Reasoning,
    Vision,
}

impl Class {
    /// Quick comes first because the first of equal scores wins.
    const ALL: [Self; 4] = [Self::Quick, Self::Code, Self::Reasoning, Self::Vision];

    /// The name that a catalog gives this class.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Code => "code",
            Self::Reasoning => "reasoning",
            Self::Vision => "vision",
        }
    }
}

/// How much work the request looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Complexity {
    Low,
    Medium,
    High,
}

/// One reason for a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signal {
    pub name: &'static str,
    /// A short excerpt or a number.
    pub found: String,
    pub weight: f32,
    pub class: Class,
}

/// What a request wants, and why we think so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tags {
    pub class: Class,
    pub complexity: Complexity,
    /// From 0 to 1; it grows with the margin over the other classes.
    pub confidence: f32,
    pub needs: Needs,
    /// The estimated tokens of the prompt.
    pub tokens: u32,
    pub signals: Vec<Signal>,
}

/// An estimate of a text's tokens, from how many bytes a token of each script takes.
#[must_use]
pub fn text_tokens(text: &[u8]) -> f32 {
    signals::estimate(text)
}

/// Says what sort of model a request wants.
#[must_use]
pub fn classify(request: &Request<'_>) -> Tags {
    let tokens = signals::tokens(request);
    let signals = signals::gather(request);
    let scores = Class::ALL.map(|class| (class, score(&signals, class)));
    let (class, confidence) = if request.images { (Class::Vision, 1.0) } else { decide(&scores) };
    let needs = Needs {
        context: tokens.saturating_add(request.max_tokens.unwrap_or(0)),
        images: request.images,
        tools: request.tools,
        json: request.json,
        embedding: false,
    };
    Tags { class, complexity: complexity(request, &signals, tokens), confidence, needs, tokens, signals }
}

fn score(signals: &[Signal], class: Class) -> f32 {
    signals.iter().filter(|signal| signal.class == class).map(|signal| signal.weight).sum()
}

/// The best class, and its share if scores were logarithms of odds.
fn decide(scores: &[(Class, f32)]) -> (Class, f32) {
    let (mut class, mut best) = (Class::Quick, f32::NEG_INFINITY);
    for &(candidate, score) in scores {
        if score > best {
            (class, best) = (candidate, score);
        }
    }
    let total: f32 = scores.iter().map(|(_, score)| (score - best).exp()).sum();
    (class, total.recip())
}

fn complexity(request: &Request<'_>, signals: &[Signal], tokens: u32) -> Complexity {
    let hard = score(signals, Class::Code).max(score(signals, Class::Reasoning));
    let mut points = match tokens {
        0..=120 => 0,
        121..=1500 => 1,
        _ => 2,
    };
    points += if hard >= 6.0 { 2 } else { u32::from(hard >= 2.5) };
    points += u32::from(request.tools) + u32::from(request.turns.len() > 6);
    match points {
        0 => Complexity::Low,
        1 | 2 => Complexity::Medium,
        _ => Complexity::High,
    }
}
