//! Signing tokens, for who tries a node out. A node signs nothing; in earnest the application does.
//!
//! A key is a file as `--jwt-key` has it where that is a shared secret, else the private half of what nodes have.

use super::keys::{KeyError, KeySet, MAX_BYTES};
use crate::file_watch::{FileError, FileWatch};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use ring::{error, hmac};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Why a key signs no tokens; says what to change, and quotes nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("it is a public key, which verifies tokens: the private one signs them")]
    Public,
    #[error("it is no private key of RSA, P-256, P-384 or Ed25519 in PKCS #8 (openssl genpkey)")]
    NoPrivateKey,
    #[error("it is a key for {own:?}, not for {said:?}")]
    OtherAlgorithm { own: Algorithm, said: Algorithm },
    #[error("it does not sign")]
    Failed,
}

/// Why a file is no key that signs; names the file.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path}: {why}", path = path.display())]
    Key {
        path: PathBuf,
        #[source]
        why: SigningError,
    },
}

/// A key that signs tokens by one algorithm.
pub struct Signer {
    algorithm: Algorithm,
    key: SigningKey,
}

enum SigningKey {
    Secret(hmac::Key),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Curve(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

impl Signer {
    /// Reads a file as [`from_bytes`](Signer::from_bytes) does its content.
    pub fn from_file(path: &Path, algorithm: Option<Algorithm>) -> Result<Signer, SignerError> {
        let watch = FileWatch::new(&[path.to_owned()], MAX_BYTES as u64)?;
        let bytes = watch.contents().first().map_or(&[][..], |bytes| &bytes[..]);
        Signer::from_bytes(bytes, algorithm).map_err(|why| SignerError::Key { path: path.to_owned(), why })
    }

    /// Reads a key: a shared secret in any form that a node reads, or a private key in PEM. `algorithm` is for keys that do
    /// not name theirs.
    pub fn from_bytes(bytes: &[u8], algorithm: Option<Algorithm>) -> Result<Signer, SigningError> {
        match KeySet::from_file(bytes, algorithm) {
            Ok(keys) => {
                let (algorithm, secret) = keys.secret().ok_or(SigningError::Public)?;
                let hash = match algorithm {
                    Algorithm::HS384 => hmac::HMAC_SHA384,
                    Algorithm::HS512 => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                Ok(Signer { algorithm, key: SigningKey::Secret(hmac::Key::new(hash, secret)) })
            }
            Err(KeyError::Private) => private(bytes, algorithm),
            Err(error) => Err(error.into()),
        }
    }

    /// A token of these claims (RFC 7515, section 3.1).
    pub fn sign(&self, claims: &Map<String, Value>) -> Result<String, SigningError> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT"});
        let message = format!("{}.{}", part(&header), part(&Value::Object(claims.clone())));
        let signature = self.key.sign(message.as_bytes()).map_err(|_| SigningError::Failed)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl SigningKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, error::Unspecified> {
        let random = SystemRandom::new();
        Ok(match self {
            SigningKey::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
            SigningKey::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(*encoding, &random, message, &mut signature)?;
                signature
            }
            SigningKey::Curve(key) => key.sign(&random, message)?.as_ref().to_vec(),
            SigningKey::Edwards(key) => key.sign(message).as_ref().to_vec(),
        })
    }
}

/// Reads a private key in PEM; which kind it is, is found by trying.
fn private(bytes: &[u8], said: Option<Algorithm>) -> Result<Signer, SigningError> {
    let der = PrivateKeyDer::from_pem_slice(bytes).map_err(|_| SigningError::NoPrivateKey)?;
    let pkcs8 = match &der {
        PrivateKeyDer::Pkcs8(der) => der.secret_pkcs8_der(),
        PrivateKeyDer::Pkcs1(der) => {
            let key = RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| SigningError::NoPrivateKey)?;
            return rsa(key, said);
        }
        _ => return Err(SigningError::NoPrivateKey),
    };
    let random = SystemRandom::new();
    let curve = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &random).map(SigningKey::Curve);
    // OpenSSL writes no public half beside it, so nothing can be compared with it.
    let (own, key) = if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8) {
        (Algorithm::EdDSA, SigningKey::Edwards(key))
    } else if let Ok(key) = curve(&ECDSA_P256_SHA256_FIXED_SIGNING) {
        (Algorithm::ES256, key)
    } else if let Ok(key) = curve(&ECDSA_P384_SHA384_FIXED_SIGNING) {
        (Algorithm::ES384, key)
    } else {
        let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| SigningError::NoPrivateKey)?;
        return rsa(key, said);
    };
    match said {
        Some(said) if said != own => Err(SigningError::OtherAlgorithm { own, said }),
        _ => Ok(Signer { algorithm: own, key }),
    }
}

fn rsa(key: RsaKeyPair, said: Option<Algorithm>) -> Result<Signer, SigningError> {
    let algorithm = said.unwrap_or(Algorithm::RS256);
    let encoding: &'static dyn RsaEncoding = match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_SHA512,
        Algorithm::PS256 => &RSA_PSS_SHA256,
        Algorithm::PS384 => &RSA_PSS_SHA384,
        Algorithm::PS512 => &RSA_PSS_SHA512,
        said => return Err(SigningError::OtherAlgorithm { own: Algorithm::RS256, said }),
    };
    Ok(Signer { algorithm, key: SigningKey::Rsa(Box::new(key), encoding) })
}
