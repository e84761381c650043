//! What streams' counts of entries say: what came and went between two reads has left no other trace.

use super::Follower;
use super::examined::Loss;
use crate::backplane::continuity::{Resume, Verdict, Witness, judge};
use crate::backplane::{Entry, StreamState};
use crate::channel::Channel;
use crate::hub::feed::Life;
use crate::planted::{self, Fault};

impl Follower {
    /// At the stream's newest entry its count says whether all have come: what was added and removed between two reads has
    /// left no other trace. Where that says something else, another examination must tell.
    pub(super) fn recount(&mut self, channel: &Channel, state: Option<&StreamState>) {
        let (Some(followed), Some(state)) = (self.followed.get_mut(channel), state) else { return };
        let (at, rank) = followed.newest();
        if followed.retrace.is_some() || at != state.last {
            return;
        }
        self.uncounted.remove(channel);
        // What was left out as had may have ended the channel.
        followed.feed.lock().log.set_finished(state.finished);
        if rank.is_some() && rank != state.added && !planted::is(Fault::LossNotCounted) {
            match judge(
                Resume { at, rank, entry: true, witness: Witness::Absent, behind: Some(0), known: at },
                Some(state),
            ) {
                Verdict::Broken { reason, lost, .. } if lost.is_some() => {
                    let (from, after, continues_at) = (at, at, at);
                    return self.announce(channel, Loss { reason, lost, from, after, rank: state.added, continues_at });
                }
                Verdict::Broken { .. } => {
                    followed.absent = true;
                    return followed.owe();
                }
                Verdict::Continuous => {}
            }
        }
        followed.feed.lock().log.set_rank(state.added);
    }

    /// Whether a stream counts other entries than were read behind the known one. `state`: of a moment later, where they were
    /// all. Such a count is believed of one instant alone, for the stream may have been made anew meanwhile.
    pub(super) fn is_miscounted(&mut self, channel: &Channel, entries: &[Entry], state: Option<&StreamState>) -> bool {
        let fits = state.and_then(|state| self.fits(channel, entries, state));
        if fits.is_none() && !self.uncounted.contains(channel) {
            self.uncounted.insert(channel.clone());
        }
        fits == Some(false)
    }

    /// Whether all that was ever added to a stream has come with these entries; `None` where that cannot be said.
    fn fits(&mut self, channel: &Channel, entries: &[Entry], state: &StreamState) -> Option<bool> {
        let followed = self.followed.get_mut(channel)?;
        let (at, rank) = followed.newest();
        let newest = entries.last().map_or(at, |entry| entry.position);
        if state.last != newest {
            // What was added last is deleted already, or more was added since.
            followed.absent |= entries.is_empty() && rank.is_some() && rank != state.added;
            if followed.absent {
                followed.owe();
            }
            return None;
        }
        let behind = Some(entries.len() as u64);
        let verdict =
            judge(Resume { at, rank, entry: true, witness: Witness::Present, behind, known: at }, Some(state));
        rank.map(|_| verdict == Verdict::Continuous)
    }

    /// A mere state shows that something is to be found out, but not what.
    pub(super) fn counted(&mut self, channel: &Channel, state: Option<&StreamState>) {
        let (Some(followed), Some(state)) = (self.followed.get_mut(channel), state) else { return };
        let (at, rank) = {
            let feed = followed.feed.lock();
            if feed.life != Life::Live {
                return;
            }
            (feed.log.position(), feed.log.rank())
        };
        let uncounted = planted::is(Fault::LossNotCounted);
        // No fewer entries under smaller ids are another stream's life, which no wait behind the newest id brings.
        let is_another = at > state.last && rank.zip(state.added).is_some_and(|(rank, added)| rank <= added);
        if uncounted || followed.retrace.is_some() || rank == state.added && !is_another {
            return;
        }
        if rank.is_none() {
            // Counted from here on, whatever came and went before.
            if at == state.last && !followed.is_busy() && !planted::is(Fault::CountForgotten) {
                followed.feed.lock().log.set_rank(state.added);
            }
            return;
        }
        if at != state.last && followed.is_busy() && !is_another {
            // It has gone on, or will have.
            self.uncounted.insert(channel.clone());
            return;
        }
        followed.absent = true;
        self.mark(channel);
    }
}

#[cfg(test)]
mod tests;
