//! A chat request in OpenAI's shape as one for `/v1/messages`.

use pullyard_schemas::job::Kind;
use pullyard_schemas::{Failure, FailureKind};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::framing;
use super::super::json::Fields;
use super::super::{Call, Wire};
use super::extra::{Extra, Kept};
use super::turns::{self, Turns};
use super::{field, quoted, refused};

/// Messages needs a limit; OpenAI's clients often give none.
const MAX_TOKENS: &str = "4096";

/// What the request itself is made of; nothing is put in its place.
const MADE: [&str; 5] = ["model", "messages", "stream", "system", "tools"];

pub(in super::super) fn request(call: &Call) -> Result<Wire, Failure> {
    if call.kind != Kind::Chat {
        return Err(Failure::new(FailureKind::NoModel, "Anthropic serves chat alone"));
    }
    let fields = Fields::read(&call.body)?;
    fields.refuse_ollama()?;
    let extra = Extra::read(&fields)?;
    let own = extra.fields()?;
    refuse(&fields)?;
    let Turns { system, turns } = turns::turns(fields.get("messages").unwrap_or_default(), &extra.turns)?;
    let mut body = format!(r#"{{"model":{},"messages":[{turns}],"stream":{}"#, quoted(&call.model), call.stream);
    if !system.is_empty() {
        field(&mut body, "system", &format!("[{system}]"));
    }
    let tools = tools(&fields, &extra.tools)?;
    if !tools.is_empty() {
        field(&mut body, "tools", &format!("[{tools}]"));
    }
    for (name, value) in &own.0 {
        if !MADE.contains(&&**name) {
            field(&mut body, name, text(value)?);
        }
    }
    let mut put = |name: &str, value: &str| {
        if own.get(name).is_none() {
            field(&mut body, name, value);
        }
    };
    let limit = fields.get("max_completion_tokens").or_else(|| fields.get("max_tokens"));
    put("max_tokens", limit.map(text).transpose()?.unwrap_or(MAX_TOKENS));
    for name in ["temperature", "top_p", "top_k", "thinking"] {
        if let Some(value) = fields.get(name) {
            put(name, text(value)?);
        }
    }
    if let Some(stop) = fields.get("stop") {
        let stop = text(stop)?;
        put("stop_sequences", &if stop.starts_with('"') { format!("[{stop}]") } else { stop.to_owned() });
    }
    if !tools.is_empty()
        && let Some(choice) = tool_choice(fields.value("tool_choice")?.as_ref(), fields.get("parallel_tool_calls") == Some(b"false"))
    {
        put("tool_choice", &choice);
    }
    if let Some(user) = fields.get("user") {
        put("metadata", &format!(r#"{{"user_id":{}}}"#, text(user)?));
    }
    // Who speaks their language has said it all in it.
    if fields.get("anthropic").is_none() {
        thinking(&fields, &mut put)?;
    }
    body.push('}');
    let headers = [("anthropic-version", extra.version), ("anthropic-beta", extra.beta)];
    let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?.into_owned()))).collect();
    let framing = if call.stream { framing::Kind::Sse } else { framing::Kind::Whole };
    Ok(Wire { body: body.into(), framing, headers })
}

fn text(raw: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(raw).map_err(|_| refused("the request is not valid UTF-8"))
}

/// What would change the answer and cannot be asked of them is refused by its name; mere hints, such as `seed`, are not.
fn refuse(fields: &Fields<'_>) -> Result<(), Failure> {
    let empty: [&[u8]; 6] = [b"false", b"0", b"1", b"[]", b"{}", b"\"none\""];
    for name in ["n", "logprobs", "top_logprobs", "logit_bias", "functions", "function_call", "audio", "web_search_options"] {
        if fields.get(name).is_some_and(|value| !empty.contains(&value)) {
            return Err(refused(format!("`{name}` is not known to Anthropic's models")));
        }
    }
    if fields.value("modalities")?.is_some_and(|modalities| modalities.as_array().is_some_and(|all| all.iter().any(|one| one != "text"))) {
        return Err(refused("`modalities` asks for more than text, which is all that Anthropic's models write"));
    }
    Ok(())
}

/// How hard to think, and the form of the reply.
fn thinking(fields: &Fields<'_>, put: &mut impl FnMut(&str, &str)) -> Result<(), Failure> {
    let mut config = String::from("{");
    match fields.take::<String>("reasoning_effort")?.as_deref() {
        None => {}
        Some("none") => put("thinking", r#"{"type":"disabled"}"#),
        Some(effort) => {
            let effort = if effort == "minimal" { "low" } else { effort };
            field(&mut config, "effort", &quoted(effort));
        }
    }
    #[derive(Deserialize)]
    struct Format<'a> {
        r#type: String,
        #[serde(borrow, default)]
        json_schema: Option<Schema<'a>>,
    }
    #[derive(Deserialize)]
    struct Schema<'a> {
        #[serde(borrow)]
        schema: &'a RawValue,
    }
    match fields.take::<Format<'_>>("response_format")? {
        None => {}
        Some(Format { r#type, json_schema: Some(Schema { schema }) }) if r#type == "json_schema" => {
            field(&mut config, "format", &format!(r#"{{"type":"json_schema","schema":{}}}"#, schema.get()));
        }
        Some(format) if format.r#type == "text" => {}
        Some(format) => {
            let kind: String = format.r#type.chars().take(64).collect();
            return Err(refused(format!("`response_format` is {kind:?}; Anthropic's models take a `json_schema` with its `schema`")));
        }
    }
    if config.len() > 1 {
        config.push('}');
        put("output_config", &config);
    }
    Ok(())
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
    #[serde(borrow, default)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(borrow, default)]
    description: Option<&'a RawValue>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow, default)]
    strict: Option<&'a RawValue>,
}

/// Separated by commas.
fn tools(fields: &Fields<'_>, kept: &[Kept<'_>]) -> Result<String, Failure> {
    let tools: Vec<Tool<'_>> = fields.take("tools")?.unwrap_or_default();
    let mut kept = kept.iter().peekable();
    let mut list: Vec<String> = Vec::new();
    for at in 0..=tools.len() {
        while let Some(own) = kept.next_if(|kept| kept.at <= at && kept.of == 0) {
            list.extend(own.sent.map(|sent| sent.get().to_owned()));
        }
        let Some(tool) = tools.get(at) else { break };
        let Some(function) = &tool.function else { return Err(refused(format!("`tools[{at}]` is no function"))) };
        let mut shown = format!(r#"{{"name":{}"#, function.name.get());
        for (name, value) in [("description", function.description), ("strict", function.strict)] {
            if let Some(value) = value {
                field(&mut shown, name, value.get());
            }
        }
        field(&mut shown, "input_schema", function.parameters.map_or(r#"{"type":"object"}"#, RawValue::get));
        if let Some(cache) = tool.cache_control {
            field(&mut shown, "cache_control", cache.get());
        }
        if let Some(more) = kept.next_if(|kept| kept.at <= at).and_then(|kept| kept.more) {
            for (name, value) in &Fields::read(more.get().as_bytes())?.0 {
                field(&mut shown, name, text(value)?);
            }
        }
        shown.push('}');
        list.push(shown);
    }
    Ok(list.join(","))
}

fn tool_choice(choice: Option<&Value>, alone: bool) -> Option<String> {
    let kind = match choice {
        None if alone => r#""auto""#.to_owned(),
        None => return None,
        Some(Value::String(word)) => match word.as_str() {
            "required" => r#""any""#.to_owned(),
            "none" => return Some(r#"{"type":"none"}"#.to_owned()),
            _ => r#""auto""#.to_owned(),
        },
        Some(choice) => format!(r#""tool","name":{}"#, choice.pointer("/function/name").unwrap_or(&Value::Null)),
    };
    Some(format!(r#"{{"type":{kind}{}}}"#, if alone { r#","disable_parallel_tool_use":true"# } else { "" }))
}
