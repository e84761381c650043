//! Where keys come from, and how they stay fresh: files that are read again when they change, or a key server.
//!
//! Whatever fails later, the last good set is kept.

use super::fetch::{FetchError, Fetcher};
use super::keys::{KeyError, KeySet, MAX_BYTES, Origin};
use super::metrics::{AuthMetrics, KeyRead};
use super::settings::AuthSettings;
use crate::file_watch::{FileError, FileWatch};
use crate::metrics::Registry;
use crate::random::Random;
use crate::trust::TrustError;
use crate::watched as watch;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::ACCEPT;
use hyper::{Request, Uri};
use jsonwebtoken::Algorithm;
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// For one answer of the key server.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// After a fetch that failed, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Unknown key ids cause no more than one fetch in this time, whatever clients send.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(10);
/// How long a token with an unknown key id waits for that fetch.
const UNKNOWN_KEY_WAIT: Duration = Duration::from_secs(2);

/// Skipped keys that are said, of each set that is read.
const SAID: usize = 5;

/// Why there are no keys; names the setting.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    #[error("--jwt-key {0}")]
    File(#[from] FileError),
    #[error("--jwt-key {path}: {why}", path = path.display())]
    Keys {
        path: PathBuf,
        #[source]
        why: KeyError,
    },
    /// The keys of several files do not go together.
    #[error("--jwt-key: {0}")]
    Together(#[source] KeyError),
    #[error("--auth-ca {0}")]
    Authorities(#[from] TrustError),
    #[error("--jwt-jwks-url {url}: {why}")]
    Server {
        url: Uri,
        #[source]
        why: ServerError,
    },
}

/// Why a key server gives no keys.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    #[error(transparent)]
    Exchange(#[from] FetchError),
    #[error("it answers {0}")]
    Status(u16),
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// The node's keys.
pub struct KeySource {
    keys: RwLock<Option<Arc<KeySet>>>,
    place: Place,
    algorithm: Option<Algorithm>,
    metrics: Arc<AuthMetrics>,
    random: Random,
    attempt: Mutex<Attempt>,
    wanted: Notify,
    /// Counts fetches that ended.
    rounds: watch::Sender<u64>,
}

enum Place {
    Files(Vec<PathBuf>),
    Server(Uri, Box<Fetcher>),
}

/// The latest fetch.
struct Attempt {
    running: bool,
    ended: Option<Instant>,
}

impl KeySource {
    /// Reads the files, or begins to ask the server; keeps them fresh on `runtime`. `Err` names the setting.
    pub fn start(
        settings: &AuthSettings,
        metrics: Arc<AuthMetrics>,
        random: Random,
        runtime: &Handle,
    ) -> Result<Arc<KeySource>, KeySourceError> {
        let source = Arc::new(KeySource::new(settings, metrics, random)?);
        match &source.place {
            Place::Files(files) => {
                let watch = read_files(files)?;
                source.take(parse_files(&watch, watch.contents(), source.algorithm)?);
                runtime.spawn(source.clone().look(watch));
            }
            Place::Server(..) => drop(runtime.spawn(source.clone().refresh(settings.jwt_refresh))),
        }
        Ok(source)
    }

    fn new(settings: &AuthSettings, metrics: Arc<AuthMetrics>, random: Random) -> Result<KeySource, KeySourceError> {
        let place = match &settings.jwt_jwks_url {
            Some(url) => {
                let fetcher = Fetcher::new(settings.auth_ca.as_deref(), FETCH_TIMEOUT)?;
                Place::Server(url.clone(), Box::new(fetcher))
            }
            None => Place::Files(settings.jwt_key.clone()),
        };
        Ok(KeySource {
            keys: RwLock::new(None),
            place,
            algorithm: settings.jwt_algorithm,
            metrics,
            random,
            attempt: Mutex::new(Attempt { running: true, ended: None }),
            wanted: Notify::new(),
            rounds: watch::Sender::new(0),
        })
    }

    /// Reads all once, for `fantail check`.
    pub async fn once(settings: &AuthSettings) -> Result<Arc<KeySet>, KeySourceError> {
        let source = KeySource::new(settings, Arc::new(AuthMetrics::new(&Registry::default())), Random::default())?;
        match &source.place {
            Place::Files(files) => {
                let watch = read_files(files)?;
                parse_files(&watch, watch.contents(), source.algorithm).map(Arc::new)
            }
            Place::Server(url, fetcher) => {
                let set = fetch(url, fetcher, source.algorithm).await;
                set.map(Arc::new).map_err(|why| KeySourceError::Server { url: url.clone(), why })
            }
        }
    }

    /// The keys as they are; `None` where the server has never answered.
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.keys.read().clone()
    }

    /// The keys, after a fetch where they do not have this id and one is due. Cancel safe.
    pub async fn with(&self, kid: Option<&str>) -> Option<Arc<KeySet>> {
        let current = self.current();
        if matches!(self.place, Place::Files(_)) || current.as_ref().is_some_and(|keys| keys.knows(kid)) {
            return current;
        }
        let mut rounds = self.rounds.subscribe();
        if self.ask() {
            let _ = timeout(UNKNOWN_KEY_WAIT, rounds.changed()).await;
        }
        self.current()
    }

    /// Asks for a fetch; whether one is on its way.
    fn ask(&self) -> bool {
        let mut attempt = self.attempt.lock();
        if !attempt.running && attempt.ended.is_none_or(|ended| ended.elapsed() >= UNKNOWN_KEY_PAUSE) {
            attempt.running = true;
            self.wanted.notify_one();
        }
        attempt.running
    }

    fn take(&self, set: KeySet) {
        tracing::info!(keys = set.count(), algorithms = set.algorithms(), "keys for tokens");
        for why in set.skipped().iter().take(SAID) {
            tracing::warn!(why, "a key for tokens cannot be used and is skipped");
        }
        self.metrics.auth_keys.set(set.count() as i64);
        self.metrics.auth_keys_skipped.set(set.skipped().len() as i64);
        self.metrics.auth_key_reads.inc(KeyRead::Ok);
        *self.keys.write() = Some(Arc::new(set));
    }

    fn failed(&self, error: &KeySourceError) {
        self.metrics.auth_key_reads.inc(KeyRead::Failed);
        tracing::warn!(error = error.to_string(), "keys for tokens cannot be read; those from before are kept");
    }

    async fn look(self: Arc<KeySource>, mut watch: FileWatch) {
        loop {
            let read = watch.changed().await.map_err(KeySourceError::from);
            match read.and_then(|contents| parse_files(&watch, &contents, self.algorithm)) {
                Ok(set) => self.take(set),
                Err(error) => self.failed(&error),
            }
        }
    }

    async fn refresh(self: Arc<KeySource>, every: Duration) {
        let Place::Server(url, fetcher) = &self.place else { return };
        let mut pause = FIRST_PAUSE;
        loop {
            let wait = match fetch(url, fetcher, self.algorithm).await {
                Ok(set) => {
                    self.take(set);
                    pause = FIRST_PAUSE;
                    every
                }
                Err(why) => {
                    self.failed(&KeySourceError::Server { url: url.clone(), why });
                    let wait = pause.min(every);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    wait
                }
            };
            *self.attempt.lock() = Attempt { running: false, ended: Some(Instant::now()) };
            self.rounds.send_modify(|rounds| *rounds += 1);
            // Not all nodes at once.
            let wait = wait.mul_f64(0.9 + 0.2 * self.random.part());
            tokio::select! {
                () = sleep(wait) => {}
                () = self.wanted.notified() => {}
            }
            self.attempt.lock().running = true;
        }
    }
}

fn read_files(files: &[PathBuf]) -> Result<FileWatch, FileError> {
    FileWatch::new(files, MAX_BYTES as u64)
}

fn parse_files(
    watch: &FileWatch,
    contents: &[Vec<u8>],
    algorithm: Option<Algorithm>,
) -> Result<KeySet, KeySourceError> {
    let parse = |(path, bytes): (&PathBuf, &Vec<u8>)| {
        KeySet::from_file(bytes, algorithm).map_err(|why| KeySourceError::Keys { path: path.clone(), why })
    };
    let sets = watch.files().iter().zip(contents).map(parse).collect::<Result<Vec<_>, _>>()?;
    KeySet::merge(sets).map_err(KeySourceError::Together)
}

async fn fetch(url: &Uri, fetcher: &Fetcher, algorithm: Option<Algorithm>) -> Result<KeySet, ServerError> {
    let request = Request::get(url).header(ACCEPT, "application/jwk-set+json, application/json");
    let request = request.body(Full::<Bytes>::default())?;
    let answer = fetcher.send(request, MAX_BYTES).await?;
    match answer.status().as_u16() {
        200 => Ok(KeySet::from_jwks(answer.body(), Origin::Server, algorithm)?),
        status => Err(ServerError::Status(status)),
    }
}
