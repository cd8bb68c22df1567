//! What every log must do, run against each, and what only a log on disk can get wrong.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use pullyard_schemas::job::{Envelope, Event, SCHEMA_VERSION};
use pullyard_schemas::{JobId, Seq, Timestamp};

use super::codec::tests::every_event;
use super::segment::Disk;
use super::*;

pub(super) fn record(seq: u64, event: Event, body: impl Into<Bytes>) -> Record {
    let job = JobId("01890000-0000-7000-8000-000000000001".parse::<JobId>().unwrap().0);
    Record {
        envelope: Envelope { seq: Seq(seq), at: Timestamp(1_700_000_000_000 + seq), v: SCHEMA_VERSION, job, event },
        body: body.into(),
    }
}

fn sized(seq: u64, size: usize) -> Record {
    let body: Vec<u8> = (0..size).map(|i| (i as u64 * 31 + seq) as u8).collect();
    record(seq, Event::Cancelled { why: format!("n{seq}").into() }, body)
}

fn records(seqs: std::ops::RangeInclusive<u64>, size: usize) -> Vec<Record> {
    seqs.map(|seq| sized(seq, size)).collect()
}

fn all(reader: &dyn LogReader, from: u64) -> Vec<Record> {
    let mut out = Vec::new();
    reader.replay(Seq(from), &mut |r| (out.push(r), ControlFlow::Continue(())).1).unwrap();
    out
}

fn open(dir: &Path, segment_bytes: u64) -> FileLog {
    FileLog::open(dir, Options { segment_bytes }).unwrap().0
}

fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some()).collect();
    files.sort();
    files
}

/// Runs against an empty log; the file log has small segments so that it rolls.
fn suite(log: &mut dyn EventLog) {
    let reader = log.reader();
    assert_eq!((log.last(), reader.first()), (Seq(0), Seq(1)));
    assert!(all(&*reader, 0).is_empty());
    assert_eq!(reader.read(Seq(0)).unwrap(), None);
    assert_eq!(reader.read(Seq(1)).unwrap(), None);
    assert_eq!(log.retain(Seq(100)).unwrap(), 0);
    log.append(&[], Durability::Flush).unwrap();
    log.sync().unwrap();

    let mut want = every_event();
    log.append(&want, Durability::Flush).unwrap();
    for seq in want.len() as u64 + 1..=60 {
        let one = sized(seq, 50);
        let durability = if seq % 2 == 0 { Durability::Written } else { Durability::Flush };
        log.append(std::slice::from_ref(&one), durability).unwrap();
        assert_eq!(reader.read(Seq(seq)).unwrap().as_ref(), Some(&one), "readable at once");
        want.push(one);
    }
    log.sync().unwrap();
    assert_eq!(log.last(), Seq(60));
    for from in 0..=62 {
        assert_eq!(all(&*reader, from), want[usize::try_from(from).unwrap().saturating_sub(1).min(60)..]);
    }
    for record in &want {
        assert_eq!(reader.read(record.envelope.seq).unwrap().as_ref(), Some(record));
    }
    assert_eq!(reader.read(Seq(61)).unwrap(), None);

    let mut seen = 0;
    let stop = &mut |_| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    reader.replay(Seq(5), stop).unwrap();
    assert_eq!(seen, 3);

    for bad in [records(60..=60, 1), records(62..=62, 1), [records(61..=61, 1), records(63..=63, 1)].concat()] {
        assert!(matches!(log.append(&bad, Durability::Flush), Err(Error::OutOfOrder { .. })));
    }
    let mut other = sized(61, 1);
    other.envelope.v = SCHEMA_VERSION + 1;
    assert!(matches!(log.append(&[other], Durability::Flush), Err(Error::Unwritable { .. })));

    assert!(log.retain(Seq(40)).unwrap() > 0);
    let first = reader.first();
    assert!(first > Seq(1) && first <= Seq(40));
    assert_eq!(reader.read(Seq(1)).unwrap(), None);
    assert_eq!(all(&*reader, 0), want[usize::try_from(first.0).unwrap() - 1..]);
    assert_eq!(all(&*reader, 50), want[49..]);
    log.append(&[sized(61, 1)], Durability::Flush).unwrap();
    assert_eq!((log.last(), log.reader().read(Seq(61)).unwrap().is_some()), (Seq(61), true));
}

#[test]
fn memory() {
    suite(&mut MemoryLog::new());
}

#[test]
fn file_that_rolls_and_reopens() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), 1000);
    suite(&mut log);
    assert!(segment_files(dir.path()).len() > 3);
    let (before, first) = (all(&*log.reader(), 0), log.reader().first());
    drop(log);
    let (log, opened) = FileLog::open(dir.path(), Options::default()).unwrap();
    assert_eq!((opened, log.last(), log.reader().first()), (Opened { torn_bytes: 0 }, Seq(61), first));
    // Point reads first, so that sealed segments have no index yet.
    for record in before.iter().rev() {
        assert_eq!(log.reader().read(record.envelope.seq).unwrap().as_ref(), Some(record));
    }
    assert_eq!(all(&*log.reader(), 0), before);
}

#[test]
fn what_is_before_a_cut_survives() {
    let source = tempfile::tempdir().unwrap();
    let mut log = open(source.path(), u64::MAX);
    let mut ends = vec![0];
    for seq in 1..=4 {
        log.append(&records(seq..=seq, 20), Durability::Flush).unwrap();
        ends.push(fs::metadata(&segment_files(source.path())[0]).unwrap().len());
    }
    let bytes = fs::read(&segment_files(source.path())[0]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{:020}.log", 1));
    for cut in 0..=bytes.len() {
        // What a file system may leave behind a tear: nothing, or zeros.
        for zeros in [0, 40] {
            let mut torn = bytes[..cut].to_vec();
            torn.resize(cut + zeros, 0);
            fs::write(&path, &torn).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut as u64).count() as u64 - 1;
            let (mut log, opened) = FileLog::open(dir.path(), Options::default()).unwrap();
            let kept = ends[usize::try_from(whole).unwrap()];
            // A cut inside a record whose missing bytes are zeros anyway would be whole; none of these ends in zero.
            assert_eq!((log.last(), opened.torn_bytes), (Seq(whole), torn.len() as u64 - kept), "cut at {cut}");
            log.append(&records(whole + 1..=whole + 2, 9), Durability::Flush).unwrap();
            drop(log);
            let mut want = records(1..=whole, 20);
            want.extend(records(whole + 1..=whole + 2, 9));
            assert_eq!(all(&*open(dir.path(), 100).reader(), 0), want);
        }
    }
}

#[test]
fn damage_before_the_end_is_refused_and_located() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), u64::MAX);
    log.append(&records(1..=3, 20), Durability::Flush).unwrap();
    drop(log);
    let path = segment_files(dir.path()).remove(0);
    let good = fs::read(&path).unwrap();
    let frame = good.len() / 3;
    for at in 0..2 * frame {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        let error = FileLog::open(dir.path(), Options::default()).unwrap_err();
        assert!(
            matches!(&error, Error::Corrupt { file, offset, .. } if *file == path && *offset == (at / frame * frame) as u64),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), bad, "nothing was repaired");
    }
}

#[test]
fn damage_in_a_sealed_segment_is_found_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), 300);
    for seq in 1..=9 {
        log.append(&records(seq..=seq, 20), Durability::Flush).unwrap();
    }
    drop(log);
    let files = segment_files(dir.path());
    let mut bytes = fs::read(&files[1]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&files[1], &bytes).unwrap();
    let log = open(dir.path(), 300);
    let mut seen = 0;
    let error = log.reader().replay(Seq(1), &mut |_| (seen += 1, ControlFlow::Continue(())).1).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { file, .. } if *file == files[1]), "{error}");
    assert!(log.reader().read(Seq(seen + 1)).is_err());
    assert!(log.reader().read(Seq(seen + 2)).unwrap().is_some());

    // A segment that is missing or ends early leaves a gap, which is found too.
    fs::write(&files[1], b"").unwrap();
    assert!(matches!(open_again(log, dir.path()).replay(Seq(1), &mut |_| ControlFlow::Continue(())), Err(Error::Corrupt { .. })));
}

fn open_again(log: FileLog, dir: &Path) -> Arc<dyn LogReader> {
    drop(log);
    open(dir, 300).reader()
}

#[test]
fn a_second_open_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), 1000);
    let error = FileLog::open(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(&error, Error::Locked { dir: d } if d == dir.path()));
    drop(log);
    open(dir.path(), 1000);
}

/// A disk that fills up and breaks when told to.
#[derive(Clone, Debug, Default)]
struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    room: u64,
    no_truncate: bool,
    no_flush: bool,
    rewritten: Vec<u64>,
}

impl Disk for Faults {
    fn write(&mut self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let fits = usize::try_from(state.room).unwrap().min(bytes.len());
        file.write_all_at(&bytes[..fits], at)?;
        state.room -= fits as u64;
        state.rewritten.push(at);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn flush(&mut self, file: &File) -> io::Result<()> {
        if self.0.lock().unwrap().no_flush { Err(io::Error::other("broken")) } else { file.sync_data() }
    }
    fn truncate(&mut self, file: &File, len: u64) -> io::Result<()> {
        if self.0.lock().unwrap().no_truncate { Err(io::Error::other("broken")) } else { file.set_len(len) }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_recovers() {
    for no_truncate in [false, true] {
        for room in [0, 1, 15, 16, 17, 100, 150, 200] {
            let dir = tempfile::tempdir().unwrap();
            let faults = Faults::default();
            let set = |room, no_truncate| {
                let mut state = faults.0.lock().unwrap();
                (state.room, state.no_truncate) = (room, no_truncate);
            };
            set(1 << 20, false);
            let mut log = FileLog::open_on(Box::new(faults.clone()), dir.path(), Options::default()).unwrap().0;
            log.append(&records(1..=2, 30), Durability::Flush).unwrap();
            set(room, no_truncate);
            for _ in 0..2 {
                let error = log.append(&records(3..=5, 30), Durability::Flush).unwrap_err();
                assert!(error.is_full() || no_truncate, "{error}");
                assert_eq!((log.last(), all(&*log.reader(), 0)), (Seq(2), records(1..=2, 30)));
                assert_eq!(log.reader().read(Seq(3)).unwrap(), None);
                set(0, no_truncate);
            }
            set(1 << 20, false);
            // Shorter than what failed, so that leftovers would show.
            log.append(&records(3..=3, 1), Durability::Flush).unwrap();
            let want = [records(1..=2, 30), records(3..=3, 1)].concat();
            assert_eq!(all(&*log.reader(), 0), want);
            drop(log);
            let (log, opened) = FileLog::open(dir.path(), Options::default()).unwrap();
            assert_eq!((opened.torn_bytes, all(&*log.reader(), 0)), (0, want));
        }
    }
}

#[test]
fn what_a_failed_flush_may_have_lost_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    faults.0.lock().unwrap().room = 1 << 20;
    let mut log = FileLog::open_on(Box::new(faults.clone()), dir.path(), Options::default()).unwrap().0;
    log.append(&records(1..=1, 30), Durability::Written).unwrap();
    faults.0.lock().unwrap().no_flush = true;
    assert!(log.append(&records(2..=2, 30), Durability::Flush).is_err());
    assert!(log.sync().is_err());
    assert_eq!(all(&*log.reader(), 0), records(1..=1, 30));
    faults.0.lock().unwrap().no_flush = false;
    faults.0.lock().unwrap().rewritten.clear();
    log.sync().unwrap();
    assert_eq!(faults.0.lock().unwrap().rewritten, [0]);
    log.append(&records(2..=2, 30), Durability::Flush).unwrap();
    assert_eq!(all(&*log.reader(), 0), records(1..=2, 30));
}

#[test]
fn a_segment_that_cannot_be_started_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), 100);
    log.append(&records(1..=1, 90), Durability::Written).unwrap();
    let blocked = dir.path().join(format!("{:020}.log", 2));
    fs::create_dir(&blocked).unwrap();
    for _ in 0..2 {
        assert!(log.append(&records(2..=2, 90), Durability::Flush).is_err());
        assert_eq!(all(&*log.reader(), 0), records(1..=1, 90));
    }
    fs::remove_dir(&blocked).unwrap();
    log.append(&records(2..=2, 90), Durability::Flush).unwrap();
    drop(log);
    assert_eq!(all(&*open(dir.path(), 100).reader(), 0), records(1..=2, 90));
}

#[test]
fn an_empty_newest_segment_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), 1 << 20);
    log.append(&records(1..=5, 9), Durability::Flush).unwrap();
    drop(log);
    // The log went on in the segment before, or ended exactly there.
    for first in [3, 6] {
        fs::write(dir.path().join(format!("{first:020}.log")), b"").unwrap();
        let log = open(dir.path(), 1 << 20);
        assert_eq!((log.last(), all(&*log.reader(), 0)), (Seq(5), records(1..=5, 9)));
    }
    fs::write(dir.path().join(format!("{:020}.log", 9)), b"").unwrap();
    assert!(matches!(FileLog::open(dir.path(), Options::default()), Err(Error::Corrupt { .. })));
}

#[test]
fn readers_follow_while_the_log_grows_rolls_and_forgets() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), 2000);
    let reader = log.reader();
    std::thread::scope(|scope| {
        let follow = scope.spawn(move || {
            while reader.read(Seq(2000)).unwrap().is_none() {
                let mut before = None;
                let each = &mut |r: Record| {
                    let seq = r.envelope.seq.0;
                    assert!(r == sized(seq, 40) && before.is_none_or(|b| b < seq));
                    before = Some(seq);
                    ControlFlow::Continue(())
                };
                reader.replay(reader.first(), each).unwrap();
            }
        });
        for seq in (1..=2000).step_by(4) {
            log.append(&records(seq..=seq + 3, 40), Durability::Written).unwrap();
            log.retain(Seq(seq.saturating_sub(100))).unwrap();
        }
        follow.join().unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_sizes_come_back(
        groups in prop::collection::vec((prop::collection::vec(0usize..70_000, 1..6), any::<bool>()), 1..8),
        segment_bytes in 1u64..300_000,
        reopen in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), segment_bytes);
        let mut want = Vec::new();
        for (sizes, flush) in groups {
            let group: Vec<_> = (log.last().0 + 1..).zip(sizes).map(|(seq, size)| sized(seq, size)).collect();
            log.append(&group, if flush { Durability::Flush } else { Durability::Written }).unwrap();
            want.extend(group);
            if reopen {
                drop(log);
                log = open(dir.path(), segment_bytes);
            }
        }
        let reader = log.reader();
        for record in &want {
            let found = reader.read(record.envelope.seq).unwrap();
            prop_assert!(found.as_ref() == Some(record));
        }
        prop_assert!(all(&*reader, 0) == want);
    }
}
