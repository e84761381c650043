//! What jsonwebtoken verifies signatures with: ring, the one cryptography that the node has already.
//!
//! jsonwebtoken leaves the choice open and brings two others, one of which needs a C++ toolchain. It checks that key and
//! algorithm belong together; here each algorithm is given its counterpart of ring's.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    // A node signs nothing.
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    verifier_factory: |algorithm, key| Ok(Box::new(Signature::new(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring the process' choice; further calls change nothing.
pub fn install() {
    let _ = PROVIDER.install_default();
}

/// One algorithm with one key.
struct Signature {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What ring calls the algorithm.
enum Scheme {
    Mac(ring::hmac::Algorithm),
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

impl Signature {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Signature, Error> {
        if key.family() != family(algorithm)? {
            return Err(new_error(ErrorKind::InvalidKeyFormat));
        }
        Ok(Signature { algorithm, key: key.clone() })
    }

    fn check(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let bad = |_| new_error(ErrorKind::InvalidSignature);
        match (scheme(self.algorithm)?, self.key.kind()) {
            (Scheme::Mac(hash), DecodingKeyKind::SecretOrDer(secret)) => {
                ring::hmac::verify(&ring::hmac::Key::new(hash, secret), message, signature).map_err(bad)
            }
            (Scheme::Rsa(scheme), DecodingKeyKind::SecretOrDer(der)) => {
                UnparsedPublicKey::new(scheme, der).verify(message, signature).map_err(bad)
            }
            (Scheme::Rsa(scheme), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(scheme, message, signature).map_err(bad)
            }
            (Scheme::Curve(scheme), DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(scheme, point).verify(message, signature).map_err(bad)
            }
            _ => Err(new_error(ErrorKind::InvalidKeyFormat)),
        }
    }
}

impl Verifier<Vec<u8>> for Signature {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.check(message, signature).map_err(signature::Error::from_source)
    }
}

impl JwtVerifier for Signature {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// The kind of key that an algorithm takes.
pub fn family(algorithm: Algorithm) -> Result<AlgorithmFamily, Error> {
    use Algorithm::*;
    Ok(match algorithm {
        HS256 | HS384 | HS512 => AlgorithmFamily::Hmac,
        RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => AlgorithmFamily::Rsa,
        ES256 | ES384 => AlgorithmFamily::Ec,
        EdDSA => AlgorithmFamily::Ed,
        _ => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    })
}

/// RFC 7518, section 3.1, and RFC 8037, section 3.1, in ring's words.
fn scheme(algorithm: Algorithm) -> Result<Scheme, Error> {
    Ok(match algorithm {
        Algorithm::HS256 => Scheme::Mac(ring::hmac::HMAC_SHA256),
        Algorithm::HS384 => Scheme::Mac(ring::hmac::HMAC_SHA384),
        Algorithm::HS512 => Scheme::Mac(ring::hmac::HMAC_SHA512),
        Algorithm::RS256 => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Scheme::Rsa(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Scheme::Rsa(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Scheme::Rsa(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Scheme::Curve(&ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Scheme::Curve(&ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Scheme::Curve(&ED25519),
        _ => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    })
}
