//! What a line of an output or error file looks like.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::document::Tokens;
use super::ids;
use pullyard_schemas::JobId;

/// What came of a line, as far as its file has to say.
#[derive(Debug, PartialEq)]
pub(super) enum Told<'a> {
    /// What a direct request would have been answered, well or not; the body is one JSON object.
    Answer { status: u16, body: &'a [u8], cost_nanos: u64 },
    /// There was no answer.
    None { code: &'a str, message: &'a str },
}

/// Appends a line.
pub(super) fn write(job: JobId, custom_id: &str, told: &Told<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(ids::result(job).as_bytes());
    out.extend_from_slice(b"\",\"custom_id\":");
    text(custom_id, out);
    match told {
        Told::Answer { status, body, cost_nanos } => {
            out.extend_from_slice(format!(",\"response\":{{\"status_code\":{status},\"request_id\":\"{job}\",\"body\":").as_bytes());
            let begin = out.len();
            out.extend_from_slice(body);
            // Between the fields of a reply that is indented; inside a text they are escaped.
            for byte in out.iter_mut().skip(begin) {
                if matches!(byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
            out.extend_from_slice(b"},\"error\":null");
            if *cost_nanos > 0 {
                out.extend_from_slice(format!(",\"pullyard\":{{\"cost_nanos\":{cost_nanos}}}").as_bytes());
            }
        }
        Told::None { code, message } => {
            out.extend_from_slice(b",\"response\":null,\"error\":{\"code\":");
            text(code, out);
            out.extend_from_slice(b",\"message\":");
            text(message, out);
            out.push(b'}');
        }
    }
    out.extend_from_slice(b"}\n");
}

fn text(text: &str, out: &mut Vec<u8>) {
    // A text is always JSON.
    let _ = serde_json::to_writer(out, text);
}

/// Reads back whose a line is, and what it used; nothing where it is not a line as they are written here.
pub(super) fn read(line: &[u8]) -> Option<(JobId, Tokens)> {
    #[derive(Deserialize)]
    struct Written<'a> {
        id: &'a str,
        #[serde(borrow)]
        response: Option<Response<'a>>,
        #[serde(default)]
        pullyard: Cost,
    }
    #[derive(Deserialize)]
    struct Response<'a> {
        #[serde(borrow)]
        body: &'a RawValue,
    }
    #[derive(Default, Deserialize)]
    struct Cost {
        cost_nanos: u64,
    }
    let written: Written<'_> = serde_json::from_slice(line).ok()?;
    let used = written.response.map(|response| tokens(response.body.get().as_bytes())).unwrap_or_default();
    Some((ids::job_of_result(written.id)?, Tokens { cost_nanos: written.pullyard.cost_nanos, ..used }))
}

/// What an answer says was used, in either of the two shapes that OpenAI's APIs have for it.
pub(super) fn tokens(body: &[u8]) -> Tokens {
    #[derive(Default, Deserialize)]
    struct Body {
        #[serde(default)]
        usage: Option<Usage>,
    }
    #[derive(Default, Deserialize)]
    struct Usage {
        #[serde(default, alias = "input_tokens")]
        prompt_tokens: Option<u64>,
        #[serde(default, alias = "output_tokens")]
        completion_tokens: Option<u64>,
        #[serde(default, alias = "input_tokens_details")]
        prompt_tokens_details: Option<Details>,
        #[serde(default, alias = "output_tokens_details")]
        completion_tokens_details: Option<Details>,
    }
    #[derive(Default, Deserialize)]
    struct Details {
        #[serde(default)]
        cached_tokens: Option<u64>,
        #[serde(default)]
        reasoning_tokens: Option<u64>,
    }
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let usage = body.usage.unwrap_or_default();
    Tokens {
        input: usage.prompt_tokens.unwrap_or(0),
        cached: usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
        output: usage.completion_tokens.unwrap_or(0),
        reasoning: usage.completion_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0),
        cost_nanos: 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(told: &Told<'_>) -> (JobId, Vec<u8>) {
        let (job, mut out) = (JobId::new(), Vec::new());
        write(job, "a \"b\"\n", told, &mut out);
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1, "one line");
        (job, out)
    }

    #[test]
    fn an_answer_is_passed_on_and_read_back() {
        let body = b"{\n  \"x\": \"a\\nb\",\r\n  \"usage\": {\"prompt_tokens\": 3, \"completion_tokens\": 2, \"prompt_tokens_details\": {\"cached_tokens\": 1}}}";
        let (job, line) = written(&Told::Answer { status: 200, body, cost_nanos: 12 });
        let value: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&value["custom_id"], &value["error"]), (&json!("a \"b\"\n"), &Value::Null));
        assert_eq!((&value["response"]["status_code"], &value["response"]["request_id"]), (&json!(200), &json!(job.to_string())));
        assert_eq!(value["response"]["body"], serde_json::from_slice::<Value>(body).unwrap());
        assert_eq!(read(&line), Some((job, Tokens { input: 3, cached: 1, output: 2, reasoning: 0, cost_nanos: 12 })));
    }

    #[test]
    fn no_answer_has_a_code() {
        let (job, line) = written(&Told::None { code: "batch_expired", message: "too \"late\"" });
        let value: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&value["response"], &value["error"]["code"]), (&Value::Null, &json!("batch_expired")));
        assert_eq!(read(&line), Some((job, Tokens::default())));
        assert_eq!(read(&line[..line.len() - 3]), None, "a torn line");
        assert_eq!(read(b"{}"), None);
    }

    #[test]
    fn both_shapes_of_usage_are_read() {
        let responses = br#"{"usage":{"input_tokens":5,"output_tokens":7,"input_tokens_details":{"cached_tokens":4},"output_tokens_details":{"reasoning_tokens":6}}}"#;
        assert_eq!(tokens(responses), Tokens { input: 5, cached: 4, output: 7, reasoning: 6, cost_nanos: 0 });
        assert_eq!(tokens(br#"{"usage":null}"#), Tokens::default());
        assert_eq!(tokens(b"not json"), Tokens::default());
    }
}
