//! What it says, in Ollama's shapes.

use axum::body::Body;
use bytes::Bytes;
use hyper::Response;
use serde_json::{Value, json};

use super::Seen;
use super::openai::json_reply;

/// The context that its models are loaded with.
const CONTEXT: u32 = 4096;

/// What it has, what of it is loaded, and what it can; nothing for other paths.
pub(super) fn about(path: &str, models: &[String], asked: &Value) -> Option<Response<Body>> {
    let each = |also: fn(&mut Value)| -> Value {
        models
            .iter()
            .map(|name| {
                let mut model = json!({"name": name, "model": name, "modified_at": "2026-01-02T03:04:05Z", "size": 1_000, "digest": "5".repeat(64),
                    "details": {"parent_model": "", "format": "gguf", "family": "fake", "families": ["fake"], "parameter_size": "8B", "quantization_level": "Q4_0"}});
                also(&mut model);
                model
            })
            .collect()
    };
    Some(match path {
        "/api/tags" => json_reply(200, &json!({"models": each(|_| {})})),
        "/api/ps" => {
            let loaded = |model: &mut Value| {
                (model["size_vram"], model["context_length"], model["expires_at"]) =
                    (json!(900), json!(CONTEXT), json!("2026-01-02T03:09:05Z"));
            };
            json_reply(200, &json!({"models": each(loaded)}))
        }
        "/api/show" => {
            let embeds = asked["model"].as_str().unwrap_or_default().starts_with("embed");
            let can = if embeds { json!(["embedding"]) } else { json!(["completion", "tools", "vision", "thinking"]) };
            let info = json!({"general.architecture": "fake", "fake.context_length": 8 * CONTEXT});
            json_reply(200, &json!({"capabilities": can, "model_info": info}))
        }
        _ => return None,
    })
}

/// One line of a stream, its last one where it has a reason to end.
pub(super) fn line(seen: &Seen, delta: &Value, finish: Option<&str>, tokens: usize) -> Bytes {
    format!("{}\n", said(seen, delta["content"].as_str().unwrap_or_default(), finish, tokens)).into()
}

pub(super) fn whole(seen: &Seen, text: &str, tokens: usize) -> Value {
    if seen.path == "/api/embed" {
        let inputs = seen.body["input"].as_array().map_or_else(|| usize::from(seen.body["input"] != ""), Vec::len);
        return json!({"model": seen.body["model"], "embeddings": vec![[0.5, -0.5]; inputs], "total_duration": 14, "load_duration": 1, "prompt_eval_count": 7});
    }
    said(seen, text, Some("stop"), tokens)
}

fn said(seen: &Seen, text: &str, finish: Option<&str>, tokens: usize) -> Value {
    let empty = seen.body["messages"].as_array().is_some_and(Vec::is_empty);
    let text = if empty { "" } else { text };
    let mut line = json!({"model": seen.body["model"], "created_at": "2026-01-02T03:04:05Z", "done": finish.is_some()});
    if seen.path == "/api/generate" {
        line["response"] = text.into();
    } else {
        line["message"] = json!({"role": "assistant", "content": text});
    }
    if let Some(finish) = finish {
        line["done_reason"] = if empty { "load".into() } else { finish.into() };
        if !empty {
            let measured = json!({"total_duration": 5_000, "load_duration": 1_000, "prompt_eval_count": 7, "prompt_eval_duration": 2_000,
                "eval_count": tokens, "eval_duration": 3_000});
            line.as_object_mut().unwrap().extend(measured.as_object().unwrap().clone());
        }
    }
    line
}
