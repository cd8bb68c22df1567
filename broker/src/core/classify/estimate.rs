//! How many tokens a prompt has, without a tokenizer: from how many bytes a token of each script takes.

use super::Request;

/// An estimate of the prompt's tokens.
pub(super) fn tokens(request: &Request<'_>) -> u32 {
    let texts = request.system.iter().chain(request.turns.iter().map(|turn| &turn.text));
    let total: f32 = texts.map(|text| of(text.as_bytes()) + 4.0).sum();
    total.ceil() as u32
}

/// The tokens of one text.
pub(super) fn of(text: &[u8]) -> f32 {
    let count = |low: u8, high: u8| first_bytes(text, low, high) as f32;
    count(0, 0x7f) / 4.0 + count(0xc0, 0xdf) * 0.5 + count(0xe0, 0xef) * 0.8 + count(0xf0, 0xff) * 1.5
}

/// Counts characters by their first bytes; a sum that fits a byte in each piece lets the compiler count many at once.
fn first_bytes(text: &[u8], low: u8, high: u8) -> usize {
    text.chunks(255).map(|piece| usize::from(piece.iter().map(|byte| u8::from((low..=high).contains(byte))).sum::<u8>())).sum()
}
