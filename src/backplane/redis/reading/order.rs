//! Which server answers where a replica is read, so that what is told of a stream never goes back.
//!
//! A replica is believed in what it has, not in what it lacks: a stream that is not there, history of which there is nothing,
//! and all from which a loss could be told (`examine`) are the primary's to say. What the primary has said of a stream is a
//! floor (`replica::floors`): while the replica is behind it, that stands, or the primary is asked again. Streams are armed
//! at the replica before that is found out, so that whatever it gets later is reported.

use super::{Answered, Pool, Reading, examine, newer, spans};
use crate::backplane::error::Refusal;
use crate::backplane::redis::cluster::route::Part;
use crate::backplane::redis::reader::reply::{Reply, Taken};
use crate::backplane::redis::replica::floors::Said;
use crate::backplane::redis::replica::role::Role;
use crate::backplane::redis::server::{Answers, Server};
use crate::backplane::{Ask, BackplaneError, Entry, Examined, Span, StreamState};
use crate::channel::Channel;
use crate::hash::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Replicas report nothing of a stream that is moving to their primary: it is looked at so often until it is there.
const MOVING: Duration = Duration::from_millis(100);

/// The entries of each stream after a position.
pub async fn read(server: Arc<Server>, asks: Vec<Ask>, asking: bool) -> Answers<Vec<Entry>> {
    if !server.replicas.is_read() {
        return newer::read(server, asks, asking).await;
    }
    server.is_up()?;
    if asking {
        look_again(&server, &asks);
        return Ok(entries(ask_primary(&server, &asks, true).await));
    }
    let channels: Vec<&Channel> = asks.iter().map(|ask| &ask.channel).collect();
    let behind = behind(&server, &channels).await?;
    let stands = |index: usize| {
        let newest = server.replicas.floors.said(&asks[index].channel)?.newest?;
        (newest.position == asks[index].after.after()).then(|| Ok(vec![newest]))
    };
    let mut answers: Vec<_> = asks.iter().map(|_| None).collect();
    for &index in &behind {
        answers[index] = stands(index);
    }
    let parts = |indices: &[usize]| -> Vec<Ask> { indices.iter().map(|&index| asks[index].clone()).collect() };
    let here = others(asks.len(), &behind);
    if !here.is_empty() {
        fill(&mut answers, &here, newer::read(server.clone(), parts(&here), false).await?, |_| true);
    }
    let there = open(&answers);
    place(&mut answers, &there, entries(ask_primary(&server, &parts(&there), false).await));
    Ok(whole(answers))
}

/// What each stream tells of itself; what the replica does not know, the primary says.
pub async fn inspect(server: Arc<Server>, channels: Vec<Channel>, asking: bool) -> Answers<Option<StreamState>> {
    if !server.replicas.is_read() {
        return examine::inspect(server, channels, asking).await;
    }
    server.is_up()?;
    let mut answers: Vec<Option<Answered<Option<StreamState>>>> = channels.iter().map(|_| None).collect();
    if !asking {
        let behind = behind(&server, &channels.iter().collect::<Vec<_>>()).await?;
        for &index in &behind {
            answers[index] = server.replicas.floors.said(&channels[index]).map(|said| Ok(said.state));
        }
        let here = others(channels.len(), &behind);
        if !here.is_empty() {
            let parts = here.iter().map(|&index| channels[index].clone()).collect();
            fill(&mut answers, &here, examine::inspect(server.clone(), parts, false).await?, Option::is_some);
        }
    }
    let there = open(&answers);
    let parts: Vec<Channel> = there.iter().map(|&index| channels[index].clone()).collect();
    let asked = async { Reading::new(&server, Pool::Live, asking).at_primary().inspect(&parts).await };
    let state = |state: &Option<StreamState>| Some(Said::new(state.clone(), &[]));
    let said = at_primary(&server, &parts, state, asked);
    place(&mut answers, &there, said.await);
    Ok(whole(answers))
}

/// State and entries of one instant: the primary's.
pub async fn examine(server: Arc<Server>, asks: Vec<Ask>, asking: bool) -> Answers<Examined> {
    if !server.replicas.is_read() {
        return examine::examine(server, asks, asking).await;
    }
    server.is_up()?;
    Ok(ask_primary(&server, &asks, asking).await)
}

/// Entries of each span, oldest first; what the replica does not have, the primary may.
pub async fn history(server: Arc<Server>, of: Vec<Span>, asking: bool) -> Answers<Vec<Entry>> {
    if !server.replicas.is_read() {
        return spans::history(server, of, asking).await;
    }
    server.is_up()?;
    let mut answers: Vec<Option<Answered<Vec<Entry>>>> = of.iter().map(|_| None).collect();
    let here: Vec<usize> = match asking {
        true => Vec::new(),
        false => {
            let behind = behind(&server, &of.iter().map(|span| &span.channel).collect::<Vec<_>>()).await?;
            others(of.len(), &behind)
        }
    };
    if !here.is_empty() {
        let parts = here.iter().map(|&index| of[index].clone()).collect();
        fill(&mut answers, &here, spans::history(server.clone(), parts, false).await?, |entries| !entries.is_empty());
    }
    let there = open(&answers);
    let parts: Vec<Span> = there.iter().map(|&index| of[index].clone()).collect();
    let asked = async { Reading::new(&server, Pool::History, asking).at_primary().history(&parts).await };
    let said = at_primary(&server, &parts, |_| None, asked);
    place(&mut answers, &there, said.await);
    Ok(whole(answers))
}

/// Which of these streams the replica may be behind of, what the primary said having been found out how far it is now.
async fn behind(server: &Server, channels: &[&Channel]) -> Answered<Vec<usize>> {
    let floors = &server.replicas.floors;
    let ahead = || (0..channels.len()).filter(|&index| floors.is_ahead(channels[index])).collect::<Vec<_>>();
    let before = ahead();
    if before.is_empty() {
        return Ok(before);
    }
    let armed: Vec<&Channel> = before.iter().map(|&index| channels[index]).collect();
    Reading::new(server, Pool::Live, false).at_primary().arm(&armed).await?;
    match Reading::new(server, Pool::History, false).role().await? {
        Role::Replica { offset: Some(offset), .. } => floors.passed(offset),
        Role::Replica { offset: None, .. } => {}
        Role::Primary { .. } => return Err(BackplaneError::down("the replica was promoted")),
    }
    Ok(ahead())
}

/// State and entries of one instant, as the primary has them.
async fn ask_primary(server: &Server, asks: &[Ask], asking: bool) -> Vec<Answered<Examined>> {
    let said = |examined: &Examined| Some(Said::new(examined.state.clone(), &examined.entries));
    let asked = examine::of_one_instant(|pool| Reading::new(server, pool, asking).at_primary(), asks);
    at_primary(server, asks, said, asked).await
}

/// Asks the primary, and notes how far it was behind that, and what it said. While it is away all parts are `Down`, and the
/// replica is read on.
async fn at_primary<A: Part, T>(
    server: &Server,
    parts: &[A],
    said: impl Fn(&T) -> Option<Said>,
    call: impl Future<Output = Answers<T>>,
) -> Vec<Answered<T>> {
    if parts.is_empty() {
        return Vec::new();
    }
    let floors = &server.replicas.floors;
    let session = floors.session();
    let asked = async {
        if server.replicas.is_primary_away() {
            return Err(BackplaneError::down("the primary is away"));
        }
        let answers = call.await?;
        match Reading::new(server, Pool::Live, false).at_primary().role().await? {
            Role::Primary { offset } => Ok((answers, offset)),
            Role::Replica { .. } => Err(BackplaneError::down("the primary was demoted")),
        }
    };
    let (mut answers, offset) = match asked.await {
        Ok(found) => found,
        Err(error) => return parts.iter().map(|_| Err(error.clone().into_down())).collect(),
    };
    for (part, answer) in parts.iter().zip(&mut answers) {
        if let Ok(found) = answer
            && !floors.raise(session, part.channel(), offset, said(found))
        {
            *answer = Err(BackplaneError::down("the server may be another one now"));
        }
    }
    answers
}

/// Has streams looked at once more that are moving here.
fn look_again(server: &Arc<Server>, asks: &[Ask]) {
    let (changes, channels) = (server.changes.clone(), asks.iter().map(|ask| ask.channel.clone()).collect::<Vec<_>>());
    tokio::spawn(async move {
        sleep(MOVING).await;
        changes.changed(channels);
    });
}

fn entries(answers: Vec<Answered<Examined>>) -> Vec<Answered<Vec<Entry>>> {
    answers.into_iter().map(|answer| answer.map(|examined| examined.entries)).collect()
}

/// Puts answers in their places, but for those that are not `enough`, and for redirections: a replica learns of moved slots
/// after its primary.
fn fill<T>(
    answers: &mut [Option<Answered<T>>],
    indices: &[usize],
    found: Vec<Answered<T>>,
    enough: impl Fn(&T) -> bool,
) {
    for (&index, answer) in indices.iter().zip(found) {
        let counts = match &answer {
            Ok(found) => enough(found),
            Err(error) => !error.refusal().is_some_and(Refusal::is_redirect),
        };
        answers[index] = Some(answer).filter(|_| counts);
    }
}

/// Puts the primary's answers in their places.
fn place<T>(answers: &mut [Option<Answered<T>>], indices: &[usize], found: Vec<Answered<T>>) {
    indices.iter().zip(found).for_each(|(&index, answer)| answers[index] = Some(answer));
}

/// All places but these.
fn others(length: usize, behind: &[usize]) -> Vec<usize> {
    let behind: HashSet<usize> = behind.iter().copied().collect();
    (0..length).filter(|index| !behind.contains(index)).collect()
}

/// Places without an answer.
fn open<T>(answers: &[Option<Answered<T>>]) -> Vec<usize> {
    (0..answers.len()).filter(|&index| answers[index].is_none()).collect()
}

fn whole<T>(answers: Vec<Option<Answered<T>>>) -> Vec<Answered<T>> {
    let missing = || Err(BackplaneError::down("no reply"));
    answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
}

impl Reading<'_> {
    /// What the server says of replication.
    async fn role(&mut self) -> Answered<Role> {
        let mut command = self.commands();
        command.begin(1).word("ROLE");
        let reply = self.send("role", &command, Taken::Skimmed).await?.pop();
        self.end();
        let role = match reply {
            Some(Reply::Whole(value)) => Role::read(&value),
            Some(Reply::Error(error)) => return Err(error.into_down()),
            _ => None,
        };
        role.ok_or_else(|| BackplaneError::down("ROLE is not answered"))
    }
}
