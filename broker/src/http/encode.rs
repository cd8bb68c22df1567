//! How an API tells its client what comes of a job.

use bytes::Bytes;
use pullyard_schemas::job::Job;

use super::error::Error;
use crate::engine::Ended;

/// One response's telling of a job's output, which is in OpenAI's shape whatever the model server speaks. Each of these
/// appends whole frames to `out`; a frame that is not there costs nothing. It is told every chunk once and in order.
pub(crate) trait Encoder: Send {
    /// The content type of a stream.
    fn stream_type(&self) -> &'static str;

    /// The headers of a stream are on their way. Called once, before everything below.
    fn begin(&mut self, _job: &Job, _out: &mut Vec<u8>) {}

    /// A chunk: one line of the job's output.
    fn chunk(&mut self, line: &[u8], out: &mut Vec<u8>);

    /// Nothing has come for a while. Says only what all clients of the API skip.
    fn waiting(&mut self, out: &mut Vec<u8>);

    /// The output is whole.
    fn end(&mut self, ended: &Ended, out: &mut Vec<u8>);

    /// There is no more, because of this: all clients of the API must take it for an error.
    fn failed(&mut self, error: &Error, out: &mut Vec<u8>);

    /// The body of a reply in one piece, from OpenAI's.
    ///
    /// # Errors
    /// When the output is not what a model of this kind says.
    fn whole(&mut self, ended: &Ended, output: Bytes) -> Result<Bytes, Error>;
}
