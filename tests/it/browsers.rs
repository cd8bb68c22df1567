//! Pages of other origins: those that the configuration names may use everything, and others nothing.

use pullyard_tests::{Client, FakeModel, Reply, Setup, TestBroker, chat, until};
use reqwest::Method;

const PAGE: &str = "https://app.example";

async fn preflight(client: &Client, origin: &str, path: &str) -> Reply {
    let request = client.request(Method::OPTIONS, path).header("Origin", origin);
    let request = request.header("Access-Control-Request-Method", "POST");
    Reply::to(request.header("Access-Control-Request-Headers", "authorization,content-type,x-stainless-os")).await.unwrap()
}

async fn asked(client: &Client, origin: &str) -> Reply {
    Reply::to(client.posting("/v1/chat/completions", &chat("m", "x")).header("Origin", origin)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_named_may_ask_and_read() {
    let model = FakeModel::start().await;
    let yaml = format!(
        "cors: {{origins: [\"{PAGE}\"], max_age: 5m}}\nkeys: [{{name: ann, key: \"env:ANN\"}}]\nbackends:\n{}",
        model.backend("a", "")
    );
    let broker = Setup::new(yaml).env("ANN", "secret").start().await;
    let client = broker.client();

    // The browser asks without a key, wherever it is going to send one.
    for path in ["/v1/chat/completions", "/v1/jobs", "/v1/jobs/x/cancel", "/v1/models/org/name"] {
        let told = preflight(&client, PAGE, path).await.expect(204);
        assert_eq!(told.header("access-control-allow-origin"), Some(PAGE), "{path}");
        assert_eq!(told.header("access-control-allow-methods"), told.header("allow"));
        assert_eq!(told.header("access-control-allow-headers"), Some("authorization,content-type,x-stainless-os"));
        assert_eq!(told.header("access-control-max-age"), Some("300"));
        assert_eq!(told.header("access-control-allow-credentials"), None);
        let vary: Vec<_> = told.headers.get_all("vary").iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(vary, ["access-control-request-method, access-control-request-headers", "origin"]);
    }
    let answer = asked(&client.key("secret"), PAGE).await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    let shown = answer.header("access-control-expose-headers").unwrap();
    for name in ["x-request-id", "x-job-id", "x-pullyard-model", "x-pullyard-queue-ms"] {
        assert!(shown.split(", ").any(|shown| shown == name), "{shown}");
    }
    // A page has to see why not.
    let refused = asked(&client, PAGE).await.expect(401);
    assert_eq!(refused.header("access-control-allow-origin"), Some(PAGE));

    let other = preflight(&client, "https://evil.example", "/v1/jobs").await.expect(204);
    assert_eq!((other.header("access-control-allow-origin"), other.header("access-control-allow-headers")), (None, None));
    let other = asked(&client.key("secret"), "https://evil.example").await;
    assert_eq!((other.header("access-control-allow-origin"), other.header("vary")), (None, Some("origin")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_keys_is_not_for_whatever_page_its_user_visits() {
    let model = FakeModel::start().await;
    let backends = format!("backends:\n{}", model.backend("a", ""));
    let broker = TestBroker::with(backends.clone()).await;
    let client = broker.client();

    let refused = asked(&client, PAGE).await.expect(403);
    assert!(refused.error().contains(PAGE) && refused.error().contains("cors.origins"), "{}", refused.error());
    assert_eq!((refused.header("access-control-allow-origin"), refused.header("vary")), (None, None));
    assert_eq!(model.counts().seen, 0);
    for at_home in ["http://localhost:5173", "null", "vscode-webview://x", &broker.base_url()] {
        asked(&client, at_home).await.expect(200);
    }

    std::fs::write(broker.config(), format!("cors: {{origins: \"*\"}}\n{backends}")).unwrap();
    broker.signal(rustix::process::Signal::HUP);
    let open = async || Some(asked(&client, PAGE).await).filter(|answer| answer.status == 200);
    let answer = until("all pages may", open).await;
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (Some("*"), None));
}
