//! A node against a model that knows the truth: random publishing, trimming, deleting, cutting off and random clients
//! that stop reading, hang up and come back. Each client must see every event after its position once and in order, or
//! be told of a gap that the model agrees with.

mod client;
mod sets;
mod truth;

use crate::support::fleet::seed;
use client::{Begin, Client, Control, Wish};
use fantail::backplane::Link;
use fantail::backplane::memory::{Memory, Settings};
use fantail::channel::Channel;
use fantail::command::settings_of;
use fantail::node::Node;
use fantail::outside::Outside;
use fastrand::Rng;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use truth::Truth;

/// Bytes that tails may take; a feed gets a quarter. Small ones make everybody fall behind.
const TAILS: [usize; 3] = [16 << 10, 128 << 10, 4 << 20];
const CASES_PER_NODE: u64 = 6;
const OPERATIONS: usize = 120;
const CHANNELS: usize = 3;
const CLIENTS: usize = 14;
const PATIENCE: Duration = Duration::from_secs(120);

/// One node with the backplane that it uses.
struct Bench {
    node: Node,
    memory: Arc<Memory>,
}

impl Bench {
    fn new(tail_bytes: usize) -> Bench {
        let flags =
            ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--heartbeat", "1s", "--couriers", "2"];
        let mut settings = settings_of(&flags).expect("good flags");
        // Smaller than flags allow.
        settings.tail_bytes = tail_bytes;
        let memory = Memory::new(Settings { maxlen: 0, ..Settings::default() });
        let node = Node::start_with(settings, memory.clone(), Outside::default()).expect("a node");
        Bench { node, memory }
    }
}

#[test]
fn clients_see_what_the_model_says() {
    let seed = seed("model");
    let begun = Instant::now();
    let benches = TAILS.map(Bench::new);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let (mut received, mut gaps) = (0, 0);
    runtime.block_on(async {
        let mut nodes = JoinSet::new();
        for (number, bench) in benches.iter().enumerate() {
            let (address, memory) = (bench.node.listen()[0], bench.memory.clone());
            nodes.spawn(async move {
                let mut sums = (0, 0);
                for case in 0..CASES_PER_NODE {
                    let name = format!("{number}.{case}");
                    let rng = Rng::with_seed(seed.wrapping_add(number as u64 * CASES_PER_NODE + case));
                    let (received, gaps) = Case::new(&name, address, memory.clone(), rng).run().await?;
                    sums = (sums.0 + received, sums.1 + gaps);
                }
                Ok::<_, String>(sums)
            });
        }
        while let Some(ended) = nodes.join_next().await {
            let sums = ended.expect("no panic").unwrap_or_else(|wrong| panic!("FANTAIL_TEST_SEED={seed}\n{wrong}"));
            (received, gaps) = (received + sums.0, gaps + sums.1);
        }
    });
    println!("model: {received} events received, {gaps} gaps announced, {:.1} s", begun.elapsed().as_secs_f64());
}

/// One random history on channels of its own.
struct Case {
    rng: Rng,
    address: SocketAddr,
    memory: Arc<Memory>,
    truth: Arc<Mutex<Truth>>,
    goal: watch::Sender<bool>,
    clients: JoinSet<Result<(usize, usize), String>>,
    controls: Vec<watch::Sender<Control>>,
}

impl Case {
    fn new(name: &str, address: SocketAddr, memory: Arc<Memory>, rng: Rng) -> Case {
        let channels = (0..CHANNELS).map(|c| Channel::new(&format!("case.{name}.{c}")).expect("a name"));
        Case {
            rng,
            address,
            memory,
            truth: Arc::new(Mutex::new(Truth::new(channels))),
            goal: watch::Sender::new(false),
            clients: JoinSet::new(),
            controls: Vec::new(),
        }
    }

    /// Plays the case; how many events and gaps clients got.
    async fn run(mut self) -> Result<(usize, usize), String> {
        for _ in 0..OPERATIONS {
            self.operate();
            if self.rng.u8(0..3) > 0 {
                sleep(Duration::from_millis(self.rng.u64(0..15))).await;
            }
        }
        self.memory.set_link(Link::Up);
        for control in &self.controls {
            control.send_modify(|control| control.reading = true);
        }
        {
            let mut truth = self.truth.lock().unwrap();
            (0..CHANNELS).for_each(|channel| truth.publish(&self.memory, channel, b'a', 10));
            truth.note("the end");
        }
        self.goal.send_replace(true);
        let (mut received, mut gaps, mut wrongs) = (0, 0, Vec::new());
        let all = async {
            while let Some(ended) = self.clients.join_next().await {
                match ended.expect("no panic") {
                    Ok(counts) => (received, gaps) = (received + counts.0, gaps + counts.1),
                    Err(wrong) => wrongs.push(wrong),
                }
            }
            if wrongs.is_empty() { Ok((received, gaps)) } else { Err(self.explain(&wrongs.join("\n"))) }
        };
        timeout(PATIENCE, all).await.map_err(|_| "clients did not end".to_string())?
    }

    fn explain(&self, wrong: &str) -> String {
        format!("{wrong}\nwhat happened:\n{}", self.truth.lock().unwrap().journal())
    }

    /// Does something.
    fn operate(&mut self) {
        let mut truth = self.truth.lock().unwrap();
        let channel = self.rng.usize(0..CHANNELS);
        match self.rng.u8(0..100) {
            0..40 => {
                let count = if self.rng.u8(0..4) == 0 { self.rng.usize(30..200) } else { self.rng.usize(1..6) };
                let size = *self.rng.choice(&[20, 300, 4_000]).expect("some");
                truth.note(&format!("publish {count} of {size} to {channel}"));
                for _ in 0..count {
                    let kind = if self.rng.bool() { b'a' } else { b'b' };
                    truth.publish(&self.memory, channel, kind, size);
                }
            }
            40..46 => truth.trim(&self.memory, channel, &mut self.rng),
            46..50 => truth.delete_entry(&self.memory, channel, &mut self.rng),
            50..52 => truth.delete_stream(&self.memory, channel, &mut self.rng),
            52..55 => {
                truth.note("link down");
                self.memory.set_link(Link::Down);
            }
            55..62 => {
                truth.note("link up");
                self.memory.set_link(Link::Up);
            }
            62..76 if self.controls.len() < CLIENTS => {
                drop(truth);
                self.join();
            }
            62..100 if !self.controls.is_empty() => {
                let client = self.rng.usize(0..self.controls.len());
                let control = &self.controls[client];
                match self.rng.u8(0..4) {
                    0 => {
                        truth.note(&format!("client {client} hangs up"));
                        control.send_modify(|control| control.connection += 1);
                    }
                    1 => {
                        truth.note(&format!("client {client} stops reading"));
                        control.send_modify(|control| control.reading = false);
                    }
                    _ => {
                        truth.note(&format!("client {client} reads"));
                        control.send_modify(|control| control.reading = true);
                    }
                }
            }
            _ => {}
        }
    }

    fn join(&mut self) {
        let mut channels: Vec<usize> = (0..CHANNELS).collect();
        self.rng.shuffle(&mut channels);
        channels.truncate(if self.rng.bool() { 1 } else { self.rng.usize(1..=CHANNELS) });
        let begin = match self.rng.u8(0..6) {
            0 | 1 => Begin::Earliest,
            2 => Begin::Tail(self.rng.usize(1..100)),
            _ => Begin::Latest,
        };
        let wish = Wish {
            channels,
            begin,
            filtered: self.rng.u8(0..5) == 0,
            // In half of this, a segment has no room some time, and then the kernel sends one each 200 ms.
            receive_buffer: self.rng.bool().then_some(16 << 10),
        };
        let number = self.controls.len();
        self.truth.lock().unwrap().note(&format!("client {number} joins: {wish:?}"));
        let (control, controlled) = watch::channel(Control { reading: true, connection: 0 });
        let client = Client::new(number, self.address, wish, self.truth.clone());
        self.clients.spawn(client.run(controlled, self.goal.subscribe()));
        self.controls.push(control);
    }
}
