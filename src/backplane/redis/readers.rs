//! Connections that read entries: so many at once, each for one call at a time.
//!
//! Apart from the live connection, so that neither a long reply nor a slow one delays what is reported there. Where the
//! server can, what they read is reported at the live connection; see [`Reader::report_to`].

use super::connection::STALE;
use super::reader::Reader;
use super::reader::reply::{Reply, Rest, Taken};
use super::reader::request::Request;
use super::target::Target;
use crate::backplane::error::Refusal;
use crate::backplane::{BackplaneError, Changes};
use crate::watched as watch;
use futures_util::future::join_all;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What of a reply that is not wanted is passed over, in bytes, to keep a connection by which streams are reported.
/// Beyond that, to read all streams again costs less.
const PASSED_OVER: usize = 64 << 20;
/// Connections that are kept while nothing is read.
const KEPT: usize = 2;

/// Connections that read entries, of which a bounded number is lent at once.
pub struct Readers {
    target: Arc<Target>,
    changes: Arc<Changes>,
    patience: Duration,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    may_ping: AtomicBool,
    /// Changes whenever what a server says is not to be believed any more.
    era: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    idle: Vec<Reader>,
    report_to: Option<String>,
}

impl Readers {
    /// `most` at once; `patience`: how long one may bring nothing while something is waited for.
    pub fn new(target: Arc<Target>, changes: Arc<Changes>, patience: Duration, most: usize) -> Readers {
        let (permits, state, era) = (Arc::new(Semaphore::new(most)), Mutex::default(), watch::Sender::new(0));
        Readers { target, changes, patience, permits, state, may_ping: AtomicBool::new(true), era }
    }

    /// From now on, whatever is read is reported at that connection where the server does that.
    pub fn report_to(&self, client: Option<String>) {
        self.leave();
        self.state.lock().report_to = client;
    }

    /// Ends all calls, and forgets all connections: what that server says is not to be believed any more.
    pub fn leave(&self) {
        *self.state.lock() = State::default();
        self.era.send_modify(|era| *era += 1);
    }

    /// Looks whether connections that are idle are still there: the server may close them for that, and what was read by
    /// one is reported only while it lives.
    pub fn check(&self) {
        let mut state = self.state.lock();
        let before = state.idle.len();
        state.idle.retain_mut(Reader::is_open);
        let lost = state.idle.len() < before && state.report_to.is_some();
        drop(state);
        if lost {
            self.changes.doubt();
        }
    }

    /// Asks connections that have been idle for so long whether they are still there, and replaces those that are not.
    pub async fn look(self: &Arc<Readers>, idle: Duration) {
        if self.may_ping.load(Ordering::Relaxed) {
            join_all(self.long_idle(idle).into_iter().map(Loan::look)).await;
        }
    }

    /// Borrows those that have been idle for so long; nobody else finds them meanwhile.
    fn long_idle(self: &Arc<Readers>, idle: Duration) -> Vec<Loan> {
        let mut state = self.state.lock();
        let mut loans = Vec::new();
        for reader in std::mem::take(&mut state.idle) {
            // Without a permit, so many calls are on their way that the look can wait.
            match Some(&reader).filter(|r| r.idle() >= idle).and_then(|_| self.permits.clone().try_acquire_owned().ok())
            {
                Some(permit) => loans.push(self.lend(Some(reader), permit)),
                None => state.idle.push(reader),
            }
        }
        loans
    }

    /// Lends a connection; `reader`: one that was idle.
    fn lend(self: &Arc<Readers>, reader: Option<Reader>, permit: OwnedSemaphorePermit) -> Loan {
        let used = reader.is_some();
        Loan { readers: self.clone(), reader, era: self.era.subscribe(), used, _permit: permit }
    }

    /// Borrows a connection for one call. The most that waits for one is bounded by whoever calls.
    pub async fn take(self: &Arc<Readers>) -> Result<Loan, BackplaneError> {
        let Ok(Ok(permit)) = timeout(self.patience, self.permits.clone().acquire_owned()).await else {
            return Err(BackplaneError::down("too many commands are on their way"));
        };
        let era = self.era.subscribe();
        let idle = {
            let mut state = self.state.lock();
            // Where nobody could look whether it still leads anywhere, a new one is quicker. One that arms is used
            // all the same: with it, its streams would be forgotten.
            state.idle.retain(|reader| reader.arms || reader.idle() < STALE);
            state.idle.pop()
        };
        let used = idle.is_some();
        let reader = match idle {
            Some(reader) => reader,
            None => self.open().await?,
        };
        Ok(Loan { readers: self.clone(), reader: Some(reader), era, used, _permit: permit })
    }

    async fn open(&self) -> Result<Reader, BackplaneError> {
        let opened = Reader::open(&self.target.for_side()?, self.patience).await;
        let mut reader = opened.map_err(BackplaneError::into_down)?;
        let report_to = self.state.lock().report_to.clone();
        if let Some(client) = report_to {
            reader.report_to(&client).await?;
        }
        Ok(reader)
    }
}

/// A connection that is lent for one call.
pub struct Loan {
    readers: Arc<Readers>,
    /// Taken out only where it is given back or given up.
    reader: Option<Reader>,
    era: watch::Receiver<u64>,
    /// Whether it was idle before, so that the server may have closed it.
    used: bool,
    _permit: OwnedSemaphorePermit,
}

impl Loan {
    /// Whether what is read here is reported at the live connection.
    pub fn arms(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.arms)
    }

    /// Sends commands; all of them may be sent twice, where a connection turns out to be gone that was idle.
    pub async fn ask(&mut self, commands: &Request) -> Result<(), BackplaneError> {
        let asked = self.asked(commands).await;
        if asked.is_ok() || !std::mem::take(&mut self.used) {
            return asked;
        }
        self.give_up();
        self.reader = Some(self.readers.open().await?);
        self.asked(commands).await
    }

    async fn asked(&mut self, commands: &Request) -> Result<(), BackplaneError> {
        let first = self.used;
        let reader = self.connection()?;
        reader.ask(commands).await?;
        if first {
            // Whether it is still there shows with the first byte of an answer.
            reader.await_byte().await?;
        }
        Ok(())
    }

    /// The connection; `Err` once it is given up, or the server was left.
    pub fn connection(&mut self) -> Result<&mut Reader, BackplaneError> {
        let left = || BackplaneError::down("the server may be another one now");
        if self.era.has_changed().unwrap_or(true) {
            return Err(left());
        }
        self.reader.as_mut().ok_or_else(left)
    }

    /// Runs one step of the call; it ends when the server is left.
    pub async fn within<T>(
        mut era: watch::Receiver<u64>,
        step: impl Future<Output = Result<T, BackplaneError>>,
    ) -> Result<T, BackplaneError> {
        tokio::select! {
            biased;
            _ = era.changed() => Err(BackplaneError::down("the server may be another one now")),
            done = step => done,
        }
    }

    /// The era of the loan, for [`within`](Loan::within).
    pub fn era(&self) -> watch::Receiver<u64> {
        self.era.clone()
    }

    /// Finds out whether the server is there; any answer says so, be it a refusal.
    async fn look(mut self) {
        // Where nothing answers, this has made another connection.
        let asked = self.ask(&Request::of([["PING"]])).await;
        let Ok(reader) = asked.and_then(|()| self.connection()) else { return };
        match reader.reply(Taken::Skimmed).await {
            Err(_) => return,
            Ok(Reply::Error(error)) if error.refusal().is_some_and(Refusal::is_for_good) => {
                self.readers.may_ping.store(false, Ordering::Relaxed);
            }
            Ok(_) => {}
        }
        self.give_back();
    }

    /// Gives the connection back, as all replies have been read.
    pub fn give_back(mut self) {
        if let Some(reader) = self.reader.take() {
            self.keep(reader);
        }
    }

    /// Gives the connection back, of which a reply was not read on, and `more` have not been read at all.
    pub fn give_back_after(mut self, rest: Rest, more: usize) {
        match self.reader.take() {
            Some(reader) if reader.arms => {
                tokio::spawn(async move {
                    let mut reader = reader;
                    match reader.pass(rest, more, PASSED_OVER).await {
                        Ok(true) => self.keep(reader),
                        _ => self.doubt(),
                    }
                });
            }
            _ => {}
        }
    }

    fn keep(&self, reader: Reader) {
        let mut state = self.readers.state.lock();
        if !self.era.has_changed().unwrap_or(true) {
            // One that arms must stay: with it, its streams would be forgotten.
            if reader.arms || state.idle.len() < KEPT {
                state.idle.push(reader);
            }
        }
    }

    fn give_up(&mut self) {
        if self.reader.take().is_some_and(|reader| reader.arms) {
            self.doubt();
        }
    }

    /// Tells that the server has forgotten what was read by this connection.
    fn doubt(&self) {
        if !self.era.has_changed().unwrap_or(true) {
            self.readers.changes.doubt();
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests;
