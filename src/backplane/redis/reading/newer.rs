//! `XREAD`: what follows a position in each of many streams.

use super::spans::Excerpt;
use super::{Answered, PIPELINE, Pool, Reading};
use crate::backplane::error::Refusal;
use crate::backplane::redis::decode;
use crate::backplane::redis::reader::reply::{Cut, Reply, Taken};
use crate::backplane::redis::reader::request::Request;
use crate::backplane::redis::server::{Answers, Server};
use crate::backplane::{Ask, BackplaneError, Entry, Span, Toward};
use crate::channel::Channel;
use crate::hash::HashMap;
use crate::position::Position;
use fred::util::redis_keyslot;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Keys of one `XREAD`: some managed servers take at most 3,999 arguments.
const KEYS_PER_READ: usize = 1000;

/// The entries of each stream after a position; a single stream with large entries is read apart.
pub async fn read(server: Arc<Server>, asks: Vec<Ask>, asking: bool) -> Answers<Vec<Entry>> {
    server.is_up()?;
    let apart = matches!(asks.as_slice(), [ask] if server.large.is_apart(&ask.channel));
    let pool = if apart { Pool::Apart } else { Pool::Live };
    Reading::new(&server, pool, asking).read(&asks).await
}

impl Reading<'_> {
    /// Sends `XREAD`s, each of at most 1,000 keys of equal count, and in a cluster of one slot.
    async fn read(&mut self, asks: &[Ask]) -> Answers<Vec<Entry>> {
        let mut answers: Vec<_> = asks.iter().map(|_| Ok(Vec::new())).collect();
        let (around, plain): (Vec<usize>, Vec<usize>) =
            (0..asks.len()).partition(|&index| !self.too_large_after(&asks[index]).is_empty());
        let mut left = self.batches(asks, &plain);
        let mut at_once = PIPELINE;
        while !left.is_empty() {
            let part = left.split_off(left.len().saturating_sub(at_once));
            let keys: Vec<&Channel> = part.iter().flatten().map(|&index| &asks[index].channel).collect();
            self.arm(&keys).await?;
            let mut commands = self.commands();
            part.iter().for_each(|batch| self.xread(asks, batch, &mut commands));
            let taken = self.of_witness(asks);
            let replies = match self.send("xread", &commands, taken).await {
                Err(error) if self.was_closed(&error) => {
                    // One of them has an entry that is more than the server lets anybody read.
                    at_once = 1;
                    match part.as_slice() {
                        [one] if one.len() == 1 => answers[one[0]] = self.closed_at(&asks[one[0]]).await,
                        _ => left.extend(part.into_iter().flat_map(halves)),
                    }
                    continue;
                }
                replies => replies?,
            };
            let answered = replies.len();
            for (batch, reply) in part.iter().zip(replies) {
                let again = self.take_in(asks, batch, reply, &mut answers)?;
                left.extend(again);
            }
            left.extend(part.into_iter().skip(answered));
        }
        for index in around {
            self.arm(&[&asks[index].channel]).await?;
            answers[index] = match self.read_around(&asks[index]).await {
                Err(error) if self.was_closed(&error) => self.closed_at(&asks[index]).await,
                answer => answer,
            };
        }
        self.end();
        Ok(answers)
    }

    /// What can be read of a stream for which alone the server closes the connection.
    async fn closed_at(&mut self, ask: &Ask) -> Answered<Vec<Entry>> {
        if self.pool == Pool::Apart {
            return self.step_after(ask).await;
        }
        self.server.large.found(&ask.channel);
        self.server.changes.changed([ask.channel.clone()]);
        Ok(Vec::new())
    }

    /// What is taken in: one who asks for what follows an entry asks for that one, too, which is large where the
    /// stream is read apart.
    fn of_witness(&self, asks: &[Ask]) -> Taken {
        match (asks, self.pool, self.entries()) {
            ([ask], Pool::Apart, Taken::Entries { most, total, .. }) => {
                Taken::Entries { most, total, witness: Some(ask.after.after()) }
            }
            (_, _, taken) => taken,
        }
    }

    /// Takes in one reply's streams; returns what must be asked for again.
    pub(super) fn take_in(
        &self,
        asks: &[Ask],
        batch: &[usize],
        reply: Reply,
        answers: &mut [Answered<Vec<Entry>>],
    ) -> Answered<Vec<Vec<usize>>> {
        let (value, cut) = match reply {
            Reply::Whole(value) => (value, None),
            Reply::Cut(value, cut, _) => (value, Some(cut)),
            Reply::Error(error) => return self.take_in_refusal(asks, batch, error, answers),
        };
        // A reply of another command's shape: the connection's replies are shifted.
        let streams = decode::streams(value).map_err(|e| BackplaneError::down(e.to_string()))?;
        batch.iter().for_each(|&index| answers[index] = Ok(Vec::new()));
        let (mut next, mut last) = (0, None);
        for (key, entries) in streams {
            let is_key = |&place: &usize| self.server.is_key(&key, &asks[batch[place]].channel);
            let Some(place) = place(next, batch.len(), is_key) else {
                return Err(BackplaneError::down("unexpected reply to XREAD: a stream that was not asked for"));
            };
            (next, last) = (place + 1, Some(place));
            let ask = &asks[batch[place]];
            answers[batch[place]] = match entries {
                Err(error) => Err(BackplaneError::refused(error.to_string())),
                Ok(mut entries) => {
                    entries.truncate(ask.count);
                    self.weigh(&ask.channel, &mut entries);
                    Ok(entries)
                }
            };
        }
        let (Some(cut), Some(last)) = (cut, last) else { return Ok(Vec::new()) };
        if let Ok(entries) = &mut answers[batch[last]] {
            self.cut_short(&asks[batch[last]].channel, cut, entries);
        }
        // Those behind it have not been read.
        let behind = batch[last + 1..].to_vec();
        Ok(if behind.is_empty() { Vec::new() } else { vec![behind] })
    }

    /// Takes in that a read was refused; returns what must be asked for again.
    fn take_in_refusal(
        &self,
        asks: &[Ask],
        batch: &[usize],
        error: BackplaneError,
        answers: &mut [Answered<Vec<Entry>>],
    ) -> Answered<Vec<Vec<usize>>> {
        let Some(kind) = error.refusal() else { return Err(error) };
        let several = batch.len() > 1;
        if several && *kind == Refusal::CrossSlot && !self.server.split.swap(true, Ordering::Relaxed) {
            tracing::info!("redis: the server wants the keys of a read in one slot; reads are split from now on");
            return Ok(self.batches(asks, batch));
        }
        // One bad key fails all; and of a slot that is being moved, keys may be in two places.
        if several && (kind.is_about_a_key() || matches!(kind, Refusal::CrossSlot | Refusal::TryAgain)) {
            return Ok(halves(batch.to_vec()));
        }
        batch.iter().for_each(|&index| answers[index] = Err(error.clone()));
        Ok(Vec::new())
    }

    /// Reports that a stream's entries go on behind those of a reply that was not read to its end.
    fn cut_short(&self, channel: &Channel, cut: Cut, entries: &mut Vec<Entry>) {
        match cut {
            Cut::Large(bytes) if bytes <= self.server.max_entry_bytes => {
                // It is read apart.
                entries.pop();
                if self.server.large.found(channel) {
                    tracing::debug!(%channel, bytes, "redis: the stream has large entries and is read apart from now on");
                }
            }
            Cut::Large(_) => {
                if let Some(entry) = entries.last() {
                    self.server.large.found_too_large(channel, entry.position);
                }
            }
            Cut::Full => {}
        }
        if self.pool != Pool::History {
            self.server.changes.changed([channel.clone()]);
        }
    }

    /// Where entries after the asked position lie that are known to be too large.
    pub(super) fn too_large_after(&self, ask: &Ask) -> Vec<Position> {
        self.server.large.too_large_within(&ask.channel, ask.after.after(), Position::MAX)
    }

    /// Reads what follows a position, without what is known to be too large; one that others follow is left out where
    /// it is the first, as nothing shows that it is there still.
    async fn read_around(&mut self, ask: &Ask) -> Answered<Vec<Entry>> {
        let span = Span {
            channel: ask.channel.clone(),
            oldest: ask.after.after(),
            newest: Position::MAX,
            count: ask.count,
            toward: Toward::Newest,
        };
        let Excerpt { mut entries, .. } = self.span_around(&span).await?;
        // Alone it says that there is nothing new, which is so even where it is gone.
        if entries.len() > 1 && entries[0].is_too_large() {
            entries.remove(0);
        }
        Ok(entries)
    }

    /// Adds one `XREAD` of the asks with these indices, which have one count.
    pub(super) fn xread(&self, asks: &[Ask], batch: &[usize], commands: &mut Request) {
        // 0 would be no limit.
        let count = batch.first().map_or(1, |&index| asks[index].count.max(1));
        let words = commands.begin(4 + 2 * batch.len()).word("XREAD").word("COUNT").number(count);
        let of = |&index: &usize| (&asks[index].channel, asks[index].after);
        words.streams(&self.server.key_prefix, batch.iter().map(of));
    }

    /// Indices of asks that may share an `XREAD`.
    fn batches(&self, asks: &[Ask], of: &[usize]) -> Vec<Vec<usize>> {
        if self.asking {
            return of.iter().map(|&index| vec![index]).collect();
        }
        if !self.server.cluster && !self.server.split.load(Ordering::Relaxed) {
            return batches(asks, of);
        }
        let mut slots: HashMap<u16, Vec<usize>> = HashMap::default();
        for &index in of {
            slots.entry(redis_keyslot(self.server.key(&asks[index].channel).as_bytes())).or_default().push(index);
        }
        slots.into_values().flat_map(|indices| batches(asks, &indices)).collect()
    }
}

/// A batch in two; one of a single stream stays whole.
fn halves(mut batch: Vec<usize>) -> Vec<Vec<usize>> {
    match batch.len() {
        0 | 1 => vec![batch],
        length => {
            let other = batch.split_off(length / 2);
            vec![batch, other]
        }
    }
}

/// The place of a stream among those that were asked for. They come in that order, so it is looked for from the `next` one on; a proxy may
/// have another order.
fn place(next: usize, length: usize, is: impl Fn(&usize) -> bool) -> Option<usize> {
    (next..length).chain(0..next).find(is)
}

/// Indices of asks in batches of equal count.
fn batches(asks: &[Ask], of: &[usize]) -> Vec<Vec<usize>> {
    let of_one_count = of.chunk_by(|&one, &other| asks[one].count == asks[other].count);
    of_one_count.flat_map(|of| of.chunks(KEYS_PER_READ)).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, count: usize) -> Ask {
        Ask { channel: Channel::new(name).unwrap(), after: Position::ZERO, count }
    }

    fn batches_of(asks: &[Ask]) -> Vec<Vec<usize>> {
        batches(asks, &(0..asks.len()).collect::<Vec<_>>())
    }

    #[test]
    fn a_streams_place_is_found_in_any_order() {
        let asked = ["a", "b", "c", "d"];
        for reply in [vec!["a", "b", "d"], vec!["d", "c", "b", "a"], vec!["b", "d", "a", "c"]] {
            let mut next = 0;
            for key in reply {
                let found = place(next, asked.len(), |&at| asked[at] == key);
                assert_eq!(found.map(|at| asked[at]), Some(key));
                next = found.map_or(0, |at| at + 1);
            }
        }
        assert_eq!(place(2, asked.len(), |&at| asked[at] == "x"), None);
    }

    #[test]
    fn a_batch_has_one_count_and_not_too_many_streams() {
        let batches = batches_of(&[ask("a", 1), ask("b", 1), ask("c", 2), ask("d", 1)]);
        assert_eq!(batches, [vec![0, 1], vec![2], vec![3]]);
        let many: Vec<_> = (0..2500).map(|i| ask(&format!("c{i}"), 1)).collect();
        assert_eq!(batches_of(&many).iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1000, 500]);
    }
}
