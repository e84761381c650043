//! Sets of channels that orders have changed: what of that a client which comes back is given, and what was ordered while it
//! was away.

use super::Context;
use crate::auth::Grant;
use crate::auth::order::ChangeKind;
use crate::channel::Channel;
use crate::control_event::ControlEvent;
use crate::courier::{Ordered, SetChange};
use crate::cursor::{Changes, Since};
use crate::metrics::Label as _;
use crate::position::Position;
use crate::subscription::{Resume, Subscription};

/// How long before the latest time that its id says a client may have been without an order that was given then: nodes read
/// those within two seconds, and clocks are known to some precision.
const BEFORE_MS: u64 = 10_000;
/// How long before it asks for the first time an order may be dated and still be for it.
const CLOCKS_MS: u64 = 5_000;

/// What became of a set.
pub struct Ordering {
    /// Which orders are still to be carried out.
    pub ordered: Ordered,
    /// What the client has not been told yet.
    pub told: Vec<ControlEvent>,
}

/// Gives a subscription the changes that its ids carry, and those that were ordered since. `most`: channels that it may have.
///
/// Ids say which orders counted from the first change on. Before that it is known by the time that they say; who comes for the
/// first time while orders for it are remembered is told which from the beginning, for it would be given them when it comes back.
pub fn apply(subscription: &mut Subscription, access: &Grant, most: usize, context: &Context) -> Ordering {
    let memory = &context.auth.changes;
    let (now_ms, count) = (context.now_ms(), memory.count());
    let carried = subscription.carried().cloned();
    let first = subscription.resume == Resume::None || subscription.is_foreign();
    let after = match (&carried, first) {
        (Some(carried), _) => carried.seen,
        (None, true) => Position::new(now_ms.saturating_sub(CLOCKS_MS), 0),
        (None, false) => {
            let connected = subscription.connected_at(now_ms);
            connected.map_or(Position::ZERO, |ms| Position::new(ms.saturating_sub(BEFORE_MS), 0))
        }
    };
    let ordered = Ordered { count, after };
    let orders = if count == 0 { None } else { access.identity() };
    let orders = orders.map_or(Vec::new(), |identity| memory.of(&identity, 0));
    let newest = orders.last().map(|order| order.at).max(carried.as_ref().map(|carried| carried.seen));
    let Some(newest) = newest else { return Ordering { ordered, told: Vec::new() } };
    subscription.changes = Some(Box::new(Changes::none(newest)));
    let mut set = Set { subscription, access, most, context };
    if let Some(carried) = &carried {
        carried.left().iter().for_each(|channel| _ = set.subscription.leave(channel));
        carried.joined().iter().for_each(|channel| set.join_again(channel, carried));
    }
    let before = set.subscription.channels.clone();
    for order in orders.iter().filter(|order| !first && order.at > after) {
        for channel in &order.channels {
            match order.kind {
                ChangeKind::Join => {
                    let since = Since::Time(order.since_ms);
                    // A node that had not read a leave yet may have sent what lies behind the join already.
                    let had = set.subscription.resume_at(channel).map(|claim| claim.position);
                    let had = had.filter(|had| *had > since.after());
                    set.join(channel, Some(had.map_or(since, Since::Behind)));
                }
                ChangeKind::Leave => _ = set.subscription.leave(channel),
            }
        }
    }
    let told = told(&before, &set.subscription.channels, context);
    Ordering { ordered, told }
}

/// A set as it changes.
struct Set<'a> {
    subscription: &'a mut Subscription,
    access: &'a Grant,
    most: usize,
    context: &'a Context,
}

impl Set<'_> {
    /// A channel that an id carries.
    fn join_again(&mut self, channel: &Channel, carried: &Changes) {
        let since = carried.awaited_since(channel);
        match (self.subscription.channels.contains(channel), since) {
            (true, Some(since)) => self.subscription.changes.get_or_insert_default().awaits(channel, since),
            (true, None) => {}
            (false, _) => self.join(channel, since),
        }
    }

    fn join(&mut self, channel: &Channel, since: Option<Since>) {
        let Set { subscription, access, most, context } = self;
        if subscription.channels.contains(channel) {
            return;
        }
        let room = subscription.changes.get_or_insert_default().has_room_for(channel);
        let refused = match (access.subscribe.cover(channel), room && subscription.channels.len() < *most) {
            (true, true) => return subscription.join(channel, since),
            (false, _) => SetChange::Forbidden,
            (true, false) => SetChange::TooMany,
        };
        context.courier_metrics.set_changes.inc(refused);
        if let Some(suppressed) = context.log_throttle.turn("join") {
            let why = refused.label();
            tracing::warn!(%channel, why, suppressed, "a channel that a stream was told to join is not joined");
        }
    }
}

/// What has come and gone, by events.
fn told(before: &[Channel], after: &[Channel], context: &Context) -> Vec<ControlEvent> {
    let new = |of: &[Channel], than: &[Channel]| of.iter().filter(|channel| !than.contains(channel)).cloned().collect();
    let (joined, left): (Vec<Channel>, Vec<Channel>) = (new(after, before), new(before, after));
    let mut told = Vec::new();
    let changes = &context.courier_metrics.set_changes;
    joined.iter().for_each(|_| changes.inc(SetChange::Joined));
    left.iter().for_each(|_| changes.inc(SetChange::Left));
    if !joined.is_empty() {
        told.push(ControlEvent::joined(&joined.iter().collect::<Vec<_>>()));
    }
    if !left.is_empty() {
        told.push(ControlEvent::left(&left));
    }
    told
}
