//! `pullyard batch`: a file of requests in, a file of answers out, and back again after an interruption.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Output, Stdio};

use pullyard_tests::{Behaviour, FakeModel};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{broker, in_status, lines, look};

#[track_caller]
fn told(output: &Output, code: i32) -> (String, String) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    (out, err)
}

/// Names and what was said, in the order of the file.
fn answers(text: &str) -> Vec<(String, String)> {
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let said = &line["response"]["body"]["choices"][0]["message"]["content"];
        (line["custom_id"].as_str().unwrap().to_owned(), said.as_str().unwrap_or("").to_owned())
    };
    text.lines().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_answered_in_its_order_and_only_once() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let write = |name: &str, text: &str| std::fs::write(broker.dir().join(name), text).unwrap();
    let read = |name: &str| std::fs::read_to_string(broker.dir().join(name)).unwrap();
    write("in.jsonl", &lines((0..100).map(|n| format!("q{n}"))));

    let (_, err) = told(&broker.run(&["batch", "run", "in.jsonl", "-o", "out.jsonl"]).await, 0);
    assert!(err.contains("completed: 100 of 100 lines done, 0 failed; out.jsonl"), "{err}");
    let expected: Vec<_> = (0..100).map(|n| (format!("q{n}"), format!("re q{n} 1 2"))).collect();
    assert_eq!(answers(&read("out.jsonl")), expected);

    // The same file again is the same batch; on request it is another.
    std::fs::remove_file(broker.dir().join("out.jsonl")).unwrap();
    let (_, err) = told(&broker.run(&["batch", "run", "in.jsonl", "-o", "out.jsonl"]).await, 0);
    assert!(err.contains("has this file already") && answers(&read("out.jsonl")) == expected, "{err}");
    assert_eq!(model.counts().seen, 100);
    told(&broker.run(&["batch", "run", "in.jsonl", "-o", "out.jsonl", "--again"]).await, 0);
    assert_eq!(model.counts().seen, 200);

    write("p.txt", "apples\n\npears\n");
    told(&broker.run(&["batch", "run", "p.txt", "-o", "p.out", "--template", "Eat {{text}}!", "-m", "m", "--system", "Be brief"]).await, 0);
    assert_eq!(answers(&read("p.out")), [("line-1".into(), "re Eat apples! 1 2".into()), ("line-3".into(), "re Eat pears! 1 2".into())]);
    assert_eq!(model.seen().last().unwrap().body["messages"][0]["content"], "Be brief");
    write("c.csv", "name,city\nAda,\"London, UK\"\n");
    told(&broker.run(&["batch", "run", "c.csv", "-o", "c.out", "--template", "{{name}} in {{city}}", "--max-tokens", "9"]).await, 0);
    assert_eq!(answers(&read("c.out")), [("row-1".into(), "re Ada in London, UK 1 2".into())]);
    let left: Vec<_> = std::fs::read_dir(broker.dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| [".part", ".sorted", ".requests"].iter().any(|end| name.ends_with(end))), "{left:?}");

    assert!(told(&broker.run(&["batch", "run", "c.csv", "-o", "x", "--template", "{{nme}}"]).await, 2).1.contains("{{name}}"));
    write("bad.jsonl", &lines(["a".to_owned(), "a".to_owned()]));
    let (_, err) = told(&broker.run(&["batch", "run", "bad.jsonl", "-o", "x"]).await, 1);
    assert!(err.contains("failed:") && err.contains("line 2: an earlier line has the same `custom_id`"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_is_come_back_to() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let broker = broker(&model).await;
    std::fs::write(broker.dir().join("in.jsonl"), lines((0..20).map(|n| format!("q{n}")))).unwrap();
    let mut command = broker.command();
    command.args(["batch", "run", "in.jsonl", "-o", "out.jsonl"]).stdout(Stdio::null()).stderr(Stdio::piped());

    let parting = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        said.read_line(&mut first).unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        (first, rest)
    });
    let (first, rest) = parting.await.unwrap();
    let id = first.trim().strip_prefix("batch ").unwrap().to_owned();
    assert!(rest.contains(&format!("come back with: pullyard batch attach {id} -o out.jsonl")), "{rest}");

    model.until("it goes on", |c| c.inside == 8).await;
    let (out, _) = told(&broker.run(&["batch", "ls"]).await, 0);
    assert!(out.contains(&id) && out.contains("in_progress"), "{out}");
    assert!(told(&broker.run(&["batch", "results", &id]).await, 1).1.contains("is in_progress"));
    model.only(Behaviour::after(0));
    model.release(8);
    told(&broker.run(&["batch", "attach", &id, "-o", "out.jsonl"]).await, 0);
    let written = std::fs::read_to_string(broker.dir().join("out.jsonl")).unwrap();
    assert_eq!(answers(&written).len(), 20);
    assert_eq!(told(&broker.run(&["batch", "results", &id]).await, 0).0, written);
    let (out, _) = told(&broker.run(&["batch", "show", &id]).await, 0);
    assert!(out.contains("20 of 20 done, 0 failed") && out.contains("140 in, 60 out"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_cancelled_from_the_terminal() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let broker = broker(&model).await;
    std::fs::write(broker.dir().join("in.txt"), "one\ntwo\n").unwrap();
    let id = told(&broker.run(&["batch", "run", "in.txt", "-o", "out", "--detach"]).await, 0).0.trim().to_owned();
    model.until("it runs", |c| c.inside == 2).await;

    assert!(told(&broker.run(&["batch", "cancel", &id]).await, 0).0.contains("cancel"));
    in_status(&broker.client(), &id, "cancelled").await;
    assert!(told(&broker.run(&["batch", "attach", &id, "-o", "out"]).await, 1).1.contains("cancelled: 0 of 2 lines done, 2 failed"));
    assert_eq!(std::fs::read_to_string(broker.dir().join("out")).unwrap().matches("batch_cancelled").count(), 2);
    told(&broker.run(&["batch", "cancel", "batch_x"]).await, 1);
    assert_eq!(look(&broker.client(), &id).await["status"], "cancelled");
}
