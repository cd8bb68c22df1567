//! Words as they come out of their stream, put together from their parts.

use std::collections::{BTreeMap, HashMap};

use async_nats::{Message, Subject};
use bytes::{Bytes, BytesMut};
use pullyard_schemas::{JobId, Token, WorkerId};

use super::wire::{Said, WordHead, parsed};
use crate::transport::Word;

/// Parts whose word has not come. Far more than this is a worker that cannot be right.
const UNFINISHED: usize = 1_000;

/// A whole word, with what has to be acknowledged when it is kept.
pub(super) struct Whole {
    pub(super) word: Word,
    pub(super) replies: Vec<Subject>,
}

/// Parts that wait for their word.
#[derive(Debug, Default)]
pub(super) struct Assembly(HashMap<(JobId, Token, WorkerId), Parts>);

/// By number, with what acknowledges each.
type Parts = BTreeMap<u32, (Bytes, Subject)>;

/// What became of a message.
pub(super) enum Read {
    Whole(Box<Whole>),
    /// The word that it belongs to comes later.
    Part,
    /// It can never be read; it is acknowledged and forgotten.
    Garbage(Subject),
}

impl Assembly {
    pub(super) fn read(&mut self, message: Message) -> Option<Read> {
        let reply = message.reply?;
        let Some((WordHead { job, token, worker, what }, tail)) = parsed::<WordHead>(&message.payload) else {
            return Some(Read::Garbage(reply));
        };
        let of = (job, token, worker);
        Some(match what {
            Said::Part(number) => {
                if self.0.len() >= UNFINISHED && !self.0.contains_key(&of) {
                    return Some(Read::Garbage(reply));
                }
                self.0.entry(of).or_default().insert(number, (tail, reply));
                Read::Part
            }
            Said::Report { report, parts: 0 } => {
                let word = Word { job, token, worker: of.2, report, output: tail };
                Read::Whole(Box::new(Whole { word, replies: vec![reply] }))
            }
            Said::Report { report, parts } => {
                let have = self.0.get(&of).map_or(0, BTreeMap::len);
                if have < parts as usize {
                    // The parts were left before it, so they have come and gone: this is a repeat of a word that is kept,
                    // or they come again before it does.
                    return None;
                }
                let (mut output, mut replies) = (BytesMut::new(), vec![reply]);
                for (part, reply) in self.0.remove(&of).unwrap_or_default().into_values() {
                    output.extend_from_slice(&part);
                    replies.push(reply);
                }
                output.extend_from_slice(&tail);
                let word = Word { job, token, worker: of.2, report, output: output.freeze() };
                Read::Whole(Box::new(Whole { word, replies }))
            }
        })
    }
}
