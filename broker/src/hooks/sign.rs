//! Signatures as Standard Webhooks has them: HMAC-SHA256 over id, time and body.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// What messages are signed with; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// `whsec_` and base64, as the specification has it, or any other text as it is.
    ///
    /// # Errors
    /// When what follows `whsec_` is not base64, or there is too little of it to be a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = match text.strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| "what follows `whsec_` is not base64".to_owned())?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < 16 {
            return Err(format!("{} bytes are too few for a secret; use at least 16, better 32", bytes.len()));
        }
        Ok(Self(bytes.into()))
    }

    /// The header's value for one message.
    #[must_use]
    pub fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example_has_its_signature() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{secret:?}"), "Secret");
    }

    #[test]
    fn a_secret_is_long_enough_and_well_written() {
        assert!(Secret::parse("whsec_!").unwrap_err().contains("base64"));
        assert!(Secret::parse("short").unwrap_err().contains("5 bytes are too few"));
        assert_eq!(Secret::parse("a plain text of some length").unwrap().0[..2], *b"a ");
    }
}
