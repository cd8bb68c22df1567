//! Words as they come out of their stream, put together from their parts.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use async_nats::{Message, Subject};
use bytes::{Bytes, BytesMut};
use pullyard_schemas::work::Report;
use pullyard_schemas::{Failure, FailureKind, JobId, Token, WorkerId};

use super::wire::{Said, WordHead, parsed};
use crate::transport::Word;

/// Attempts with parts whose word has not come. Far more than this is a worker that cannot be right.
const UNFINISHED: usize = 1_000;
/// How long a part waits for more of its word, while words can be heard.
const FORLORN: Duration = Duration::from_secs(600);

/// A whole word, with what has to be acknowledged when it is kept.
pub(super) struct Whole {
    pub(super) word: Word,
    pub(super) replies: Vec<Subject>,
}

/// Parts that wait for their word.
#[derive(Debug, Default)]
pub(super) struct Assembly(HashMap<(JobId, Token, WorkerId), Parts>);

#[derive(Debug)]
struct Parts {
    /// By number.
    have: BTreeMap<u32, Bytes>,
    /// What acknowledges them; more than there are parts, where some came twice.
    replies: Vec<Subject>,
    /// When the last one came that was not known.
    since: Instant,
}

/// What became of a message.
pub(super) enum Read {
    Whole(Box<Whole>),
    /// The word that it belongs to comes later.
    Part,
    /// It can never be read; it is acknowledged and forgotten.
    Garbage(Subject),
}

impl Assembly {
    /// `again` tells that the message has been delivered before.
    pub(super) fn read(&mut self, message: Message, again: bool) -> Option<Read> {
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
                let parts = self.0.entry(of).or_insert_with(|| Parts { have: BTreeMap::new(), replies: Vec::new(), since: Instant::now() });
                parts.replies.push(reply);
                if parts.have.insert(number, tail).is_none() {
                    parts.since = Instant::now();
                }
                Read::Part
            }
            Said::Report { report, parts } => {
                let have = self.0.get(&of).map_or(0, |parts| parts.have.len());
                let report = if have >= parts as usize {
                    report
                } else if again {
                    without_output(report)
                } else {
                    // They were left before it; if they do not come before it comes again, they are gone.
                    return None;
                };
                let mut replies = vec![reply];
                let mut output = if matches!(report, Report::Completed { .. }) { tail } else { Bytes::new() };
                // A start has no parts, and those that are there belong to the end.
                if parts > 0
                    && let Some(before) = self.0.remove(&of)
                {
                    replies.extend(before.replies);
                    if !output.is_empty() {
                        let mut whole = BytesMut::new();
                        before.have.into_values().for_each(|part| whole.extend_from_slice(&part));
                        whole.extend_from_slice(&output);
                        output = whole.freeze();
                    }
                }
                Read::Whole(Box::new(Whole { word: Word { job, token, worker: of.2, report, output }, replies }))
            }
        })
    }

    /// The stream is read from its beginning again: what waits there for its word comes once more.
    pub(super) fn begin_again(&mut self) {
        self.0.values_mut().for_each(|parts| parts.since = Instant::now());
    }

    /// Gives up parts whose word does not come, such as a worker's that was killed; they are to be acknowledged.
    pub(super) fn forlorn(&mut self) -> Vec<Subject> {
        let mut given_up = Vec::new();
        self.0.retain(|_, parts| {
            let waits = parts.since.elapsed() < FORLORN;
            if !waits {
                given_up.append(&mut parts.replies);
            }
            waits
        });
        given_up
    }
}

/// Output that NATS has lost cannot be told any more; what the attempt used still can. Where the word is only a repeat of
/// one that is kept, it changes nothing either way.
fn without_output(report: Report) -> Report {
    match report {
        Report::Completed { charge, .. } => {
            let failure = Failure::new(FailureKind::Connect, "the output was lost with NATS before the broker had read it");
            Report::Failed { failure, charge: Some(charge), delivered: true }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use pullyard_schemas::{Charge, Usage};

    use super::super::wire::framed;
    use super::*;

    fn message(job: JobId, what: Said, tail: &[u8]) -> Message {
        let head = WordHead { job, token: Token(1), worker: WorkerId("w".into()), what };
        let payload = framed(&head, tail);
        Message { subject: "s".into(), reply: Some("r".into()), payload, headers: None, status: None, description: None, length: 0 }
    }

    fn completed(parts: u32) -> Said {
        let charge = Charge { model: "m".into(), backend: "b".into(), usage: Usage::default(), cost_nanos: 7, busy_ms: 1 };
        Said::Report { report: Report::Completed { charge, finish: None }, parts }
    }

    #[test]
    fn a_word_is_whole_when_its_parts_are() {
        let (mut assembly, job) = (Assembly::default(), JobId::new());
        for number in [0, 1, 1] {
            assert!(matches!(assembly.read(message(job, Said::Part(number), b"ab"), false), Some(Read::Part)));
        }
        let Some(Read::Whole(whole)) = assembly.read(message(job, completed(2), b"c"), false) else { panic!("it is whole") };
        assert_eq!((&whole.word.output[..], whole.replies.len()), (&b"ababc"[..], 4));
    }

    #[test]
    fn parts_that_are_gone_leave_the_bill() {
        let (mut assembly, job) = (Assembly::default(), JobId::new());
        assembly.read(message(job, Said::Part(0), b"ab"), false);
        assert!(assembly.read(message(job, completed(2), b"c"), false).is_none());
        let Some(Read::Whole(whole)) = assembly.read(message(job, completed(2), b"c"), true) else { panic!("it is given up") };
        assert!(matches!(&whole.word.report, Report::Failed { charge: Some(charge), .. } if charge.cost_nanos == 7));
        assert_eq!((whole.word.output.len(), whole.replies.len()), (0, 2));
        assert!(assembly.0.is_empty());
    }
}
