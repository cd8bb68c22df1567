//! `pullyard ready`.

use super::client::{Client, Error, json};
use super::out::Out;

pub(super) async fn run(client: &Client, out: &Out) -> Result<(), Error> {
    let body = client.ready().await?;
    if out.json {
        return out.answer(&body);
    }
    let models = json(&body)?["models"].as_u64().unwrap_or(0);
    match models {
        0 => out.line("ready, and no model is served yet"),
        1 => out.line("ready, with 1 model"),
        n => out.line(&format!("ready, with {n} models")),
    }
}
