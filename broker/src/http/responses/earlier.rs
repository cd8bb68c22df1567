//! What a request stands on: earlier responses, from the log.

use std::sync::Arc;

use bytes::Bytes;
use pullyard_schemas::JobId;
use pullyard_schemas::job::{BodyAt, Outcome, State};
use serde_json::value::RawValue;

use super::ids;
use super::kept::{assistant, kept};
use super::request::{Asked, Earlier, Repeated, Terms};
use super::story::Story;
use crate::blobs::Name;
use crate::engine::View;
use crate::http::app::blocking;
use crate::http::error::Error;
use crate::http::{App, wait};

/// The most items that a request may refer to: each may be of another response, whose output is read from the log.
const MOST_REFERENCES: usize = 256;

/// A response as it is kept.
pub(super) struct Found {
    pub(super) view: View,
    /// The job's request.
    pub(super) body: Bytes,
    pub(super) terms: Terms,
    pub(super) repeated: Repeated,
}

/// A response that may be shown. One that was not to be stored is not, nor is a job that is none.
pub(super) async fn find(app: &App, id: &str) -> Result<Found, Error> {
    let job = ids::job(id)?;
    let view = app.find(job).await.map_err(|error| if error.status == 404 { ids::unknown(id) } else { error })?;
    let body = body(app, &view, id).await?;
    let (terms, repeated) =
        kept(&body).filter(|kept| kept.terms.store).map(|kept| (kept.terms, kept.repeated)).ok_or_else(|| ids::unknown(id))?;
    Ok(Found { view, body, terms, repeated })
}

async fn body(app: &App, view: &View, id: &str) -> Result<Bytes, Error> {
    let job = view.job.clone();
    match job.body {
        BodyAt::Inline => Ok(app.records(vec![job.submitted_seq()]).await?.pop().ok_or_else(|| ids::unknown(id))?.body),
        BodyAt::Blob => {
            let blobs = app.blobs.clone();
            blocking(move || blobs.get(Name::Request(job.id))).await
        }
    }
}

/// Everything that the request refers to.
pub(super) async fn gather(app: &App, asked: &Asked<'_>) -> Result<Earlier, Error> {
    let mut earlier = Earlier::default();
    if let Some(id) = &asked.previous {
        earlier.messages = conversation(app, id).await.map_err(|error| at(error, "previous_response_id"))?;
    }
    if asked.references.len() > MOST_REFERENCES {
        let message = format!("the input refers to {} items; {MOST_REFERENCES} are allowed", asked.references.len());
        return Err(Error::bad_request("input", message));
    }
    let mut jobs: Vec<JobId> = asked.references.iter().filter_map(|id| ids::job_of_item(id)).collect();
    jobs.sort_unstable();
    jobs.dedup();
    for job in jobs {
        let Ok(found) = find(app, &ids::of_response(job)).await else { continue };
        if !matches!(found.view.job.state, State::Ended(Outcome::Completed { .. })) {
            continue;
        }
        let ended = app.ended_from_log(job).await?;
        for item in Story::new(&ended.job, Repeated::default(), false).items(&ended.output) {
            if let Some(id) = item_id(&item)
                && let Ok(item) = RawValue::from_string(item)
            {
                earlier.referenced.insert(id, item);
            }
        }
    }
    Ok(earlier)
}

fn item_id(item: &str) -> Option<String> {
    let rest = item.strip_prefix("{\"id\":\"")?;
    rest.split('"').next().map(str::to_owned)
}

/// The conversation up to the end of a response.
async fn conversation(app: &App, id: &str) -> Result<Vec<String>, Error> {
    let found = find(app, id).await?;
    let job: Arc<_> = found.view.job.clone();
    if !matches!(job.state, State::Ended(Outcome::Completed { .. })) {
        let message = format!("the response {id} is {}; only one that is completed can be gone on behind", job.state.name());
        return Err(Error::bad_request("previous_response_id", message));
    }
    let ended = app.ended_from_log(job.id).await?;
    let reply = serde_json::from_slice(&wait::completed(&ended)?).unwrap_or_default();
    let mut messages: Vec<String> =
        kept(&found.body).map(|kept| kept.conversation().iter().map(|message| message.get().to_owned()).collect()).unwrap_or_default();
    messages.extend(assistant(&reply, job.id));
    Ok(messages)
}

/// The same error, about this field.
fn at(mut error: Error, param: &str) -> Error {
    if error.status == 404 {
        // As OpenAI has it: what is wrong is a field of the request, and not its address.
        error = Error::bad_request(param, error.message);
        error.code = Some("previous_response_not_found");
    }
    error
}
