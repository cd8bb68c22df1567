//! Batches, as a client of OpenAI's API makes them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::load::chat;
use crate::wire;

/// How long a batch may take before it counts as one that stands still.
const PATIENCE: Duration = Duration::from_secs(120);

/// An input file of so many chat requests of so many bytes.
pub(crate) fn lines(count: usize, size: usize) -> Vec<u8> {
    let body = String::from_utf8_lossy(&chat(size, None)).into_owned();
    let line = |n| format!("{{\"custom_id\":\"line-{n}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{body}}}\n");
    (0..count).flat_map(|n| line(n).into_bytes()).collect()
}

/// The id of the uploaded file.
pub(crate) fn upload(addr: SocketAddr, lines: &[u8]) -> anyhow::Result<String> {
    let head = "--yard\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--yard\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n";
    let tail = "\r\n--yard--\r\n";
    let length = head.len() + lines.len() + tail.len();
    let kind = "multipart/form-data; boundary=yard";
    let mut request = format!(
        "POST /v1/files HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{head}"
    )
    .into_bytes();
    request.extend_from_slice(lines);
    request.extend_from_slice(tail.as_bytes());
    id_of(wire::exchange(addr, &request)?)
}

/// The id of the batch that has begun.
pub(crate) fn begin(addr: SocketAddr, file: &str) -> anyhow::Result<String> {
    let ask = json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    id_of(wire::exchange(addr, &wire::post("/v1/batches", ask.to_string().as_bytes()))?)
}

pub(crate) fn look(addr: SocketAddr, batch: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&wire::ask(addr, "GET", &format!("/v1/batches/{batch}"), "")?.1)?)
}

/// Waits until it is completed, every line well.
pub(crate) fn complete(addr: SocketAddr, batch: &str, lines: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let seen = look(addr, batch)?;
        if seen["status"] == "completed" {
            anyhow::ensure!(seen["request_counts"]["completed"] == lines, "not all lines went well: {seen}");
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE && seen["status"] != "failed", "the batch does not complete: {seen}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn id_of((status, body): (u16, String)) -> anyhow::Result<String> {
    let value: Value = serde_json::from_str(&body)?;
    value["id"].as_str().filter(|_| status == 200).map(str::to_owned).ok_or_else(|| anyhow::anyhow!("{status}: {body}"))
}
