//! What a token costs the broker in each API's stream, held against chat completions, whose shape is the one that is kept.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::Run;
use crate::broker::{Broker, Durability, Setup, folder};
use crate::load::MODEL;
use crate::mock::{Behaviour, Mock, SENT};
use crate::report::Row;
use crate::stats::{count, median, micros, time};

const BAR: f64 = 1.5;
const STREAMS: usize = 50;

/// A stream, and what its end looks like.
struct Api {
    name: &'static str,
    path: &'static str,
    end: &'static str,
    more: fn(&mut Value),
}

const APIS: [Api; 4] = [
    Api { name: "chat completions", path: "/v1/chat/completions", end: "data: [DONE]", more: |_| {} },
    Api {
        name: "Responses",
        path: "/v1/responses",
        end: "event: response.completed",
        more: |body| {
            body["input"] = body["messages"].take();
            body.as_object_mut().map(|body| body.remove("messages"));
        },
    },
    Api { name: "Messages", path: "/v1/messages", end: "event: message_stop", more: |body| body["max_tokens"] = 4096.into() },
    Api { name: "Ollama's chat", path: "/api/chat", end: "\"done\":true", more: |_| {} },
];

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    // 10,000 tokens each second, in pieces as they come.
    let pace = Behaviour { first_ms: 20, tokens: run.pick(200, 400), gap_ms: 5, ..Behaviour::default() };
    let (folder, mock) = (folder()?, Mock::start(pace)?);
    let broker = Broker::start(folder.path(), Setup { backend: mock.addr(), slots: STREAMS, durability: Durability::Flush })?;
    let turn = |nth: usize| {
        let before = broker.cpu()?;
        listen(broker.addr, &APIS[nth], pace.tokens)?;
        broker.settle()?;
        Ok(micros(broker.cpu()?.saturating_sub(before)) / (STREAMS as u64 * pace.tokens) as f64)
    };
    // The first round pays for what is set up once.
    super::in_turns(0, [0, 1, 2, 3], turn)?;
    let rounds: Vec<[f64; 4]> = (0..run.pick(3, 7)).map(|round| super::in_turns(round, [0, 1, 2, 3], turn)).collect::<Result<_, _>>()?;
    let chat = median(rounds.iter().map(|round| round[0]));
    for (nth, api) in APIS.iter().enumerate().skip(1) {
        let (own, ratio) = (median(rounds.iter().map(|round| round[nth])), median(rounds.iter().map(|round| round[nth] / round[0])));
        run.report.row(Row {
            measured: format!("{STREAMS} streams of {}, {} tokens/s: processor time per token", api.name, count(STREAMS as f64 * 200.0)),
            pullyard: time(own),
            compared: format!("chat completions: {}", time(chat)),
            ratio: format!("{ratio:.2}"),
            bar: format!("≤ {BAR}"),
            met: Some(ratio <= BAR),
        });
    }
    Ok(())
}

fn listen(addr: SocketAddr, api: &Api, tokens: u64) -> anyhow::Result<()> {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "When does the next train leave?"}], "stream": true});
    (api.more)(&mut body);
    let (body, path) = (body.to_string(), api.path);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}",
        body.len()
    );
    let request = format!("{head}\r\n\r\n{body}");
    std::thread::scope(|scope| {
        let streams: Vec<_> = (0..STREAMS)
            .map(|_| {
                // As callers come: not all at one moment.
                std::thread::sleep(Duration::from_millis(1));
                scope.spawn(|| heard(addr, request.as_bytes()))
            })
            .collect();
        for stream in streams {
            let text = stream.join().map_err(|_| anyhow::anyhow!("a listener failed"))??;
            ensure!(text.starts_with("HTTP/1.1 200"), "{}: {}", api.name, text.chars().take(500).collect::<String>());
            let heard = memchr::memmem::find_iter(text.as_bytes(), SENT).count() as u64;
            ensure!(heard >= tokens && text.contains(api.end), "{}: {heard} tokens of {tokens}, or no end", api.name);
        }
        Ok(())
    })
}

/// Everything until the connection's end.
fn heard(addr: SocketAddr, request: &[u8]) -> anyhow::Result<String> {
    let mut socket = TcpStream::connect(addr)?;
    socket.write_all(request)?;
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
