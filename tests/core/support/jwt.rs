//! Tokens and keys of the tests, made with ring alone: nothing here is shared with what reads them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub const SECRET: &[u8] = b"a secret of sixty-four bytes, so that it is long enough for any!";

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A token of header and claims as they are, signed by whatever `sign` does.
pub fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(sign(message.as_bytes())))
}

pub fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

/// A token of the tests' secret; `exp` is in an hour where the claims name none.
pub fn signed(mut claims: Value) -> String {
    if claims.get("exp").is_none() {
        claims["exp"] = (now() + 3600).into();
    }
    token(&json!({"alg": "HS256", "typ": "JWT"}), &claims, |message| hs256(SECRET, message))
}

/// A token that may subscribe to these patterns.
pub fn subscriber(patterns: &[&str]) -> String {
    signed(json!({"sub": "alice", "fantail": {"subscribe": patterns}}))
}

/// A folder of a test's own, removed with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fantail-jwt-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }

    /// Writes a file, at once as others see it; its path.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let (path, fresh) = (self.0.join(name), self.0.join(format!("{name}.new")));
        std::fs::write(&fresh, bytes).expect("a file");
        std::fs::rename(&fresh, &path).expect("the same folder");
        path.display().to_string()
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The flags of a node that takes tokens of the tests' secret.
pub fn flags(folder: &Folder) -> Vec<String> {
    ["--auth", "jwt", "--jwt-key", &folder.write("secret", SECRET)].map(str::to_owned).to_vec()
}

/// A key pair, by the algorithm that its tokens name.
pub enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

/// The RSA key of the tests, PKCS #8 in PEM; ring makes none.
const RSA_PRIVATE: &str = include_str!("rsa.pem");

impl Pair {
    pub fn rsa() -> Pair {
        let text: String = RSA_PRIVATE.lines().filter(|line| !line.starts_with('-')).collect();
        Pair::Rsa(RsaKeyPair::from_pkcs8(&STANDARD.decode(text).expect("PEM")).expect("a key"))
    }

    pub fn p256() -> Pair {
        let (algorithm, random) = (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        Pair::Ec(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("its own"), "ES256")
    }

    pub fn p384() -> Pair {
        let (algorithm, random) = (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        Pair::Ec(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("its own"), "ES384")
    }

    pub fn ed25519() -> Pair {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Pair::Ed(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("its own"))
    }

    /// What a key of this kind is for where nothing else is said.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_, name) => name,
            Pair::Ed(_) => "EdDSA",
        }
    }

    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Pair::Rsa(key) => {
                let encoding: &dyn signature::RsaEncoding = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    other => panic!("{other} is none of RSA's"),
                };
                let mut out = vec![0; key.public().modulus_len()];
                key.sign(encoding, &random, message, &mut out).expect("a signature");
                out
            }
            Pair::Ec(key, _) => key.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Pair::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of this pair that may subscribe to everything for an hour.
    pub fn token(&self, algorithm: &str, kid: Option<&str>) -> String {
        let mut header = json!({"alg": algorithm});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        let claims = json!({"exp": now() + 3600, "fantail": {"subscribe": ["**"]}});
        token(&header, &claims, |message| self.sign(algorithm, message))
    }

    /// The public key as a JWK (RFC 7518, section 6; RFC 8037, section 2).
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Pair::Rsa(key) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "n": text(&public.n), "e": text(&public.e)})
            }
            Pair::Ec(key, name) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(key.public_key().as_ref().len() / 2);
                let curve = if *name == "ES256" { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
            }
            Pair::Ed(key) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref())}),
        }
    }

    /// The public key in PEM: SubjectPublicKeyInfo (RFC 5280, section 4.1), by hand.
    pub fn pem(&self) -> String {
        let (algorithm, key): (&[u8], Vec<u8>) = match self {
            Pair::Rsa(key) => (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00", key.public().as_ref().to_vec()),
            Pair::Ec(key, "ES256") => (
                b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
                key.public_key().as_ref().to_vec(),
            ),
            Pair::Ec(key, _) => (
                b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22",
                key.public_key().as_ref().to_vec(),
            ),
            Pair::Ed(key) => (b"\x06\x03\x2b\x65\x70", key.public_key().as_ref().to_vec()),
        };
        let bits = der(0x03, &[&[0], &key[..]].concat());
        let whole = der(0x30, &[der(0x30, algorithm), bits].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(whole))
    }
}

/// One element of DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        n if n < 128 => out.push(n as u8),
        n if n < 256 => out.extend([0x81, n as u8]),
        n => out.extend([0x82, (n >> 8) as u8, n as u8]),
    }
    out.extend_from_slice(content);
    out
}
