//! Certificates of an authority of a test's own.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::PathBuf;

/// An authority with its certificate `ca.pem` and others', in a folder that goes with it.
pub struct Authority {
    pub folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// With certificates of a server at 127.0.0.1, a client, and another server.
    pub fn new(name: &str) -> Authority {
        let folder = std::env::temp_dir().join(format!("fantail-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // A leaf of its issuer's name would be taken for self-signed.
        params.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        let authority = Authority { folder, issuer };
        for (file, name) in [("server", "127.0.0.1"), ("client", "a client"), ("other", "another.example")] {
            authority.issue(file, name);
        }
        authority
    }

    /// Writes a certificate that is its own authority, and its key, to `FILE.pem` and `FILE.key`.
    pub fn issue_by_itself(&self, file: &str, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(self.folder.join(format!("{file}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(self.folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// Writes a new certificate and its key to `FILE.pem` and `FILE.key`, whatever was there.
    pub fn issue(&self, file: &str, name: &str) {
        let (certificate, key) = self.certificate(name);
        std::fs::write(self.folder.join(format!("{file}.pem")), certificate).unwrap();
        std::fs::write(self.folder.join(format!("{file}.key")), key).unwrap();
    }

    /// A new certificate and its key, PEM.
    pub fn certificate(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
