//! Bodies that clients send compressed, bounded by what they are when they are whole again.

use std::io::{BufRead, Read};

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;

use super::error::Error;

/// What a body may be coded as, for those who sent another.
pub(super) const CODINGS: &str = "gzip, zstd, deflate";

/// The most that a sender may refer back to, as browsers have it too (RFC 9659): it is memory.
const WINDOW_LOG: u32 = 23;

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Zstd,
    Deflate,
}

impl Coding {
    /// Nothing where the body is plain.
    ///
    /// # Errors
    /// A coding that is not known here, or several.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let mut found = None;
        for value in headers.get_all(CONTENT_ENCODING) {
            for name in value.to_str().unwrap_or("?").split(',') {
                let coding = match name.trim().to_ascii_lowercase().as_str() {
                    "" | "identity" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "zstd" => Self::Zstd,
                    "deflate" => Self::Deflate,
                    other => return Err(Error::coding(other)),
                };
                if found.replace(coding).is_some() {
                    return Err(Error::coding(value.to_str().unwrap_or_default()));
                }
            }
        }
        Ok(found)
    }

    /// The body as it was before, if it is no larger than `limit`: more than that is never made.
    ///
    /// # Errors
    /// When it is larger, or no body of this coding.
    pub(super) async fn decode(self, coded: Bytes, limit: u64) -> Result<Bytes, Error> {
        // A few bytes may become very many.
        tokio::task::spawn_blocking(move || self.decode_now(&coded, limit)).await.map_err(|e| Error::internal(e.to_string()))?
    }

    fn decode_now(self, coded: &[u8], limit: u64) -> Result<Bytes, Error> {
        let mut plain = Vec::new();
        let read = match self {
            Self::Gzip => bounded(MultiGzDecoder::new(coded), limit, &mut plain),
            // By the standard it is zlib's format, and some send what is in that.
            Self::Deflate if is_zlib(coded) => bounded(ZlibDecoder::new(coded), limit, &mut plain),
            Self::Deflate => bounded(DeflateDecoder::new(coded), limit, &mut plain),
            Self::Zstd => unzstd(coded, limit, &mut plain),
        };
        read.map_err(|why| Error::bad_request("Content-Encoding", format!("the body is not what `Content-Encoding` says: {why}")))?;
        if plain.len() as u64 > limit {
            return Err(Error::too_large(limit));
        }
        Ok(plain.into())
    }
}

fn unzstd(coded: impl BufRead, limit: u64, plain: &mut Vec<u8>) -> std::io::Result<()> {
    let mut decoder = zstd::Decoder::with_buffer(coded)?;
    decoder.window_log_max(WINDOW_LOG)?;
    bounded(decoder, limit, plain)
}

fn bounded(decoder: impl Read, limit: u64, plain: &mut Vec<u8>) -> std::io::Result<()> {
    // One more tells that there is more.
    decoder.take(limit.saturating_add(1)).read_to_end(plain).map(drop)
}

/// RFC 1950 §2.2: the method, and a check over the first two bytes.
fn is_zlib(coded: &[u8]) -> bool {
    matches!(coded, [method, flags, ..] if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use hyper::header::HeaderValue;

    use super::*;

    fn coding(value: &'static str) -> Result<Option<Coding>, Error> {
        Coding::of(&HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(value))]))
    }

    #[test]
    fn codings_are_known_by_name_and_others_are_refused_by_it() {
        assert_eq!(Coding::of(&HeaderMap::new()), Ok(None));
        for (name, is) in
            [("identity", None), ("GZIP", Some(Coding::Gzip)), ("zstd", Some(Coding::Zstd)), (" deflate", Some(Coding::Deflate))]
        {
            assert_eq!(coding(name), Ok(is));
        }
        for name in ["br", "gzip, gzip", "gzip,zstd"] {
            let error = coding(name).unwrap_err();
            assert_eq!(error.status.as_u16(), 415);
            assert!(error.message.contains(name) && error.message.contains(CODINGS), "{}", error.message);
        }
    }

    fn coded(plain: &[u8]) -> [(Coding, Vec<u8>); 4] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(plain).unwrap();
        zlib.write_all(plain).unwrap();
        raw.write_all(plain).unwrap();
        [
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
            (Coding::Zstd, zstd::bulk::compress(plain, 19).unwrap()),
        ]
    }

    #[test]
    fn a_body_is_bounded_by_what_it_becomes() {
        let plain = vec![b'x'; 5_000_000];
        for (coding, small) in coded(&plain) {
            assert!(small.len() < 10_000);
            assert_eq!(coding.decode_now(&small, 5_000_000).unwrap(), plain, "{coding:?}");
            assert_eq!(coding.decode_now(&small, 4_999_999).unwrap_err().status.as_u16(), 413, "{coding:?}");
        }
    }

    #[test]
    fn what_is_no_such_body_is_refused() {
        for (coding, mut small) in coded(b"{\"a\": 1}, and some more of it") {
            small.truncate(small.len() - 3);
            assert_eq!(coding.decode_now(&small, 1000).unwrap_err().param.as_deref(), Some("Content-Encoding"), "cut: {coding:?}");
            assert_eq!(coding.decode_now(b"{\"plain\": true}", 1000).unwrap_err().status.as_u16(), 400, "{coding:?}");
        }
        // A window of 2 GiB, which a sender may ask for and does not get.
        let huge = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        assert_eq!(Coding::Zstd.decode_now(&huge, 1000).unwrap_err().status.as_u16(), 400);
    }
}
