use super::{Class, Complexity, Request, Tags, classify, read};

fn tags(body: &serde_json::Value) -> Tags {
    classify(&read(body.to_string().as_bytes()).unwrap())
}

fn ask(text: &str) -> Tags {
    tags(&serde_json::json!({"messages": [{"role": "user", "content": text}]}))
}

fn found(tags: &Tags, class: Class) -> Vec<&str> {
    tags.signals.iter().filter(|s| s.class == class).map(|s| s.found.as_str()).collect()
}

#[test]
fn given_an_image_part_when_classified_then_vision_wins_over_code() {
    let body = serde_json::json!({"max_tokens": 50, "tools": [{"type": "function"}], "response_format": {"type": "json_object"},
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "Refactor this python function:\n```python\ndef f(): pass\n```"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]});
    let tags = tags(&body);
    assert_eq!(tags.class, Class::Vision);
    assert!(tags.needs.images && tags.needs.tools && tags.needs.json && !tags.needs.embedding);
    assert_eq!(tags.needs.context, tags.tokens + 50);
}

#[test]
fn given_a_word_inside_another_when_classified_then_it_does_not_count() {
    let classic = ask("Classify the classic");
    assert_eq!(found(&classic, Class::Code), Vec::<&str>::new());
    assert_eq!(classic.class, Class::Quick);
}

#[test]
fn given_plain_examples_when_classified_then_each_has_its_class() {
    for (text, class) in [
        ("hello", Class::Quick),
        ("Übersetze diesen Satz ins Englische.", Class::Quick),
        ("What does this do?\n```\nlet x = y;\n```", Class::Code),
        ("Why does this regex not compile in Rust?", Class::Code),
        ("write a rust function that sorts a list", Class::Code),
        ("写一个python函数", Class::Code),
        ("Prove that the square root of 2 is irrational, step by step.", Class::Reasoning),
        ("Compare the trade-offs of event sourcing and plain tables.", Class::Reasoning),
        ("", Class::Quick),
    ] {
        let tags = ask(text);
        assert_eq!(tags.class, class, "{text}: {tags:?}");
        assert!((0.0..=1.0).contains(&tags.confidence));
    }
    assert_eq!(ask("hello").complexity, Complexity::Low);
}

#[test]
fn given_a_follow_up_when_it_refers_back_then_the_class_stays() {
    let talk = |last: &str| {
        tags(&serde_json::json!({"messages": [
            {"role": "user", "content": "Write a python function that parses a CSV file."},
            {"role": "assistant", "content": null},
            {"role": "user", "content": last}]}))
    };
    assert_eq!(talk("Now make it shorter.").class, Class::Code);
    assert_eq!(talk("Who was Napoleon?").class, Class::Quick);
}

#[test]
fn given_a_wrong_shape_when_read_then_the_place_is_named() {
    for (body, message) in [
        (
            r#"{"messages": [{"role":"user"},{"role":"user"},{"role":"user","content":5}]}"#,
            "messages[2].content must be a string or a list of parts",
        ),
        (r#"{"messages": [{"role":"user","content":[{"type":"text","text":"a"},7]}]}"#, "messages[0].content[1] must be an object"),
        (r#"{"messages": ["hi"]}"#, "messages[0] must be an object"),
        (r#"{"messages": [{"content":"hi"}]}"#, "messages[0].role must be a string"),
        (r#"{"messages": {}}"#, "messages must be a list"),
        (r#"{"prompt": {}}"#, "prompt must be a string or a list of strings"),
        (r#"{"input": ["a", {}, 4]}"#, "input[2] must be a string"),
        (r#"{"model": "x"}"#, "the body needs messages, prompt or input"),
        ("[]", "the body must be a JSON object"),
    ] {
        assert_eq!(read(body.as_bytes()).unwrap_err().to_string(), message);
    }
    assert!(read(b"{").is_err());
    assert!(read("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn given_a_prompt_or_an_input_when_read_then_it_is_one_user_turn() {
    for body in [r#"{"prompt": "a b"}"#, r#"{"prompt": ["a b"]}"#, r#"{"input": "a b"}"#] {
        let request: Request<'_> = read(body.as_bytes()).unwrap();
        assert_eq!(request.turns.iter().map(|turn| &*turn.text).collect::<Vec<_>>(), ["a b"]);
    }
    assert_eq!(read(br#"{"input": [1, 2, 3]}"#).unwrap().turns.len(), 1);
}

#[test]
fn given_a_megabyte_when_classified_then_only_its_ends_are_looked_at() {
    let tags = ask(&format!("Prove the theorem. {} Danke für alles.", "日本語 word ".repeat(70_000)));
    assert_eq!(tags.class, Class::Reasoning);
    assert!(tags.tokens > 200_000, "{}", tags.tokens);
    assert!(found(&tags, Class::Quick).contains(&"danke"));
}
