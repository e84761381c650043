//! Whether a client may have a stream, and what comes in it: by its token, and by orders; what hinders it.

use super::client::Client;
use super::orders::Order;
use super::owed::Moment;
use super::truth::Truth;
use std::time::Duration;

impl Client {
    /// Since when its node has been able to follow the control stream.
    fn calm(&self) -> Option<Duration> {
        Some(self.around.nodes.calm_since(self.node)?.duration_since(self.around.begun))
    }

    /// Whether it may be answered with a stream now.
    pub fn may_be_admitted(&self) -> Result<(), String> {
        let (Some(holder), Some(calm)) = (&self.holder, self.calm()) else { return Ok(()) };
        let at = self.at();
        let truth = self.around.truth.lock().expect("nobody panics");
        let barring = |order: &&Order| order.bars(holder, at) && order.must_be_known(self.opened, calm);
        match truth.orders.iter().find(barring) {
            Some(order) => Err(format!("it was admitted against {order:?}")),
            None => Ok(()),
        }
    }

    /// Whether it may be sent what was published at a moment.
    pub fn may_be_sent(&self, truth: &Truth, published: Duration) -> Result<(), String> {
        let Some(holder) = &self.holder else { return Ok(()) };
        if published > holder.expires + Duration::from_secs(5) {
            return Err(format!("its token was over: {holder:?}"));
        }
        let Some(calm) = self.calm() else { return Ok(()) };
        let names: Vec<&str> = self.wish.channels.iter().map(|c| truth.channels[*c].name.as_str()).collect();
        let broken = |order: &&Order| {
            order.at > self.opened && order.concerns(holder, &names) && order.must_be_known(published, calm)
        };
        match truth.orders.iter().find(broken) {
            Some(order) => Err(format!("it is still there in spite of {order:?}")),
            None => Ok(()),
        }
    }

    /// Whether its token is over, or kept out by any order.
    pub fn is_refused(&self) -> bool {
        let Some(holder) = &self.holder else { return false };
        let truth = self.around.truth.lock().expect("nobody panics");
        // The node may carry out late that the time of an order is over.
        let at = self.opened.saturating_sub(Duration::from_secs(3));
        holder.expires < self.at()
            || truth.orders.iter().any(|order| order.at.max(at) <= self.at() && order.bars(holder, order.at.max(at)))
    }

    /// It stands still from now on; what it must know by then it knows.
    pub fn settle(&mut self) {
        let moment = self.moment();
        let truth = self.around.truth.lock().expect("nobody panics");
        for (leg, channel) in self.legs.iter_mut().zip(&self.wish.channels) {
            leg.here.settle(&truth.channels[*channel], &moment);
        }
    }

    /// What hinders it now.
    pub fn moment(&self) -> Moment {
        let quick =
            !self.around.paced && self.wish.sips >= 300 && self.wish.room >= 4_096 && self.wish.manner.proxy.is_none();
        let free = self.calm().zip(self.reads).map(|(calm, reads)| calm.max(reads).max(self.opened));
        Moment { now: self.at(), free, quick, in_place: self.around.in_place }
    }

    /// Takes note of channels that wait: what is published to them from now on is owed.
    pub fn hold(&mut self, data: &str) -> Result<(), String> {
        self.note(data);
        let held: serde_json::Value = serde_json::from_str(data).map_err(|error| format!("{error}: {data}"))?;
        let names: Vec<&str> =
            held["channels"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
        let at = self.at();
        let truth = self.around.truth.lock().expect("nobody panics");
        for (leg, channel) in self.legs.iter_mut().zip(&self.wish.channels) {
            if names.contains(&truth.channels[*channel].name.as_str()) {
                leg.held = true;
                leg.headed.get_or_insert(at);
            }
        }
        Ok(())
    }
}
