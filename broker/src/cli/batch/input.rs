//! From a file of lines, questions or rows to the requests of a batch.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::super::client::Error;
use super::csv;

const CHAT: &str = "/v1/chat/completions";

/// What questions become requests with.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    pub(super) template: Option<String>,
    pub(super) model: Option<String>,
    pub(super) class: Option<String>,
    pub(super) system: Option<String>,
    pub(super) max_tokens: Option<u32>,
}

/// Requests in a file, as OpenAI's Batch API takes them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) path: PathBuf,
    pub(super) endpoint: String,
    /// The same for the same requests.
    pub(super) hash: String,
}

/// Reads the file; requests that have to be made of it are written to `to`.
pub(super) fn prepare(from: &Path, to: &Path, shape: &Shape) -> Result<Asked, Error> {
    let unread = |e| Error::Usage(format!("{} cannot be read: {e}", from.display()));
    let is_csv = from.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    if !is_csv && let Some(endpoint) = endpoint_of(from).map_err(unread)? {
        if shape.changes() {
            let message = "the file has whole requests, so --template, --model, --class, --system and --max-tokens have no place";
            return Err(Error::Usage(message.to_owned()));
        }
        return Ok(Asked { path: from.to_owned(), hash: hash(from, &endpoint).map_err(unread)?, endpoint });
    }
    let unwritten = |e| Error::Failed(format!("{} cannot be written: {e}", to.display()));
    let mut requests = BufWriter::new(File::create(to).map_err(unwritten)?);
    let mut count = 0;
    let mut add = |id: String, variables: &BTreeMap<&str, &str>| -> Result<(), Error> {
        count += 1;
        let line = json!({"custom_id": id, "method": "POST", "url": CHAT, "body": shape.body(variables)?});
        writeln!(requests, "{line}").map_err(unwritten)
    };
    if is_csv {
        let rows = csv::rows(&fs::read_to_string(from).map_err(unread)?);
        let mut rows = rows.iter();
        let header = rows.next().ok_or_else(|| Error::Usage(format!("{} has no header", from.display())))?;
        for (n, row) in rows.enumerate() {
            if row.len() != header.len() {
                let message = format!("row {} of {} has {} fields, and its header {}", n + 2, from.display(), row.len(), header.len());
                return Err(Error::Usage(message));
            }
            let variables: BTreeMap<&str, &str> = header.iter().map(|name| name.trim()).zip(row.iter().map(String::as_str)).collect();
            let id = variables.get("custom_id").map_or_else(|| format!("row-{}", n + 1), |&id| id.to_owned());
            add(id, &variables)?;
        }
    } else {
        for (n, line) in BufReader::new(File::open(from).map_err(unread)?).lines().enumerate() {
            let line = line.map_err(unread)?;
            let text = line.trim();
            if !text.is_empty() {
                add(format!("line-{}", n + 1), &BTreeMap::from([("text", text)]))?;
            }
        }
    }
    requests.into_inner().map_err(|e| unwritten(e.into_error()))?;
    if count == 0 {
        let _ = fs::remove_file(to);
        return Err(Error::Usage(format!("{} has nothing to ask", from.display())));
    }
    Ok(Asked { path: to.to_owned(), endpoint: CHAT.to_owned(), hash: hash(to, CHAT).map_err(unwritten)? })
}

/// Where the first line is a whole request, what it is for.
fn endpoint_of(file: &Path) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(File::open(file)?);
    while line.trim_ascii().is_empty() {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
    }
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
    let request: Value = serde_json::from_slice(line).unwrap_or_default();
    Ok(request["url"].as_str().filter(|_| request["body"].is_object()).map(str::to_owned))
}

fn hash(file: &Path, endpoint: &str) -> std::io::Result<String> {
    let (mut file, mut hash, mut piece) = (File::open(file)?, Sha256::new(), vec![0; 64 << 10]);
    hash.update(endpoint);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            n => hash.update(piece.get(..n).unwrap_or_default()),
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

impl Shape {
    fn changes(&self) -> bool {
        self.template.is_some() || self.model.is_some() || self.class.is_some() || self.system.is_some() || self.max_tokens.is_some()
    }

    fn body(&self, variables: &BTreeMap<&str, &str>) -> Result<Value, Error> {
        let question = match &self.template {
            Some(template) => filled(template, variables)?,
            None => variables
                .get("text")
                .or_else(|| variables.get("prompt"))
                .map(|&text| text.to_owned())
                .ok_or_else(|| Error::Usage("the file has no column `text` or `prompt`; say with --template what to ask".to_owned()))?,
        };
        let mut messages = Vec::new();
        messages.extend(self.system.as_deref().map(|system| json!({"role": "system", "content": system})));
        messages.push(json!({"role": "user", "content": question}));
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(self.model.as_deref().unwrap_or("auto")));
        body.insert("messages".to_owned(), Value::Array(messages));
        body.extend(self.class.as_deref().map(|class| ("class".to_owned(), json!(class))));
        body.extend(self.max_tokens.map(|n| ("max_tokens".to_owned(), json!(n))));
        Ok(Value::Object(body))
    }
}

/// Puts each variable in its place. What is in a variable is never looked at again.
fn filled(template: &str, variables: &BTreeMap<&str, &str>) -> Result<String, Error> {
    let (mut text, mut rest) = (String::with_capacity(template.len()), template);
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else { break };
        let name = name.trim();
        let value = variables.get(name).ok_or_else(|| {
            let known = variables.keys().map(|name| format!("{{{{{name}}}}}")).collect::<Vec<_>>().join(", ");
            Error::Usage(format!("the template has {{{{{name}}}}}, and there is only {known}"))
        })?;
        text.push_str(before);
        text.push_str(value);
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The questions that a file becomes, by their ids.
    fn questions(name: &str, content: &str, shape: &Shape) -> Result<Vec<(String, String)>, String> {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join(name), dir.path().join("requests"));
        fs::write(&from, content).unwrap();
        let asked = prepare(&from, &to, shape).map_err(|e| e.to_string())?;
        assert_eq!(asked.endpoint, CHAT);
        let read = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let last = line["body"]["messages"].as_array().unwrap().last().unwrap()["content"].clone();
            (line["custom_id"].as_str().unwrap().to_owned(), last.as_str().unwrap().to_owned())
        };
        Ok(fs::read_to_string(asked.path).unwrap().lines().map(read).collect())
    }

    fn template(text: &str) -> Shape {
        Shape { template: Some(text.to_owned()), ..Shape::default() }
    }

    fn pair(id: &str, question: &str) -> (String, String) {
        (id.to_owned(), question.to_owned())
    }

    #[test]
    fn lines_and_rows_become_questions() {
        assert_eq!(
            questions("a.txt", "one\n\n two {{text}} \n", &Shape::default()).unwrap(),
            [pair("line-1", "one"), pair("line-3", "two {{text}}")]
        );
        let shape = template("Say {{ text }}, {{text}} and {{");
        assert_eq!(questions("a.txt", "x {{text}}", &shape).unwrap(), [pair("line-1", "Say x {{text}}, x {{text}} and {{")]);
        let rows = "name,city\nAda,\"London, UK\"\nBob,Rome\n";
        let asked = questions("a.csv", rows, &template("{{name}} of {{city}}")).unwrap();
        assert_eq!(asked, [pair("row-1", "Ada of London, UK"), pair("row-2", "Bob of Rome")]);
        assert_eq!(questions("a.csv", "custom_id,text\nx,hi\n", &Shape::default()).unwrap(), [pair("x", "hi")]);
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let told = |name, content, shape: &Shape| questions(name, content, shape).unwrap_err();
        assert!(told("a.txt", "x", &template("{{name}}")).contains("{{name}}, and there is only {{text}}"));
        assert!(told("a.txt", "\n\n", &Shape::default()).contains("nothing to ask"));
        assert!(told("a.csv", "name\nx\n", &Shape::default()).contains("--template"));
        assert!(told("a.csv", "a,b\nx\n", &template("{{a}}")).contains("row 2"));
        let request = r#"{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{}}"#;
        assert!(told("a.jsonl", request, &template("x")).contains("whole requests"));
    }

    #[test]
    fn whole_requests_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("a.jsonl");
        fs::write(&from, "\n{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/embeddings\",\"body\":{}}\n").unwrap();
        let asked = prepare(&from, &dir.path().join("requests"), &Shape::default()).unwrap();
        assert_eq!((&asked.path, asked.endpoint.as_str(), asked.hash.len()), (&from, "/v1/embeddings", 64));
        assert!(!dir.path().join("requests").exists());
    }

    #[test]
    fn options_are_in_the_body() {
        let shape =
            Shape { model: Some("m".into()), class: Some("code".into()), system: Some("s".into()), max_tokens: Some(7), template: None };
        let body = shape.body(&BTreeMap::from([("text", "q")])).unwrap();
        let messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]);
        assert_eq!(body, json!({"model": "m", "class": "code", "max_tokens": 7, "messages": messages}));
    }
}
