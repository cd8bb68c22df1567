//! A line of a batch for `/v1/responses`: it stands alone, and is told when it is done.

use bytes::Bytes;

use super::request::{self, Asked, Earlier};
use super::telling::Telling;
use crate::engine::Ended;
use crate::http::encode::Encoder as _;
use crate::http::error::Error;

/// The line's body in the shape that jobs are kept in.
///
/// # Errors
/// As a direct request, and where the line could not be told in one piece or refers to what is not in it.
pub(in crate::http) fn body(line: Bytes) -> Result<Bytes, Error> {
    let asked = alone(&line)?;
    Ok(asked.translate(&Earlier::default())?.body.into())
}

/// The body of the answer to a line whose job came to this output.
///
/// # Errors
/// When the line is none that was taken.
pub(in crate::http) fn answer(line: &Bytes, ended: &Ended, output: Bytes) -> Result<Bytes, Error> {
    let repeated = alone(line)?.translate(&Earlier::default())?.repeated;
    Telling::new(repeated).whole(ended, output)
}

fn alone(line: &[u8]) -> Result<Asked<'_>, Error> {
    let asked = request::read(line)?;
    let why = if asked.terms.stream {
        ("stream", "a line of a batch cannot be streamed; leave `stream` out")
    } else if asked.terms.background {
        ("background", "a line of a batch is in the background anyway; leave `background` out")
    } else if asked.previous.is_some() {
        ("previous_response_id", "a line of a batch stands alone; put the conversation into `input`")
    } else if !asked.references.is_empty() {
        ("input", "a line of a batch stands alone; put the items themselves into `input`")
    } else {
        return Ok(asked);
    };
    Err(Error::bad_request(why.0, why.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_alone() {
        let refused = |more: &str| body(format!(r#"{{"model":"m","input":"x"{more}}}"#).into()).err().and_then(|error| error.param);
        assert_eq!(refused(""), None);
        for field in ["stream", "background"] {
            assert_eq!(refused(&format!(r#","{field}":true"#)).as_deref(), Some(field));
        }
        assert_eq!(refused(r#","previous_response_id":"resp_0198c2a47d1e7c339a516f0d5f6f2b10""#).as_deref(), Some("previous_response_id"));
    }
}
