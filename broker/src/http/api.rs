//! Which API a request came through: the same jobs, told in the shapes that its clients parse.

use hyper::HeaderMap;

/// An API whose clients exist without Pullyard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Api {
    /// OpenAI's, and Pullyard's own, which has the same envelope.
    #[default]
    OpenAi,
    Ollama,
    Anthropic,
}

impl Api {
    /// By path, except for the list of models, where two APIs have the same one and Anthropic's clients always send a
    /// version.
    pub(crate) fn of(segments: &[&str], headers: &HeaderMap) -> Self {
        match segments {
            ["api", ..] => Self::Ollama,
            ["v1", "messages", ..] => Self::Anthropic,
            ["v1", "models", ..] if headers.contains_key("anthropic-version") => Self::Anthropic,
            _ => Self::OpenAi,
        }
    }

    /// The header that has the request's id in it, besides `x-request-id`.
    pub(crate) fn request_id_header(self) -> Option<&'static str> {
        match self {
            Self::Anthropic => Some("request-id"),
            Self::OpenAi | Self::Ollama => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn models_are_told_to_anthropics_clients_by_their_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(Api::of(&["v1", "models"], &headers), Api::OpenAi);
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        assert_eq!(Api::of(&["v1", "models"], &headers), Api::Anthropic);
        assert_eq!(Api::of(&["v1", "chat", "completions"], &headers), Api::OpenAi);
        assert_eq!(Api::of(&["v1", "messages", "count_tokens"], &HeaderMap::new()), Api::Anthropic);
        assert_eq!(Api::of(&["api", "chat"], &HeaderMap::new()), Api::Ollama);
    }
}
