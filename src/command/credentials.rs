//! The tokens that `publish`, `tail` and `top` show a node. From a file: a flag's value is seen by all who list processes.

use clap::Args;
use hyper::header::{HeaderValue, InvalidHeaderValue};
use std::path::{Path, PathBuf};

/// Why there is no token to show; names the flag and the file.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {path}: {why}", path = path.display())]
pub(super) struct TokenError {
    flag: &'static str,
    path: PathBuf,
    #[source]
    why: Unfit,
}

#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(transparent)]
    Unreadable(#[from] std::io::Error),
    #[error("not a value that a header can carry")]
    NoHeader(#[from] InvalidHeaderValue),
}

/// Where the token is.
#[derive(Args, Clone, Debug)]
pub(super) struct Credentials {
    /// File with the token to present to the node. Read at each connect.
    #[arg(long, env = "FANTAIL_TOKEN_FILE", value_name = "PATH")]
    token_file: Option<PathBuf>,
}

impl Credentials {
    /// The header `Authorization`, where there is a token.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, TokenError> {
        self.token_file.as_deref().map(|file| bearer("--token-file", file, str::trim)).transpose()
    }
}

/// Where the token is that a node's operators' listener wants.
#[derive(Args, Clone, Debug)]
pub(super) struct AdminCredentials {
    /// File with the operators' token, as the nodes have it. The first line counts. Read at each refresh.
    #[arg(long, env = "FANTAIL_ADMIN_TOKEN_FILE", value_name = "PATH")]
    admin_token_file: Option<PathBuf>,
}

impl AdminCredentials {
    /// The header `Authorization`, where there is a token.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, TokenError> {
        self.admin_token_file.as_deref().map(|file| bearer("--admin-token-file", file, first_line)).transpose()
    }
}

fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

fn bearer(flag: &'static str, file: &Path, token: impl Fn(&str) -> &str) -> Result<HeaderValue, TokenError> {
    let read = || -> Result<HeaderValue, Unfit> {
        let text = std::fs::read_to_string(file)?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token(&text)))?;
        value.set_sensitive(true);
        Ok(value)
    };
    read().map_err(|why| TokenError { flag, path: file.to_owned(), why })
}
