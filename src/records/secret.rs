//! A traffic secret, and what is derived from it (RFC 8446, sections 7.1 to 7.3). All of it is zeroed when it goes.

use super::suite::Suite;
use ring::{aead, hkdf};
use zeroize::Zeroizing;

/// The longest secret: SHA-384's.
const MOST_SECRET: usize = 48;
/// The longest key.
const MOST_KEY: usize = 32;

/// The secret of one direction.
pub struct Secret {
    bytes: Zeroizing<[u8; MOST_SECRET]>,
    length: u8,
}

/// The key and the initialization vector of one direction. The key is kept as it is and expanded for each use: what ring
/// expands it to takes half a kilobyte, which a quiet subscriber would hold for nothing.
pub struct Keys {
    key: Zeroizing<[u8; MOST_KEY]>,
    iv: Zeroizing<[u8; aead::NONCE_LEN]>,
}

/// How many bytes ring is asked for.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Secret {
    /// A secret of these bytes; `None` where no suite has one as long.
    pub fn new(bytes: &[u8]) -> Option<Secret> {
        let mut kept = Zeroizing::new([0; MOST_SECRET]);
        kept.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Secret { bytes: kept, length: bytes.len() as u8 })
    }

    /// Whether it may be one of this suite.
    pub fn fits(&self, suite: Suite) -> bool {
        usize::from(self.length) == suite.secret_bytes()
    }

    /// The secret that follows an update of keys.
    pub fn next(&self, suite: Suite) -> Secret {
        let mut next = Secret { bytes: Zeroizing::new([0; MOST_SECRET]), length: self.length };
        self.expand(suite, b"traffic upd", &mut next.bytes[..usize::from(self.length)]);
        next
    }

    /// The keys that it stands for.
    pub fn keys(&self, suite: Suite) -> Keys {
        let mut keys = Keys { key: Zeroizing::default(), iv: Zeroizing::default() };
        self.expand(suite, b"key", &mut keys.key[..suite.aead().key_len()]);
        self.expand(suite, b"iv", &mut *keys.iv);
        keys
    }

    /// HKDF-Expand-Label without a context.
    fn expand(&self, suite: Suite, label: &[u8], into: &mut [u8]) {
        const PREFIX: &[u8] = b"tls13 ";
        let length = (into.len() as u16).to_be_bytes();
        let label_length = [(PREFIX.len() + label.len()) as u8];
        let info = [&length[..], &label_length, PREFIX, label, &[0]];
        let prk = hkdf::Prk::new_less_safe(suite.hkdf(), &self.bytes[..usize::from(self.length)]);
        let expanded = prk.expand(&info, Length(into.len())).and_then(|okm| okm.fill(into));
        expanded.expect("HKDF gives far more than a few dozen bytes");
    }
}

impl Keys {
    /// The key, as ring uses it.
    pub fn expanded(&self, suite: Suite) -> aead::LessSafeKey {
        let key = &self.key[..suite.aead().key_len()];
        aead::LessSafeKey::new(aead::UnboundKey::new(suite.aead(), key).expect("a key of the suite's length"))
    }

    /// The nonce of a record.
    pub fn nonce(&self, sequence: u64) -> aead::Nonce {
        let mut nonce = *self.iv;
        let last = nonce.last_chunk_mut::<8>().expect("a nonce is longer");
        *last = (u64::from_be_bytes(*last) ^ sequence).to_be_bytes();
        aead::Nonce::assume_unique_for_key(nonce)
    }

    /// A key of 32 bytes as rustls takes it, and the vector.
    #[cfg(test)]
    pub fn given(&self) -> (rustls::crypto::cipher::AeadKey, rustls::crypto::cipher::Iv) {
        ((*self.key).into(), (*self.iv).into())
    }

    /// Whether they are these.
    pub fn are(&self, key: &[u8], iv: &[u8]) -> bool {
        self.key.get(..key.len()) == Some(key) && self.iv[..] == *iv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("hex");
        digits.chunks(2).map(byte).collect()
    }

    /// RFC 8448, section 3: the server's application data.
    #[test]
    fn keys_are_those_of_the_example_that_the_standard_has() {
        let secret = bytes("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
        let keys = Secret::new(&secret).expect("a secret").keys(Suite::Aes128Gcm);
        assert!(keys.are(&bytes("9f02283b6c9c07efc26bb9f2ac92e356"), &bytes("cf782b88dd83549aadf1e984")));
    }

    #[test]
    fn a_secret_fits_the_suites_whose_hash_is_as_long() {
        assert!(Secret::new(&[0; 49]).is_none());
        let fits = |bytes| {
            let secret = Secret::new(&vec![1; bytes]).expect("short enough");
            [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::ChaCha20Poly1305].map(|suite| secret.fits(suite))
        };
        assert_eq!([fits(32), fits(48), fits(20)], [[true, false, true], [false, true, false], [false; 3]]);
    }
}
