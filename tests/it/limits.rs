//! Bounds on what may be sent, in size and in time, and what is not HTTP.

use pullyard_tests::{Setup, TestBroker, Wire, errors_are_explained, until};

/// What is no HTTP at all gets a plain refusal or a closed connection.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_refused() {
    let broker = TestBroker::with("discover: false\nlimits: {body: 100KB, header_timeout: 300ms, body_timeout: 300ms}").await;
    let wrong: [&[u8]; 8] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\x00 HTTP/1.1\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
    ];
    let mut all: Vec<Vec<u8>> = wrong.iter().map(|w| w.to_vec()).collect();
    all.push([b"GET / HTTP/1.1\r\n".to_vec(), b"X: y\r\n".repeat(20_000), b"\r\n".to_vec()].concat());
    all.push([b"GET / HTTP/1.1\r\nX: ".to_vec(), b"y".repeat(200_000), b"\r\n\r\n".to_vec()].concat());
    all.push([b"GET /".to_vec(), b"y".repeat(200_000), b" HTTP/1.1\r\n\r\n".to_vec()].concat());
    for bytes in all {
        let mut wire = Wire::open(broker.address()).await;
        wire.send(&bytes).await;
        wire.finish().await;
        if let Some(raw) = wire.reply().await {
            assert!((400..500).contains(&raw.status), "{}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]), raw.head);
        }
    }
    broker.client().get("/healthz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_bounded_in_size_and_time() {
    let broker = TestBroker::with("discover: false\nlimits: {body: 100KB, header_timeout: 300ms, body_timeout: 300ms}").await;
    let head = "POST /v1/jobs HTTP/1.1\r\nHost: a\r\n";
    for (sent, status, says) in [
        // Refused before it is read, and while it is.
        (format!("{head}Content-Length: 100001\r\n\r\n"), 413, "100000 bytes"),
        (
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(5)),
            413,
            "100000 bytes",
        ),
        // Bodies that never end.
        (format!("{head}Content-Length: 100\r\n\r\n{{"), 400, "in time"),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n"), 400, "in time"),
    ] {
        let mut wire = Wire::open(broker.address()).await;
        wire.send(sent.as_bytes()).await;
        let raw = wire.reply().await.expect("an answer");
        assert_eq!(raw.status, status, "{}", &sent[..120]);
        let why = errors_are_explained(&raw.body).expect("an envelope");
        assert!(why.contains(says), "{why}");
    }
    // Nobody keeps a connection by saying nothing.
    let mut wire = Wire::open(broker.address()).await;
    wire.send(b"GET / HTTP/1.1\r\nHost").await;
    assert!(wire.reply().await.is_none_or(|raw| raw.status == 408));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_there_are_files_are_a_wait_and_not_an_end() {
    let few = ["sh", "-c", "ulimit -n 80; exec \"$@\"", "sh"];
    let broker = Setup::new("discover: false").wrapped(&few).start().await;
    let mut crowd = Vec::new();
    for _ in 0..150 {
        crowd.push(Wire::open(broker.address()).await);
    }
    until("a complaint", async || broker.stderr().contains("could not be accepted").then_some(())).await;

    drop(crowd);

    let client = broker.client();
    assert_eq!(client.get("/readyz").await.status, 200);
    assert_eq!(client.get("/v1/jobs").await.status, 200);
}
