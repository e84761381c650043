//! History: spans of one stream, also around what is known to be too large.

use super::{Answered, PIPELINE, Pool, Reading};
use crate::backplane::redis::decode;
use crate::backplane::redis::reader::reply::{Cut, Reply};
use crate::backplane::redis::reader::request::Request;
use crate::backplane::redis::server::{Answers, Server};
use crate::backplane::{BackplaneError, Entry, Span, Toward};
use crate::position::Position;
use std::sync::Arc;

/// Entries of a span, and whether it may hold more.
#[derive(Debug, Default)]
pub(super) struct Excerpt {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// Whether the span may hold more.
    pub more: bool,
}

/// Entries of each span, oldest first, on connections of their own; not reported when they change. `Down` where nobody follows the
/// server by then: what it says may be of behind a doubt that is not stated yet.
pub async fn history(server: Arc<Server>, spans: Vec<Span>, asking: bool) -> Answers<Vec<Entry>> {
    server.is_up()?;
    let answers = Reading::new(&server, Pool::History, asking).history(&spans).await;
    server.is_up()?;
    answers
}

impl Reading<'_> {
    /// Sends an `XRANGE` or `XREVRANGE` for each; answers oldest first.
    pub(super) async fn history(&mut self, spans: &[Span]) -> Answers<Vec<Entry>> {
        let mut answers: Vec<Option<Answered<Vec<Entry>>>> = spans.iter().map(|_| None).collect();
        loop {
            let open: Vec<usize> = answers
                .iter()
                .enumerate()
                .filter(|(_, a)| a.is_none())
                .map(|(index, _)| index)
                .take(PIPELINE)
                .collect();
            let Some(&first) = open.first() else { break };
            let known = |index: &usize| !self.too_large_in(&spans[*index]).is_empty();
            if known(&first) {
                answers[first] = Some(match self.span_around(&spans[first]).await {
                    Err(error) if self.was_closed(&error) => self.step_by_step(&spans[first]).await,
                    excerpt => excerpt.map(|excerpt| excerpt.entries),
                });
                continue;
            }
            let plain: Vec<usize> = open.into_iter().take_while(|index| !known(index)).collect();
            let mut commands = self.commands();
            plain.iter().for_each(|&index| self.xrange(&spans[index], &mut commands));
            let replies = match self.send("xrange", &commands, self.entries()).await {
                Err(error) if self.was_closed(&error) => {
                    for index in plain {
                        answers[index] = Some(self.step_by_step(&spans[index]).await);
                    }
                    continue;
                }
                replies => replies?,
            };
            for (index, reply) in plain.into_iter().zip(replies) {
                answers[index] = Some(self.excerpt(reply, &spans[index]).map(|excerpt| excerpt.entries));
            }
        }
        self.end();
        let missing = || Err(BackplaneError::down("no reply"));
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect())
    }

    /// Where entries of a span lie that are known to be too large.
    pub(super) fn too_large_in(&self, span: &Span) -> Vec<Position> {
        self.server.large.too_large_within(&span.channel, span.oldest, span.newest)
    }

    /// Reads a span piece by piece, so that what is known to be too large is not read again.
    pub(super) async fn span_around(&mut self, span: &Span) -> Answered<Excerpt> {
        let mut known = self.too_large_in(span);
        if span.toward == Toward::Oldest {
            known.reverse();
        }
        let (mut rest, mut all) = (span.clone(), Excerpt::default());
        for stop in known.into_iter().map(Some).chain([None]) {
            let mut piece = rest.clone();
            piece.count = span.count - all.entries.len();
            match (stop, span.toward) {
                (Some(stop), Toward::Newest) => (piece.newest, rest.oldest) = (stop.before(), stop.after()),
                (Some(stop), Toward::Oldest) => (piece.oldest, rest.newest) = (stop.after(), stop.before()),
                (None, _) => {}
            }
            if piece.count > 0 && piece.oldest <= piece.newest {
                let mut command = self.commands();
                self.xrange(&piece, &mut command);
                let reply = self.send("xrange", &command, self.entries()).await?.pop();
                let Some(reply) = reply else { return Err(BackplaneError::down("no reply")) };
                let Excerpt { mut entries, more } = self.excerpt(reply, &piece)?;
                if span.toward == Toward::Oldest {
                    entries.reverse();
                }
                all.entries.extend(entries);
                all.more = more;
            }
            if all.entries.len() >= span.count {
                all.more = true;
            } else if let Some(stop) = stop.filter(|_| !all.more) {
                all.entries.push(Entry { position: stop, fields: Vec::new() });
            }
            if all.more {
                break;
            }
        }
        if span.toward == Toward::Oldest {
            all.entries.reverse();
        }
        Ok(all)
    }

    /// The entries in a reply to [`Reading::xrange`].
    pub(super) fn excerpt(&self, reply: Reply, span: &Span) -> Answered<Excerpt> {
        let (value, cut) = match reply {
            Reply::Whole(value) => (value, None),
            Reply::Cut(value, cut, _) => (value, Some(cut)),
            Reply::Error(why) => return Err(why),
        };
        let refused = |e: decode::Unexpected| BackplaneError::refused(e.to_string());
        let mut entries = decode::entries("XRANGE", value).map_err(refused)?;
        let more = cut.is_some() || entries.len() >= span.count;
        if cut.is_some() && self.pool != Pool::History {
            // Whoever follows the stream reads on.
            self.server.changes.changed([span.channel.clone()]);
        }
        if let Some(Cut::Large(bytes)) = cut
            && bytes <= self.server.max_entry_bytes
        {
            // It is read apart.
            entries.pop();
            self.server.large.found(&span.channel);
        }
        entries.truncate(span.count);
        if span.toward == Toward::Oldest {
            entries.reverse();
        }
        if !decode::is_ascending(&entries) {
            return Err(BackplaneError::refused("unexpected reply to XRANGE: entries out of order"));
        }
        self.weigh(&span.channel, &mut entries);
        Ok(Excerpt { entries, more })
    }

    /// Adds one `XRANGE` or `XREVRANGE`, by the direction of the span.
    pub(super) fn xrange(&self, span: &Span, commands: &mut Request) {
        let (name, from, to) = match span.toward {
            Toward::Newest => ("XRANGE", span.oldest, span.newest),
            Toward::Oldest => ("XREVRANGE", span.newest, span.oldest),
        };
        let words = commands.begin(6).word(name).key(&self.server.key_prefix, &span.channel);
        words.position(from).position(to).word("COUNT").number(span.count.max(1));
    }
}
