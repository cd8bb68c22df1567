//! HTTP as it is spoken: both versions on one port, connections that are used again, compression, and clients that do not read.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pullyard_tests::{Answer, Behaviour, FakeModel, Reply, TestBroker, Wire, chat, until};
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpStream;

async fn broker(model: &FakeModel, more: &str) -> TestBroker {
    TestBroker::with(format!("{more}backends:\n{}", model.backend("a", "slots: 4"))).await
}

async fn http2(broker: &TestBroker) -> SendRequest<Full<Bytes>> {
    let socket = TcpStream::connect(broker.address()).await.unwrap();
    let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    send
}

fn streamed(broker: &TestBroker, prompt: &str) -> Request<Full<Bytes>> {
    let mut body = chat("m", prompt);
    body["stream"] = json!(true);
    let request = Request::post(format!("{}/v1/chat/completions", broker.base_url()));
    request.body(body.to_string().into()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_spoken_on_one_port() {
    let model = FakeModel::start().await;
    let broker = broker(&model, "").await;
    let mut two = http2(&broker).await;

    // Several at once on one connection.
    let asked: Vec<_> = (0..20).map(|n| two.send_request(streamed(&broker, &n.to_string()))).collect();
    for (n, answer) in asked.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (hyper::Version::HTTP_2, 200));
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.contains(&format!("re {n}\"")) && text.ends_with("data: [DONE]\n\n"), "{text}");
    }
    broker.client().get("/healthz").await.expect(200);

    // One stream ends and its job with it, and the connection lives.
    model.then([Behaviour::hold(1)]);
    let mut answer = two.send_request(streamed(&broker, "left")).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    drop(answer);
    model.until("the job is cancelled", |c| c.gone == 1).await;
    let alive = two.send_request(Request::get(format!("{}/healthz", broker.base_url())).body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(alive.status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_lets_http2_finish() {
    let model = FakeModel::start().await;
    let mut broker = broker(&model, "").await;
    let mut two = http2(&broker).await;
    model.then([Behaviour::hold(1)]);
    let mut answer = two.send_request(streamed(&broker, "x")).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();

    broker.signal(rustix::process::Signal::TERM);
    until("it drains", async || broker.stderr().contains("stopping").then_some(())).await;
    model.release(1);

    let rest = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(rest.ends_with(b"data: [DONE]\n\n"));
    assert!(broker.exited().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again_and_bodies_come_in_pieces() {
    let model = FakeModel::start().await;
    let broker = broker(&model, "keys: []\nlimits: {body: 100KB}\n").await;
    let mut wire = Wire::open(broker.address()).await;
    let body = chat("m", "x").to_string();
    let (one, two) = body.split_at(10);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n";

    wire.send(b"HEAD /v1/models HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let raw = wire.reply_to_head().await.unwrap();
    assert!(raw.status == 200 && raw.head.contains("content-length: ") && !raw.head.contains("content-length: 0"), "{}", raw.head);
    wire.send(
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:x};a=b\r\n{two}\r\n0\r\nTrailer: x\r\n\r\n", 10, two.len())
            .as_bytes(),
    )
    .await;
    let raw = wire.reply().await.unwrap();
    assert!(raw.status == 200 && String::from_utf8_lossy(&raw.body).contains("re x 1 2"), "{}", raw.head);
    // Who asks first is told to go on, or that it need not.
    wire.send(format!("{head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes()).await;
    assert_eq!(wire.reply().await.unwrap().status, 100);
    wire.send(body.as_bytes()).await;
    assert_eq!(wire.reply().await.unwrap().status, 200);
    wire.send(format!("{head}Expect: 100-continue\r\nContent-Length: 100001\r\n\r\n").as_bytes()).await;
    assert_eq!(wire.reply().await.unwrap().status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_answers_are_compressed_for_who_asks_and_streams_never() {
    let model = FakeModel::start().await;
    let broker = broker(&model, "").await;
    let client = broker.client();
    let mut body = chat("m", &"long ".repeat(1000));
    let gzip = |body: &serde_json::Value| client.posting("/v1/chat/completions", body).header("Accept-Encoding", "gzip, br");

    let small = Reply::to(gzip(&body)).await.unwrap().expect(200);
    assert_eq!((small.header("content-encoding"), small.header("vary")), (Some("gzip"), Some("accept-encoding")));
    let mut text = String::new();
    GzDecoder::new(&*small.body).read_to_string(&mut text).unwrap();
    assert!(small.body.len() < 1000 && text.contains("re long long"));
    let plain = client.post("/v1/chat/completions", &body).await.expect(200);
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));

    body["stream"] = json!(true);
    let stream = Reply::to(gzip(&body)).await.unwrap().expect(200);
    assert_eq!(stream.header("content-encoding"), None);
    assert!(stream.text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_requests_are_bounded_by_what_they_become() {
    let model = FakeModel::start().await;
    let broker = broker(&model, "limits: {body: 1MB}\n").await;
    let client = broker.client();
    let post = async |body: &[u8], coding: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        let request = client.request(Method::POST, "/v1/chat/completions").header("Content-Encoding", coding);
        Reply::to(request.body(encoder.finish().unwrap())).await.unwrap()
    };

    assert_eq!(post(chat("m", "x").to_string().as_bytes(), "gzip").await.expect(200).content(), "re x 1 2");
    let before = broker.rss();
    let bomb = post(&vec![b' '; 200_000_000], "gzip").await.expect(413);
    assert!(bomb.error().contains("1000000 bytes"), "{}", bomb.error());
    assert!(broker.rss() < before + (32 << 20), "{} and then {}", before, broker.rss());
    let unknown = post(b"{}", "br").await.expect(415);
    assert!(unknown.error().contains("gzip, zstd, deflate") && unknown.header("accept-encoding").is_some());
    let other = post(b"{}", "zstd").await.expect(400);
    assert_eq!(other.json()["error"]["param"], "Content-Encoding");
    assert_eq!(model.counts().seen, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_tells_what_can_be_done_there() {
    let broker = TestBroker::with("discover: false").await;
    let client = broker.client();
    let options = async |path: &str| Reply::to(client.request(Method::OPTIONS, path)).await.unwrap();
    for (path, allowed) in [("/", "GET, HEAD, OPTIONS"), ("/v1/jobs", "GET, HEAD, POST, OPTIONS"), ("/v1/completions", "POST, OPTIONS")] {
        let told = options(path).await.expect(204);
        assert_eq!((told.header("allow"), &*told.body), (Some(allowed), &b""[..]), "{path}");
    }
    assert!(options("/v1/nothing").await.expect(404).error().contains("there is nothing at \"/v1/nothing\""));
}

/// A backend whose output never ends, and a bound on how long a client may leave it lying.
async fn flooded() -> (FakeModel, TestBroker) {
    let model = FakeModel::start().await;
    let broker = broker(&model, "limits: {write_timeout: 500ms}\n").await;
    let lots = Answer { tokens: 1_000_000, ..Answer::default() };
    model.then([Behaviour::Answer(lots)]);
    (model, broker)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_left_with_its_job() {
    let (model, broker) = flooded().await;
    let before = broker.rss();
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "x"}]}).to_string();
    let mut wire = Wire::open(broker.address()).await;
    wire.send(format!("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await;

    model.until("the client is given up", |c| c.gone == 1).await;

    assert!(broker.rss() < before + (96 << 20), "{} and then {}", before, broker.rss());
    let jobs = broker.client().all_jobs().await;
    assert_eq!(broker.client().ended(jobs[0]["id"].as_str().unwrap()).await["state"], "cancelled");
    drop(wire);
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_is_a_stream_that_lies_unread_while_its_connection_lives() {
    let (model, broker) = flooded().await;
    let mut two = http2(&broker).await;
    let unread = two.send_request(streamed(&broker, "x")).await.unwrap();

    model.until("the client is given up", |c| c.gone == 1).await;

    // Whoever reads on is not told that this was the end.
    assert!(unread.into_body().collect().await.is_err());
    tokio::time::timeout(Duration::from_secs(20), async {
        while two.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the connection is closed");
}
