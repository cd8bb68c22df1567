//! Answers, fetched and put into the order of their lines.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::super::client::{Client, Error};
use super::super::out::Out;
use super::with_end;

/// Writes all answers of a batch, those that are errors too. The file is there when it is whole.
pub(super) async fn write(client: &Client, batch: &Value, path: &Path) -> Result<(), Error> {
    let fetched = with_end(path, ".part");
    let done = ordered(client, batch, path, &fetched).await;
    let _ = fs::remove_file(&fetched);
    done
}

async fn ordered(client: &Client, batch: &Value, path: &Path, fetched: &Path) -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::Failed(format!("{} cannot be written: {e}", path.display()));
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(fetched).map_err(failed)?;
    fetch(client, batch, &mut file).await?;
    let (to, fetched) = (path.to_owned(), with_end(path, ".sorted"));
    let sorted = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let mut sorted = BufWriter::new(OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fetched)?);
        sort(&mut file, &mut sorted)?;
        let sorted = sorted.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        sorted.sync_all()?;
        fs::rename(&fetched, to)
    });
    sorted.await.map_err(|e| Error::Failed(e.to_string()))?.map_err(failed)
}

/// The same on standard output.
pub(super) async fn print(client: &Client, out: &Out, batch: &Value) -> Result<(), Error> {
    let mut all = Vec::new();
    fetch(client, batch, &mut all).await?;
    let mut sorted = Vec::with_capacity(all.len());
    sort(&mut std::io::Cursor::new(all), &mut sorted).map_err(|e| Error::Failed(e.to_string()))?;
    out.raw(&sorted)
}

async fn fetch(client: &Client, batch: &Value, to: &mut (impl Write + Send)) -> Result<(), Error> {
    if !matches!(batch["status"].as_str(), Some("completed" | "expired" | "cancelled" | "failed")) {
        let (id, status) = (batch["id"].as_str().unwrap_or_default(), batch["status"].as_str().unwrap_or_default());
        return Err(Error::Failed(format!("batch {id} is {status}; its answers are there when it is over")));
    }
    for file in ["output_file_id", "error_file_id"] {
        if let Some(id) = batch[file].as_str() {
            client.download(&["files", id, "content"], to).await?;
        }
    }
    Ok(())
}

/// Lines by their ids, which sort as the lines of the input do. Only the ids are held.
fn sort(from: &mut (impl Read + Seek), to: &mut impl Write) -> std::io::Result<()> {
    #[derive(Deserialize)]
    struct Line {
        id: String,
    }
    from.seek(SeekFrom::Start(0))?;
    let (mut index, mut at, mut line) = (Vec::new(), 0u64, Vec::new());
    let mut reader = BufReader::new(&mut *from);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        let Line { id } = serde_json::from_slice(&line)?;
        index.push((id, at, read));
        at += read as u64;
    }
    drop(reader);
    index.sort_unstable();
    for (_, at, length) in index {
        from.seek(SeekFrom::Start(at))?;
        line.resize(length, 0);
        from.read_exact(&mut line)?;
        to.write_all(&line)?;
    }
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_in_the_order_of_their_lines() {
        let mut from = std::io::Cursor::new(b"{\"id\":\"c\",\"x\":1}\n{\"id\":\"a\"}\n{\"id\":\"b\",\"long\":\"xxxxxxx\"}\n".to_vec());
        let mut to = Vec::new();
        sort(&mut from, &mut to).unwrap();
        assert_eq!(String::from_utf8(to).unwrap(), "{\"id\":\"a\"}\n{\"id\":\"b\",\"long\":\"xxxxxxx\"}\n{\"id\":\"c\",\"x\":1}\n");
    }
}
