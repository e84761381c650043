//! Subscribing: from an admitted request to a subscriber on a courier.
//!
//! The socket has left hyper. Here its channels are joined, its head is written, and it is handed over. Where the
//! backplane does not answer, the head goes out anyway and the legs follow when it does.

use super::Context;
use super::reject::{Code, Problem};
use super::route::Admitted;
use super::wire::Wire;
use crate::auth::{Pass, now_ms};
use crate::backplane::{BackplaneError, Link};
use crate::courier::{LegStart, Letter, Newcomer, Opening, Stay, Terms, Waiting};
use crate::cursor::{Form, Place, name_hash, write_cursor, write_position};
use crate::gzip::Gzip;
use crate::hub::join::{JoinError, Outcome, Start, Want};
use crate::position::Position;
use crate::subscription::{Resume, Since, Subscription};
use crate::telemetry::trace::spans;
use futures_util::future::try_join_all;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a request waits for its channels before it gets a head without them.
const HOLD_AFTER: Duration = Duration::from_secs(1);
/// The same while the backplane is known to be down: only what is in memory can be joined.
const HOLD_SOON: Duration = Duration::from_millis(5);
/// Between tries while the backplane is down.
const PAUSE: Duration = Duration::from_millis(200);

/// Joins, answers and hands over; ends the connection where that fails.
pub async fn begin(wire: Wire, admitted: Admitted, context: Arc<Context>) {
    let peer = admitted.client;
    let subscription = Arc::new(admitted.subscription.clone());
    let pass = admitted.access.pass();
    let mut joining = Box::pin(join_all(subscription.clone(), (pass, admitted.access.seen), context.clone()));
    let down = *context.hub.backplane.link().borrow() == Link::Down;
    match timeout(if down { HOLD_SOON } else { HOLD_AFTER }, joining.as_mut()).await {
        Ok(Ok(starts)) => {
            drop(joining);
            start(wire, peer, admitted, &context, starts).await;
        }
        Ok(Err(error)) => refuse(wire, peer, &admitted, &context, error).await,
        Err(_) => hold(wire, peer, admitted, &context, joining).await,
    }
}

/// Why somebody who was admitted gets no stream after all.
enum Refused {
    Join(JoinError),
    /// Meant by a revocation that came meanwhile.
    Revoked,
}

/// Joins every channel; tries again for as long as the backplane is down. What was revoked by then is refused.
async fn join_all(
    subscription: Arc<Subscription>,
    (pass, seen): (Option<Box<Pass>>, u64),
    context: Arc<Context>,
) -> Result<Vec<Start>, Refused> {
    let revocations = &context.auth.revocations;
    loop {
        let joins = subscription.channels.iter().map(|channel| {
            let (want, newest) = want(&subscription, channel);
            let hub = context.hub.clone();
            async move { hub.join(channel, want, newest).await }
        });
        match try_join_all(joins).await {
            Err(JoinError::Backplane(BackplaneError::Down(_))) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(Refused::Join(error)),
            Ok(starts) => {
                if let Some(pass) = &pass {
                    revocations.known().await;
                    if revocations.bars(pass.subject.as_ref(), pass.token_id.as_ref(), now_ms()) {
                        return Err(Refused::Revoked);
                    }
                }
                return match revocations.missed(seen, pass.as_deref(), &subscription.channels) {
                    None => Ok(starts),
                    Some(_) => Err(Refused::Revoked),
                };
            }
        }
    }
}

/// Where a subscription wants to begin in one of its channels.
fn want(subscription: &Subscription, channel: &crate::channel::Channel) -> (Want, Option<usize>) {
    match &subscription.resume {
        Resume::Foreign => return (Want::Foreign, None),
        Resume::Cursor(crate::cursor::Cursor::Single(_)) if subscription.channels.len() > 1 => {
            // It says where, but not in which of these channels.
            return (Want::Foreign, None);
        }
        Resume::Cursor(_) => {
            return (subscription.resume_at(channel).map_or(Want::End, Want::Resume), None);
        }
        Resume::None => {}
    }
    let want = match subscription.since {
        Since::Latest => Want::End,
        Since::Earliest => Want::After(Position::ZERO),
        // Of several channels at most one has the entry.
        Since::After(position) if subscription.channels.len() > 1 => Want::After(position),
        Since::After(position) => Want::Resume(position),
        Since::From(ms) => Want::After(Position::new(ms, 0).before()),
    };
    (want, subscription.tail)
}

/// Writes the head and hands over.
async fn start(mut wire: Wire, peer: IpAddr, admitted: Admitted, context: &Context, starts: Vec<Start>) {
    if starts.iter().all(|start| start.finished) {
        wire.finished(&admitted.grant).await;
        context.metrics.connections_closed.with_label_values(&["final"]).inc();
        return;
    }
    count_resumes(&admitted.subscription, &starts, context, peer);
    let mut blocks = retry(context);
    write_beginning(&mut blocks, &starts);
    if let Some(gzip) = wire.open(&admitted, &blocks).await {
        let legs = legs(starts);
        let waiting = Waiting::Ready(Opening { legs, preamble: Vec::new() });
        hand_over(wire, peer, admitted, context, (gzip, waiting));
    }
}

/// Writes the head without a position, hands over, and sends the legs after it.
async fn hold(
    mut wire: Wire,
    peer: IpAddr,
    admitted: Admitted,
    context: &Context,
    joining: std::pin::Pin<Box<impl Future<Output = Result<Vec<Start>, Refused>>>>,
) {
    let subscription = admitted.subscription.clone();
    let Some(gzip) = wire.open(&admitted, &retry(context)).await else { return };
    let ticket = context.tickets.fetch_add(1, Ordering::Relaxed);
    let (here, gone) = oneshot::channel();
    let Some(courier) = hand_over(wire, peer, admitted, context, (gzip, Waiting::Held(ticket, here))) else { return };
    let joined = tokio::select! {
        joined = joining => joined,
        _ = gone => return,
    };
    let letter = match joined {
        Ok(starts) => {
            count_resumes(&subscription, &starts, context, peer);
            let mut preamble = Vec::new();
            write_beginning(&mut preamble, &starts);
            Letter::Legs { ticket, start: Opening { legs: legs(starts), preamble } }
        }
        Err(error) => {
            let code = problem(&error).code.as_str();
            spans::refused(code);
            context.refused(code, peer);
            Letter::Dismiss { ticket }
        }
    };
    context.couriers.send(courier, letter);
}

async fn refuse(mut wire: Wire, peer: IpAddr, admitted: &Admitted, context: &Context, error: Refused) {
    let problem = problem(&error);
    spans::refused(problem.code.as_str());
    context.refused(problem.code.as_str(), peer);
    let access = &admitted.access;
    let barred = context.auth.revocations.bars(access.subject.as_ref(), access.token_id.as_ref(), now_ms());
    if matches!(error, Refused::Revoked) && !barred {
        // Disconnected, not kept out: it may come back and be judged afresh, which an error would forbid.
        return wire.come_back(&admitted.grant, &retry(context)).await;
    }
    wire.answer(problem.into_response(), &admitted.grant).await;
}

fn problem(refused: &Refused) -> Problem {
    let error = match refused {
        Refused::Join(error) => error,
        Refused::Revoked => return Problem::new(Code::TokenRevoked, "access has been revoked meanwhile"),
    };
    let code = match error {
        JoinError::Full(_) => Code::ChannelFull,
        JoinError::Backplane(BackplaneError::Down(_)) => Code::BackplaneDown,
        JoinError::Backplane(BackplaneError::Refused(_)) => Code::BackplaneRefused,
    };
    Problem::new(code, error.to_string())
}

fn retry(context: &Context) -> Vec<u8> {
    format!("retry: {}\n\n", context.settings.retry.pick_ms()).into_bytes()
}

/// The bare `id:` of where it begins, and what it has lost.
fn write_beginning(into: &mut Vec<u8>, starts: &[Start]) {
    into.extend_from_slice(b"id: ");
    match starts {
        [only] => write_position(into, only.standing.position),
        _ => {
            let form = Form::of(starts.iter().map(|start| name_hash(&start.leg.feed().channel)));
            let places = starts.iter().map(|start| {
                let feed = start.leg.feed();
                Place { channel: &feed.channel, hash: feed.hash, at: start.standing.position }
            });
            write_cursor(into, form, places);
        }
    }
    into.extend_from_slice(b"\n\n");
    for gap in starts.iter().filter_map(|start| start.gap.as_ref()) {
        into.extend_from_slice(gap.block().as_bytes());
    }
}

fn legs(starts: Vec<Start>) -> Vec<LegStart> {
    let leg = |start: Start| LegStart {
        feed: start.leg.hand_over(),
        standing: start.standing,
        at: start.at,
        fresh: start.fresh,
        finished: start.finished,
    };
    starts.into_iter().map(leg).collect()
}

/// Gives the socket to a courier; returns which.
fn hand_over(
    wire: Wire,
    peer: IpAddr,
    admitted: Admitted,
    context: &Context,
    (gzip, start): (Option<Gzip>, Waiting),
) -> Option<usize> {
    let framing = wire.framing(admitted.chunked);
    let Some(socket) = wire.into_socket() else {
        if let Waiting::Ready(opening) = start {
            for leg in &opening.legs {
                context.hub.leave(&leg.feed);
            }
        }
        return None;
    };
    let subscription = admitted.subscription;
    let several = subscription.channels.len() > 1;
    let terms = Terms {
        filter: subscription.filter,
        envelope: subscription.envelope,
        ids: several.then(|| Form::of(subscription.channels.iter().map(name_hash))),
    };
    let max_age_ms = max_age_ms(context.settings.max_age);
    let (pass, seen) = (admitted.access.pass(), admitted.access.seen);
    let stay = Stay::new(admitted.seat.keep(), pass);
    Some(context.couriers.take(Newcomer { socket, peer, framing, terms, gzip, start, max_age_ms, stay, seen }))
}

/// The maximum age, give or take a fifth, so that those who came together do not leave together.
fn max_age_ms(age: Duration) -> Option<u64> {
    let ms = age.as_millis() as u64;
    (ms > 0).then(|| fastrand::u64(ms - ms / 5..=ms + ms / 5))
}

fn count_resumes(subscription: &Subscription, starts: &[Start], context: &Context, peer: IpAddr) {
    for start in starts {
        if let Some(gap) = &start.gap {
            context.metrics.gaps.with_label_values(&[gap.reason.label()]).inc();
            if let Some(suppressed) = context.seldom.turn("gap") {
                tracing::info!(%peer, channel = %gap.channel, reason = gap.reason.label(), suppressed, "gap announced");
            }
        }
        if subscription.resume != Resume::None {
            context.metrics.resumes.with_label_values(&[start.outcome.label()]).inc();
        }
    }
    let worst = starts.iter().map(|start| start.outcome).max().map_or("new", Outcome::label);
    let gaps = starts.iter().filter(|start| start.gap.is_some()).count();
    spans::joined(if subscription.resume == Resume::None { "new" } else { worst }, gaps);
}
