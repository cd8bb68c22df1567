//! What a request sets beside its text.

use pullyard_schemas::Failure;
use pullyard_schemas::fleet::NumCtx;
use pullyard_schemas::job::Kind;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::Call;
use super::super::json::Fields;
use super::refused;

/// OpenAI's names of sampling options, and Ollama's.
const OPTIONS: [(&str, &str); 10] = [
    ("max_completion_tokens", "num_predict"),
    ("max_tokens", "num_predict"),
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("top_k", "top_k"),
    ("min_p", "min_p"),
    ("seed", "seed"),
    ("stop", "stop"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
];

/// `options` of the client's own go through, except those that would make Ollama load the model anew for everybody.
pub(super) fn options(fields: &Fields<'_>, own: &Fields<'_>, call: &Call) -> Result<Map<String, Value>, Failure> {
    let mut options = Map::new();
    for given in [fields.value("options")?, own.value("options")?] {
        match given {
            Some(Value::Object(given)) => options.extend(given),
            Some(_) => return Err(refused("`options` must be an object")),
            None => {}
        }
    }
    if call.num_ctx == NumCtx::Strip {
        options.retain(|name, value| {
            !NumCtx::OPTIONS.contains(&name.as_str()) || NumCtx::is_so(name, &value.to_string(), call.loaded_context)
        });
    }
    for (theirs, ours) in OPTIONS {
        if let Some(value) = fields.value(theirs)? {
            let value = if ours == "stop" && value.is_string() { json!([value]) } else { value };
            options.entry(ours).or_insert(value);
        }
    }
    Ok(options)
}

/// As the client wrote it.
pub(super) fn format(fields: &Fields<'_>) -> Result<Option<String>, Failure> {
    #[derive(Deserialize)]
    struct Format<'a> {
        #[serde(rename = "type", default)]
        kind: String,
        #[serde(borrow, default)]
        json_schema: Option<Schema<'a>>,
    }
    #[derive(Deserialize)]
    struct Schema<'a> {
        #[serde(borrow, default)]
        schema: Option<&'a RawValue>,
    }
    let Some(format) = fields.take::<Format<'_>>("response_format")? else { return Ok(None) };
    Ok(match format.kind.as_str() {
        "json_object" => Some("\"json\"".to_owned()),
        "json_schema" => format.json_schema.and_then(|of| of.schema).map(|raw| raw.get().to_owned()),
        _ => None,
    })
}

/// What Ollama would ignore, and the answer's meaning depends on.
pub(super) fn refuse_undoable(fields: &Fields<'_>, kind: Kind) -> Result<(), Failure> {
    for name in ["n", "best_of"] {
        if let Some(n) = fields.value(name)?.filter(|n| *n != 1) {
            return Err(refused(format!("`{name}` is {n}, and an Ollama model gives one reply to a request")));
        }
    }
    if fields.get("logit_bias").is_some_and(|raw| raw != b"{}") {
        return Err(refused("`logit_bias` cannot be honoured by an Ollama model"));
    }
    if kind == Kind::Completion {
        if let Some(n) = fields.value("logprobs")?.filter(|n| *n != 0) {
            return Err(refused(format!("`logprobs` is {n}, which an Ollama model has for chat completions alone")));
        }
        if fields.get("echo") == Some(b"true") {
            return Err(refused("`echo` cannot be honoured by an Ollama model"));
        }
    }
    Ok(())
}
