//! A certificate that signs itself, for servers that speak TLS. Clients here check no chain.

use anyhow::Result;
use std::path::{Path, PathBuf};

/// Writes a new one and its key, as PEM; returns their files.
pub fn write(directory: &Path) -> Result<[PathBuf; 2]> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let files = ["cert.pem", "key.pem"].map(|name| directory.join(name));
    std::fs::write(&files[0], made.cert.pem())?;
    std::fs::write(&files[1], made.signing_key.serialize_pem())?;
    Ok(files)
}
