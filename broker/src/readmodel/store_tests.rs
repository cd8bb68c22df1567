use std::sync::Arc;

use pullyard_schemas::Usage;
use pullyard_schemas::job::{BodyAt, Envelope, Event, SCHEMA_VERSION, Spec};

use super::*;

/// Job `n` has the events `2n - 1` and `2n`.
fn events(n: u64, key: &str) -> [Envelope; 2] {
    let spec: Spec = serde_json::from_value(serde_json::json!({
        "targets": ["m"], "max_attempts": 1, "max_attempts_per_target": 1, "timeout_ms": 1, "size": 1, "key": key,
        "idempotency_key": format!("i{n}"), "fingerprint": 7,
    }))
    .unwrap();
    let id = JobId(uuid::Uuid::from_u128(u128::from(n)));
    let at = |seq, event| Envelope { seq: Seq(seq), at: Timestamp(1), v: SCHEMA_VERSION, job: id, event };
    [at(2 * n - 1, Event::Submitted { spec: Arc::new(spec), body: BodyAt::Inline }), at(2 * n, Event::Cancelled { why: "x".into() })]
}

fn key_of(n: u64) -> &'static str {
    if n.is_multiple_of(2) { "a" } else { "b" }
}

/// A log with the events of the first 60 jobs.
fn sixty_jobs() -> Arc<dyn LogReader> {
    let mut kept = log::MemoryLog::new();
    let events = (1..=60).flat_map(|n| events(n, key_of(n)));
    let records: Vec<_> = events.map(|envelope| log::Record { envelope, body: bytes::Bytes::new() }).collect();
    log::EventLog::append(&mut kept, &records, log::Durability::Written).unwrap();
    log::EventLog::reader(&kept)
}

fn update(seq: u64) -> Update {
    let charge =
        Charge { model: "m".into(), backend: "b".into(), usage: Usage { prompt: 3, completion: 2, cached: 1 }, cost_nanos: 10, busy_ms: 5 };
    let key = key_of(seq);
    let labels = Labels { key: Some(Arc::from(key)), class: None };
    Update {
        seq: Seq(seq),
        at: Timestamp(seq),
        charge: Some((charge, labels)),
        failed: seq.is_multiple_of(3),
        rests: events(seq, key).iter().fold(None, |job, e| Some(apply(job, e).unwrap())).map(Arc::new),
        gone: None,
    }
}

fn open(dir: &Path, last: u64) -> (ReadModel, Opened) {
    ReadModel::open(&dir.join("read"), sixty_jobs(), Seq(last)).unwrap()
}

#[test]
fn the_same_updates_in_other_batches_give_the_same_rows() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let updates: Vec<Update> = (1..=50).map(update).collect();
    let (one, other) = (open(a.path(), 0).0, open(b.path(), 0).0);
    one.apply(&updates, Seq(51)).unwrap();
    for chunk in updates.chunks(7) {
        other.apply(chunk, Seq(51)).unwrap();
        other.apply(chunk, Seq(51)).unwrap();
    }
    assert_eq!(one.dump().unwrap(), other.dump().unwrap());
    assert_eq!(one.cursor(), Seq(50));
}

#[test]
fn usage_sums_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let (model, _) = open(dir.path(), 0);
    model.apply(&(1..=6).map(update).collect::<Vec<_>>(), Seq(7)).unwrap();
    let rows = model.usage(Timestamp(0), Timestamp(100), &[GroupBy::Key, GroupBy::Day]).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].group, ["a", "1970-01-01"]);
    assert_eq!((rows[0].attempts, rows[0].failed, rows[0].prompt, rows[0].cost_nanos), (3, 1, 9, 30));
}

#[test]
fn lists_are_newest_first_filtered_and_paged() {
    let dir = tempfile::tempdir().unwrap();
    let (model, _) = open(dir.path(), 0);
    model.apply(&(1..=9).map(update).collect::<Vec<_>>(), Seq(10)).unwrap();
    let filter = Filter { key: Some("b".into()), ..Filter::default() };
    let page = model.list(&filter, None, 2).unwrap();
    assert_eq!(page.iter().map(|j| j.id.0.as_u128()).collect::<Vec<_>>(), [9, 7]);
    assert_eq!(model.list(&filter, Some(page[1].id), 9).unwrap().len(), 3);
    assert_eq!(model.idempotent(Some("b"), "i9").unwrap(), Some((JobId(uuid::Uuid::from_u128(9)), 7)));
    assert_eq!(model.idempotent(Some("a"), "i9").unwrap(), None);
}

#[test]
fn a_page_that_is_full_is_followed_by_another_and_the_last_word_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (model, _) = open(dir.path(), 0);
    for round in 0..20 {
        let at = |n: u64| round * 60 + n;
        let updates: Vec<Update> = (1..=60).map(|n| Update { seq: Seq(at(n)), ..update(n) }).collect();
        model.apply(&updates, Seq(1)).unwrap();
    }
    assert!(model.dump().unwrap().iter().filter(|(key, _)| key[0] == b'j').count() > 3);
    let all = Filter::default();
    assert_eq!(model.list(&all, None, 1_000).unwrap().len(), 60);
    let id = JobId(uuid::Uuid::from_u128(7));
    assert_eq!(model.job(id).unwrap().map(|job| job.id), Some(id));
    let gone = Update { seq: Seq(9_999), at: Timestamp(1), charge: None, failed: false, rests: None, gone: Some(id) };
    model.apply(&[gone], Seq(1)).unwrap();
    assert_eq!((model.job(id).unwrap(), model.list(&all, None, 1_000).unwrap().len()), (None, 59));
    let page = model.list(&all, Some(JobId(uuid::Uuid::from_u128(9))), 5).unwrap();
    assert_eq!(page.iter().map(|j| j.id.0.as_u128()).collect::<Vec<_>>(), [8, 6, 5, 4, 3]);
}

#[test]
fn what_cannot_be_trusted_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (model, _) = open(dir.path(), 0);
    model.apply(&[update(5)], Seq(6)).unwrap();
    model.flush().unwrap();
    drop(model);
    // The log is shorter than what the read model has seen.
    let (model, opened) = open(dir.path(), 3);
    assert!(opened.rebuilt.is_some_and(|why| why.contains("event 5")));
    assert_eq!(model.cursor(), Seq(0));
    drop(model);
    // Its file is garbage.
    let db = dir.path().join("read/db");
    std::fs::write(&db, vec![0xA5; 4096]).unwrap();
    std::fs::write(dir.path().join("read/conf"), b"garbage").unwrap();
    let (model, opened) = open(dir.path(), 3);
    assert!(opened.rebuilt.is_some());
    model.apply(&[update(1)], Seq(2)).unwrap();
}

#[test]
fn old_jobs_are_forgotten_with_their_keys_and_usage_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (model, _) = open(dir.path(), 0);
    // The ids' first 48 bits are the time of submission, of which pages have 64 ms each.
    let at = |ms: u128| JobId(uuid::Uuid::from_u128(ms << 80));
    let mut updates: Vec<Update> = (1..=9).map(update).collect();
    for (n, update) in updates.iter_mut().enumerate() {
        let mut job = Job::clone(update.rests.as_ref().unwrap());
        job.id = at(64 * (n as u128 + 1));
        update.rests = Some(Arc::new(job));
    }
    model.apply(&updates, Seq(10)).unwrap();

    assert_eq!(model.forget(Timestamp(6 * 64)).unwrap(), 5);

    let left = |kind: u8| model.dump().unwrap().iter().filter(|(key, _)| key[0] == kind).count();
    assert_eq!((left(b'j'), left(b'i')), (4, 4));
    assert_eq!(model.usage(Timestamp(0), Timestamp(100), &[]).unwrap()[0].attempts, 9);
}

#[test]
fn ids_at_rest_are_found_by_their_range() {
    let dir = tempfile::tempdir().unwrap();
    let (model, _) = open(dir.path(), 0);
    model.apply(&(1..=50).map(update).collect::<Vec<_>>(), Seq(51)).unwrap();
    let id = |n: u128| JobId(uuid::Uuid::from_u128(n));
    let found = model.ids(id(7), id(12)).unwrap();
    assert_eq!(found, (7..=12).map(id).collect::<Vec<_>>());
    assert!(model.ids(id(1 << 100), id(1 << 101)).unwrap().is_empty());
}
