//! Subscribing: from an admitted request to a subscriber on a courier.
//!
//! The socket has left hyper. Here its channels are joined, its head is written, and it is handed over. Where the
//! backplane, or a part of it, does not answer, the head goes out anyway, with the legs that there are, and the others
//! follow when it does.

use super::Context;
use super::decision::{Admitted, Decision};
use super::head::Marks;
use super::joining::{Joined, Joins, Refused, joins};
use super::losses::{is_over, lost};
use super::opening::{Opening, behind_id, retry, write_gaps};
use super::wire::{HEAD_TIMEOUT, Wire};
use crate::auth::Grant;
use crate::backplane::Link;
use crate::channel::Channel;
use crate::condition::Conditions;
use crate::config::WhenFull;
use crate::control_event::{ControlEvent, Gap};
use crate::cors::CorsHeaders;
use crate::courier::{
    Admission, Asked, Beat, FirstLegs, LegBatch, LegStart, Message, NewSubscriber, Reason, Terms, Ticket,
};
use crate::gzip::Gzip;
use crate::hub::join::{JoinError, Outcome, Start, foreign_gap};
use crate::position::Position;
use crate::probe::{self, Probe};
use crate::problem::{Code, Problem};
use crate::random::Random;
use crate::subscription::{Control, Resume, Subscription};
use crate::telemetry::trace::spans;
use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a request waits for its channels before it gets a head without them.
const HOLD_AFTER: Duration = Duration::from_secs(1);
/// How long a join is waited for while the backplane is known to be down: only what is in memory can be joined.
const HOLD_SOON: Duration = Duration::from_millis(5);
/// From a request's place on this node to its place on a courier at most, where the backplane does not keep it waiting once more.
pub const LONGEST_BEGINNING: Duration = HOLD_AFTER.saturating_add(HEAD_TIMEOUT);

/// Answers a request whose connection has left hyper.
pub async fn begin(wire: Wire, decision: Decision, context: Arc<Context>) {
    match decision {
        Decision::Admit(admitted) => admit(wire, admitted, context).await,
        Decision::ComeBack { cors, marks, retry_ms } => turn_away(wire, &cors, marks, retry_ms, &context).await,
    }
}

/// After how long whoever meets a problem that passes by itself is told to come back, in a way that EventSource survives, where
/// that is asked for (`--when-full retry`).
pub fn returns_after_ms(problem: &Problem, context: &Context) -> Option<u64> {
    let passes = problem.retry_after.is_some() && problem.code != Code::Draining;
    let longest = context.settings.retry.to.as_millis() as u64;
    let asked = context.settings.when_full == WhenFull::Retry;
    (asked && passes).then(|| context.random.within(longest * 5..=longest * 15))
}

async fn turn_away(wire: Wire, cors: &CorsHeaders, marks: Marks, retry_ms: u64, context: &Context) {
    let blocks = format!("retry: {retry_ms}\n").into();
    let mut waiting = context.turned_away.wait(Duration::from_millis(retry_ms));
    wire.come_back(cors, marks, blocks, &context.clock, waiting.over()).await
}

/// Joins, answers and hands over; ends the connection where that fails.
async fn admit(wire: Wire, admitted: Admitted, context: Arc<Context>) {
    let peer = admitted.client;
    let subscription = Arc::new(admitted.subscription.clone());
    let identity = admitted.access.identity();
    let mut joins = joins(subscription, identity, admitted.access.seen, context.clone());
    let down = *context.hub.backplane.link().borrow() == Link::Down;
    match timeout(if down { HOLD_SOON } else { HOLD_AFTER }, joins.all()).await {
        Ok(Ok(starts)) => {
            drop(joins);
            start(wire, peer, admitted, &context, starts).await;
        }
        Ok(Err(error)) => refuse(wire, peer, admitted, &context, error).await,
        Err(_) => hold(wire, peer, admitted, &context, joins).await,
    }
}

/// What a `HEAD` is told: whether a `GET` would be answered that all channels have ended. Nothing is kept of it.
pub async fn is_finished(subscription: Subscription, access: &Grant, context: &Arc<Context>) -> Result<bool, Problem> {
    let subscription = Arc::new(subscription);
    let mut joins = joins(subscription.clone(), access.identity(), access.seen, context.clone());
    let down = *context.hub.backplane.link().borrow() == Link::Down;
    match timeout(if down { HOLD_SOON } else { HOLD_AFTER }, joins.all()).await {
        Ok(Ok(starts)) => match is_over(&subscription, &starts, context).await {
            true => Ok(true),
            false => {
                lost(&subscription, &starts, context).await.map_or(Ok(false), |gap| Err(Problem::history_gone(gap)))
            }
        },
        Ok(Err(refused)) => Err(problem(&refused)),
        // It would have a head now, and wait.
        Err(_) => Ok(false),
    }
}

/// Writes the head and hands over.
async fn start(mut wire: Wire, peer: IpAddr, mut admitted: Admitted, context: &Arc<Context>, mut starts: Vec<Start>) {
    if is_over(&admitted.subscription, &starts, context).await {
        wire.finished(&admitted.cors, &context.clock).await;
        context.courier_metrics.connections_closed.inc(Reason::Final);
        return;
    }
    count_resumes(&admitted.subscription, &starts, context, peer);
    if let Some(gap) = lost(&admitted.subscription, &starts, context).await {
        return gone(wire, peer, &admitted, context, gap).await;
    }
    begun(&mut admitted.subscription, &starts);
    let terms = terms(&admitted, context);
    let mut opening = Opening::new(&admitted, &terms, context);
    let events = opening.begin(&mut starts);
    let blocks = opening.blocks;
    if let Some(gzip) = wire.open(&admitted, &blocks, &context.clock).await {
        context.courier_metrics.events_delivered.inc_by(events);
        let legs = FirstLegs::All(LegBatch { legs: legs(starts), preamble: Vec::new(), behind_id: None });
        hand_over(wire, peer, admitted, context, Body { terms, gzip, legs });
    }
}

/// Writes the head, hands over with the channels that can begin, and sends the others after them.
async fn hold(
    mut wire: Wire,
    peer: IpAddr,
    mut admitted: Admitted,
    context: &Arc<Context>,
    mut joins: Joins<impl Future<Output = Joined>>,
) {
    probe::reached(Probe::JoinHeld);
    let starts = joins.hold();
    begun(&mut admitted.subscription, &starts);
    let subscription = admitted.subscription.clone();
    let control = subscription.control;
    count_resumes(&subscription, &starts, context, peer);
    if let Some(gap) = lost(&subscription, &starts, context).await {
        return gone(wire, peer, &admitted, context, gap).await;
    }
    let late: Vec<&Channel> = subscription.channels.iter().filter(|channel| !has(&starts, channel)).collect();
    let owed = |channel: &&Channel| Some(((*channel).clone(), subscription.resume_at(channel)?.position));
    let owed: Vec<(Channel, Position)> = late.iter().filter_map(owed).collect();
    // Without a channel it has no id yet: how orders changed its set is told with the first ones.
    let mut changes = if starts.is_empty() { std::mem::take(&mut admitted.told) } else { Vec::new() };
    let terms = terms(&admitted, context);
    let mut opening = Opening::new(&admitted, &terms, context);
    // Who begins with some has its foreign id replaced: what it lost elsewhere is told now or never.
    let mut foreign = !starts.is_empty() && subscription.is_foreign();
    if !starts.is_empty() {
        opening.gaps(&starts);
        if foreign {
            write_foreign(&mut opening.blocks, control, &late);
        }
        opening.place(&starts, &owed);
    }
    opening.heartbeat();
    let mut told = joins.more() && joins.in_parts();
    if told {
        control.write(&mut opening.blocks, &ControlEvent::held(&late));
    }
    let blocks = opening.blocks;
    let mut begun: Vec<Channel> = channels_of(&starts).into_iter().cloned().collect();
    let Some(gzip) = wire.open(&admitted, &blocks, &context.clock).await else { return };
    let number = context.tickets.fetch_add(1, Ordering::Relaxed);
    let (here, mut gone) = oneshot::channel();
    let batch = LegBatch { legs: legs(starts), preamble: Vec::new(), behind_id: None };
    let first =
        FirstLegs::Part(Ticket { number, here, seen: admitted.access.seen, ordered: admitted.ordered, owed }, batch);
    let Some(courier) = hand_over(wire, peer, admitted, context, Body { terms, gzip, legs: first }) else { return };
    loop {
        let batch = tokio::select! {
            biased;
            _ = &mut gone => return,
            batch = joins.batch() => batch,
        };
        let mut starts = match batch {
            Ok(starts) => starts,
            Err(error) => {
                let problem = problem(&error);
                spans::refused(problem.code.as_str());
                context.refused(&problem, peer);
                return context.couriers.send(courier, Message::Dismiss { ticket: number, reason: Reason::Drain });
            }
        };
        if foreign {
            starts.iter_mut().for_each(|start| start.gap = None);
        }
        count_resumes(&subscription, &starts, context, peer);
        // Its head is out: it is told when it comes again.
        if lost(&subscription, &starts, context).await.is_some() {
            return context.couriers.send(courier, Message::Dismiss { ticket: number, reason: Reason::Gap });
        }
        if subscription.absent && begun.is_empty() && !joins.more() && is_over(&subscription, &starts, context).await {
            return context.couriers.send(courier, Message::Dismiss { ticket: number, reason: Reason::Drain });
        }
        let (mut preamble, more) = (Vec::new(), joins.more());
        write_gaps(&mut preamble, control, &starts);
        changes.drain(..).for_each(|event| control.write(&mut preamble, &event));
        if more && !foreign && subscription.is_foreign() {
            write_foreign(&mut preamble, control, &joins.late());
            foreign = true;
        }
        if told {
            control.write(&mut preamble, &ControlEvent::joined(&channels_of(&starts)));
        } else if more {
            control.write(&mut preamble, &ControlEvent::held(&joins.late()));
            told = true;
        }
        begun.extend(channels_of(&starts).into_iter().cloned());
        let behind_id = behind_id(&subscription, &starts, &begun);
        let batch = LegBatch { legs: legs(starts), preamble, behind_id };
        context.couriers.send(courier, Message::Legs { ticket: number, batch, more });
        if !more {
            return;
        }
    }
}

fn write_foreign(into: &mut Vec<u8>, control: Control, channels: &[&Channel]) {
    let gaps = channels.iter().map(|channel| ControlEvent::Gap(foreign_gap(channel, None)));
    gaps.for_each(|gap| control.write(into, &gap));
}

/// Refuses who asked to be told of a loss so.
async fn gone(wire: Wire, peer: IpAddr, admitted: &Admitted, context: &Context, gap: Gap) {
    let problem = Problem::history_gone(gap);
    spans::refused(problem.code.as_str());
    context.refused(&problem, peer);
    wire.answer(problem.into_response(), &admitted.cors, &context.clock).await;
}

fn channels_of(starts: &[Start]) -> Vec<&Channel> {
    starts.iter().map(|start| &start.leg.feed().channel).collect()
}

fn has(starts: &[Start], channel: &Channel) -> bool {
    starts.iter().any(|start| start.leg.feed().channel == *channel)
}

async fn refuse(wire: Wire, peer: IpAddr, admitted: Admitted, context: &Context, error: Refused) {
    let problem = problem(&error);
    spans::refused(problem.code.as_str());
    context.refused(&problem, peer);
    // Its place among subscribers is another's from now on.
    let Admitted { access, cors, marks, seat, .. } = admitted;
    drop(seat);
    let barred = context.auth.revocations.bars(access.subject.as_ref(), access.token_id.as_ref());
    if matches!(error, Refused::Revoked) && !barred {
        // Disconnected, not kept out: it may come back and be judged afresh, which an error would forbid.
        let blocks = retry(context);
        return wire.come_back(&cors, marks, blocks, &context.clock, ready(())).await;
    }
    match returns_after_ms(&problem, context) {
        Some(retry_ms) => turn_away(wire, &cors, marks, retry_ms, context).await,
        None => wire.answer(problem.into_response(), &cors, &context.clock).await,
    }
}

fn problem(refused: &Refused) -> Problem {
    match refused {
        Refused::Revoked => Problem::new(Code::TokenRevoked, "access has been revoked meanwhile"),
        Refused::Join(error @ JoinError::Full(_)) => Problem::new(Code::ChannelFull, error.to_string()),
        Refused::Join(JoinError::Backplane(error)) => Problem::from(error),
    }
}

fn legs(starts: Vec<Start>) -> Vec<LegStart> {
    starts.into_iter().map(LegStart::from).collect()
}

/// Channels of a set that has changed have their places now.
fn begun(subscription: &mut Subscription, starts: &[Start]) {
    if let Some(changes) = &mut subscription.changes {
        starts.iter().for_each(|start| changes.begun(&start.leg.feed().channel));
    }
}

/// A stream's body behind its head.
struct Body {
    terms: Terms,
    /// It is a gzip stream, which the head began.
    gzip: Option<Gzip>,
    legs: FirstLegs,
}

/// What its courier has to know of a subscription and its grant.
fn terms(admitted: &Admitted, context: &Context) -> Terms {
    let subscription = &admitted.subscription;
    let conditions = Conditions::and(subscription.conditions.clone(), admitted.access.conditions.clone());
    let (types, field) = (subscription.filter.clone(), subscription.field.clone());
    Terms::of(subscription, context.wanted.share(Asked { types, conditions, field }))
}

/// Gives the socket to a courier; returns which.
fn hand_over(wire: Wire, peer: IpAddr, admitted: Admitted, context: &Context, body: Body) -> Option<usize> {
    let Body { terms, gzip, legs } = body;
    let framing = wire.framing(admitted.marks.chunked);
    let Some((socket, first)) = wire.into_socket() else {
        let (FirstLegs::All(batch) | FirstLegs::Part(_, batch)) = legs;
        batch.legs.iter().for_each(|leg| context.hub.leave(&leg.feed));
        return None;
    };
    let beat = Beat::of(&admitted.subscription);
    let max_age_ms = max_age_ms(context.settings.max_age, &context.random);
    let (identity, seen) = (admitted.access.identity(), admitted.access.seen);
    let admission = Admission::new(admitted.seat.keep(), identity, admitted.most_channels);
    Some(context.couriers.take(NewSubscriber {
        socket,
        peer,
        framing,
        first,
        terms,
        beat,
        gzip,
        legs,
        max_age_ms,
        admission,
        seen,
        changes: admitted.subscription.changes,
        ordered: admitted.ordered,
    }))
}

/// The maximum age, give or take a fifth, so that those who came together do not leave together.
fn max_age_ms(age: Duration, random: &Random) -> Option<u64> {
    let ms = age.as_millis() as u64;
    (ms > 0).then(|| random.within(ms - ms / 5..=ms + ms / 5))
}

fn count_resumes(subscription: &Subscription, starts: &[Start], context: &Context, peer: IpAddr) {
    for start in starts {
        if let Some(gap) = &start.gap {
            context.hub.metrics.gaps.inc(gap.reason);
            if let Some(suppressed) = context.log_throttle.turn("gap") {
                tracing::info!(%peer, channel = %gap.channel, reason = gap.reason.label(), suppressed, "gap announced");
            }
        }
        if subscription.resume != Resume::None {
            context.hub.metrics.resumes.inc(start.outcome);
        }
    }
    let worst = starts.iter().map(|start| start.outcome).max().map_or("new", Outcome::label);
    let gaps = starts.iter().filter(|start| start.gap.is_some()).count();
    spans::joined(if subscription.resume == Resume::None { "new" } else { worst }, gaps);
}
