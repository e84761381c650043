//! What streams tell of themselves, and that together with their entries.

use super::{Answered, PIPELINE, Pool, Reading};
use crate::backplane::error::Refusal;
use crate::backplane::redis::decode;
use crate::backplane::redis::reader::reply::{Cut, Reply, Taken};
use crate::backplane::redis::reader::request::Request;
use crate::backplane::redis::server::{Answers, Server};
use crate::backplane::{Ask, BackplaneError, Entry, Examined, Span, StreamState, Toward};
use crate::channel::Channel;
use crate::position::Position;
use std::sync::Arc;

/// Examinations of one write, each with two commands.
const EXAMINATIONS_PER_PIPELINE: usize = PIPELINE / 2;
/// How often a stream is examined that changes each time between the commands.
const EXAMINATIONS: usize = 10;

/// What each stream tells of itself.
///
/// Runs by itself: whoever gives up waiting must not cost the connection by which others' streams are reported.
pub async fn inspect(server: Arc<Server>, channels: Vec<Channel>, asking: bool) -> Answers<Option<StreamState>> {
    server.is_up()?;
    by_itself(server.clone(), async move { Reading::new(&server, Pool::Live, asking).inspect(&channels).await }).await
}

/// What each stream tells of itself, with its entries after a position. Runs by itself, as [`inspect`] does.
pub async fn examine(server: Arc<Server>, asks: Vec<Ask>, asking: bool) -> Answers<Examined> {
    server.is_up()?;
    by_itself(server.clone(), async move { of_one_instant(|pool| Reading::new(&server, pool, asking), &asks).await })
        .await
}

/// State and entries of one instant, by calls that use one of these pools: of a single stream with large entries, apart.
pub(super) async fn of_one_instant<'a>(reading: impl Fn(Pool) -> Reading<'a>, asks: &[Ask]) -> Answers<Examined> {
    let server = reading(Pool::Live).server;
    let apart = || matches!(asks, [ask] if server.large.is_apart(&ask.channel));
    if !apart() {
        let answers = reading(Pool::Live).examine(asks).await;
        if !apart() {
            return answers;
        }
    }
    reading(Pool::Apart).examine(asks).await
}

/// Runs a call to its end, whether or not anybody waits for it any more. `Down` where nobody follows the server by then, for it
/// may be another one.
async fn by_itself<T: Send + 'static>(
    server: Arc<Server>,
    call: impl Future<Output = Answers<T>> + Send + 'static,
) -> Answers<T> {
    let Ok(answers) = tokio::spawn(call).await else { return Err(BackplaneError::down("the node is ending")) };
    server.is_up()?;
    answers
}

impl Reading<'_> {
    /// Sends an `XINFO STREAM` for each. It also brings the first and the last entry, whose long strings are passed over.
    pub(super) async fn inspect(&mut self, channels: &[Channel]) -> Answers<Option<StreamState>> {
        let mut answers = Vec::with_capacity(channels.len());
        let mut at_once = PIPELINE;
        while answers.len() < channels.len() {
            let part = &channels[answers.len()..channels.len().min(answers.len() + at_once)];
            self.arm(&part.iter().collect::<Vec<_>>()).await?;
            let mut commands = self.commands();
            part.iter().for_each(|channel| self.xinfo(channel, &mut commands));
            match self.send("xinfo", &commands, Taken::Skimmed).await {
                Ok(replies) => answers.extend(replies.into_iter().map(state)),
                // One of them has an entry that is more than the server lets anybody read.
                Err(error) if self.was_closed(&error) => {
                    if let [channel] = part {
                        answers.push(self.state_again(channel).await);
                    }
                    at_once = (part.len() / 2).max(1);
                }
                Err(error) => return Err(error),
            }
        }
        for (channel, answer) in channels.iter().zip(&mut answers) {
            if let Ok(Some(state)) = answer
                && lacks_first(state)
            {
                state.first = self.first_of(channel).await?;
            }
        }
        self.end();
        Ok(answers)
    }

    /// Sends an `XINFO STREAM` and an `XREAD` for each, which Redis mostly runs in one go. Where what was read does
    /// not show that it did, each stream is examined for itself.
    async fn examine(&mut self, asks: &[Ask]) -> Answers<Examined> {
        let mut answers: Vec<Option<Answered<Examined>>> = asks.iter().map(|_| None).collect();
        let together: Vec<usize> = match self.pool {
            Pool::Live => (0..asks.len()).filter(|&index| self.too_large_after(&asks[index]).is_empty()).collect(),
            Pool::Apart | Pool::History => Vec::new(),
        };
        for part in together.chunks(EXAMINATIONS_PER_PIPELINE) {
            self.arm(&part.iter().map(|&index| &asks[index].channel).collect::<Vec<_>>()).await?;
            let mut commands = self.commands();
            for &index in part {
                self.xinfo(&asks[index].channel, &mut commands);
                self.xread(asks, &[index], &mut commands);
            }
            let taken: Vec<Taken> = part.iter().flat_map(|_| [Taken::Skimmed, self.entries()]).collect();
            let mut replies = match self.send_each("examine", &commands, &taken).await {
                // Each for itself.
                Err(error) if self.was_closed(&error) => Vec::new().into_iter(),
                replies => replies?.into_iter(),
            };
            for &index in part {
                let (Some(before), Some(read)) = (replies.next(), replies.next()) else { break };
                answers[index] = self.examined(&asks[index], before, read).transpose();
            }
        }
        for (ask, answer) in asks.iter().zip(&mut answers) {
            if answer.is_none() {
                *answer = Some(self.examine_alone(ask).await);
            }
        }
        self.end();
        let missing = || Err(BackplaneError::down("no reply"));
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect())
    }

    /// State and entries of two replies; `None` where they may not be of one instant.
    fn examined(&self, ask: &Ask, before: Reply, read: Reply) -> Answered<Option<Examined>> {
        let state = state(before)?;
        let entries = self.entries_of(ask, read)?;
        let whole = !state.as_ref().is_some_and(lacks_first) && fits(state.as_ref(), ask.after, &entries);
        Ok(whole.then_some(Examined { state, entries }))
    }

    /// Examines one stream, with a further `XINFO` behind the read where that is needed: while both states are the
    /// same, nothing changed between. A transaction would say as much, but Redis refuses those while it is at its
    /// `maxmemory`.
    async fn examine_alone(&mut self, ask: &Ask) -> Answered<Examined> {
        for _ in 0..EXAMINATIONS {
            let before = self.state_of(&ask.channel).await?;
            let mut entries = self.read_alone(ask).await?;
            // Those that are known to be too large have not been read again: they may be gone.
            let first = before.as_ref().and_then(|state| state.first);
            entries.retain(|entry| !entry.is_too_large() || first.is_some_and(|first| first <= entry.position));
            if fits(before.as_ref(), ask.after, &entries) {
                return Ok(Examined { state: before, entries });
            }
            let after = self.state_of(&ask.channel).await?;
            if before == after && (before.is_some() || entries.is_empty()) {
                return Ok(Examined { state: before, entries });
            }
        }
        Err(BackplaneError::down("the stream changes too fast to be examined"))
    }

    /// What one stream tells of itself, as far as that can be read.
    async fn state_of(&mut self, channel: &Channel) -> Answered<Option<StreamState>> {
        self.arm(&[channel]).await?;
        let mut command = self.commands();
        self.xinfo(channel, &mut command);
        let reply = match self.send("examine", &command, Taken::Skimmed).await {
            Err(error) if self.was_closed(&error) => return self.state_again(channel).await,
            replies => replies?.pop(),
        };
        let mut state = reply.map_or_else(|| Err(BackplaneError::down("no reply")), state)?;
        if let Some(state) = state.as_mut().filter(|state| lacks_first(state)) {
            state.first = self.first_of(channel).await?;
        }
        Ok(state)
    }

    /// What follows a position, what is known to be too large included.
    async fn read_alone(&mut self, ask: &Ask) -> Answered<Vec<Entry>> {
        if !self.too_large_after(ask).is_empty() {
            let (channel, oldest) = (ask.channel.clone(), ask.after.after());
            let span = Span { channel, oldest, newest: Position::MAX, count: ask.count, toward: Toward::Newest };
            return match self.span_around(&span).await {
                Err(error) if self.was_closed(&error) => self.step_by_step(&span).await,
                excerpt => excerpt.map(|excerpt| excerpt.entries),
            };
        }
        let mut command = self.commands();
        self.xread(std::slice::from_ref(ask), &[0], &mut command);
        let reply = match self.send("examine", &command, self.entries()).await {
            Err(error) if self.was_closed(&error) && self.pool == Pool::Live => {
                self.server.large.found(&ask.channel);
                return Err(apart());
            }
            Err(error) if self.was_closed(&error) => return self.step_after(ask).await,
            replies => replies?.pop(),
        };
        self.entries_of(ask, reply.ok_or_else(|| BackplaneError::down("no reply"))?)
    }

    /// The entries in a reply to an `XREAD` of one stream; `Down` where it must be read apart.
    fn entries_of(&self, ask: &Ask, read: Reply) -> Answered<Vec<Entry>> {
        let heavy = matches!(&read, Reply::Cut(_, Cut::Large(bytes), _) if *bytes <= self.server.max_entry_bytes);
        let mut answers = [Ok(Vec::new())];
        self.take_in(std::slice::from_ref(ask), &[0], read, &mut answers)?;
        match heavy && self.pool == Pool::Live {
            true => Err(apart()),
            false => answers.into_iter().next().unwrap_or(Ok(Vec::new())),
        }
    }

    /// Adds one `XINFO STREAM`.
    pub(super) fn xinfo(&self, channel: &Channel, commands: &mut Request) {
        commands.begin(3).word("XINFO").word("STREAM").key(&self.server.key_prefix, channel);
    }
}

/// Whether the server does not say which entry is the first.
fn lacks_first(state: &StreamState) -> bool {
    state.length > 0 && state.first.is_none()
}

/// What a reply to `XINFO STREAM` says of a stream; `None` where there is none.
pub(super) fn state(reply: Reply) -> Answered<Option<StreamState>> {
    match reply {
        Reply::Whole(value) | Reply::Cut(value, ..) => {
            decode::state(value).map(Some).map_err(|e| BackplaneError::refused(e.to_string()))
        }
        Reply::Error(BackplaneError::Refused { kind: Refusal::NoSuchKey, .. }) => Ok(None),
        Reply::Error(error) => Err(error),
    }
}

/// The live pool has found large entries in the stream.
fn apart() -> BackplaneError {
    BackplaneError::down("the stream has large entries and is read apart")
}

/// Whether entries that were read a little later show that nothing had been removed since; some may have been added.
fn fits(state: Option<&StreamState>, asked: Position, entries: &[Entry]) -> bool {
    let first = entries.first().map(|entry| entry.position);
    match state {
        None => first.is_none(),
        Some(state) if state.last <= asked || state.first.is_none() => first.is_none_or(|first| first > state.last),
        // The oldest one is there, so all are.
        Some(state) if state.first > Some(asked) => first == state.first,
        // Who asks for what follows an entry asks for it, too: where it is, nothing else matters.
        Some(_) => first == Some(asked.after()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_shows_whether_anything_was_removed_before_it() {
        let id = |n| Position::new(n, 0);
        let entries = |ids: &[u64]| -> Vec<Entry> {
            ids.iter().map(|n| Entry { position: id(*n), fields: Vec::new() }).collect()
        };
        let held =
            |first: Option<u64>, last| StreamState { first: first.map(id), last: id(last), ..Default::default() };
        let fits = |state: StreamState, asked: Position, ids: &[u64]| super::fits(Some(&state), asked, &entries(ids));
        assert!(super::fits(None, id(3), &[]) && !super::fits(None, id(3), &entries(&[4])));
        let asked = id(5).before();
        assert!(fits(held(Some(3), 7), asked, &[5, 6, 7]), "the witness is there");
        assert!(!fits(held(Some(3), 7), asked, &[6, 7]), "deleted before, or trimmed since");
        assert!(!fits(held(Some(3), 7), asked, &[]));
        assert!(fits(held(Some(6), 7), asked, &[6, 7, 8]), "one was added");
        assert!(!fits(held(Some(6), 7), asked, &[7]), "one was trimmed");
        assert!(
            fits(held(None, 7), asked, &[]) && fits(held(None, 7), asked, &[8]) && !fits(held(None, 7), asked, &[6])
        );
        assert!(fits(held(Some(3), 4), asked, &[]), "ids went back");
    }
}
