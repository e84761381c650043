//! A user name or a password: bytes that are sent as they are, and shown nowhere.

use bytes::Bytes;

/// A user name or a password of Redis: any bytes but CR, LF and NUL, at which a command of one line would end.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Bytes);

/// Which byte no user name and no password may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("a carriage return (CR)")]
    CarriageReturn,
    #[error("a line feed (LF)")]
    LineFeed,
    #[error("a NUL")]
    Nul,
}

/// The first of the bytes that would end a line, or a C string.
pub fn fit(bytes: &[u8]) -> Result<(), Unfit> {
    match bytes.iter().find(|byte| b"\r\n\0".contains(byte)) {
        Some(b'\r') => Err(Unfit::CarriageReturn),
        Some(b'\n') => Err(Unfit::LineFeed),
        Some(_) => Err(Unfit::Nul),
        None => Ok(()),
    }
}

impl Credential {
    /// Takes any bytes but CR, LF and NUL.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Credential, Unfit> {
        let bytes = bytes.into();
        fit(&bytes)?;
        Ok(Credential(bytes))
    }

    /// The bytes, as they are sent.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes as a text, where they are UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_but_three_is_taken_and_none_is_shown() {
        for byte in 0..=u8::MAX {
            let taken = Credential::new(vec![b'a', byte]);
            assert_eq!(taken.is_ok(), !matches!(byte, 0 | b'\r' | b'\n'), "{byte}");
        }
        assert_eq!(Credential::new("a\rb\n"), Err(Unfit::CarriageReturn));
        assert_eq!(format!("{:?}", Credential::new("secret")), "Ok(…)");
    }
}
