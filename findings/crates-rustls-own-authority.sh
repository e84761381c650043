#!/usr/bin/env bash
# crates.io rustls 0.23.46 with rustls-webpki: a certificate that is its own authority is refused although it is trusted.
# Guess: what `openssl req -x509` makes can be shown by a server and put into the client's list of trusted certificates, as for
# OpenSSL, curl and Go.
# Seen: such a certificate says that it is an authority (basic constraints CA:TRUE), and that may not be a server's own here:
# the error is `CaUsedAsEndEntity`. Made with `-addext basicConstraints=CA:FALSE` the same certificate is taken.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
make() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=server.test \
    -addext subjectAltName=DNS:server.test -keyout "$1.key" -out "$1.pem" "${@:2}" 2>/dev/null
}
make usual
make leaf -addext basicConstraints=critical,CA:FALSE
mkdir src
cat >Cargo.toml <<'E'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"
[dependencies]
rustls = { version = "=0.23.46", default-features = false, features = ["ring", "std"] }
[workspace]
E
cat >src/main.rs <<'E'
use rustls::client::{danger::ServerCertVerifier, WebPkiServerVerifier};
use rustls::pki_types::{pem::PemObject, CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

fn main() {
    for name in ["usual", "leaf"] {
        let certificate = CertificateDer::from_pem_file(format!("{name}.pem")).unwrap();
        let mut trusted = rustls::RootCertStore::empty();
        trusted.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(trusted), provider).build().unwrap();
        let server = ServerName::try_from("server.test").unwrap();
        match verifier.verify_server_cert(&certificate, &[], &server, &[], UnixTime::now()) {
            Ok(_) => println!("rustls, {name}: taken"),
            Err(error) => println!("rustls, {name}: {error:?}"),
        }
    }
}
E
{
  for name in usual leaf; do
    openssl verify -CAfile "$name.pem" -purpose sslserver "$name.pem" >/dev/null && echo "OpenSSL, $name: taken"
  done
  timeout 600 cargo run -q
} | tee seen
diff seen - <<'E'
OpenSSL, usual: taken
OpenSSL, leaf: taken
rustls, usual: InvalidCertificate(Other(OtherError(CaUsedAsEndEntity)))
rustls, leaf: taken
E
