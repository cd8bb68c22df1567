//! A model server whose behaviour each prompt says, for clients in other languages; and what such a client can ask of it.

use axum::body::Body;
use hyper::Response;
use serde_json::json;

use super::behave::{Answer, Behaviour};
use super::openai::json_reply;
use super::{Seen, State};

impl Behaviour {
    /// `tool`: calls the first tool that is offered. `refuse 400`: that status. `cut`: the connection breaks after a token.
    /// `endless…`: one token, then nothing. `hold`: waits for [`FakeModel::release`](super::FakeModel::release). Else an
    /// answer.
    pub(super) fn prompted(seen: &Seen) -> Self {
        let streamed = seen.body["stream"] == true;
        match seen.prompt.split_whitespace().collect::<Vec<_>>()[..] {
            ["tool"] if seen.body["tools"].is_array() => Self::CallTool,
            ["refuse", status] => Self::status(status.parse().unwrap_or(500)),
            ["cut"] => Self::CutAfter(1),
            ["endless", ..] if streamed => Self::StallAfter(1),
            ["endless", ..] => Self::Hang,
            ["hold"] => Self::hold(0),
            _ => Self::Answer(Answer::default()),
        }
    }
}

/// `/told/<what>/<prompt>`: how often the prompt was `seen`, how many of those who asked it are `gone`; or `release`.
pub(super) fn told(state: &State, rest: &str) -> Response<Body> {
    let (what, prompt) = rest.split_once('/').unwrap_or((rest, ""));
    let prompt = prompt.replace("%20", " ");
    if what == "release" {
        state.gate.add_permits(1);
    }
    let (seen, stays) = (state.seen.lock().unwrap(), state.stays.lock().unwrap());
    let count = stays.iter().filter(|stay| seen[stay.request].prompt == prompt && (what != "gone" || stay.left)).count();
    json_reply(200, &json!({"count": count}))
}
