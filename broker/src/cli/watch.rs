//! `pullyard watch`, and the waiting that `submit` does.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::client::{Client, Error, json};
use super::out::{Out, can_update, note, update};
use super::sse::{Frame, Parser};

const TRIES: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(500);
/// The broker sends a comment much more often than this while a job waits.
const SILENCE: Duration = Duration::from_secs(180);
/// A connection that held this long was a good one.
const GOOD: Duration = Duration::from_secs(30);

/// Which job to follow.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// The job's id
    id: String,
}

pub(super) async fn run(client: &Client, out: &Out, args: &WatchArgs) -> Result<(), Error> {
    follow(client, out, &args.id, true).await
}

/// Waits for the job's end and prints its text, as it comes when `live`. A broken connection is taken up where it broke.
pub(super) async fn follow(client: &Client, out: &Out, id: &str, live: bool) -> Result<(), Error> {
    let mut reading = Reading { out, live: live && !out.json, seen: None, printed: false, open_line: false };
    let mut tries = 0;
    let mut status = Status::start(client, id);
    let job = loop {
        let since = Instant::now();
        let seen = reading.seen.clone();
        let why = match read(client, id, &mut reading, &mut status).await {
            Ok(job) => break job,
            Err(Error::Broken(why)) => Error::Broken(why),
            // One that never answered is not waited for; one that did may be restarting.
            Err(why @ Error::NoBroker { .. }) if tries > 0 => why,
            Err(why @ Error::Refused { status: 500.., .. }) => why,
            Err(error) => {
                status.stop().await;
                reading.end_line()?;
                return Err(error);
            }
        };
        if reading.seen != seen || since.elapsed() > GOOD {
            tries = 0;
        }
        tries += 1;
        if tries > TRIES {
            status.stop().await;
            reading.end_line()?;
            return Err(why);
        }
        sleep(BACKOFF * 2u32.pow(tries - 1)).await;
    };
    status.stop().await;
    reading.finish(&job)
}

/// Reads one connection up to the job's end.
async fn read(client: &Client, id: &str, reading: &mut Reading<'_>, status: &mut Status) -> Result<String, Error> {
    let mut response = client.stream(id, reading.seen.as_deref()).await?;
    let mut parser = Parser::default();
    loop {
        let bytes = timeout(SILENCE, response.chunk())
            .await
            .map_err(|_| Error::Broken("nothing came for three minutes".to_owned()))?
            .map_err(|e| Error::Broken(e.without_url().to_string()))?
            .ok_or_else(|| Error::Broken("it was closed before the job's end".to_owned()))?;
        parser.push(&bytes);
        while let Some(frame) = parser.next() {
            match frame.event.as_str() {
                "end" => return Ok(frame.data),
                "error" => {
                    let error: Value = serde_json::from_str(&frame.data).unwrap_or_default();
                    return Err(Error::Failed(error["error"]["message"].as_str().unwrap_or("the broker could not go on").to_owned()));
                }
                _ => {
                    status.stop().await;
                    reading.take(frame)?;
                }
            }
        }
    }
}

/// What has been read and shown so far.
struct Reading<'a> {
    out: &'a Out,
    live: bool,
    /// `attempt.chunk` of the last chunk.
    seen: Option<String>,
    printed: bool,
    /// The cursor is behind text.
    open_line: bool,
}

impl Reading<'_> {
    fn take(&mut self, frame: Frame) -> Result<(), Error> {
        let attempt = |id: &str| id.split_once('.').and_then(|(attempt, _)| attempt.parse::<u32>().ok());
        if let Some((before, now)) = self.seen.as_deref().and_then(attempt).zip(attempt(&frame.id))
            && before != now
            && self.printed
        {
            self.end_line()?;
            note(&format!("attempt {now} starts over: the text so far is not part of the answer"));
            self.printed = false;
        }
        if !frame.id.is_empty() {
            self.seen = Some(frame.id);
        }
        if self.live
            && let Ok(chunk) = serde_json::from_str::<Value>(&frame.data)
            && let Some(text) = text_of(&chunk).filter(|t| !t.is_empty())
        {
            self.out.text(text)?;
            self.printed = true;
            self.open_line = !text.ends_with('\n');
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.open_line) { self.out.text("\n") } else { Ok(()) }
    }

    fn finish(mut self, end: &str) -> Result<(), Error> {
        self.end_line()?;
        let job = json(end.as_bytes())?;
        let completed = job["state"] == "completed";
        if self.out.json {
            self.out.answer(end.as_bytes())?;
        } else if completed && !self.printed {
            self.out.paragraph(&answer(&job["result"]))?;
        }
        if completed {
            return Ok(());
        }
        if !self.out.json {
            note(&ended(&job));
        }
        Err(Error::Told)
    }
}

/// The text of the first choice, whether it is a piece or the whole.
fn text_of(chunk: &Value) -> Option<&str> {
    let choice = &chunk["choices"][0];
    if choice["index"].as_u64().unwrap_or(0) > 0 {
        return None;
    }
    let text = [&choice["delta"]["content"], &choice["message"]["content"], &choice["text"]];
    text.into_iter().find_map(Value::as_str)
}

/// What a person wants to see of a result: its text, or else what it has instead of one.
pub(super) fn answer(result: &Value) -> String {
    match text_of(result).filter(|t| !t.is_empty()) {
        Some(text) => text.to_owned(),
        None => match &result["choices"][0]["message"]["tool_calls"] {
            calls @ Value::Array(_) => format!("{calls:#}"),
            _ => format!("{result:#}"),
        },
    }
}

/// How a job that did not complete ended.
fn ended(job: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (id, state) = (text(&job["id"]), text(&job["state"]));
    let why = match (&job["failure"], &job["reason"]) {
        (_, Value::String(reason)) => format!(": {reason}"),
        (failure @ Value::Object(_), _) => format!(": {} ({})", text(&failure["message"]), text(&failure["kind"])),
        _ => String::new(),
    };
    let help = if state == "parked" { format!("; `pullyard requeue {id}` tries it again") } else { String::new() };
    format!("job {id} is {state}{why}{help}")
}

/// One line on a person's terminal about a job that has not begun to answer.
struct Status(Option<JoinHandle<()>>);

impl Status {
    fn start(client: &Client, id: &str) -> Self {
        if !can_update() {
            return Self(None);
        }
        let (client, id) = (client.clone(), id.to_owned());
        Self(Some(tokio::spawn(async move {
            loop {
                if let Ok(Ok(body)) = timeout(Duration::from_secs(5), client.get(&["jobs", &id], &[])).await
                    && let Ok(job) = json(&body)
                {
                    update(&place(&job));
                }
                sleep(Duration::from_secs(1)).await;
            }
        })))
    }

    /// Nothing is written to the line after this.
    async fn stop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            let _ = task.await;
            update("");
        }
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

fn place(job: &Value) -> String {
    let mut line = job["state"].as_str().unwrap_or("waiting").to_owned();
    match job["position"].as_u64() {
        Some(0) => line.push_str(", next in line"),
        Some(ahead) => line.push_str(&format!(", {ahead} ahead")),
        None => {}
    }
    if let Some(ms) = job["expected_start_ms"].as_u64().filter(|_| job["state"] == "queued") {
        line.push_str(&format!(", starts in about {}", super::table::span(i64::try_from(ms / 1000).unwrap_or(i64::MAX))));
    }
    if let (Some(until), Some("deferred")) = (job["not_before"].as_str(), job["state"].as_str()) {
        line.push_str(&format!(" until {until}"));
    }
    if let (Some(backend), Some("running")) = (job["backend"].as_str(), job["state"].as_str()) {
        line.push_str(&format!(" on {backend}"));
    }
    line
}
