//! The token that `publish` and `tail` show a node. From a file: a flag's value is seen by all who list processes.

use clap::Args;
use hyper::header::HeaderValue;
use std::path::PathBuf;

/// Where the token is.
#[derive(Args, Clone, Debug)]
pub(super) struct Credentials {
    /// File with the token that the node is shown; read at each connect.
    #[arg(long, env = "FANTAIL_TOKEN_FILE", value_name = "PATH")]
    token_file: Option<PathBuf>,
}

impl Credentials {
    /// The header `Authorization`, where there is a token; `Err` names the file.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let bad = |why: &dyn std::fmt::Display| format!("--token-file {}: {why}", file.display());
        let text = std::fs::read_to_string(file).map_err(|e| bad(&e))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
            .map_err(|_| bad(&"not a value that a header can carry"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}
