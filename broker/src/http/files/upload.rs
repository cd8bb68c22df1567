//! `POST /v1/files`: a form with a file in it, which goes to the disk as it comes.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, StatusCode};

use super::multipart::{Event, Malformed, Parser};
use super::{purpose_named, shown};
use crate::files::{Meta, Purpose, Upload};
use crate::http::App;
use crate::http::arrive::Unread;
use crate::http::error::Error;
use crate::http::jobs::reply;

/// Bytes of a form besides its file.
const REST: u64 = 64 << 10;
/// Bytes of a field that is not the file.
const MOST_FIELD: usize = 1 << 10;
/// How long a file for a batch is kept unless its upload says otherwise, as with OpenAI.
const BATCH_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a client whose file is refused may go on sending before it is cut off.
const LISTEN: Duration = Duration::from_secs(30);

/// What a form has besides its file.
#[derive(Debug, Default)]
struct Form {
    purpose: Option<Purpose>,
    anchor: Option<String>,
    seconds: Option<u64>,
    filename: Option<String>,
    upload: Option<Upload>,
}

/// The part that is being read.
enum Part {
    File,
    Field(String, Vec<u8>),
}

pub(super) async fn create(app: Arc<App>, unread: Unread) -> Result<Response, Error> {
    let Unread { headers, mut body, key, limits } = unread;
    let received = receive(&app, &headers, &mut body, limits.body_timeout).await;
    if received.is_err() {
        // Most clients send all of a form before they listen, and of a connection that is closed meanwhile they never
        // hear why.
        let _ = tokio::time::timeout(LISTEN, drain(body, app.max_file)).await;
    }
    let meta = finish(&app, received?, key).await?;
    Ok(reply(StatusCode::OK, &shown(&meta)))
}

/// Reads on for nothing, within bounds.
async fn drain(mut body: Incoming, most: u64) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if read > most {
            return;
        }
    }
}

async fn receive(app: &App, headers: &HeaderMap, body: &mut Incoming, patience: Duration) -> Result<Form, Error> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut parser = Parser::new(kind)?;
    if body.size_hint().lower() > app.max_file + REST {
        return Err(Error::too_large(app.max_file));
    }
    let (mut form, mut part) = (Form::default(), None);
    loop {
        // A large file takes its time; a client that says nothing does not.
        let frame = tokio::time::timeout(patience, body.frame()).await;
        let frame = frame.map_err(|_| Error::bad_request("", "the body did not go on in time"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Error::bad_request("", format!("the body was cut: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        parser.feed(&data);
        while let Some(event) = parser.next()? {
            form.take(app, event, &mut part).await?;
        }
    }
    parser.finish()?;
    Ok(form)
}

async fn finish(app: &App, form: Form, key: Option<Arc<str>>) -> Result<Meta, Error> {
    let Form { purpose, anchor, seconds, filename, upload } = form;
    let purpose = purpose.ok_or_else(|| Error::bad_request("purpose", "the form has no `purpose`"))?;
    let upload = upload.ok_or_else(|| Error::bad_request("file", "the form has no `file`"))?;
    let filename = filename
        .filter(|name| !name.is_empty())
        .ok_or_else(|| Error::bad_request("file", "`file` has no file name; it must be sent as a file and not as a field"))?;
    let kept = match (anchor, seconds) {
        (None, None) => (purpose == Purpose::Batch).then_some(BATCH_KEPT),
        (Some(_), Some(seconds)) => Some(Duration::from_secs(seconds)),
        (Some(_), None) | (None, Some(_)) => {
            return Err(Error::bad_request("expires_after", "`expires_after` has an `anchor` and `seconds`; one of them is missing"));
        }
    };
    let now = app.now();
    let filename = filename.chars().take(255).collect::<String>().into();
    Ok(upload.finish(filename, purpose, now, kept.map(|kept| now.after(kept)), key).await?)
}

impl Form {
    async fn take(&mut self, app: &App, event: Event, part: &mut Option<Part>) -> Result<(), Error> {
        match (event, part.as_mut()) {
            (Event::Part { name, filename }, _) if name == "file" => {
                if self.upload.is_some() {
                    return Err(Error::bad_request("file", "the form has more than one `file`"));
                }
                self.filename = filename;
                self.upload = Some(app.files.upload().await?);
                *part = Some(Part::File);
            }
            (Event::Part { name, .. }, _) => *part = Some(Part::Field(name, Vec::new())),
            (Event::Data(data), Some(Part::File)) => {
                if let Some(upload) = &mut self.upload {
                    upload.write(&data).await?;
                }
            }
            (Event::Data(data), Some(Part::Field(name, value))) => {
                if value.len() + data.len() > MOST_FIELD {
                    return Err(Error::bad_request(&shortened(name), format!("`{}` is too long", shortened(name))));
                }
                value.extend_from_slice(&data);
            }
            (Event::PartEnd, Some(Part::Field(name, value))) => self.field(name, &String::from_utf8_lossy(value))?,
            (Event::PartEnd | Event::End | Event::Data(_), _) => {}
        }
        Ok(())
    }

    fn field(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match name {
            "purpose" => {
                let purpose = purpose_named(value)?;
                if !Purpose::UPLOADED.contains(&purpose) {
                    return Err(Error::bad_request("purpose", format!("files for `{value}` are written by batches and not uploaded")));
                }
                self.purpose = Some(purpose);
            }
            "expires_after[anchor]" if value == "created_at" => self.anchor = Some(value.to_owned()),
            "expires_after[anchor]" => {
                return Err(Error::bad_request("expires_after.anchor", "`expires_after.anchor` must be `created_at`"));
            }
            "expires_after[seconds]" => {
                self.seconds = Some(super::super::batches::kept_seconds("expires_after.seconds", value.parse().ok())?);
            }
            other => {
                let name = shortened(other);
                let message = format!("a file has no field `{name}`; there are `file`, `purpose` and `expires_after`");
                return Err(Error::bad_request(&name, message));
            }
        }
        Ok(())
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

impl From<Malformed> for Error {
    fn from(why: Malformed) -> Self {
        Self::bad_request("", why.to_string())
    }
}
