//! Whole answers made smaller for those who ask for it. Streams are not: a compressor would keep back what is there.

use std::io::Write;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Body as _;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, VARY};

/// Below, what is saved is less than what it costs.
const LEAST: u64 = 1024;
/// What is larger goes out as it is, rather than being held twice.
const MOST: u64 = 32 << 20;
/// From here on it takes so long that it would hold up other connections' work.
const LONG: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Zstd,
}

/// What the client would have rather than the plain answer.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Coding> {
    let (mut gzip, mut zstd, mut others) = (None, None, None);
    for value in headers.get_all(ACCEPT_ENCODING) {
        for part in value.to_str().unwrap_or_default().split(',') {
            let (name, params) = part.split_once(';').unwrap_or((part, ""));
            let weight = params.trim().strip_prefix("q=").map_or(1.0, |q| q.trim().parse().unwrap_or(0.0_f32));
            match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => gzip = Some(weight),
                "zstd" => zstd = Some(weight),
                "*" => others = Some(weight),
                _ => {}
            }
        }
    }
    let [gzip, zstd] = [gzip, zstd].map(|named| named.or(others).unwrap_or(0.0));
    // The better and the quicker of the two, where both are as welcome.
    if zstd > 0.0 && zstd >= gzip { Some(Coding::Zstd) } else { (gzip > 0.0).then_some(Coding::Gzip) }
}

/// Text that is there as a whole, and large enough.
pub(super) fn is_worth_it(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_text = [b"application/json".as_slice(), b"text/csv", b"text/plain"].iter().any(|text| kind.starts_with(text));
    let length = response.body().size_hint().exact();
    is_text && length.is_some_and(|length| (LEAST..=MOST).contains(&length)) && !response.headers().contains_key(CONTENT_ENCODING)
}

/// The same answer in this coding, where that is smaller.
pub(super) async fn compressed(response: Response, coding: Option<Coding>) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = coding else { return Response::from_parts(parts, body) };
    // It is there already, and only what comes over a network can fail.
    let Ok(plain) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        return Response::from_parts(parts, Body::empty());
    };
    let small = if plain.len() < LONG {
        encode(&plain, coding)
    } else {
        let plain = plain.clone();
        tokio::task::spawn_blocking(move || encode(&plain, coding)).await.ok().flatten()
    };
    let Some(small) = small.filter(|small| small.len() < plain.len()) else { return Response::from_parts(parts, plain.into()) };
    let name = match coding {
        Coding::Gzip => "gzip",
        Coding::Zstd => "zstd",
    };
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, small.into())
}

fn encode(plain: &Bytes, coding: Coding) -> Option<Vec<u8>> {
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 2), Compression::fast());
            encoder.write_all(plain).ok()?;
            encoder.finish().ok()
        }
        Coding::Zstd => zstd::bulk::compress(plain, 1).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn asked(accept: &'static str) -> Option<Coding> {
        wanted(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accept))]))
    }

    #[test]
    fn the_coding_is_one_that_was_asked_for() {
        for (accept, coding) in [
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, deflate", Some(Coding::Gzip)),
            ("zstd;q=0.5, gzip;q=0.9", Some(Coding::Gzip)),
            ("gzip;q=0, zstd;q=0", None),
            ("*;q=0, gzip", Some(Coding::Gzip)),
            ("*", Some(Coding::Zstd)),
            ("zstd;q=0, *", Some(Coding::Gzip)),
            ("identity", None),
            ("br", None),
            ("gzip;q=nonsense", None),
            ("", None),
        ] {
            assert_eq!(asked(accept), coding, "{accept}");
        }
        assert_eq!(wanted(&HeaderMap::new()), None);
    }

    fn answer(kind: &'static str, body: impl Into<Body>) -> Response {
        let mut response = Response::new(body.into());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    #[test]
    fn streams_and_small_answers_are_left_alone() {
        let large = || "x".repeat(2000);
        assert!(is_worth_it(&answer("application/json", large())) && is_worth_it(&answer("text/csv; charset=utf-8", large())));
        assert!(!is_worth_it(&answer("application/json", "{}")));
        assert!(!is_worth_it(&answer("text/event-stream", large())) && !is_worth_it(&answer("application/x-ndjson", large())));
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(large())]);
        assert!(!is_worth_it(&answer("application/json", Body::from_stream(pieces))), "nobody knows how long it is");
    }

    #[tokio::test]
    async fn what_comes_out_is_what_went_in() {
        for length in [2000, LONG + 1] {
            let text = "the same words ".repeat(length / 15 + 1);
            for coding in [Coding::Gzip, Coding::Zstd] {
                let (parts, body) = compressed(answer("application/json", text.clone()), Some(coding)).await.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes();
                let back = match parts.headers[CONTENT_ENCODING].to_str().unwrap() {
                    "gzip" => {
                        let mut back = Vec::new();
                        flate2::read::GzDecoder::new(&*bytes).read_to_end(&mut back).unwrap();
                        back
                    }
                    _ => zstd::stream::decode_all(&*bytes).unwrap(),
                };
                assert!(bytes.len() < text.len() / 10 && back == text.as_bytes());
                assert_eq!(parts.headers[VARY], "accept-encoding");
            }
        }
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(3000).collect();
        let plain = compressed(answer("application/json", noise.clone()), Some(Coding::Gzip)).await;
        assert!(!plain.headers().contains_key(CONTENT_ENCODING), "it would have grown");
        assert_eq!(plain.into_body().collect().await.unwrap().to_bytes(), noise);
    }
}
