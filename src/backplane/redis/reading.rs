//! The commands that read entries, on connections whose replies have a limit: how one call takes a connection, sends its
//! commands, and weighs what came. What each command means is in `newer`, `spans`, `examine` and `unreadable`; which server
//! it is sent to where a replica is read, in `order`.
//!
//! A reply is not read on behind a large entry, so that the streams behind it need not wait: they are asked for
//! again, and the large one's stream is read apart. What is too large to be read at all is an [`Entry`] without
//! fields.

pub mod examine;
pub mod newer;
pub mod order;
pub mod spans;
mod unreadable;

use super::commands;
use super::large::LARGE;
use super::reader::reply::{Reply, Rest, Taken};
use super::reader::request::Request;
use super::readers::{Loan, Readers};
use super::server::Server;
use crate::backplane::{BackplaneError, Entry};
use crate::channel::Channel;
use crate::frame;
use std::sync::Arc;
use tokio::time::Instant;

/// Commands of one write; in a cluster most reads have one key.
const PIPELINE: usize = 256;
/// What one reply of the live reads weighs at most, in bytes, where its last entry is not larger.
const TOTAL: usize = 8 << 20;
/// What one reply of other reads weighs at most, in bytes, where its last entry is not larger.
const TOTAL_APART: usize = 4 << 20;

/// The line that operators get for an entry that nobody can read.
const TOO_LARGE: &str = "an entry cannot be read";

/// One part's answer.
type Answered<T> = Result<T, BackplaneError>;

/// Which of a server's connections a call uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Small entries of many streams; what is read is reported when it changes.
    Live,
    /// One stream with large entries; what is read is reported when it changes.
    Apart,
    /// History, which is not reported when it changes.
    History,
}

/// One call that reads, and the connection that it has borrowed.
pub struct Reading<'a> {
    server: &'a Server,
    pool: Pool,
    /// To a server that is taking slots over: `ASKING` precedes each command.
    asking: bool,
    /// To the primary, though a replica is read.
    primary: bool,
    loan: Option<Loan>,
}

impl Reading<'_> {
    /// A call that has no connection yet. `asking`: to a server that is taking slots over.
    pub fn new(server: &Server, pool: Pool, asking: bool) -> Reading<'_> {
        Reading { server, pool, asking, primary: false, loan: None }
    }

    /// Sends the call to the primary, where a replica is read.
    fn at_primary(self) -> Self {
        Reading { primary: true, ..self }
    }

    fn readers(&self) -> &Arc<Readers> {
        match self.pool {
            _ if self.primary => &self.server.judges,
            Pool::Live => &self.server.readers,
            Pool::Apart => &self.server.apart,
            Pool::History => &self.server.history,
        }
    }

    /// What of replies with entries is taken in.
    fn entries(&self) -> Taken {
        let most = self.server.max_entry_bytes;
        match self.pool {
            Pool::Live => Taken::Entries { most: most.min(LARGE), total: TOTAL, witness: None },
            Pool::Apart | Pool::History => Taken::Entries { most, total: TOTAL_APART, witness: None },
        }
    }

    /// Takes the fields of entries that are too large, and remembers those.
    fn weigh(&self, channel: &Channel, entries: &mut [Entry]) {
        let most = self.server.max_entry_bytes;
        for entry in entries {
            if !entry.is_too_large() && frame::is_within(entry, most) {
                continue;
            }
            // In the live pool the mark of a large one says only that it is to be read apart.
            if !entry.is_too_large() || self.pool != Pool::Live {
                self.server.large.found_too_large(channel, entry.position);
            }
            entry.fields = Vec::new();
        }
    }

    /// Has changes of these streams reported: where reading them does not, the live connection reads nothing of them,
    /// which does.
    async fn arm(&mut self, channels: &[&Channel]) -> Answered<()> {
        if self.pool == Pool::History || !self.server.is_tracking() {
            return Ok(());
        }
        if self.primary {
            return commands::arm(self.server, channels, self.asking).await;
        }
        if self.loan.is_none() {
            self.loan = Some(self.readers().take().await?);
        }
        match self.loan.as_ref().is_some_and(Loan::arms) {
            true => Ok(()),
            false => commands::arm(self.server, channels, self.asking).await,
        }
    }

    /// No commands yet, to be added to and sent.
    fn commands(&self) -> Request {
        if self.asking { Request::asking() } else { Request::default() }
    }

    /// Sends commands; a reply to each of them, or to those up to one that was not read to its end.
    async fn send(&mut self, name: &'static str, commands: &Request, taken: Taken) -> Answered<Vec<Reply>> {
        self.send_each(name, commands, &vec![taken; commands.len()]).await
    }

    /// Sends commands, of each reply as much is taken as `taken` says.
    async fn send_each(&mut self, name: &'static str, commands: &Request, taken: &[Taken]) -> Answered<Vec<Reply>> {
        let begun = Instant::now();
        let replies = match self.asking {
            false => self.exchange(commands, taken).await,
            true => {
                let taken: Vec<Taken> = taken.iter().flat_map(|taken| [Taken::Skimmed, *taken]).collect();
                let replies = self.exchange(commands, &taken).await;
                replies.map(|replies| replies.into_iter().skip(1).step_by(2).collect())
            }
        };
        (self.server.observe)(name, begun.elapsed(), replies.is_ok());
        for reply in replies.iter().flatten() {
            let answer = match reply {
                Reply::Error(error) => Err(error.clone()),
                Reply::Whole(_) | Reply::Cut(..) => Ok(()),
            };
            self.server.refusals.take(name, &answer);
        }
        replies
    }

    /// Sends commands and reads their replies, up to one that was not read to its end.
    async fn exchange(&mut self, commands: &Request, taken: &[Taken]) -> Answered<Vec<Reply>> {
        let mut loan = match self.loan.take() {
            Some(loan) => loan,
            None => self.readers().take().await?,
        };
        // History is read for subscribers, at its own pace.
        let _awaiting = (self.pool != Pool::History).then(|| self.server.awaited.one());
        let mut replies = Vec::with_capacity(taken.len());
        let era = loan.era();
        let step = async {
            loan.ask(commands).await?;
            for (taken, behind) in taken.iter().zip((0..taken.len()).rev()) {
                let reply = loan.connection()?.reply(*taken).await?;
                let rest: Option<Rest> = if let Reply::Cut(_, _, rest) = &reply { Some(*rest) } else { None };
                replies.push(reply);
                if let Some(rest) = rest {
                    return Ok(Some((rest, behind)));
                }
            }
            Ok(None)
        };
        match Loan::within(era, step).await? {
            None => self.loan = Some(loan),
            Some((rest, more)) => loan.give_back_after(rest, more),
        }
        Ok(replies)
    }

    /// Gives the connection back, as all replies have been read.
    fn end(&mut self) {
        if let Some(loan) = self.loan.take() {
            loan.give_back();
        }
    }
}
