//! Ids of responses and their items: all made of the job's, so that none has to be kept.

use pullyard_schemas::JobId;

use crate::http::error::Error;

/// A response's id.
pub(super) fn of_response(job: JobId) -> String {
    format!("resp_{}", job.0.simple())
}

/// The id of a response's item; `kind` is one of OpenAI's prefixes.
pub(super) fn of_item(kind: &str, job: JobId, at: usize) -> String {
    format!("{kind}_{}_{at}", job.0.simple())
}

/// The job behind a response's id.
pub(super) fn job(id: &str) -> Result<JobId, Error> {
    id.strip_prefix("resp_").and_then(simple).ok_or_else(|| unknown(id))
}

/// The job whose output or input an item is of.
pub(super) fn job_of_item(id: &str) -> Option<JobId> {
    let mut parts = id.split('_');
    let (_kind, job, _at) = (parts.next()?, parts.next()?, parts.next()?);
    simple(job)
}

/// No such response, as far as anybody is told.
pub(super) fn unknown(id: &str) -> Error {
    Error::not_found(format!("there is no response {:?}", id.chars().take(64).collect::<String>()))
}

fn simple(text: &str) -> Option<JobId> {
    (text.len() == 32).then(|| uuid::Uuid::try_parse(text).ok().map(JobId)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_back_to_their_job() {
        let of = JobId::new();
        assert_eq!(job(&of_response(of)).unwrap(), of);
        assert_eq!(job_of_item(&of_item("msg", of, 3)), Some(of));
        for wrong in ["", "resp_", "resp_1", &of.to_string(), &format!("resp_{of}"), "resp_zz98c2a47d1e7c339a516f0d5f6f2b10"] {
            assert_eq!(job(wrong).unwrap_err().status, 404, "{wrong}");
        }
        assert_eq!(job_of_item("msg_68af"), None);
    }
}
