use super::*;

fn hub() -> (OutputHub, JobId) {
    let (hub, job) = (OutputHub::default(), JobId::new());
    hub.open(job, Token(1));
    (hub, job)
}

fn say(hub: &OutputHub, job: JobId, token: u32, from: u32, chunks: &[&'static str]) {
    for (number, chunk) in (from..).zip(chunks) {
        hub.push(job, Token(token), number, Bytes::from_static(chunk.as_bytes()));
    }
}

/// All that is there, with each restart as an exclamation mark.
fn read(reader: &mut Subscription) -> String {
    let mut text = String::new();
    while let Some(part) = reader.ready() {
        match part {
            Part::Chunk(token, number, chunk) => {
                text += &format!("{token}.{number}{} ", std::str::from_utf8(&chunk).unwrap());
            }
            Part::Restart(token) => text += &format!("!{token} "),
            Part::Closed => return text + "end",
        }
    }
    text
}

#[test]
fn an_attempt_that_was_not_sealed_is_started_over() {
    let (hub, job) = hub();
    let mut reader = hub.subscribe(job).unwrap();
    say(&hub, job, 1, 0, &["a", "b"]);
    assert_eq!(read(&mut reader), "1.0a 1.1b ");
    say(&hub, job, 2, 0, &["a"]);
    say(&hub, job, 1, 2, &["late"]);
    assert_eq!(read(&mut reader), "!2 2.0a ");
    assert_eq!(read(&mut hub.subscribe(job).unwrap()), "2.0a ");
}

#[test]
fn an_attempt_that_is_over_says_nothing_more() {
    let (hub, job) = hub();
    let mut reader = hub.subscribe(job).unwrap();
    hub.begin_at(job, Token(2));
    say(&hub, job, 1, 0, &["late"]);
    assert_eq!(read(&mut reader), "");
    say(&hub, job, 2, 0, &["a"]);
    hub.open(job, Token(1));
    assert_eq!(read(&mut reader), "2.0a ");
}

#[test]
fn a_sealed_attempt_is_gone_on_behind() {
    let (hub, job) = hub();
    let mut reader = hub.subscribe(job).unwrap();
    say(&hub, job, 1, 0, &["a", "b"]);
    read(&mut reader);
    assert_eq!(hub.seal(job, Token(1)), 2);
    say(&hub, job, 1, 2, &["late"]);
    // One in between that said nothing leaves no trace.
    assert_eq!(hub.seal(job, Token(2)), 0);
    say(&hub, job, 3, 0, &["c", "d"]);
    assert_eq!(read(&mut reader), "3.0c 3.1d ");
    assert_eq!(read(&mut hub.subscribe(job).unwrap()), "1.0a 1.1b 3.0c 3.1d ");
    for (seen, rest) in [((1, 0), "1.1b 3.0c 3.1d "), ((1, 1), "3.0c 3.1d "), ((3, 0), "3.1d "), ((2, 5), "!1 1.0a 1.1b 3.0c 3.1d ")] {
        let mut resumed = hub.subscribe(job).unwrap();
        resumed.resume(Token(seen.0), seen.1);
        assert_eq!(read(&mut resumed), rest, "{seen:?}");
    }
    assert_eq!(hub.lines(job, Token(2)), (Bytes::from_static(b"a\nb\n"), 2));
    hub.close(job);
    assert_eq!(read(&mut reader), "end");
}

#[test]
fn a_sealed_attempt_that_is_not_kept_is_started_over() {
    let (hub, job) = hub();
    hub.restore(job, [(Token(1), vec![Bytes::from_static(b"a")])]);
    let mut reader = hub.subscribe(job).unwrap();
    say(&hub, job, 2, 0, &["b"]);
    assert_eq!(read(&mut reader), "1.0a 2.0b ");
    hub.seal(job, Token(2));
    hub.retain(job, |token| token == Token(1));
    assert_eq!(read(&mut reader), "!1 1.0a ");
    hub.retain(job, |_| false);
    say(&hub, job, 3, 0, &["c"]);
    assert_eq!(read(&mut reader), "!3 3.0c ");
}

#[test]
fn who_can_come_back_reads_nothing_that_the_log_does_not_know() {
    let (hub, job) = hub();
    assert!(!hub.is_followed(job));
    let (mut passing, mut coming_back) = (hub.subscribe(job).unwrap(), hub.subscribe(job).unwrap().following());
    assert!(hub.is_followed(job));
    say(&hub, job, 1, 0, &["a"]);
    assert_eq!((&*read(&mut passing), &*read(&mut coming_back)), ("1.0a ", ""));
    hub.written(job, Token(1));
    assert_eq!(read(&mut coming_back), "1.0a ");
    say(&hub, job, 2, 0, &["b"]);
    assert_eq!(read(&mut coming_back), "");
    hub.written(job, Token(2));
    assert_eq!(read(&mut coming_back), "!2 2.0b ");
    drop(coming_back);
    assert!(!hub.is_followed(job));
}
