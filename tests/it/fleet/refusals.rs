//! What cannot work together says so, and says what to do.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt as _;
use pullyard_tests::{FakeModel, NatsOptions, NatsServer, TestBroker, TestWorker, binary, until};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::rig::{Rig, joined, setup, worker};

/// Less than the harness has, so that nothing is left running.
const PATIENCE: Duration = Duration::from_secs(25);

/// As much of a nats-server of this version as a client needs to connect.
async fn nats_of_version(version: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (from, mut to) = socket.split();
                let info = json!({"server_id": "S", "server_name": "s", "version": version, "go": "go", "host": "127.0.0.1", "port": port,
                    "headers": true, "max_payload": 1_048_576, "proto": 1, "jetstream": true});
                to.write_all(format!("INFO {info}\r\n").as_bytes()).await?;
                let mut lines = BufReader::new(from).lines();
                while let Some(line) = lines.next_line().await? {
                    if line.starts_with("PING") {
                        to.write_all(b"PONG\r\n").await?;
                    }
                }
                std::io::Result::Ok(())
            });
        }
    });
    format!("nats://127.0.0.1:{port}")
}

/// Runs the program to its end, which must be a failure; what it says.
async fn fails(args: &[&str], dir: &std::path::Path) -> String {
    let said = dir.join("said");
    let mut command = Command::new(binary());
    command.env_clear().env("HOME", dir).current_dir(dir).args(args);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said).unwrap()).spawn().unwrap();
    let status = tokio::time::timeout(PATIENCE, until("its end", async || child.try_wait().unwrap())).await;
    let _ = child.kill();
    assert!(!status.expect("it ends").success());
    std::fs::read_to_string(said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_nats_server_is_refused_with_both_versions() {
    let (dir, url) = (tempfile::tempdir().unwrap(), nats_of_version("2.11.0").await);
    std::fs::write(dir.path().join("b.yaml"), format!("nats: {{servers: \"{url}\"}}\ndata: data\n")).unwrap();

    for args in [&["worker", "--nats", &url, "--name", "w1"][..], &["serve", "--config", "b.yaml", "--listen", "127.0.0.1:0"]] {
        let said = fails(args, dir.path()).await;
        assert!(said.contains("has version 2.11.0; Pullyard needs 2.12 or later"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_another_protocol_ends_with_the_brokers_reason() {
    let (nats, dir) = (NatsServer::start().await, tempfile::tempdir().unwrap());
    let other = async_nats::connect(nats.url()).await.unwrap();
    let mut hellos = other.subscribe("yard.hello").await.unwrap();
    other.flush().await.unwrap();
    let answering = other.clone();
    tokio::spawn(async move {
        while let Some(hello) = hellos.next().await {
            let answer =
                json!({"out": "worker `w1` speaks protocol 1 and this broker (pullyard 9.9.9) protocol 9; run the same version on both"});
            answering.publish(hello.reply.unwrap(), answer.to_string().into()).await.unwrap();
        }
    });

    let said = fails(&["worker", "--nats", &nats.url(), "--name", "w1"], dir.path()).await;
    assert!(said.contains("this broker (pullyard 9.9.9) protocol 9; run the same version on both"), "{said}");

    // And a broker refuses a worker of the future.
    let broker = setup(&nats.url(), "").start().await;
    drop(other);
    let asked = async_nats::connect(nats.url()).await.unwrap();
    let hello = json!({"protocol": 9, "worker": "w9", "instance": "i", "version": "9.9.9"}).to_string();
    let answer = until("the broker's answer", async || {
        let answer = asked.request("yard.hello", hello.clone().into()).await.ok()?;
        String::from_utf8(answer.payload.to_vec()).ok().filter(|text| text.contains("9.9.9) speaks"))
    })
    .await;
    assert!(answer.contains("(pullyard 9.9.9) speaks protocol 9 and this broker"), "{answer}");
    drop(broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_once_and_tried_on() {
    let users = "authorization { users = [ {user: yard, password: right} ] }".to_owned();
    let nats = NatsServer::start_with(NatsOptions { config_extra: users, ..NatsOptions::default() }).await;
    let model = FakeModel::start().await;
    let wrong = [("PULLYARD_NATS_USER", "yard"), ("PULLYARD_NATS_PASSWORD", "wrong")];
    let worker = TestWorker::start_with("w1", &nats.url(), &format!("backends:\n{}", model.backend("w1", "slots: 1")), &wrong);
    let yaml = format!("nats: {{servers: \"{}\", user: yard, password: \"env:WRONG\"}}\n", nats.url());
    let broker = pullyard_tests::Setup::new(yaml).env("WRONG", "wrong").start().await;

    for said in [&|| worker.stderr(), &|| broker.stderr()] as [&dyn Fn() -> String; 2] {
        let refused = || said().matches("refuses the user or its password").count();
        until("it says so", async || (refused() >= 1).then_some(())).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(refused() <= 2 && said().lines().count() < 12, "{}", said());
    }
    let ready = broker.client().get("/readyz").await.expect(200).json();
    assert!(ready["transport"].as_str().unwrap().contains("refuses the user or its password"), "{ready}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_of_the_same_name_is_refused_with_advice() {
    let rig = Rig::start("slots: 1").await;
    let mut second = worker("w1", &rig.nats.url(), &rig.model, "slots: 1");

    assert!(!second.exited().await.success());
    let said = second.stderr();
    assert!(said.contains("another worker is called `w1` and lives; give this one a name of its own with --name"), "{said}");
    assert_eq!(said.matches("another worker is called").count(), 2, "while it waits, and at the end: {said}");
    joined(&rig.broker.client(), &["w1"]).await;
}

async fn order(broker: &TestBroker, order: &str) -> (u16, String) {
    let reply = broker.client().post(&format!("/v1/workers/w1/{order}"), &json!({})).await;
    (reply.status, reply.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_delivered_is_not_carried_out_later() {
    let mut rig = Rig::start("slots: 1").await;
    let paused = rig.broker.run(&["worker", "pause", "w1"]).await;
    assert_eq!(String::from_utf8(paused.stdout).unwrap(), "w1 paused\n");
    assert_eq!(order(&rig.broker, "resume").await.0, 200);

    rig.nats.kill();
    until("the broker sees it", async || rig.broker.client().get("/readyz").await.json()["transport"].as_str().map(drop)).await;
    let (status, said) = order(&rig.broker, "drain").await;
    assert!(status >= 500 && said.contains("worker `w1` does not answer: NATS at"), "{status} {said}");
    let told = rig.broker.run(&["worker", "drain", "w1"]).await;
    assert!(!told.status.success() && String::from_utf8_lossy(&told.stderr).contains("does not answer"), "{told:?}");
    rig.nats.start_again().await;
    until("the way is open", async || rig.broker.client().get("/readyz").await.json()["transport"].is_null().then_some(())).await;

    // A worker that stands still is not waited for for ever.
    rig.worker.signal(rustix::process::Signal::STOP);
    let (status, said) = order(&rig.broker, "pause").await;
    rig.worker.signal(rustix::process::Signal::CONT);
    assert!(status >= 500 && said.contains("worker `w1` does not answer"), "{status} {said}");
    assert_eq!(order(&rig.broker, "resume").await.0, 200);
    let id = rig.broker.client().submit(&pullyard_tests::chat("m", "x")).await;
    rig.broker.client().job_in(&id, "completed").await;

    assert_eq!(order(&rig.broker, "drain").await.0, 200);
    assert!(rig.worker.exited().await.success());
    let (status, said) = order(&rig.broker, "resume").await;
    assert!((400..600).contains(&status) && said.contains("worker `w1` is gone"), "{status} {said}");
}
