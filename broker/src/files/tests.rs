use std::path::Path;

use pullyard_schemas::Timestamp;

use super::*;

const LIMITS: Limits = Limits { file: 10, total: 15 };

fn files(dir: &Path) -> Files {
    Files::open(&dir.join("files"), LIMITS).unwrap()
}

async fn upload(files: &Files, bytes: &[u8], key: Option<&str>) -> Result<Meta, Error> {
    let mut upload = files.upload().await?;
    for piece in bytes.chunks(3) {
        upload.write(piece).await?;
    }
    upload.finish("a.jsonl".into(), Purpose::Batch, Timestamp(5), Some(Timestamp(100)), key.map(Into::into)).await
}

fn left(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("files")).unwrap().count()
}

#[tokio::test]
async fn what_was_uploaded_is_there_after_a_start_and_gone_when_removed() {
    let dir = tempfile::tempdir().unwrap();
    let meta = upload(&files(dir.path()), b"0123456789", Some("a")).await.unwrap();

    let again = files(dir.path());
    assert_eq!((again.get(&meta.id, None).unwrap(), again.used_bytes()), (meta.clone(), 10));
    assert_eq!(std::io::read_to_string(again.open_file(&meta.id).unwrap()).unwrap(), "0123456789");
    assert!(matches!(again.get(&meta.id, Some("b")), Err(Error::Unknown(_))), "another key's");
    assert!(matches!(again.remove(&meta.id, Some("b")), Err(Error::Unknown(_))));
    again.remove(&meta.id, Some("a")).unwrap();
    assert!(matches!(again.get(&meta.id, None), Err(Error::Unknown(_))));
    assert_eq!((left(dir.path()), again.used_bytes()), (0, 0));
}

#[tokio::test]
async fn sizes_are_bounded_and_nothing_is_left_of_what_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    assert!(matches!(upload(&files, &[1; 11], None).await, Err(Error::TooLarge { limit: 10 })));
    assert_eq!((left(dir.path()), files.used_bytes()), (0, 0));
    upload(&files, &[1; 10], None).await.unwrap();
    assert!(matches!(upload(&files, &[1; 6], None).await, Err(Error::NoRoom { limit: 15, .. })));
    assert_eq!((left(dir.path()), files.used_bytes()), (2, 10));
    drop(files.upload().await.unwrap());
    assert_eq!(left(dir.path()), 2);
}

#[tokio::test]
async fn half_a_file_is_cleared_away_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = files(dir.path());
    let (one, two) = (upload(&store, b"1", None).await.unwrap(), upload(&store, b"2", None).await.unwrap());
    let folder = dir.path().join("files");
    std::fs::remove_file(folder.join(&*one.id)).unwrap();
    std::fs::remove_file(folder.join(format!("{}.json", two.id))).unwrap();
    std::fs::write(folder.join(format!("{}.part", Meta::new_id())), "x").unwrap();
    std::fs::write(folder.join("notes"), "a person's").unwrap();

    let store = files(dir.path());
    assert!(store.get(&one.id, None).is_err() && store.get(&two.id, None).is_err());
    assert_eq!((left(dir.path()), store.used_bytes()), (1, 0));
}

#[tokio::test]
async fn pages_go_both_ways_and_expired_files_go_unless_they_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path());
    let mut ids = Vec::new();
    for n in 0..5u8 {
        ids.push(upload(&files, &[n], None).await.unwrap().id);
    }
    let page = |after: Option<&str>, ascending| Page { after: after.map(Into::into), ascending, limit: 2, purpose: Some(Purpose::Batch) };
    let list = |page: &Page| {
        let (found, more) = files.list(page, None).unwrap();
        (found.into_iter().map(|meta| meta.id).collect::<Vec<_>>(), more)
    };
    assert_eq!(list(&page(None, true)), (ids[..2].to_vec(), true));
    assert_eq!(list(&page(Some(&*ids[3]), true)), (vec![ids[4].clone()], false));
    assert_eq!(list(&page(None, false)), (vec![ids[4].clone(), ids[3].clone()], true));
    assert_eq!(list(&page(Some(&*ids[1]), false)), (vec![ids[0].clone()], false));
    assert!(list(&Page { purpose: Some(Purpose::Vision), ..page(None, true) }).0.is_empty());
    assert!(files.list(&page(Some("file-x"), true), None).is_err());

    assert_eq!(files.expire(Timestamp(99), &|_| false), 0);
    assert_eq!(files.expire(Timestamp(100), &|id| *id == *ids[2]), 4);
    assert_eq!(list(&page(None, true)), (vec![ids[2].clone()], false));
}

#[tokio::test]
async fn a_file_is_adopted_once_however_often_that_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let store = files(dir.path());
    let from = dir.path().join("out");
    std::fs::write(&from, "results").unwrap();
    let meta = Meta {
        id: Meta::new_id(),
        bytes: 7,
        created_at: Timestamp(1),
        filename: "o.jsonl".into(),
        purpose: Purpose::BatchOutput,
        expires_at: None,
        key: None,
    };
    store.adopt(&from, meta.clone()).unwrap();
    store.adopt(&from, meta.clone()).unwrap();
    let again = files(dir.path());
    again.adopt(&from, meta.clone()).unwrap();
    assert_eq!((again.used_bytes(), again.get(&meta.id, None).unwrap()), (7, meta));
}
