//! NATS behind TLS, where both sides show who they are.

use std::path::Path;
use std::process::Command;

use pullyard_tests::{FakeModel, NatsOptions, NatsServer, Setup, TestWorker, chat, until};

use super::rig::joined;

/// An authority, and certificates of its making for a server and a client.
fn certificates(dir: &Path) -> bool {
    let openssl = |args: &str| Command::new("openssl").args(args.split(' ')).current_dir(dir).output().is_ok_and(|o| o.status.success());
    let key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    let ours = "-CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1";
    openssl(&format!("{key} -keyout ca.key -out ca.pem -subj /CN=authority"))
        && openssl(&format!("{key} -keyout server.key -out server.pem -subj /CN=nats {ours}"))
        && openssl(&format!("{key} -keyout client.key -out client.pem -subj /CN=yard {ours}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_works_behind_tls_and_a_stranger_is_told_why_not() {
    let dir = tempfile::tempdir().unwrap();
    if !certificates(dir.path()) {
        eprintln!("not tested: there is no openssl here to make certificates with");
        return;
    }
    let file = |name: &str| dir.path().join(name).display().to_string();
    let config_extra = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        file("server.pem"),
        file("server.key"),
        file("ca.pem")
    );
    let nats = NatsServer::start_with(NatsOptions { config_extra, ..NatsOptions::default() }).await;
    let url = nats.url().replace("nats://", "tls://");
    let section = format!(
        "nats: {{servers: \"{url}\", tls: {{ca: {:?}, cert: {:?}, key: {:?}}}}}\n",
        file("ca.pem"),
        file("client.pem"),
        file("client.key")
    );
    let model = FakeModel::start().await;
    let broker = Setup::new(&section).start().await;
    let _worker = TestWorker::start("w1", &url, &format!("{section}backends:\n{}", model.backend("w1", "slots: 1")));
    joined(&broker.client(), &["w1"]).await;
    let id = broker.client().submit(&chat("m", "x")).await;
    broker.client().job_in(&id, "completed").await;

    let unknown = TestWorker::start("w2", &url, "discover: false\n");
    until("why it is not let in", async || unknown.stderr().to_lowercase().contains("tls").then_some(())).await;
}
