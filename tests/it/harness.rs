//! The harness itself: a NATS server that comes and goes, and a network that fails, do just what they are told.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use pullyard_tests::{ChaosProxy, NatsOptions, NatsServer, until};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Long enough for what would come by mistake.
const A_WHILE: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(20);

/// As much of the NATS protocol as it takes to see that somebody is there.
struct Plain(BufReader<TcpStream>);

impl Plain {
    async fn connect(address: SocketAddr) -> Self {
        let mut plain = Self(BufReader::new(TcpStream::connect(address).await.unwrap()));
        assert!(plain.line().await.starts_with("INFO {"));
        plain.say("CONNECT {\"verbose\":false}\r\n").await;
        plain
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("the server answers").unwrap();
        line
    }

    async fn ping(&mut self) {
        self.say("PING\r\n").await;
        assert_eq!(self.line().await, "PONG\r\n");
    }
}

async fn streams(server: &NatsServer) -> u64 {
    server.monitor("/jsz").await["streams"].as_u64().unwrap()
}

/// A server with one stream in its store.
async fn with_a_stream() -> NatsServer {
    let server = NatsServer::start().await;
    let config = r#"{"name":"S","subjects":["s"]}"#;
    let mut plain = Plain::connect(server.address()).await;
    plain.say(&format!("SUB inbox 1\r\nPUB $JS.API.STREAM.CREATE.S inbox {}\r\n{config}\r\n", config.len())).await;
    assert!(plain.line().await.starts_with("MSG inbox 1 "));
    let answer = plain.line().await;
    assert!(!answer.contains("error"), "{answer}");
    assert_eq!(streams(&server).await, 1);
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_talks_as_it_was_configured() {
    let authorization = "authorization { token: sesame }".to_owned();
    let open = NatsServer::start().await;
    let options = NatsOptions { max_payload: Some(4096), config_extra: authorization, ..NatsOptions::default() };
    let other = NatsServer::start_with(options).await;

    Plain::connect(open.address()).await.ping().await;
    let mut stranger = Plain::connect(other.address()).await;
    assert!(stranger.line().await.contains("Authorization Violation"));
    let (open_says, other_says) = (open.info().await.unwrap(), other.info().await.unwrap());
    assert_eq!((&open_says["jetstream"], &other_says["jetstream"]), (&true.into(), &true.into()));
    assert_eq!((&open_says["max_payload"], &other_says["max_payload"]), (&1_048_576.into(), &4096.into()));
    assert_eq!((open.url(), other_says["port"].as_u64()), (format!("nats://127.0.0.1:{}", open.port()), Some(other.port().into())));
    assert!(open.rss_bytes() > 1_000_000, "{}", open.rss_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_keeps_its_port_always_and_its_store_until_it_is_wiped() {
    let mut server = with_a_stream().await;
    let (port, pid) = (server.port(), server.pid());

    server.restart().await;
    assert_ne!(server.pid(), pid);
    assert_eq!((server.port(), streams(&server).await), (port, 1));

    server.stop().await;
    assert!(TcpStream::connect(server.address()).await.is_err());
    server.start_again().await;
    Plain::connect(server.address()).await.ping().await;
    assert_eq!((server.port(), streams(&server).await), (port, 1));

    server.wipe().await;
    Plain::connect(server.address()).await.ping().await;
    assert_eq!((server.port(), streams(&server).await), (port, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_the_port_of_a_nats_server_that_is_gone() {
    let mut server = NatsServer::start().await;
    server.kill();

    // Many others look for a port meanwhile.
    let mut others = Vec::new();
    for _ in 0..500 {
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert_ne!(other.local_addr().unwrap(), server.address());
        others.push(other);
    }
    assert!(TcpStream::connect(server.address()).await.is_err());

    server.start_again().await;
    Plain::connect(server.address()).await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_nats_server_is_silent_and_goes_on_where_it_was() {
    let mut server = NatsServer::start().await;
    let mut plain = Plain::connect(server.address()).await;
    plain.ping().await;

    server.pause();
    server.pause();
    plain.say("PING\r\n").await;
    assert!(timeout(A_WHILE, plain.line()).await.is_err());
    server.resume();
    assert_eq!(plain.line().await, "PONG\r\n");

    server.pause();
    server.stop().await;
    server.start_again().await;
    server.pause();
    server.restart().await;
    Plain::connect(server.address()).await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_nats_server_that_is_dropped() {
    let server = NatsServer::start().await;
    let (process, address) = (format!("/proc/{}", server.pid()), server.address());
    let command = std::fs::read(format!("{process}/cmdline")).unwrap();
    let config = command.split(|b| *b == 0).find_map(|word| std::str::from_utf8(word).ok().filter(|word| word.ends_with(".conf")));
    let config = Path::new(config.unwrap());
    assert!(config.is_file());

    drop(server);

    assert!(!Path::new(&process).exists());
    assert!(!config.parent().unwrap().exists());
    assert!(TcpStream::connect(address).await.is_err());
}

/// A server that says back what it hears.
struct Echo {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Self { address, task }
    }
}

async fn echoed(socket: &mut TcpStream, text: &str) {
    socket.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(heard(socket, text.len()).await, text);
}

async fn heard(socket: &mut TcpStream, bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    timeout(PATIENCE, socket.read_exact(&mut buffer)).await.expect("an echo").unwrap();
    String::from_utf8(buffer).unwrap()
}

/// Nothing comes, not even an end.
async fn silent(socket: &mut TcpStream) {
    let mut byte = [0];
    assert!(timeout(A_WHILE, socket.read(&mut byte)).await.is_err());
}

async fn closed(socket: &mut TcpStream) {
    let mut byte = [0];
    let end = timeout(PATIENCE, socket.read(&mut byte)).await.expect("an end");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_passes_bytes_and_ends_and_counts_them() {
    let echo = Echo::start().await;
    let proxy = ChaosProxy::start(echo.address).await;
    let mut one = TcpStream::connect(proxy.addr()).await.unwrap();
    let mut two = TcpStream::connect(proxy.addr()).await.unwrap();

    echoed(&mut one, "hello").await;
    echoed(&mut two, "you").await;
    proxy.until("both", |c| (c.live, c.accepted, c.refused, c.up, c.down) == (2, 2, 0, 8, 8)).await;
    // Half a connection may end before the other half.
    one.write_all(b"last").await.unwrap();
    one.shutdown().await.unwrap();
    assert_eq!(heard(&mut one, 4).await, "last");
    closed(&mut one).await;
    proxy.until("one left", |c| c.live == 1).await;

    drop(proxy);
    closed(&mut two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_closes_what_is_open_and_refuses_what_comes() {
    let echo = Echo::start().await;
    let proxy = ChaosProxy::start(echo.address).await;
    let mut open = TcpStream::connect(proxy.addr()).await.unwrap();
    echoed(&mut open, "hello").await;

    proxy.cut();
    closed(&mut open).await;
    closed(&mut TcpStream::connect(proxy.addr()).await.unwrap()).await;
    proxy.until("nobody", |c| (c.live, c.refused) == (0, 1)).await;

    proxy.heal();
    let mut again = TcpStream::connect(proxy.addr()).await.unwrap();
    echoed(&mut again, "again").await;
    // However short it is.
    proxy.cut();
    proxy.heal();
    closed(&mut again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_holds_everything_until_it_heals() {
    let echo = Echo::start().await;
    let proxy = ChaosProxy::start(echo.address).await;
    let mut open = TcpStream::connect(proxy.addr()).await.unwrap();
    echoed(&mut open, "hello").await;
    let mut ending = TcpStream::connect(proxy.addr()).await.unwrap();
    echoed(&mut ending, "ending").await;
    let before = proxy.counts();

    proxy.blackhole();
    open.write_all(b"held").await.unwrap();
    ending.shutdown().await.unwrap();
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    new.write_all(b"new").await.unwrap();
    futures_util::join!(silent(&mut open), silent(&mut new), silent(&mut ending));
    proxy.until("three", |c| c.live == 3).await;
    assert_eq!((proxy.counts().up, proxy.counts().down), (before.up, before.down));

    proxy.heal();
    assert_eq!(heard(&mut open, 4).await, "held");
    assert_eq!(heard(&mut new, 3).await, "new");
    closed(&mut ending).await;
    echoed(&mut open, "and more").await;

    proxy.blackhole();
    proxy.cut();
    futures_util::join!(closed(&mut open), closed(&mut new));
    proxy.until("nobody", |c| c.live == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_is_not_bottomless() {
    // More than the kernel holds of two connections.
    const MUCH: usize = 64 << 20;
    let echo = Echo::start().await;
    let proxy = ChaosProxy::start(echo.address).await;
    let (mut from, mut to) = TcpStream::connect(proxy.addr()).await.unwrap().into_split();

    proxy.blackhole();
    let mut writer = tokio::spawn(async move { to.write_all(&vec![b'x'; MUCH]).await.map(|()| to) });
    assert!(timeout(A_WHILE, &mut writer).await.is_err());
    proxy.heal();
    let mut all = vec![0; MUCH];
    timeout(PATIENCE, from.read_exact(&mut all)).await.expect("all of it").unwrap();

    writer.await.unwrap().unwrap();
    assert!(all.iter().all(|b| *b == b'x'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_is_for_each_way_and_ends_when_it_heals() {
    let echo = Echo::start().await;
    let proxy = ChaosProxy::start(echo.address).await;
    let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
    echoed(&mut socket, "hello").await;

    proxy.delay(Duration::from_millis(50));
    let start = std::time::Instant::now();
    echoed(&mut socket, "late").await;
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());

    proxy.delay(Duration::from_secs(3600));
    socket.write_all(b"never").await.unwrap();
    silent(&mut socket).await;
    proxy.heal();
    assert_eq!(heard(&mut socket, 5).await, "never");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_server_behind_a_proxy_is_only_reached_through_it() {
    let mut server = NatsServer::start().await;
    let proxy = ChaosProxy::start(server.address()).await;
    let mut plain = Plain::connect(proxy.addr()).await;
    plain.ping().await;
    let others = server.info().await.unwrap()["connect_urls"].clone();
    assert!(others.is_null(), "clients are told of no way round the proxy: {others}");

    // The network hides the server's end until it heals.
    proxy.blackhole();
    server.kill();
    assert!(timeout(A_WHILE, plain.line()).await.is_err());
    proxy.heal();
    assert_eq!(plain.line().await, "");
    closed(&mut TcpStream::connect(proxy.addr()).await.unwrap()).await;

    server.start_again().await;
    until("a way through", async || timeout(PATIENCE, async { Plain::connect(proxy.addr()).await.ping().await }).await.ok()).await;
}
