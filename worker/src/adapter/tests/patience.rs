//! Servers that take too long, and clients that leave.

use std::time::Instant;

use pullyard_schemas::FailureKind::{Cancelled, Timeout};

use super::server::Script;
use super::*;

const SHORT: Duration = Duration::from_millis(60);
const HI: &str = r#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#;
const END: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

#[tokio::test]
async fn a_first_token_that_does_not_come_is_not_waited_for() {
    let opening = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
    for script in [
        // Not even a head.
        Script::silent(),
        Script::sse("").stall(),
        // What carries no token does not count as one.
        Script::sse(event(opening)).stall(),
        Script::sse("").flood_slowly(": ping\n\n"),
        Script::sse("").flood(": ping\n\n"),
    ] {
        let server = Server::start([script]).await;
        let mut endpoint = endpoint(&server, OPENAI);
        endpoint.timeouts.first_token = SHORT;
        endpoint.max_output_bytes = usize::MAX;
        let begun = Instant::now();
        let got = ask(&endpoint, &chat(true)).await;
        assert_eq!(got.failure().kind, Timeout, "{}", got.failure().message);
        assert!(begun.elapsed() >= SHORT);
        assert!(got.failure().message.ends_with("60ms"), "{}", got.failure().message);
        assert_eq!((got.broken().usage, got.broken().delivered), (None, false));
        server.closed(1).await;
    }
}

#[tokio::test]
async fn a_stream_may_be_slow_but_not_silent() {
    let script = (0..4).fold(Script::sse(""), |script, _| script.send(event(HI)).pause(SHORT));
    let server = Server::start([script.clone().send(event(END)), script.stall()]).await;
    let mut endpoint = endpoint(&server, OPENAI);
    endpoint.timeouts.between_tokens = SHORT * 20;
    endpoint.timeouts.first_token = SHORT * 3;
    // Longer than the first token may take, in pieces that each come in time.
    assert!(ask(&endpoint, &chat(true)).await.result.is_ok());

    endpoint.timeouts.between_tokens = SHORT * 3;
    let got = ask(&endpoint, &chat(true)).await;
    assert_eq!(got.failure().kind, Timeout, "{}", got.failure().message);
    assert_eq!(got.failure().message, "backend `a` was silent for 180ms");
    assert_eq!((got.broken().usage, got.broken().delivered), (Some(usage(0, 4, 0)), true));
    server.closed(1).await;
}

#[tokio::test]
async fn a_whole_attempt_has_its_limit_whatever_comes() {
    for (script, stream) in [
        (Script::sse("").flood_slowly(&event(HI)), true),
        (Script::sse("").flood(event(HI)), true),
        (Script::stream("application/json", "").stall(), false),
        (Script::stream("application/json", "[").flood("1,"), false),
        (Script::stream("text/plain", "oh").stall(), false),
    ] {
        let server = Server::start([script]).await;
        let mut endpoint = endpoint(&server, OPENAI);
        endpoint.timeouts.attempt = SHORT;
        endpoint.max_output_bytes = usize::MAX;
        let got = ask(&endpoint, &chat(stream)).await;
        assert_eq!(got.failure().kind, Timeout, "{}", got.failure().message);
        assert!(got.failure().message.ends_with("60ms"), "{}", got.failure().message);
        assert_eq!(got.broken().delivered, stream);
        server.closed(1).await;
    }
}

#[tokio::test]
async fn an_error_that_does_not_end_is_still_an_error() {
    let server = Server::start([Script::stream("application/json", r#"{"error":"#).status(503).header("retry-after", "2").stall()]).await;
    let mut endpoint = endpoint(&server, OPENAI);
    endpoint.timeouts.first_token = SHORT;
    let got = ask(&endpoint, &chat(true)).await;
    assert_eq!((got.failure().kind, got.failure().retry_after_ms), (pullyard_schemas::FailureKind::Busy, Some(2_000)));
}

/// Cancels at the first chunk, or as soon as the server is asked.
async fn cancelled(script: Script, drain: bool, at_first_chunk: bool) -> (Server, Outcome) {
    let server = Server::start([script]).await;
    let mut endpoint = endpoint(&server, OPENAI);
    endpoint.drain_on_cancel = drain;
    endpoint.max_output_bytes = usize::MAX;
    let (client, cancel) = (client(PATIENCE).unwrap(), CancellationToken::new());
    let (call, at_chunk) = (chat(true), cancel.clone());
    let on_chunk = move || {
        if at_first_chunk {
            at_chunk.cancel();
        }
    };
    let asked = async {
        if !at_first_chunk {
            server.asked(1).await;
            cancel.cancel();
        }
    };
    let (got, ()) = tokio::join!(ask_with(&client, &endpoint, &call, &cancel, on_chunk), asked);
    (server, got)
}

#[tokio::test]
async fn a_cancelled_call_lets_its_connection_go_at_once() {
    for (script, at_first_chunk) in [
        (Script::silent(), false),
        (Script::sse("").stall(), false),
        (Script::sse(event(HI)).stall(), true),
        (Script::sse(event(HI)).flood(event(HI)), true),
    ] {
        let (server, got) = cancelled(script, false, at_first_chunk).await;
        assert_eq!(got.failure().kind, Cancelled, "{}", got.failure().message);
        assert_eq!(got.broken().delivered, at_first_chunk);
        server.closed(1).await;
    }
}

#[tokio::test]
async fn a_call_that_is_paid_for_is_read_to_its_end_without_giving_out_more() {
    let (_server, got) = cancelled(Script::sse(event(HI)).pause(SHORT).send(event(HI)).send(event(END)), true, true).await;
    assert_eq!(got.lines(), [HI]);
    assert_eq!(got.failure().kind, Cancelled, "{}", got.failure().message);
    assert_eq!((got.broken().usage, got.broken().delivered), (Some(usage(3, 2, 0)), true));

    // Nothing was given out, and still it is paid for.
    let (_server, got) = cancelled(Script::sse("").pause(SHORT).send(event(HI)).send(event(END)), true, false).await;
    assert!(got.chunks.is_empty());
    assert_eq!((got.failure().kind, got.broken().usage, got.broken().delivered), (Cancelled, Some(usage(3, 2, 0)), false));

    // In one piece, all that came after the cancellation is kept back as well.
    let (_server, got) = cancelled(Script::stream("text/event-stream", "").send(event(HI) + &event(HI) + &event(END)), true, true).await;
    assert_eq!((got.lines(), got.broken().usage), (vec![HI], Some(usage(3, 2, 0))));
}

#[tokio::test]
async fn a_call_that_is_left_and_then_fails_was_still_withdrawn() {
    let (_server, got) = cancelled(Script::sse(event(HI)).pause(SHORT).cut(), true, true).await;
    assert_eq!((got.failure().kind, got.broken().usage), (Cancelled, Some(usage(0, 1, 0))));
}
