//! Sets of channels against a model: while they are published to, subjects' streams are told to join and leave channels, cut
//! off, and taken up again on another node. Of each time that a channel was in a set, its client gets the events from the
//! order on, in order and none twice; of the last one all.

use crate::support::event_stream::Message;
use crate::support::fleet::seed;
use crate::support::jwt::{Folder, flags, signed};
use crate::support::stream::Stream;
use fantail::backplane::memory::{Memory, Settings};
use fantail::channel::Channel;
use fantail::command::settings_of;
use fantail::node::Node;
use fantail::outside::Outside;
use fantail::position::Position;
use fastrand::Rng;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const CHANNELS: usize = 7;
const SUBJECTS: usize = 3;
const CLIENTS: usize = 9;
const CASES: u64 = 4;
const OPERATIONS: usize = 250;
/// Published to every channel when all is over.
const END: &str = "end";

/// What was done, under ids that are times and grow.
struct World {
    memory: Arc<Memory>,
    case: u64,
    ms: u64,
    /// Ids of all that was published, by channel.
    published: Vec<Vec<u64>>,
    /// What was ordered: subject, channel, whether it joins, and when.
    orders: Vec<(usize, usize, bool, u64)>,
}

impl World {
    fn name(&self, channel: usize) -> String {
        format!("sets.{}.{channel}", self.case)
    }

    /// Appends under the next id, of a moment that has passed.
    fn append(&mut self, channel: &str, fields: &[(&str, &str)]) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
        self.ms = now.max(self.ms + 1);
        let fields: Vec<_> = fields.iter().map(|(n, v)| (n.to_string().into(), v.to_string().into())).collect();
        let channel = Channel::new(channel).expect("a name");
        self.memory.append_at(&channel, Position::new(self.ms, 0), &fields).expect("a greater id");
        self.ms
    }

    fn publish(&mut self, channel: usize, data: &str) {
        let name = self.name(channel);
        let id = self.append(&name, &[("data", &format!("{channel} {data}"))]);
        self.published[channel].push(id);
    }

    fn order(&mut self, subject: usize, channel: usize, joins: bool) {
        let (what, name) = (if joins { "join" } else { "leave" }, self.name(channel));
        let id = self.append("~control", &[(what, &name), ("subject", &format!("s{}.{subject}", self.case))]);
        self.orders.push((subject, channel, joins, id));
    }

    /// When a channel was in the set of who named it or not: from which id to which, the last one without an end.
    fn times(&self, subject: usize, channel: usize, named: bool) -> Vec<(u64, u64)> {
        let mut times = Vec::new();
        let mut since = named.then_some(0);
        for (_, _, joins, at) in self.orders.iter().filter(|order| (order.0, order.1) == (subject, channel)) {
            match (since, joins) {
                (None, true) => since = Some(*at),
                (Some(from), false) => times.extend(since.take().map(|_| (from, *at))),
                _ => {}
            }
        }
        times.extend(since.map(|since| (since, u64::MAX)));
        times
    }
}

struct Client {
    subject: usize,
    named: Vec<usize>,
    target: String,
    token: String,
    last_event_id: String,
    stream: Option<Stream>,
    /// Ids of what it got, by channel.
    got: Vec<Vec<u64>>,
}

impl Client {
    fn connect(&mut self, node: &Node) {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("Authorization", bearer.as_str())];
        if !self.last_event_id.is_empty() {
            headers.push(("Last-Event-ID", &self.last_event_id));
        }
        if self.subject == 0 {
            headers.push(("Accept-Encoding", "gzip"));
        }
        let stream = Stream::open(node.listen()[0], &self.target, &headers).begun();
        // That of what was read is not that of what was taken.
        if stream.is_taken() {
            self.last_event_id = stream.last_event_id();
        }
        self.stream = Some(stream);
    }

    /// Takes some of what has come, and goes.
    fn hang_up(&mut self, world: &World, count: usize) -> Result<(), String> {
        for _ in 0..count {
            match self.stream.as_mut().and_then(Stream::here) {
                Some(message) => self.take(world, message)?,
                None => break,
            }
        }
        self.stream = None;
        Ok(())
    }

    fn take(&mut self, world: &World, message: Message) -> Result<(), String> {
        // What is told before the first id of a connection changes none.
        if !message.id.is_empty() {
            self.last_event_id.clone_from(&message.id);
        }
        let Some((channel, data)) = message.data.split_once(' ').filter(|_| message.event == "message") else {
            return Ok(());
        };
        let channel: usize = channel.parse().expect("a channel");
        let at = match data {
            END => *world.published[channel].last().expect("the end"),
            number => world.published[channel][number.parse::<usize>().expect("a number")],
        };
        match self.got[channel].last() {
            Some(last) if *last >= at => Err(format!("channel {channel}: {at} comes behind {last}")),
            _ => {
                self.got[channel].push(at);
                Ok(())
            }
        }
    }

    /// Whether what it got of a channel is what it was owed.
    fn judge(&self, world: &World, channel: usize) -> Result<(), String> {
        let times = world.times(self.subject, channel, self.named.contains(&channel));
        let (got, published) = (&self.got[channel], &world.published[channel]);
        // Before the first time nothing comes; behind the end of one, what its node had not read the order by then.
        let begins = times.iter().map(|(from, _)| *from).chain([u64::MAX]).collect::<Vec<_>>();
        let wrong =
            |what: &str| Err(format!("channel {channel}: {what}: {times:?}\n  got {got:?}\n  of {published:?}"));
        if got.first().is_some_and(|first| *first < begins[0]) {
            return wrong("it came before it was joined");
        }
        for (pair, (_, until)) in begins.windows(2).zip(&times) {
            let within =
                |ids: &[u64]| ids.iter().copied().filter(|id| (pair[0]..pair[1]).contains(id)).collect::<Vec<_>>();
            let (owed, got) = (within(published), within(got));
            if !owed.starts_with(&got) {
                return wrong("events are missing in the middle");
            }
            if *until == u64::MAX && owed != got {
                return wrong("events are missing at the end");
            }
        }
        Ok(())
    }
}

fn play(nodes: &[Node], memory: &Arc<Memory>, case: u64, rng: &mut Rng) -> Result<usize, String> {
    let published = vec![Vec::new(); CHANNELS];
    let mut world = World { memory: memory.clone(), case, ms: 0, published, orders: Vec::new() };
    let mut clients: Vec<Client> = (0..CLIENTS).map(|number| client(&world, number, rng)).collect();
    clients.iter_mut().for_each(|client| client.connect(rng.choice(nodes).expect("some")));
    for _ in 0..OPERATIONS {
        let (channel, client) = (rng.usize(0..CHANNELS), rng.usize(0..CLIENTS));
        match rng.u8(0..20) {
            0..8 => {
                for _ in 0..rng.usize(1..4) {
                    let number = world.published[channel].len().to_string();
                    world.publish(channel, &number);
                    // Ids are times: they must not run ahead.
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            8..13 => world.order(rng.usize(0..SUBJECTS), channel, rng.bool()),
            13..15 => clients[client].hang_up(&world, rng.usize(0..60))?,
            15..18 if clients[client].stream.is_none() => clients[client].connect(rng.choice(nodes).expect("some")),
            _ => std::thread::sleep(Duration::from_millis(rng.u64(1..8))),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    (0..CHANNELS).for_each(|channel| world.publish(channel, END));
    let mut events = 0;
    for (number, client) in clients.iter_mut().enumerate() {
        if client.stream.is_none() {
            client.connect(rng.choice(nodes).expect("some"));
        }
        let stays = |channel: &usize| {
            let times = world.times(client.subject, *channel, client.named.contains(channel));
            times.last().is_some_and(|(_, until)| *until == u64::MAX)
        };
        let owed: Vec<usize> = (0..CHANNELS).filter(stays).collect();
        let end = |channel: &usize| *world.published[*channel].last().expect("the end");
        let subject = client.subject;
        let of = move |wrong: String| format!("case {case}, client {number} of subject {subject}: {wrong}");
        while owed.iter().any(|channel| client.got[*channel].last() != Some(&end(channel))) {
            let message = client.stream.as_mut().expect("a stream").next();
            client.take(&world, message).map_err(of)?;
        }
        (0..CHANNELS).try_for_each(|channel| client.judge(&world, channel)).map_err(of)?;
        events += client.got.iter().map(Vec::len).sum::<usize>();
    }
    Ok(events)
}

fn client(world: &World, number: usize, rng: &mut Rng) -> Client {
    let mut named: Vec<usize> = (0..CHANNELS).collect();
    rng.shuffle(&mut named);
    // One, a few whose ids are readable, many whose ids are compact.
    named.truncate([1, 3, 6][rng.usize(0..3)]);
    let names: Vec<String> = named.iter().map(|channel| world.name(*channel)).collect();
    let subject = number % SUBJECTS;
    Client {
        subject,
        target: format!("/events?channels={}", names.join(",")),
        token: signed(json!({"sub": format!("s{}.{subject}", world.case), "fantail": {"subscribe": ["sets.**"]}})),
        named,
        last_event_id: String::new(),
        stream: None,
        got: vec![Vec::new(); CHANNELS],
    }
}

#[test]
fn sets_that_orders_change_are_what_the_model_says() {
    let seed = seed("sets");
    let folder = Folder::new();
    let memory = Memory::new(Settings { maxlen: 0, ..Settings::default() });
    let nodes = [(); 2].map(|()| {
        let jwt = flags(&folder);
        let common = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--couriers", "2"];
        let flags: Vec<&str> = common.into_iter().chain(jwt.iter().map(String::as_str)).collect();
        Node::start_with(settings_of(&flags).expect("good flags"), memory.clone(), Outside::default()).expect("a node")
    });
    let mut rng = Rng::with_seed(seed);
    let mut events = 0;
    for case in 0..CASES {
        let played = play(&nodes, &memory, case, &mut rng);
        events += played.unwrap_or_else(|wrong| panic!("FANTAIL_TEST_SEED={seed}\n{wrong}"));
    }
    println!("sets: {events} events received");
}
