//! What clients ask for.

use serde_json::{Value, json};

/// In every reply.
pub(super) const TOKENS: usize = 6;

/// What every model server says to this.
pub(super) fn reply(prompt: &str) -> String {
    let rest: String = (1..TOKENS).map(|n| format!(" {n}")).collect();
    format!("re {prompt}{rest}")
}

/// Every prompt begins with its job's key.
pub(super) fn key_in(prompt: &str) -> &str {
    prompt.split(' ').next().unwrap_or_default()
}

/// How it is asked for, and what the client does then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// A job that is looked at in the end.
    Polled,
    /// The same, without a key; who knows whether it came through.
    Forgotten,
    /// A job that readers follow.
    Watched,
    Cancelled,
    /// With a deadline.
    Urgent,
    /// On the connection, in one piece; with a key the client comes back for it.
    Whole {
        keyed: bool,
    },
    Streamed {
        keyed: bool,
    },
    /// On the connection, and the client leaves.
    Left {
        streamed: bool,
    },
    Embedded,
}

impl Manner {
    fn roll(dice: &mut fastrand::Rng) -> Self {
        let (keyed, streamed) = (dice.bool(), dice.bool());
        match dice.u8(0..100) {
            0..34 => Self::Polled,
            34..37 => Self::Forgotten,
            37..54 => Self::Watched,
            54..61 => Self::Cancelled,
            61..66 => Self::Urgent,
            66..76 => Self::Whole { keyed },
            76..90 => Self::Streamed { keyed },
            90..95 => Self::Left { streamed },
            _ => Self::Embedded,
        }
    }

    /// Whether a job that was asked for so may end so.
    pub(super) fn may_end(self, state: &str) -> bool {
        match state {
            "completed" => true,
            "cancelled" => {
                matches!(self, Self::Cancelled | Self::Left { .. } | Self::Whole { keyed: false } | Self::Streamed { keyed: false })
            }
            "expired" => self == Self::Urgent,
            _ => false,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The idempotency key, and what the prompt begins with.
    pub(super) key: String,
    pub(super) prompt: String,
    pub(super) body: Value,
    pub(super) manner: Manner,
}

/// What the prompts begin with that may not leave the operator's machines.
pub(super) const SECRET: &str = "secret";

impl Ask {
    pub(super) fn roll(client: usize, number: usize, dice: &mut fastrand::Rng) -> Self {
        let manner = Manner::roll(dice);
        let secret = dice.u8(0..5) == 0;
        let key = format!("{}-{client}-{number}", if secret { SECRET } else { "open" });
        let polled = matches!(manner, Manner::Polled | Manner::Watched | Manner::Cancelled);
        let more = if polled && dice.u8(0..60) == 0 { dice.usize(200_000..1_500_000) } else { 0 };
        let prompt = if more == 0 { key.clone() } else { format!("{key} {}", "x".repeat(more)) };
        let mut body = if manner == Manner::Embedded {
            json!({"model": "e", "input": prompt})
        } else {
            let models: &[&str] = if secret { &["m", "p", "k", "work"] } else { &["m", "p", "k", "c", "work", "work", "far"] };
            json!({"model": dice.choice(models).unwrap(), "messages": [{"role": "user", "content": prompt}]})
        };
        if secret {
            body["scope"] = json!("local");
        }
        if dice.bool() {
            body["band"] = json!(dice.choice(["interactive", "normal", "batch"]).unwrap());
        }
        if dice.bool() {
            body["on_interrupt"] = json!(dice.choice(["restart", "continue", "continue", "fail"]).unwrap());
        }
        if dice.u8(0..10) == 0 && polled {
            body["not_before"] = json!(format!("{}ms", dice.u32(10..1_500)));
        }
        match manner {
            Manner::Urgent => body["deadline"] = json!(format!("{}ms", dice.u32(30..6_000))),
            Manner::Streamed { .. } | Manner::Left { streamed: true } => body["stream"] = json!(true),
            Manner::Polled | Manner::Forgotten | Manner::Watched | Manner::Cancelled if dice.u8(0..8) == 0 => body["stream"] = json!(false),
            _ => {}
        }
        Self { key, prompt, body, manner }
    }

    pub(super) fn reply(&self) -> String {
        reply(&self.prompt)
    }
}
