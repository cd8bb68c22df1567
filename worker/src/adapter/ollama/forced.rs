//! A tool that must be called. Ollama has no such choice, but a grammar: the reply is made to have the shape of the tool's
//! arguments, and is told as the call.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use pullyard_schemas::Failure;
use pullyard_schemas::job::Kind;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::Call;
use super::super::json::Fields;
use super::refused;

#[derive(Debug)]
pub(super) struct Forced {
    pub(super) name: String,
    description: String,
    /// JSON, as the client wrote it.
    pub(super) parameters: String,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    function: Function<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
}

impl Forced {
    /// The tool that a request must be answered with, where it says so.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Option<Self>, Failure> {
        let Some(choice) = fields.value("tool_choice")?.filter(|choice| *choice != "auto" && *choice != "none") else { return Ok(None) };
        let mut tools: Vec<Tool<'_>> = fields.take("tools")?.unwrap_or_default();
        let named = choice.pointer("/function/name").and_then(Value::as_str);
        let place = match named {
            Some(name) => tools.iter().position(|tool| tool.function.name == name),
            None => (choice == "required" && tools.len() == 1).then_some(0),
        };
        let Some(place) = place else {
            return Err(refused(format!(
                "`tool_choice` is {choice}; an Ollama model can be made to call one tool of the request by its name, or the only one there is"
            )));
        };
        let Function { name, description, parameters } = tools.swap_remove(place).function;
        let parameters = parameters.map(RawValue::get).filter(|raw| raw.starts_with('{')).unwrap_or(r#"{"type":"object"}"#);
        Ok(Some(Self { name, description: description.unwrap_or_default(), parameters: parameters.to_owned() }))
    }

    /// The same of a call that was made already.
    pub(super) fn of(call: &Call) -> Option<String> {
        static CHOICE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"tool_choice\""));
        if call.kind != Kind::Chat || CHOICE.find(&call.body).is_none() {
            return None;
        }
        Fields::read(&call.body).and_then(|fields| Self::read(&fields)).ok().flatten().map(|forced| forced.name)
    }

    /// The model is told what the grammar will make of its words, or it would fight it.
    pub(super) fn explain(&self, messages: &mut Value) {
        let Self { name, description, parameters } = self;
        let what = if description.is_empty() { String::new() } else { format!(" ({description})") };
        let told = format!("Call the tool `{name}`{what}: answer with its arguments alone, a JSON object of this schema: {parameters}");
        let Some(messages) = messages.as_array_mut() else { return };
        match messages.first_mut().filter(|first| first["role"] == "system") {
            Some(first) => first["content"] = format!("{}\n\n{told}", first["content"].as_str().unwrap_or_default()).into(),
            None => messages.insert(0, json!({"role": "system", "content": told})),
        }
    }
}
