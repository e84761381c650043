//! Keys that tokens are verified with: read from PEM, JWK (RFC 7517), or a raw secret. Pure.
//!
//! A key has exactly one algorithm (RFC 8725, section 3.1), so a token's header can choose among keys, never how one of
//! them is used. A set has shared secrets or public keys, never both.

use super::crypto;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

/// The largest key file or answer of a key server, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Keys of one set, and so those that are tried for a token without `kid`.
pub const MAX_KEYS: usize = 100;
/// RSA keys that ring takes, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key and what it is for.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: Option<String>,
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
}

/// Keys that are used together.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Why keys of a JWK Set cannot be used.
    skipped: Vec<String>,
}

/// Why keys cannot be used; says what to change, and quotes nothing of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("it is no JSON: {0}")]
    NoJson(#[source] serde_json::Error),
    #[error("it has neither \"keys\" (a JWK Set) nor \"kty\" (a JWK)")]
    NoJwk,
    #[error("there is no key in it that tokens could be verified with")]
    NoKey,
    /// With the reason of the first that could not be used.
    #[error("there is no key in it that tokens could be verified with: {0}")]
    NoUsableKey(String),
    #[error("it has {0} keys; {MAX_KEYS} are allowed")]
    TooMany(usize),
    #[error("it mixes shared secrets with public keys: use one kind alone")]
    Mixed,
    #[error("a shared secret is for HS256, HS384 or HS512, not {0:?}")]
    SecretFor(Algorithm),
    #[error("the secret has {bytes} bytes; {algorithm:?} needs {needed} (openssl rand -hex 64)")]
    ShortSecret { bytes: usize, needed: usize, algorithm: Algorithm },
    #[error("it is a private key, which signs tokens: a node needs the public one (openssl pkey -pubout)")]
    Private,
    #[error("it is a certificate: give its public key (openssl x509 -pubkey -noout)")]
    Certificate,
    #[error("PEM of kind {0:?}; a PUBLIC KEY is needed")]
    PemKind(String),
    #[error("it is no public key of RSA, P-256, P-384 or Ed25519")]
    NoPublicKey,
    #[error("a PEM has no shared secret")]
    SecretInPem,
    #[error("its curve is neither P-256 nor P-384")]
    UnknownCurve,
    #[error("it is a shared secret (kty \"oct\") that a server publishes: whoever reads it could make tokens")]
    PublishedSecret,
    #[error("it lacks members of a key of kind {0}")]
    LacksMembers(String),
    #[error("it cannot be read as a key of kind {0}")]
    Unreadable(String),
    #[error("{0:?} is no base64url")]
    NoBase64(&'static str),
    #[error("an RSA key of {0} bits; {from} to {to} are taken", from = RSA_BITS.start(), to = RSA_BITS.end())]
    RsaBits(usize),
    #[error(transparent)]
    Decoding(#[from] jsonwebtoken::errors::Error),
    #[error("its coordinates are not of its curve")]
    OffCurve,
    #[error("it is a key for {own:?}, not for {said:?}")]
    OtherAlgorithm { own: Algorithm, said: Algorithm },
}

/// Whom a set comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    File,
    /// A server publishes it, so there are no secrets in it.
    Server,
}

impl KeySet {
    /// Reads a file: PEM, a JWK or JWK Set, or else a secret, its last line break left out.
    ///
    /// `algorithm` is for keys that do not name theirs. Errors say what to change.
    pub fn from_file(bytes: &[u8], algorithm: Option<Algorithm>) -> Result<KeySet, KeyError> {
        let text = std::str::from_utf8(bytes).map(str::trim_start).unwrap_or_default();
        if text.starts_with("-----BEGIN ") {
            return KeySet::from_pem(text, algorithm);
        }
        if text.starts_with('{') {
            return KeySet::from_jwks(bytes, Origin::File, algorithm);
        }
        let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        KeySet::of(vec![secret_key(None, secret, algorithm.unwrap_or(Algorithm::HS256))?], Vec::new())
    }

    fn from_pem(text: &str, algorithm: Option<Algorithm>) -> Result<KeySet, KeyError> {
        let blocks = text.split("-----BEGIN ").skip(1);
        let keys = blocks.map(|block| pem_key(&format!("-----BEGIN {block}"), algorithm));
        KeySet::of(keys.collect::<Result<_, _>>()?, Vec::new())
    }

    /// Reads a JWK Set or a single JWK. Keys of other kinds and for other uses are left out, and those that cannot be used are
    /// skipped, as RFC 7517, section 5, asks: one bad key must not take the others' tokens away.
    pub fn from_jwks(bytes: &[u8], origin: Origin, algorithm: Option<Algorithm>) -> Result<KeySet, KeyError> {
        let value: Value = serde_json::from_slice(bytes).map_err(KeyError::NoJson)?;
        let list = match &value["keys"] {
            Value::Array(list) => list.clone(),
            _ if value["kty"].is_string() => vec![value],
            _ => return Err(KeyError::NoJwk),
        };
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for value in list {
            let name = value["kid"].as_str().unwrap_or("without kid").to_owned();
            match jwk(value, origin).and_then(|jwk| jwk.map_or(Ok(None), |jwk| jwk_key(&jwk, algorithm))) {
                Ok(key) => keys.extend(key),
                Err(why) => skipped.push(format!("key {name:?}: {why}")),
            }
        }
        KeySet::of(keys, skipped)
    }

    /// Checks what concerns several keys.
    fn of(keys: Vec<Key>, skipped: Vec<String>) -> Result<KeySet, KeyError> {
        let secrets = keys.iter().filter(|key| key.decoding.family() == AlgorithmFamily::Hmac).count();
        match keys.len() {
            0 => match skipped.first() {
                None => Err(KeyError::NoKey),
                Some(why) => Err(KeyError::NoUsableKey(why.clone())),
            },
            n if n > MAX_KEYS => Err(KeyError::TooMany(n)),
            _ if secrets != 0 && secrets != keys.len() => Err(KeyError::Mixed),
            _ => Ok(KeySet { keys, skipped }),
        }
    }

    /// The keys of several files as one set.
    pub fn merge(sets: Vec<KeySet>) -> Result<KeySet, KeyError> {
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for set in sets {
            keys.extend(set.keys);
            skipped.extend(set.skipped);
        }
        KeySet::of(keys, skipped)
    }

    /// Why keys that are for tokens cannot be used; each names its key.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Keys that a token may have been signed with: those of its `kid`, and those without an id.
    pub fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| {
            key.algorithm == algorithm && (kid.is_none() || key.id.is_none() || key.id.as_deref() == kid)
        })
    }

    /// Whether a `kid` is known, or need not be.
    pub fn knows(&self, kid: Option<&str>) -> bool {
        self.keys.iter().any(|key| kid.is_none() || key.id.is_none() || key.id.as_deref() == kid)
    }

    /// The first shared secret and what it is for: it signs tokens, too.
    pub fn secret(&self) -> Option<(Algorithm, &[u8])> {
        let secret = self.keys.iter().find(|key| key.decoding.family() == AlgorithmFamily::Hmac)?;
        secret.decoding.try_get_as_bytes().ok().map(|bytes| (secret.algorithm, bytes))
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The algorithms, each once, for people.
    pub fn algorithms(&self) -> String {
        let mut names: Vec<String> = self.keys.iter().map(|key| format!("{:?}", key.algorithm)).collect();
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }
}

/// RFC 7518, section 3.2: a key as long as the hash at least.
fn secret_key(id: Option<String>, secret: &[u8], algorithm: Algorithm) -> Result<Key, KeyError> {
    let needed = match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        other => return Err(KeyError::SecretFor(other)),
    };
    match secret.len() {
        bytes if bytes < needed => Err(KeyError::ShortSecret { bytes, needed, algorithm }),
        _ => Ok(Key { id, algorithm, decoding: DecodingKey::from_secret(secret) }),
    }
}

fn pem_key(block: &str, algorithm: Option<Algorithm>) -> Result<Key, KeyError> {
    let label = block.trim_start_matches("-----BEGIN ").split("-----").next().unwrap_or_default().to_owned();
    match label.as_str() {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        _ if label.contains("PRIVATE") => return Err(KeyError::Private),
        "CERTIFICATE" => return Err(KeyError::Certificate),
        _ => return Err(KeyError::PemKind(label)),
    }
    let bytes = block.as_bytes();
    let key = DecodingKey::from_rsa_pem(bytes);
    // Each reader checks the kind of key, but the one for RSA takes any.
    let key = DecodingKey::from_ec_pem(bytes).or_else(|_| DecodingKey::from_ed_pem(bytes)).or(key);
    let decoding = key.map_err(|_| KeyError::NoPublicKey)?;
    let own = match decoding.family() {
        AlgorithmFamily::Ec => curve_of_point(&decoding)?,
        AlgorithmFamily::Ed => Algorithm::EdDSA,
        AlgorithmFamily::Rsa => Algorithm::RS256,
        AlgorithmFamily::Hmac => return Err(KeyError::SecretInPem),
    };
    Ok(Key { id: None, algorithm: chosen(&decoding, own, algorithm)?, decoding })
}

/// An uncompressed point (SEC 1, section 2.3.3) has a byte and two coordinates.
fn curve_of_point(key: &DecodingKey) -> Result<Algorithm, KeyError> {
    match key.try_get_as_bytes().map(<[u8]>::len) {
        Ok(65) => Ok(Algorithm::ES256),
        Ok(97) => Ok(Algorithm::ES384),
        _ => Err(KeyError::UnknownCurve),
    }
}

/// Reads one member of a set; `None` for a key of an unknown kind.
fn jwk(value: Value, origin: Origin) -> Result<Option<Jwk>, KeyError> {
    let kind = value["kty"].as_str().unwrap_or_default().to_owned();
    if !["RSA", "EC", "OKP", "oct"].contains(&kind.as_str()) {
        return Ok(None);
    }
    if origin == Origin::Server && kind == "oct" {
        return Err(KeyError::PublishedSecret);
    }
    let for_others = value["use"].as_str().is_some_and(|usage| usage != "sig");
    let curve = value["crv"].as_str().unwrap_or_default();
    let known = ["RSA", "oct"].contains(&kind.as_str()) || ["P-256", "P-384", "Ed25519"].contains(&curve);
    match serde_json::from_value::<Jwk>(value) {
        // Of a known kind it is such for the lack of a member.
        Ok(jwk) if known && matches!(jwk.algorithm, AlgorithmParameters::Other(_)) && !for_others => {
            Err(KeyError::LacksMembers(kind))
        }
        Ok(jwk) => Ok(Some(jwk)),
        Err(_) if for_others => Ok(None),
        // What serde says may quote the key.
        Err(_) => Err(KeyError::Unreadable(kind)),
    }
}

/// `None` for a key of a kind or use that is not ours.
fn jwk_key(jwk: &Jwk, algorithm: Option<Algorithm>) -> Result<Option<Key>, KeyError> {
    let id = jwk.common.key_id.clone();
    let named = match jwk.common.key_algorithm.map(Algorithm::try_from) {
        None => None,
        Some(Ok(named)) => Some(named),
        // For encryption, or unknown here.
        Some(Err(_)) => return Ok(None),
    };
    let verifies = |ops: &Vec<KeyOperations>| ops.contains(&KeyOperations::Verify);
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature)
        || !jwk.common.key_operations.as_ref().is_none_or(verifies)
    {
        return Ok(None);
    }
    let own = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(key) => {
            let secret = URL_SAFE_NO_PAD.decode(&key.value).map_err(|_| KeyError::NoBase64("k"))?;
            return secret_key(id, &secret, named.or(algorithm).unwrap_or(Algorithm::HS256)).map(Some);
        }
        AlgorithmParameters::RSA(key) => {
            let modulus = URL_SAFE_NO_PAD.decode(&key.n).map_err(|_| KeyError::NoBase64("n"))?;
            let bits = modulus.iter().skip_while(|byte| **byte == 0).count() * 8;
            if !RSA_BITS.contains(&bits) {
                return Err(KeyError::RsaBits(bits));
            }
            Algorithm::RS256
        }
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => Algorithm::ES256,
            EllipticCurve::P384 => Algorithm::ES384,
            _ => return Ok(None),
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return Ok(None),
    };
    let decoding = DecodingKey::from_jwk(jwk)?;
    if decoding.family() == AlgorithmFamily::Ec && curve_of_point(&decoding)? != own {
        return Err(KeyError::OffCurve);
    }
    let algorithm = chosen(&decoding, own, named.or(algorithm.filter(|a| fits(&decoding, *a))))?;
    Ok(Some(Key { id, algorithm, decoding }))
}

fn fits(key: &DecodingKey, algorithm: Algorithm) -> bool {
    crypto::family(algorithm).is_ok_and(|family| family == key.family())
}

/// What a key is for: what was said, if that can be; RSA keys fit six algorithms, all others one.
fn chosen(key: &DecodingKey, own: Algorithm, said: Option<Algorithm>) -> Result<Algorithm, KeyError> {
    let Some(said) = said else { return Ok(own) };
    match key.family() {
        AlgorithmFamily::Rsa if fits(key, said) => Ok(said),
        _ if said == own => Ok(own),
        _ => Err(KeyError::OtherAlgorithm { own, said }),
    }
}

#[cfg(test)]
mod tests;
