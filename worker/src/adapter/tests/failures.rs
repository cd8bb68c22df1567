//! Each server's real errors, and what can be done about them.

use std::time::SystemTime;

use pullyard_schemas::FailureKind::{self, Backend, BadRequest, Busy, ContextLength, NoModel, Timeout, Unauthorized};

use super::server::Script;
use super::*;

/// Status, body, kind, and what a person reads.
const ERRORS: [(u16, &str, FailureKind, &str); 38] = [
    // OpenAI.
    (
        401,
        r#"{"error":{"message":"Incorrect API key provided: sk-no**key.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
        Unauthorized,
        "Incorrect API key",
    ),
    (
        403,
        r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}"#,
        Unauthorized,
        "Country",
    ),
    (
        404,
        r#"{"error":{"message":"The model `x` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
        NoModel,
        "The model `x`",
    ),
    (
        429,
        r#"{"error":{"message":"Rate limit reached for gpt-4o on tokens per min (TPM)","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
        Busy,
        "Rate limit reached",
    ),
    (
        429,
        r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        Unauthorized,
        "quota",
    ),
    (
        400,
        r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        ContextLength,
        "8192",
    ),
    (
        400,
        r#"{"error":{"message":"Your input exceeds the context window of this model.","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}"#,
        ContextLength,
        "window",
    ),
    (
        400,
        r#"{"error":{"message":"Invalid value: 'robot'.","type":"invalid_request_error","param":"messages[0].role","code":"invalid_value"}}"#,
        BadRequest,
        "robot",
    ),
    (
        400,
        r#"{"error":{"message":"Invalid image: file not found.","type":"invalid_request_error","param":"messages","code":"invalid_image_url"}}"#,
        BadRequest,
        "Invalid image",
    ),
    (
        500,
        r#"{"error":{"message":"The server had an error while processing your request.","type":"server_error","param":null,"code":null}}"#,
        Backend,
        "had an error",
    ),
    (
        503,
        r#"{"error":{"message":"The engine is currently overloaded, please try again later","type":"service_unavailable","param":null,"code":null}}"#,
        Busy,
        "overloaded",
    ),
    // llama-server.
    (
        400,
        r#"{"error":{"code":400,"message":"request (13392 tokens) exceeds the available context size (8192 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":13392,"n_ctx":8192}}"#,
        ContextLength,
        "13392",
    ),
    (
        500,
        r#"{"error":{"code":500,"message":"input (2048 tokens) is too large to process. increase the physical batch size (current batch size: 512)","type":"server_error"}}"#,
        ContextLength,
        "2048",
    ),
    (503, r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#, Busy, "Loading model"),
    (
        501,
        r#"{"error":{"code":501,"message":"This server does not support embeddings. Start it with `--embeddings`","type":"not_supported_error"}}"#,
        NoModel,
        "--embeddings",
    ),
    (
        500,
        r#"{"error":{"code":500,"message":"[json.exception.parse_error.101] parse error at line 1, column 9: syntax error","type":"server_error"}}"#,
        BadRequest,
        "line 1",
    ),
    (
        500,
        r#"{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj","type":"server_error"}}"#,
        BadRequest,
        "mmproj",
    ),
    (401, r#"{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}"#, Unauthorized, "Invalid API Key"),
    // vLLM.
    (
        400,
        r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens","type":"BadRequestError","param":null,"code":400}"#,
        ContextLength,
        "4096",
    ),
    (
        400,
        r#"{"error":{"message":"The decoder prompt (length 8357) is longer than the maximum model length of 8192. Make sure that `max_model_len` is no smaller than the number of text tokens.","type":"BadRequestError","param":null,"code":400}}"#,
        ContextLength,
        "8357",
    ),
    (
        400,
        r#"{"error":{"message":"You passed 40961 input tokens and requested 0 output tokens. However, the model's context length is only 40960 tokens, resulting in a maximum input length of 40960 tokens.","type":"BadRequestError","param":"input_tokens","code":400}}"#,
        ContextLength,
        "40961",
    ),
    (
        404,
        r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}"#,
        NoModel,
        "does not exist",
    ),
    (401, r#"{"error":"Unauthorized"}"#, Unauthorized, "Unauthorized"),
    (422, r#"{"detail":[{"type":"missing","loc":["body","messages"],"msg":"Field required"}]}"#, BadRequest, "Field required"),
    // Ollama.
    (404, r#"{"error":"model 'x' not found"}"#, NoModel, "model 'x' not found"),
    (400, r#"{"error":"\"gemma:2b\" does not support tools"}"#, BadRequest, "does not support tools"),
    (400, r#"{"error":"the input length exceeds the context length"}"#, ContextLength, "exceeds"),
    (500, r#"{"error":"model requires more system memory (8.4 GiB) than is available (3.1 GiB)"}"#, Backend, "8.4 GiB"),
    (503, r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#, Busy, "server busy"),
    // Anthropic.
    (
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"},"request_id":"r"}"#,
        ContextLength,
        "210000",
    ),
    (
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"}}"#,
        ContextLength,
        "188240",
    ),
    (
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."}}"#,
        Unauthorized,
        "credit",
    ),
    (
        403,
        r#"{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission"}}"#,
        Unauthorized,
        "permission",
    ),
    (404, r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}"#, NoModel, "claude-x"),
    (
        413,
        r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
        BadRequest,
        "maximum size",
    ),
    (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Busy, "Overloaded"),
    // Whatever stands in between.
    (408, "", Timeout, "status 408"),
    (502, "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>", Backend, "502 Bad Gateway"),
];

#[tokio::test]
async fn each_real_error_is_sorted_by_what_can_be_done_about_it() {
    for (status, body, kind, says) in ERRORS {
        let got = reply(Script::json(status, body), OPENAI, &chat(true)).await;
        let failure = got.failure();
        assert_eq!((failure.kind, failure.status), (kind, Some(status)), "{body}");
        assert!(failure.message.contains(says) && failure.message.starts_with("backend `a` "), "{}", failure.message);
        assert!(!got.broken().delivered && got.broken().usage.is_none() && got.chunks.is_empty());
    }
}

#[tokio::test]
async fn an_error_inside_a_stream_is_sorted_too() {
    let llama = r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error","n_ctx":8192}}"#;
    let vllm = r#"{"error": {"object": "error", "message": "EngineCore died", "type": "InternalServerError", "param": null, "code": 500}}"#;
    for (dialect, script, kind, says) in [
        (OPENAI, Script::events(&[llama]), ContextLength, "context size"),
        (OPENAI, Script::events(&[vllm]), Backend, "EngineCore died"),
        (OPENAI, Script::sse(format!("event: error\ndata: {vllm}\n\n")), Backend, "EngineCore died"),
        // llama-server has long named the field itself `error`.
        (
            OPENAI,
            Script::sse(
                "error: {\"code\":400,\"message\":\"the request exceeds the available context size\",\"type\":\"exceed_context_size_error\"}\n\n",
            ),
            ContextLength,
            "context size",
        ),
        (OPENAI, Script::json(200, vllm), Backend, "EngineCore died"),
        (
            Dialect::Ollama,
            Script::lines(&[r#"{"error":"an error was encountered while running the model"}"#]),
            Backend,
            "running the model",
        ),
        (
            Dialect::Anthropic,
            Script::sse("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"Internal\"}}\n\n"),
            Backend,
            "Internal",
        ),
    ] {
        let got = reply(script, dialect, &chat(true)).await;
        assert_eq!(got.failure().kind, kind, "{}", got.failure().message);
        assert!(got.failure().message.contains(says), "{}", got.failure().message);
        assert_eq!(got.failure().status, None);
    }
}

#[tokio::test]
async fn a_server_says_how_long_it_wants_to_be_left_alone() {
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
    let past = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(90));
    for (name, value, least, most) in [
        ("retry-after", "7", 7_000, 7_000),
        ("retry-after", "0.5", 500, 500),
        ("retry-after", &soon, 80_000, 90_000),
        ("retry-after-ms", "1250", 1_250, 1_250),
        // No server may hold a job for a day.
        ("retry-after", "86400", 3_600_000, 3_600_000),
    ] {
        let script = Script::json(429, "{}").header(name, value);
        let wait = reply(script, OPENAI, &chat(true)).await.failure().retry_after_ms;
        assert!(wait.is_some_and(|ms| (least..=most).contains(&ms)), "{name}: {value} became {wait:?}");
    }
    for value in ["soon", "-3", "inf", &past] {
        let got = reply(Script::json(503, "{}").header("retry-after", value), OPENAI, &chat(true)).await;
        assert_eq!(got.failure().retry_after_ms, None, "{value}");
    }
}

#[tokio::test]
async fn a_servers_error_is_short_and_never_repeats_the_key() {
    let page = format!("<html>{}</html>", "x \n ".repeat(5_000));
    let got = reply(Script::whole(500, "text/html", page), OPENAI, &chat(true)).await;
    assert!(got.failure().message.chars().count() < 450, "{}", got.failure().message);

    let echo = r#"{"error":{"message":"Key sk-hush is wrong"}}"#;
    let got = reply(Script::json(401, echo), OPENAI, &chat(true)).await;
    assert_eq!(got.failure().message, "backend `a` says: Key … is wrong");
}
