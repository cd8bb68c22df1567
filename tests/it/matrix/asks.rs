//! What is asked of each API, in its own shape.

use serde_json::{Value, json};

/// One transparent pixel.
pub(super) const IMAGE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum With {
    Text,
    Tools,
    Image,
}

impl With {
    pub(super) const ALL: [Self; 3] = [Self::Text, Self::Tools, Self::Image];
}

pub(super) struct Api {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) streams: bool,
    /// The request; nothing where the API has no words for it.
    pub(super) body: fn(With) -> Option<Value>,
}

/// Every API that takes a request for a model.
pub(super) const APIS: [Api; 8] = [
    Api { name: "OpenAI chat completions", path: "/v1/chat/completions", streams: true, body: chat },
    Api { name: "OpenAI completions", path: "/v1/completions", streams: true, body: completion },
    Api { name: "OpenAI embeddings", path: "/v1/embeddings", streams: false, body: input },
    Api { name: "OpenAI responses", path: "/v1/responses", streams: true, body: response },
    Api { name: "Anthropic messages", path: "/v1/messages", streams: true, body: messages },
    Api { name: "Ollama chat", path: "/api/chat", streams: true, body: ollama_chat },
    Api { name: "Ollama generate", path: "/api/generate", streams: true, body: generate },
    Api { name: "Ollama embed", path: "/api/embed", streams: false, body: input },
];

const QUESTION: &str = "What is the weather in Oslo?";

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
}

fn function() -> Value {
    json!({"type": "function", "function": {"name": "weather", "description": "Tells the weather.", "parameters": schema()}})
}

fn chat(with: With) -> Option<Value> {
    let url = format!("data:image/png;base64,{IMAGE}");
    Some(match with {
        With::Text => json!({"messages": [{"role": "user", "content": QUESTION}]}),
        With::Tools => json!({"messages": [{"role": "user", "content": QUESTION}], "tools": [function()]}),
        With::Image => json!({"messages": [{"role": "user", "content":
            [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": url}}]}]}),
    })
}

fn completion(with: With) -> Option<Value> {
    (with == With::Text).then(|| json!({"prompt": QUESTION}))
}

fn input(with: With) -> Option<Value> {
    (with == With::Text).then(|| json!({"input": QUESTION}))
}

fn response(with: With) -> Option<Value> {
    let url = format!("data:image/png;base64,{IMAGE}");
    Some(match with {
        With::Text => json!({"input": QUESTION}),
        With::Tools => json!({"input": QUESTION, "tools": [{"type": "function", "name": "weather", "parameters": schema()}]}),
        With::Image => json!({"input": [{"role": "user", "content":
            [{"type": "input_text", "text": QUESTION}, {"type": "input_image", "image_url": url}]}]}),
    })
}

fn messages(with: With) -> Option<Value> {
    let mut body = json!({"max_tokens": 100, "messages": [{"role": "user", "content": QUESTION}]});
    match with {
        With::Text => {}
        With::Tools => body["tools"] = json!([{"name": "weather", "description": "Tells the weather.", "input_schema": schema()}]),
        With::Image => {
            let source = json!({"type": "base64", "media_type": "image/png", "data": IMAGE});
            body["messages"][0]["content"] = json!([{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]);
        }
    }
    Some(body)
}

fn ollama_chat(with: With) -> Option<Value> {
    let mut body = json!({"messages": [{"role": "user", "content": QUESTION}]});
    match with {
        With::Text => {}
        With::Tools => body["tools"] = json!([function()]),
        With::Image => body["messages"][0]["images"] = json!([IMAGE]),
    }
    Some(body)
}

fn generate(with: With) -> Option<Value> {
    match with {
        With::Text => Some(json!({"prompt": QUESTION})),
        With::Tools => None,
        With::Image => Some(json!({"prompt": QUESTION, "images": [IMAGE]})),
    }
}
