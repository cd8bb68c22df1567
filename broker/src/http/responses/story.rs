//! What a response comes to, told as it comes: chunks to items, and to the events that announce them.
//!
//! Texts are never decoded: a piece of a JSON text is appended to the piece before it as it is escaped, and goes out so.

use std::borrow::Cow;

use pullyard_schemas::job::Job;
use pullyard_schemas::{JobId, Timestamp, Token, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::item::{Call, Item, Message, Part};
use super::raw::put;
use super::{ids, item};

/// Event numbers of an attempt begin with as many for each attempt before it, so that a number names one event for ever,
/// though an attempt was made again.
const ATTEMPT: u64 = 1_000_000;
/// Indices of a reply's tool calls; a backend that lies must not make us allocate.
const MOST_CALLS: usize = 128;

/// What has become of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Queued,
    InProgress,
    Completed,
    Incomplete,
    Failed,
    Cancelled,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why there is no (whole) response: a code of OpenAI's, and what people are told.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// One response and what has been told of it.
#[derive(Debug)]
pub(super) struct Story {
    job: JobId,
    /// The job's id, as it is in all others.
    hex: String,
    created_at: u64,
    completed_at: Option<u64>,
    /// As a JSON text.
    model: String,
    /// The fields of the request that it repeats, without braces.
    repeated: String,
    background: bool,
    /// The number of the next event.
    next: u64,
    /// Events up to this one have been told before.
    after: Option<u64>,
    /// Whether it has been told that the model is at it.
    begun: bool,
    items: Vec<Item>,
    /// The items of tool calls, by the indices that the stream has for them.
    calls: Vec<Option<usize>>,
    finish: Finish,
    usage: Option<Tokens>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finish {
    Whole,
    Length,
    Filtered,
}

/// What is read of a chunk, or of a whole reply, which is a chunk with all of it.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    message: Option<Delta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    logprobs: Option<Probabilities<'a>>,
}

#[derive(Deserialize)]
struct Probabilities<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    /// What vLLM calls it by now; some send both.
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<CallDelta<'a>>>,
}

#[derive(Deserialize)]
struct CallDelta<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function: Option<FunctionDelta<'a>>,
}

#[derive(Deserialize)]
struct FunctionDelta<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Tokens {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

/// What is between the quotes of a JSON text that has something in it.
fn text(raw: Option<&RawValue>) -> Option<&str> {
    raw?.get().strip_prefix('"')?.strip_suffix('"').filter(|text| !text.is_empty())
}

impl Story {
    /// A response of which nothing has been told. `repeated` is what it repeats of its request.
    pub(super) fn new(job: &Job, repeated: String, background: bool) -> Self {
        let mut model = Vec::new();
        put(&mut model, &**job.target_name());
        Self {
            job: job.id,
            hex: job.id.0.simple().to_string(),
            created_at: seconds(job.submitted_at),
            completed_at: None,
            model: String::from_utf8(model).unwrap_or_default(),
            repeated,
            background,
            next: 0,
            after: None,
            begun: false,
            items: Vec::new(),
            calls: Vec::new(),
            finish: Finish::Whole,
            usage: None,
        }
    }

    /// Tells only what comes after the event with this number.
    pub(super) fn after(mut self, number: Option<u64>) -> Self {
        self.after = number;
        self
    }

    /// That there is such a response.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        if self.background {
            self.stage("response.created", Status::Queued, out);
            self.stage("response.queued", Status::Queued, out);
        } else {
            self.stage("response.created", Status::InProgress, out);
            self.in_progress(out);
        }
    }

    fn in_progress(&mut self, out: &mut Vec<u8>) {
        if !self.begun {
            self.begun = true;
            self.stage("response.in_progress", Status::InProgress, out);
        }
    }

    /// What follows is of this attempt. Matters where events are numbered for readers who come back.
    pub(super) fn attempt(&mut self, token: Token, out: &mut Vec<u8>) {
        self.in_progress(out);
        if self.background {
            self.next = self.next.max(u64::from(token.0).saturating_sub(1) * ATTEMPT);
        }
    }

    /// Whether something of the output has been told.
    pub(super) fn has_said(&self) -> bool {
        !self.items.is_empty()
    }

    /// One line of the job's output.
    pub(super) fn chunk(&mut self, line: &[u8], out: &mut Vec<u8>) {
        // Adapters let nothing else through, so this is a line without anything for us.
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(line) else { return };
        self.in_progress(out);
        if let Some(model) = chunk.model.filter(|raw| raw.get().starts_with('"')) {
            if self.model != model.get() {
                model.get().clone_into(&mut self.model);
            }
        }
        self.usage = chunk.usage.or(self.usage);
        for choice in chunk.choices.unwrap_or_default().into_iter().filter(|choice| choice.index.unwrap_or(0) == 0) {
            if let Some(delta) = choice.delta.or(choice.message) {
                let probabilities = choice.logprobs.and_then(|probabilities| probabilities.content);
                self.delta(&delta, probabilities, out);
            }
            if let Some(reason) = choice.finish_reason {
                self.finish = match &*reason {
                    "length" => Finish::Length,
                    "content_filter" => Finish::Filtered,
                    _ => Finish::Whole,
                };
                self.close_all(out);
            }
        }
    }

    fn delta(&mut self, delta: &Delta<'_>, probabilities: Option<&RawValue>, out: &mut Vec<u8>) {
        if let Some(thought) = text(delta.reasoning_content).or(text(delta.reasoning)) {
            let at = self.open(|item| matches!(item, Item::Reasoning(_)), || Item::Reasoning(String::new()), out);
            self.event("response.reasoning_text.delta", out, |story, out| {
                story.place(at, Some(0), out);
                item::text_field(out, "delta", thought);
            });
            if let Some(Item::Reasoning(so_far)) = self.items.get_mut(at) {
                so_far.push_str(thought);
            }
        }
        if let Some(said) = text(delta.content) {
            let (at, part) = self.part(|part| matches!(part, Part::Text { .. }), Part::text, out);
            let probabilities = probabilities.map(RawValue::get).and_then(|list| list.strip_prefix('[')?.strip_suffix(']'));
            let probabilities = probabilities.unwrap_or_default();
            self.event("response.output_text.delta", out, |story, out| {
                story.place(at, Some(part), out);
                item::text_field(out, "delta", said);
                item::list_field(out, "logprobs", probabilities);
            });
            if let Some(Part::Text { text, probabilities: so_far }) = self.part_mut(at, part) {
                text.push_str(said);
                if !so_far.is_empty() && !probabilities.is_empty() {
                    so_far.push(',');
                }
                so_far.push_str(probabilities);
            }
        }
        if let Some(refusal) = text(delta.refusal) {
            let (at, part) = self.part(|part| matches!(part, Part::Refusal(_)), || Part::Refusal(String::new()), out);
            self.event("response.refusal.delta", out, |story, out| {
                story.place(at, Some(part), out);
                item::text_field(out, "delta", refusal);
            });
            if let Some(Part::Refusal(so_far)) = self.part_mut(at, part) {
                so_far.push_str(refusal);
            }
        }
        for call in delta.tool_calls.iter().flatten() {
            self.call(call, out);
        }
    }

    /// A piece of a call. Calls stay open until the end, because pieces of several may come in turns.
    fn call(&mut self, delta: &CallDelta<'_>, out: &mut Vec<u8>) {
        let index = delta.index.map_or(self.calls.len(), |index| usize::try_from(index).unwrap_or(MOST_CALLS)).min(MOST_CALLS);
        if self.calls.len() <= index {
            self.calls.resize(index + 1, None);
        }
        let function = delta.function.as_ref();
        let at = match self.calls.get(index).copied().flatten() {
            Some(at) => at,
            None => {
                let made = ids::of_item("call", self.job, index);
                let call = Call {
                    id: text(delta.id).map_or(made, str::to_owned),
                    name: text(function.and_then(|f| f.name)).unwrap_or_default().to_owned(),
                    arguments: String::new(),
                };
                self.close(|item| !matches!(item, Item::Call(_)), out);
                let at = self.add(Item::Call(call), out);
                if let Some(place) = self.calls.get_mut(index) {
                    *place = Some(at);
                }
                at
            }
        };
        if let Some(arguments) = text(function.and_then(|f| f.arguments)) {
            self.event("response.function_call_arguments.delta", out, |story, out| {
                story.place(at, None, out);
                item::text_field(out, "delta", arguments);
            });
            if let Some(Item::Call(call)) = self.items.get_mut(at) {
                call.arguments.push_str(arguments);
            }
        }
    }

    /// The open item of a kind, which is the last one, or else a new one.
    fn open(&mut self, is: fn(&Item) -> bool, new: fn() -> Item, out: &mut Vec<u8>) -> usize {
        if let Some(at) = self.items.len().checked_sub(1)
            && self.items.get(at).is_some_and(|item| is(item) && item.is_open())
        {
            return at;
        }
        self.close(|item| !matches!(item, Item::Call(_)), out);
        self.add(new(), out)
    }

    fn add(&mut self, item: Item, out: &mut Vec<u8>) -> usize {
        let at = self.items.len();
        self.items.push(item);
        self.event("response.output_item.added", out, |story, out| {
            item::number_field(out, "output_index", at);
            out.extend_from_slice(b",\"item\":");
            story.write_item(at, item::IN_PROGRESS, out);
        });
        at
    }

    /// The message's open part of a kind, which is its last one, or else a new one.
    fn part(&mut self, is: fn(&Part) -> bool, new: fn() -> Part, out: &mut Vec<u8>) -> (usize, usize) {
        let at = self.open(|item| matches!(item, Item::Message(_)), || Item::Message(Message::default()), out);
        let parts = |story: &Self| match story.items.get(at) {
            Some(Item::Message(message)) => message.parts.len(),
            _ => 0,
        };
        let count = parts(self);
        if let Some(last) = count.checked_sub(1)
            && self.part_mut(at, last).is_some_and(|part| is(part))
        {
            return (at, last);
        }
        self.close_part(at, out);
        if let Some(Item::Message(message)) = self.items.get_mut(at) {
            message.parts.push(new());
        }
        self.event("response.content_part.added", out, |story, out| {
            story.place(at, Some(count), out);
            out.extend_from_slice(b",\"part\":");
            new().write(out);
        });
        (at, count)
    }

    fn part_mut(&mut self, at: usize, part: usize) -> Option<&mut Part> {
        match self.items.get_mut(at)? {
            Item::Message(message) => message.parts.get_mut(part),
            Item::Reasoning(_) | Item::Call(_) | Item::Closed(_) => None,
        }
    }

    fn close_part(&mut self, at: usize, out: &mut Vec<u8>) {
        let Some(Item::Message(message)) = self.items.get(at) else { return };
        let Some(last) = message.parts.len().checked_sub(1) else { return };
        let (name, part) = match &message.parts[last] {
            Part::Text { text, probabilities } => {
                let mut fields = Vec::with_capacity(text.len() + 64);
                item::text_field(&mut fields, "text", text);
                item::list_field(&mut fields, "logprobs", probabilities);
                ("response.output_text.done", fields)
            }
            Part::Refusal(text) => {
                let mut fields = Vec::new();
                item::text_field(&mut fields, "refusal", text);
                ("response.refusal.done", fields)
            }
        };
        self.event(name, out, |story, out| {
            story.place(at, Some(last), out);
            out.extend_from_slice(&part);
        });
        self.event("response.content_part.done", out, |story, out| {
            story.place(at, Some(last), out);
            out.extend_from_slice(b",\"part\":");
            if let Some(Item::Message(message)) = story.items.get(at)
                && let Some(part) = message.parts.get(last)
            {
                part.write(out);
            }
        });
    }

    fn close_all(&mut self, out: &mut Vec<u8>) {
        self.close(|_| true, out);
        // A server that goes on after the end begins new ones.
        self.calls.clear();
    }

    /// Closes the open items that are so.
    fn close(&mut self, which: fn(&Item) -> bool, out: &mut Vec<u8>) {
        let open: Vec<usize> = self.items.iter().enumerate().filter(|(_, i)| i.is_open() && which(i)).map(|(at, _)| at).collect();
        let status = if self.finish == Finish::Whole { item::COMPLETED } else { item::INCOMPLETE };
        for at in open {
            match self.items.get(at) {
                Some(Item::Reasoning(text)) => {
                    let text = text.clone();
                    self.event("response.reasoning_text.done", out, |story, out| {
                        story.place(at, Some(0), out);
                        item::text_field(out, "text", &text);
                    });
                }
                Some(Item::Message(_)) => self.close_part(at, out),
                Some(Item::Call(call)) => {
                    let (name, arguments) = (call.name.clone(), call.arguments.clone());
                    self.event("response.function_call_arguments.done", out, |story, out| {
                        story.place(at, None, out);
                        item::text_field(out, "name", &name);
                        item::text_field(out, "arguments", &arguments);
                    });
                }
                Some(Item::Closed(_)) | None => {}
            }
            let mut written = Vec::new();
            self.write_item(at, status, &mut written);
            self.event("response.output_item.done", out, |_, out| {
                item::number_field(out, "output_index", at);
                out.extend_from_slice(b",\"item\":");
                out.extend_from_slice(&written);
            });
            if let Some(item) = self.items.get_mut(at) {
                *item = Item::Closed(String::from_utf8(written).unwrap_or_default());
            }
        }
    }

    /// The output is whole: closes what is open, and tells the end.
    pub(super) fn end(&mut self, job: &Job, usage: &Usage, out: &mut Vec<u8>) {
        self.in_progress(out);
        self.close_all(out);
        self.complete(job, usage);
        match self.status() {
            Status::Incomplete => self.stage("response.incomplete", Status::Incomplete, out),
            status => self.stage("response.completed", status, out),
        }
    }

    /// Notes what only the end tells.
    fn complete(&mut self, job: &Job, usage: &Usage) {
        self.completed_at = Some(seconds(job.updated_at));
        self.usage.get_or_insert(Tokens {
            prompt_tokens: Some(usage.prompt),
            completion_tokens: Some(usage.completion),
            prompt_tokens_details: Some(PromptDetails { cached_tokens: Some(usage.cached) }),
            completion_tokens_details: None,
        });
    }

    fn status(&self) -> Status {
        if self.finish == Finish::Whole { Status::Completed } else { Status::Incomplete }
    }

    /// There is no more of it, because of this.
    pub(super) fn failed(&mut self, status: Status, trouble: &Trouble, out: &mut Vec<u8>) {
        self.event("response.failed", out, |story, out| {
            out.extend_from_slice(b",\"response\":");
            story.write(status, Some(trouble), out);
        });
    }

    /// What has been told does not count any more, and so nothing more can be told here.
    pub(super) fn broken(&mut self, message: &str, out: &mut Vec<u8>) {
        self.event("error", out, |story, out| {
            out.extend_from_slice(b",\"code\":\"server_error\",\"message\":");
            put(out, message);
            out.extend_from_slice(b",\"param\":null");
            // Without this, OpenAI's client for Python takes it for one event among others.
            out.extend_from_slice(b",\"error\":{\"type\":\"server_error\",\"code\":\"server_error\",\"param\":null,\"message\":");
            put(out, message);
            out.push(b'}');
            story.begun = true;
        });
    }

    /// The whole response, from the output of a job that completed.
    pub(super) fn whole(mut self, job: &Job, output: &[u8], usage: &Usage) -> Vec<u8> {
        let mut told = Vec::new();
        for line in output.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            self.chunk(line, &mut told);
            told.clear();
        }
        self.close_all(&mut told);
        self.complete(job, usage);
        let mut out = Vec::with_capacity(output.len() + self.repeated.len() + 512);
        let status = self.status();
        self.write(status, None, &mut out);
        out
    }

    /// The items of the output of a job that completed, each as JSON.
    pub(super) fn items(mut self, output: &[u8]) -> Vec<String> {
        let mut told = Vec::new();
        for line in output.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            self.chunk(line, &mut told);
            told.clear();
        }
        self.close_all(&mut told);
        let closed = |item| match item {
            Item::Closed(item) => Some(item),
            Item::Reasoning(_) | Item::Message(_) | Item::Call(_) => None,
        };
        self.items.into_iter().filter_map(closed).collect()
    }

    fn stage(&mut self, name: &str, status: Status, out: &mut Vec<u8>) {
        self.event(name, out, |story, out| {
            out.extend_from_slice(b",\"response\":");
            story.write(status, None, out);
        });
    }

    /// Appends the response as an object.
    pub(super) fn write(&self, status: Status, trouble: Option<&Trouble>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":\"resp_");
        out.extend_from_slice(self.hex.as_bytes());
        out.extend_from_slice(b"\",\"object\":\"response\"");
        item::number_field(out, "created_at", self.created_at);
        item::text_field(out, "status", status.name());
        match self.completed_at.filter(|_| status == Status::Completed) {
            Some(at) => item::number_field(out, "completed_at", at),
            None => out.extend_from_slice(b",\"completed_at\":null"),
        }
        match trouble {
            Some(Trouble { code, message }) => {
                out.extend_from_slice(b",\"error\":{");
                out.extend_from_slice(b"\"code\":");
                put(out, code);
                out.extend_from_slice(b",\"message\":");
                put(out, message);
                out.push(b'}');
            }
            None => out.extend_from_slice(b",\"error\":null"),
        }
        out.extend_from_slice(match (status, self.finish) {
            (Status::Incomplete, Finish::Filtered) => b",\"incomplete_details\":{\"reason\":\"content_filter\"}".as_slice(),
            (Status::Incomplete, Finish::Length | Finish::Whole) => b",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}",
            _ => b",\"incomplete_details\":null",
        });
        out.extend_from_slice(b",\"model\":");
        out.extend_from_slice(self.model.as_bytes());
        out.extend_from_slice(b",\"output\":[");
        for at in 0..self.items.len() {
            if at > 0 {
                out.push(b',');
            }
            self.write_item(at, item::INCOMPLETE, out);
        }
        out.push(b']');
        self.write_usage(out);
        if !self.repeated.is_empty() {
            out.push(b',');
            out.extend_from_slice(self.repeated.as_bytes());
        }
        out.push(b'}');
    }

    fn write_usage(&self, out: &mut Vec<u8>) {
        let Some(usage) = self.usage.filter(|_| self.completed_at.is_some()) else {
            out.extend_from_slice(b",\"usage\":null");
            return;
        };
        let (input, output) = (usage.prompt_tokens.unwrap_or(0), usage.completion_tokens.unwrap_or(0));
        let cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
        let reasoning = usage.completion_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0);
        out.extend_from_slice(
            format!(
                ",\"usage\":{{\"input_tokens\":{input},\"input_tokens_details\":{{\"cached_tokens\":{cached},\"cache_write_tokens\":0}},\
                 \"output_tokens\":{output},\"output_tokens_details\":{{\"reasoning_tokens\":{reasoning}}},\"total_tokens\":{}}}",
                input.saturating_add(output)
            )
            .as_bytes(),
        );
    }

    /// An item as it is; one that is open has this status.
    fn write_item(&self, at: usize, status: &str, out: &mut Vec<u8>) {
        if let Some(item) = self.items.get(at) {
            item.write(&self.hex, at, status, out);
        }
    }

    /// Which item, and which part of it.
    fn place(&self, at: usize, part: Option<usize>, out: &mut Vec<u8>) {
        let prefix = self.items.get(at).map_or("msg", Item::prefix);
        out.extend_from_slice(b",\"item_id\":\"");
        item::put_id(out, prefix, &self.hex, at);
        out.push(b'"');
        item::number_field(out, "output_index", at);
        if let Some(part) = part {
            item::number_field(out, "content_index", part);
        }
    }

    fn event(&mut self, name: &str, out: &mut Vec<u8>, fields: impl FnOnce(&mut Self, &mut Vec<u8>)) {
        let number = self.next;
        self.next += 1;
        if self.after.is_some_and(|after| number <= after) {
            return;
        }
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\ndata: {\"type\":\"");
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
        item::number_field(out, "sequence_number", number);
        fields(self, out);
        out.extend_from_slice(b"}\n\n");
    }
}

fn seconds(at: Timestamp) -> u64 {
    at.0 / 1000
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
