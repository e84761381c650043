//! The checks of a live connection to a replica: it must follow its primary, tell what changes, and not lag by more than it
//! may. While the primary is away it is read on, for then nobody is further.

use super::{FIRST_PUSH, PROBE, PROBES_PER_LOOK, PUSH_LAG, Session, take_in};
use crate::backplane::BackplaneError;
use crate::backplane::error::Refusal;
use crate::backplane::redis::connection::Connection;
use crate::backplane::redis::identity::Identity;
use crate::backplane::redis::probe_key::{HealthCheck, LIFETIME_MS};
use crate::backplane::redis::replica::choice::{history, role};
use crate::backplane::redis::replica::pulse::{Arrival, Said, Sent};
use crate::backplane::redis::replica::role::{Replication, Role};
use crate::backplane::redis::server::Server;
use crate::backplane::redis::{decode, pipeline, refusals, slots};
use crate::pace;
use crate::planted::{self, Fault};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Of the probes of a replica every second one is sent by way of the primary; the others look who the replica is.
const PROBES_PER_PULSE: u32 = 2;
/// Between looks whether a replica has come as far as its primary was.
const CATCHING_UP: Duration = Duration::from_millis(10);
/// How long the primary may take for one pulse, before the replica is looked at all the same.
const PULSE: Duration = Duration::from_secs(1);
/// Why a replica is left whose primary is none any more.
const DEMOTED: &str = "the primary was demoted";

impl Session {
    /// Begins at a replica: it must have all that its primary has by now, so that nothing that was read before goes back.
    pub(super) async fn begin_at_replica(&mut self, server: &Server) -> Result<(), BackplaneError> {
        let bound = server.replicas.bound().unwrap_or(FIRST_PUSH);
        self.pulse.history = Some(server.pulse.run(|primary| async move { history(&primary).await }).await?);
        self.check_replica(server).await?;
        if server.cluster {
            let own = server.pulse.run(|primary| async move { slots::own_slots(&primary.client).await }).await?;
            self.probe_key.move_to(&own);
        }
        self.first_check = self.send_pulse(server).await?;
        let begun = Instant::now();
        // The first write may not be pushed yet; the next one must be.
        for first in [true, false] {
            while self.pulse.sent.is_some() && !self.pulse_came(server, first).await? {
                if begun.elapsed() > bound + FIRST_PUSH {
                    return Err(BackplaneError::down(format!("it lags by more than {bound:?}")));
                }
                sleep(CATCHING_UP).await;
            }
            if first {
                self.send_pulse(server).await?;
            }
        }
        Ok(())
    }

    /// Whether the write that is on its way has come; at the `first` one the session begins.
    async fn pulse_came(&mut self, server: &Server, first: bool) -> Result<bool, BackplaneError> {
        let Some(sent) = self.pulse.sent else { return Ok(true) };
        let offset = self.look_how_far(server).await?;
        let far = offset.filter(|offset| *offset >= sent.offset);
        if first && let Some(offset) = far {
            server.replicas.floors.begin(offset);
        }
        let came = if first { far.is_some() } else { sent.arrival(offset, self.pushes()) != Arrival::Awaited };
        if came && !first && !self.pulse_was_pushed().await {
            return Err(BackplaneError::down("client tracking is on, but nothing is pushed"));
        }
        if came {
            self.came(server);
        }
        Ok(came)
    }

    /// Checks until the connection ends, or the replica does not do any more, and says why.
    pub(super) async fn live_at_replica(mut self, server: &Arc<Server>) -> BackplaneError {
        let mut tick = pace::in_step(&server.outside.clock, PROBE);
        let (connection, bell) = (self.connection.clone(), self.probe_key.bell.clone());
        take_in(server, &self.first_check, self.clock_least_ms);
        let mut probes: u32 = 0;
        loop {
            tokio::select! {
                biased;
                why = connection.lost() => return why,
                () = bell.notified() => {
                    self.take_push(server);
                    continue;
                }
                _ = tick.tick() => {}
            }
            probes = probes.wrapping_add(1);
            if probes.is_multiple_of(PROBES_PER_LOOK) {
                let server = server.clone();
                tokio::spawn(async move { server.look_at_idle().await });
            }
            let done = tokio::select! {
                biased;
                why = connection.lost() => return why,
                done = self.beat(server, probes) => done,
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    /// One probe.
    async fn beat(&mut self, server: &Server, probes: u32) -> Result<(), BackplaneError> {
        server.readers.check();
        if !probes.is_multiple_of(PROBES_PER_PULSE) {
            self.check_replica(server).await?;
        }
        self.look_for_pulse(server).await?;
        if self.pulse.sent.is_some() || !probes.is_multiple_of(PROBES_PER_PULSE) {
            return Ok(());
        }
        match timeout(PULSE, self.send_pulse(server)).await {
            Ok(Ok(check)) => {
                server.set_primary_away(None);
                take_in(server, &check, self.clock_least_ms);
                Ok(())
            }
            Ok(Err(error)) if error.text() == DEMOTED => Err(error),
            Ok(Err(error)) => self.primary_is_away(server, error.text()),
            Err(_) => self.primary_is_away(server, "it does not answer in time"),
        }
    }

    fn primary_is_away(&mut self, server: &Server, why: &str) -> Result<(), BackplaneError> {
        // What was being written counts no more.
        (self.pulse.sent, self.pulse.armed) = (None, false);
        server.set_primary_away(Some(why));
        server.complain("the primary is away, and its replica is read on", why);
        Ok(())
    }

    /// Who the replica is: another history, or no replica any more, ends it.
    async fn check_replica(&mut self, server: &Server) -> Result<(), BackplaneError> {
        let connection = self.connection.clone();
        let words = [vec!["INFO".to_owned(), "replication".to_owned()], vec!["INFO".to_owned(), "server".to_owned()]];
        let asked = async {
            let waiting = pipeline::of_words(&connection.client, &words).await?;
            connection.send(waiting, words.len()).await
        };
        let (begun, replies) = (Instant::now(), connection.run(asked).await);
        (server.observe)(refusals::PROBE, begun.elapsed(), replies.is_ok());
        let (mut identity, mut found) = (Identity::default(), Replication::default());
        for (index, reply) in replies?.into_iter().enumerate() {
            let reply = reply.map_err(BackplaneError::into_down)?;
            let info = decode::str(&reply).unwrap_or_default();
            identity.take_info(info);
            if index == 0 {
                found = Replication::read(info);
            }
        }
        // While the primary is away it is not connected to it.
        let found = Replication { linked: true, ..found };
        if let Some(why) = found.unfit(self.pulse.history.as_deref().unwrap_or_default()) {
            return Err(BackplaneError::down(format!("the replica is left: {why}")));
        }
        let before = std::mem::replace(&mut self.identity, identity.clone());
        match identity.differs(&before) {
            true => Err(BackplaneError::down("the replica's data set is another one")),
            false => Ok(()),
        }
    }

    /// Arms the next key at the replica, and has the other one written at the primary.
    async fn send_pulse(&mut self, server: &Server) -> Result<HealthCheck, BackplaneError> {
        let connection = self.connection.clone();
        let (next, key) = (self.probe_key.name(!self.pulse.turn), self.probe_key.name(self.pulse.turn));
        let writes = self.tracking && !self.pulse.silent;
        let was_armed = std::mem::take(&mut self.pulse.armed);
        if writes {
            let armed = connection.run(pipeline::one(&connection.client, &["GET", &next])).await?;
            self.pulse.armed = armed.is_ok();
        }
        let (pushes, at) = (self.pushes(), Instant::now());
        let asked = server.pulse.run(|primary| async move { write(&primary, writes.then_some(key)).await });
        let said = asked.await?;
        let way = at.elapsed();
        let pushes = (writes && was_armed && said.written.is_ok()).then_some(pushes);
        self.pulse.sent = Some(Sent { at, offset: said.offset, pushes });
        self.pulse.turn = !self.pulse.turn;
        let clock_offset_ms = self.probe_key.take_time(said.time, way);
        if let Some(offset) = clock_offset_ms {
            let least = offset - way.as_millis() as i64 / 2 - 2;
            self.clock_least_ms = Some(self.clock_least_ms.map_or(least, |known| known.max(least)));
        }
        let refused = said.written.err();
        let refusal = refused.as_ref().and_then(BackplaneError::refusal);
        self.pulse.silent |= refusal.is_some_and(Refusal::is_for_good);
        if server.cluster && refusal.is_some_and(Refusal::is_redirect) {
            let own = server.pulse.run(|primary| async move { slots::own_slots(&primary.client).await }).await?;
            self.probe_key.move_to(&own);
            self.pulse.armed = false;
        }
        Ok(HealthCheck {
            written: writes && refused.is_none(),
            refused,
            clock_offset_ms,
            identity: self.identity.clone(),
        })
    }

    /// How far the replica is.
    async fn look_how_far(&self, server: &Server) -> Result<Option<u64>, BackplaneError> {
        match self.connection.run(role(&self.connection)).await? {
            Role::Primary { .. } => Err(BackplaneError::down("the replica was promoted")),
            Role::Replica { offset, .. } => {
                offset.into_iter().for_each(|offset| server.replicas.floors.passed(offset));
                Ok(offset)
            }
        }
    }

    /// Looks whether what was written has come; `Down` where it has not for longer than a replica may lag.
    async fn look_for_pulse(&mut self, server: &Server) -> Result<(), BackplaneError> {
        let offset = self.look_how_far(server).await?;
        let (Some(sent), Some(bound)) = (self.pulse.sent, server.replicas.bound()) else { return Ok(()) };
        match sent.arrival(offset, self.pushes()) {
            Arrival::Come => self.came(server),
            Arrival::Silent => {
                if !self.pulse_was_pushed().await && !planted::is(Fault::ReplicaForgets) {
                    tracing::warn!("redis: the replica has forgotten what this node follows; verifying all");
                    server.changes.doubt();
                }
                self.came(server);
            }
            Arrival::Awaited => {
                server.replicas.set_lag(sent.age());
                if sent.age() > bound {
                    return self.lags(server, sent, bound).await;
                }
            }
        }
        Ok(())
    }

    /// Leaves a replica that lags too far, unless its primary is away, too.
    async fn lags(&mut self, server: &Server, sent: Sent, bound: Duration) -> Result<(), BackplaneError> {
        let asked = server.pulse.run(|primary| async move { role(&primary).await });
        match timeout(PULSE, asked).await {
            Ok(Ok(Role::Replica { .. })) => return Err(BackplaneError::down(DEMOTED)),
            Ok(Ok(Role::Primary { .. })) => {}
            Ok(Err(error)) => return self.primary_is_away(server, error.text()),
            Err(_) => return self.primary_is_away(server, "it does not answer in time"),
        }
        let Some(host) = server.replicas.read() else { return Ok(()) };
        server.replicas.leave(&host, &server.outside.random);
        let lag = sent.age().as_secs_f64();
        Err(BackplaneError::down(format!("the replica {host} is left: it lags by {lag:.1} s, more than {bound:?}")))
    }

    /// Takes in a push of what was written.
    fn take_push(&mut self, server: &Server) {
        let pushed = |sent: Sent| sent.pushes.is_some_and(|before| before != self.pushes());
        if self.pulse.sent.is_some_and(pushed) {
            self.came(server);
        }
    }

    /// What was written has come.
    fn came(&mut self, server: &Server) {
        if let Some(sent) = self.pulse.sent.take() {
            server.replicas.set_lag(sent.age());
        }
    }

    fn pushes(&self) -> u64 {
        self.probe_key.pushes.load(Ordering::Acquire)
    }

    /// Whether the push that must have come by now comes, what is on its way having been drained.
    async fn pulse_was_pushed(&self) -> bool {
        let Some(before) = self.pulse.sent.and_then(|sent| sent.pushes) else { return true };
        let (checked, done) = tokio::sync::oneshot::channel();
        let _ = self.checks.send(checked);
        let _ = done.await;
        let deadline = Instant::now() + PUSH_LAG;
        while self.pushes() == before && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        self.pushes() != before
    }
}

/// Writes a probe key at the primary, and asks how far it is behind that.
async fn write(primary: &Connection, key: Option<String>) -> Result<Said, BackplaneError> {
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<String>>();
    let lifetime = LIFETIME_MS.to_string();
    let set = key.as_ref().map(|key| words(&["SET", key, "1", "PX", &lifetime]));
    let commands: Vec<Vec<String>> = set.into_iter().chain([words(&["ROLE"]), words(&["TIME"])]).collect();
    let waiting = pipeline::of_words(&primary.client, &commands).await?;
    let mut replies = primary.send(waiting, commands.len()).await?.into_iter();
    let written = match key.and_then(|_| replies.next()) {
        Some(Err(error)) if error.refusal() == Some(&Refusal::ReadOnly) => return Err(BackplaneError::down(DEMOTED)),
        Some(reply) => reply.map(drop),
        None => Ok(()),
    };
    let role = replies.next().unwrap_or(Err(BackplaneError::down("no reply")));
    let time = replies.next().and_then(Result::ok).and_then(|reply| decode::time(&reply));
    match Role::read(&role.map_err(BackplaneError::into_down)?) {
        Some(Role::Primary { offset }) => Ok(Said { offset, written, time }),
        Some(Role::Replica { .. }) => Err(BackplaneError::down(DEMOTED)),
        None => Err(BackplaneError::down("ROLE is not answered")),
    }
}
