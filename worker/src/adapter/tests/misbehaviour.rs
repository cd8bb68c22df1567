//! Replies that are not what they should be.

use pullyard_schemas::FailureKind::{Backend, Connect, Garbage};

use super::server::Script;
use super::*;

const HI: &str = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#;

fn hi() -> String {
    format!("data: {HI}\n\n")
}

#[tokio::test]
async fn a_stream_that_is_cut_is_no_reply() {
    let half = &hi()[..80];
    for (script, delivered) in [
        (Script::sse(hi()).cut(), true),
        (Script::sse(hi() + half).cut(), true),
        (Script::sse("").cut(), false),
        // Ended in order, but nobody said that this was all.
        (Script::sse(hi()), true),
        (Script::sse(hi() + half), true),
        (Script::sse(""), false),
        (Script::events(&[]), false),
    ] {
        let got = reply(script, OPENAI, &chat(true)).await;
        assert_eq!(got.failure().kind, Backend, "{}", got.failure().message);
        assert_eq!(got.failure().message, "backend `a` broke off in the middle of its reply");
        assert_eq!(got.broken().delivered, delivered);
        assert_eq!(got.broken().usage, delivered.then(|| usage(0, 1, 0)));
        assert_eq!(got.lines(), vec![HI; usize::from(delivered)]);
    }
}

#[tokio::test]
async fn a_whole_reply_that_is_cut_is_no_reply() {
    let script = Script::json(200, r#"{"choices":[{"ind"#).header("connection", "close");
    let got = reply(script, OPENAI, &chat(false)).await;
    assert_eq!(got.failure().kind, Garbage);
    let got = reply(Script::stream("application/json", r#"{"choices":["#).cut(), OPENAI, &chat(false)).await;
    assert_eq!(got.failure().kind, Backend);
    assert!(got.chunks.is_empty() && !got.broken().delivered);
}

#[tokio::test]
async fn what_is_no_reply_at_all_is_garbage() {
    let html = "<!DOCTYPE html>\n<html><body>\n<h1>Welcome to nginx!</h1>\n</body></html>\n";
    let noise: Vec<u8> = (0..5_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let bad_utf8 = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xff\xfe\"}}]}\n\n";
    let bad_line = b"{\"message\":{\"role\":\"assistant\",\"content\":\"\xff\"},\"done\":false}\n";
    for dialect in [OPENAI, Dialect::Ollama, Dialect::Anthropic] {
        for stream in [true, false] {
            for script in [Script::whole(200, "text/html", html), Script::whole(200, "application/octet-stream", &noise)] {
                let got = reply(script, dialect, &chat(stream)).await;
                assert_eq!(got.failure().kind, Garbage, "{dialect:?} {stream}: {}", got.failure().message);
                assert!(got.chunks.is_empty());
            }
        }
    }
    for (dialect, script) in [
        (OPENAI, Script::sse(bad_utf8)),
        (OPENAI, Script::sse("data: {\"choices\":\n\ndata: [DONE]\n\n")),
        (OPENAI, Script::sse("data: [1,2]\n\n")),
        (Dialect::Ollama, Script::stream("application/x-ndjson", bad_line)),
        (Dialect::Ollama, Script::lines(&["{}"])),
        (Dialect::Anthropic, Script::sse(b"event: ping\ndata: {\"type\":\"\xff\"}\n\n")),
    ] {
        let got = reply(script, dialect, &chat(true)).await;
        assert_eq!(got.failure().kind, Garbage, "{dialect:?}: {}", got.failure().message);
    }
    for (dialect, body) in [(OPENAI, "{}"), (Dialect::Ollama, r#"{"done":false}"#), (Dialect::Anthropic, r#"{"type":"message"}"#)] {
        let got = reply(Script::json(200, body), dialect, &chat(false)).await;
        assert_eq!(got.failure().kind, Garbage, "{dialect:?}: {}", got.failure().message);
    }
}

#[tokio::test]
async fn an_endless_line_is_refused() {
    for (dialect, kind) in [(OPENAI, "text/event-stream"), (Dialect::Ollama, "application/x-ndjson")] {
        let got = reply(Script::stream(kind, "data: {").flood(vec![b'x'; 1 << 20]), dialect, &chat(true)).await;
        assert_eq!(got.failure().kind, Garbage);
        assert!(got.failure().message.contains("one frame"), "{}", got.failure().message);
    }
}

#[tokio::test]
async fn a_reply_above_the_cap_is_refused_and_let_go() {
    let server = Server::start([
        Script::sse("").flood(hi()),
        Script::stream("application/json", "[").flood("1,"),
        Script::json(200, "x".repeat(100_000)),
        Script::whole(500, "text/plain", "y".repeat(100_000)),
    ])
    .await;
    let mut endpoint = endpoint(&server, OPENAI);
    endpoint.max_output_bytes = 50_000;
    let flooded = ask(&endpoint, &chat(true)).await;
    assert_eq!(flooded.failure().kind, Garbage);
    assert!(flooded.failure().message.contains("larger than 50000 bytes"), "{}", flooded.failure().message);
    assert!(flooded.chunks.len() * hi().len() <= 50_000);
    server.closed(1).await;
    for _ in 0..2 {
        let got = ask(&endpoint, &chat(false)).await;
        assert_eq!(got.failure().kind, Garbage);
        assert!(got.failure().message.contains("larger than 50000 bytes"), "{}", got.failure().message);
    }
    // An error is an error however long it is.
    assert_eq!(ask(&endpoint, &chat(false)).await.failure().kind, Backend);
}

#[tokio::test]
async fn nobody_listens() {
    let server = Server::start([]).await;
    let nowhere = endpoint(&server, OPENAI);
    let mut userinfo = Endpoint::new("a", &server.url().replace("//", "//me:pass-hush@"), OPENAI).unwrap();
    userinfo.api_key = nowhere.api_key.clone();
    // The listener goes with the task, which ends at its next turn.
    drop(server);
    tokio::task::yield_now().await;
    for endpoint in [nowhere, userinfo] {
        let got = ask(&endpoint, &chat(true)).await;
        assert_eq!(got.failure().kind, Connect, "{}", got.failure().message);
        assert_eq!(got.failure().message, "backend `a` cannot be reached (connection refused)");
        assert!(!got.failure().message.contains("hush") && !got.failure().message.contains("http://"), "{}", got.failure().message);
        assert_eq!((got.broken().usage, got.broken().delivered), (None, false));
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_is_asked_once_more_and_not_in_a_loop() {
    let server = Server::always(Script::hang_up()).await;
    let got = ask(&endpoint(&server, OPENAI), &chat(true)).await;
    assert_eq!(got.failure().kind, Connect, "{}", got.failure().message);
    assert!(got.failure().message.starts_with("backend `a` did not answer ("), "{}", got.failure().message);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_connection_that_was_closed_behind_its_back_costs_no_call() {
    let whole = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}"#;
    let server = Server::always(Script::json(200, whole).header("connection", "keep-alive").close()).await;
    let (client, endpoint) = (client(PATIENCE).unwrap(), endpoint(&server, OPENAI));
    for _ in 0..20 {
        let got = ask_with(&client, &endpoint, &chat(false), &CancellationToken::new(), || ()).await;
        assert!(got.result.is_ok(), "{}", got.failure().message);
    }
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_stream() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let stream = format!("data: {}\n\ndata: [DONE]\n\n", HI.replace("null", "\"stop\""));
    // The end of the HTTP body comes after the end of the reply.
    let server = Server::always(Script::sse(stream).gate(&gate)).await;
    let (client, endpoint) = (client(PATIENCE).unwrap(), endpoint(&server, OPENAI));
    for n in 1..=50 {
        let got = ask_with(&client, &endpoint, &chat(true), &CancellationToken::new(), || ()).await;
        assert!(got.result.is_ok(), "{}", got.failure().message);
        gate.notify_one();
        let requests = server.requests();
        assert_eq!(requests.len(), n);
        if requests.iter().enumerate().any(|(at, r)| r.connection < at) {
            return;
        }
    }
    panic!("each of 50 calls made a connection of its own");
}
