//! The names of a batch, of the jobs of its lines, and of its results.

use std::sync::Arc;

use pullyard_schemas::{JobId, Timestamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Lines that a file can have before their numbers do not fit into an id; blank ones count.
pub(super) const MOST_NUMBERS: u32 = 1 << LINE_BITS;
const LINE_BITS: u32 = 20;
/// Lines whose ids share a millisecond. The read model keeps rows of nearby times together and looks at all of them to
/// find one, so the lines of a batch are spread as if they had been submitted at this pace.
const LINES_PER_MS: u32 = 4;

/// A fresh id; they sort by time.
pub(super) fn new_batch() -> Arc<str> {
    format!("batch_{}", Uuid::now_v7().simple()).into()
}

/// Whether it is an id that could have been made here, and so names nothing outside of the folder.
pub(super) fn is_batch(text: &str) -> bool {
    text.strip_prefix("batch_").is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The jobs of a batch's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobIds {
    created_ms: u64,
    /// 54 bits of the batch's id's hash, where a UUIDv7 has random ones.
    hash: u64,
}

impl JobIds {
    pub(super) fn of(batch: &str, created_at: Timestamp) -> Self {
        let digest = Sha256::digest(batch.as_bytes());
        let hash = digest.iter().take(8).fold(0u64, |hash, byte| (hash << 8) | u64::from(*byte));
        Self { created_ms: created_at.0, hash: hash >> 10 }
    }

    /// The job of this line, always the same. A UUIDv7, so the jobs of a batch sort by line.
    pub(super) fn job(self, line: u32) -> JobId {
        let ms = self.created_ms + u64::from(line / LINES_PER_MS);
        let high = (ms << 16) | 0x7000 | (self.hash >> 42);
        let low = (0b10 << 62) | ((self.hash & ((1 << 42) - 1)) << LINE_BITS) | u64::from(line % MOST_NUMBERS);
        JobId(Uuid::from_u64_pair(high, low))
    }

    /// Which line a job is of.
    pub(super) fn line(self, job: JobId) -> Option<u32> {
        let line = u32::try_from(job.0.as_u64_pair().1 & u64::from(MOST_NUMBERS - 1)).ok()?;
        (self.job(line) == job).then_some(line)
    }
}

/// The id of a line's result, which says whose it is.
pub(super) fn result(job: JobId) -> String {
    format!("batch_req_{}", job.0.simple())
}

pub(super) fn job_of_result(id: &str) -> Option<JobId> {
    Uuid::try_parse(id.strip_prefix("batch_req_")?).ok().map(JobId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_one_job_which_says_what_it_is_of() {
        let (one, other) = (JobIds::of("batch_1", Timestamp(1_700_000_000_000)), JobIds::of("batch_2", Timestamp(1_700_000_000_000)));
        let mut last = None;
        for line in [1, 2, 3, 4, 5, 1_000, 49_999, 50_000, MOST_NUMBERS - 1] {
            let job = one.job(line);
            assert_eq!((job, one.line(job), other.line(job)), (one.job(line), Some(line), None));
            assert_eq!((job.0.get_version_num(), job.0.get_variant()), (7, uuid::Variant::RFC4122));
            assert!(last < Some(job), "they sort by line");
            assert_eq!(job_of_result(&result(job)), Some(job));
            last = Some(job);
        }
        assert_eq!(one.line(JobId::new()), None);
        assert_eq!(job_of_result("batch_req_x"), None);
    }

    #[test]
    fn ids_that_were_not_made_here_name_nothing() {
        assert!(is_batch(&new_batch()));
        for bad in ["", "batch_", "batch_../../etc/passwd", "batch_0123", "file-01234567890123456789012345678901"] {
            assert!(!is_batch(bad), "{bad}");
        }
    }
}
