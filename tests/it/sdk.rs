//! The SDKs that people use, as they are, against the real broker. What each must be able to do is in `tests/sdk/`, in its own
//! language.

use std::path::Path;

use pullyard_tests::{Behaviour, FakeModel, Foreign, QUICK, Setup, TestBroker, node, python};

const PACKAGES: &str = include_str!("../sdk/python/requirements.txt");

/// A model server that does as each prompt says, a broker before it, and another that has little room.
struct Yard {
    model: FakeModel,
    broker: TestBroker,
    narrow: TestBroker,
}

impl Yard {
    async fn open() -> Self {
        let model = FakeModel::start().await.usually(Behaviour::AsPrompted);
        let start = async |slots: u32, more: &str| {
            let yaml = format!(
                "{QUICK}{more}keys: [{{name: ann, key: \"env:ANN\"}}]\nbackends:\n{}",
                model.backend(
                    "a",
                    &format!("slots: {slots}, breaker: {{allowed_fails: 1000}}, timeouts: {{first_token: 20s, between_tokens: 20s}}")
                )
            );
            Setup::new(yaml).env("ANN", "secret").start().await
        };
        let (broker, narrow) = (start(8, "").await, start(1, "queue: {max_jobs_per_key: 1}\n").await);
        Self { model, broker, narrow }
    }

    /// Runs a list of assertions to its end; all of them must hold.
    async fn holds(&self, with: &Foreign, script: &Path) {
        let (url, narrow, model) = (self.broker.base_url(), self.narrow.base_url(), self.model.url());
        let env = [("PULLYARD_URL", &*url), ("NARROW_URL", &*narrow), ("MODEL_URL", &*model)];
        let ended = with.run([script], &env).await;
        let told = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{told}{}", String::from_utf8_lossy(&ended.stderr));
        assert!(told.lines().filter(|line| line.starts_with("ok ")).count() > 2, "hardly anything was looked at: {told}");
    }
}

async fn in_python(script: &str) {
    let Some(python) = python(PACKAGES).await else { return };
    Yard::open().await.holds(&python, &folder("python").join(script)).await;
}

async fn in_node(script: &str) {
    let Some(node) = node(&folder("node")).await else { return };
    // What is imported is looked for beside the script.
    for name in [script, "check.mjs"] {
        let text = std::fs::read(folder("node").join(name)).unwrap();
        let copy = tempfile::NamedTempFile::new_in(node.dir()).unwrap();
        std::fs::write(copy.path(), text).unwrap();
        copy.persist(node.dir().join(name)).unwrap();
    }
    Yard::open().await.holds(&node, &node.dir().join(script)).await;
}

fn folder(language: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(language)
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_for_python() {
    in_python("openai_sdk.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn langchain_for_python() {
    in_python("langchain_sdk.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ollama_for_python() {
    in_python("ollama_sdk.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ollama_for_javascript() {
    in_node("ollama_sdk.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic_for_python() {
    in_python("anthropic_sdk.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_for_javascript() {
    in_node("openai_sdk.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ai_sdk_for_javascript() {
    in_node("ai_sdk.mjs").await;
}
