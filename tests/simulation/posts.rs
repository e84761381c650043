//! Publishers over HTTP, at any node, and what they were told. Nodes append by themselves, so what is there is looked at
//! before anything else happens to a stream.

use super::answer::Answer;
use super::chance::{Draw, source};
use super::client::Surroundings;
use super::leg::Begin;
use super::orders::Holder;
use super::plan::{Load, Step, What};
use super::truth::Truth;
use super::wish::{Manner, Wish};
use super::world::EPOCH_MS;
use fantail::position::Position;
use fastrand::Rng;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::time::sleep;

/// Channels of a run that are published to over HTTP, too, behind the usual ones.
pub const CHANNELS: usize = 2;
/// Clients of them, and how many are published.
const CLIENTS: usize = 6;
const POSTS: usize = 60;
/// Before the end nothing more is published, so that all is answered.
const QUIET: u64 = 20_000;

/// What happens to them; `clients`: the number of the first one.
pub fn steps(seed: u64, load: Load, clients: usize) -> Vec<Step> {
    let mut rng = source(seed, "posts");
    let mut steps = Vec::new();
    let most = load.length.as_millis() as u64 - QUIET;
    let mut add = |rng: &mut Rng, at: u64, what| {
        steps.push(Step { at: Duration::from_millis(at), seed: rng.u64(..), what });
    };
    for number in 0..POSTS {
        let channel = load.channels + rng.usize(0..CHANNELS);
        let at = rng.u64(0..most);
        add(&mut rng, at, What::Post { channel, number });
        let what = match rng.u8(0..12) {
            0 => What::Trim { channel },
            1 => What::Delete { channel },
            2..6 => What::Publish { channel, count: rng.usize(1..4), size: 10 },
            _ => continue,
        };
        let at = rng.u64(0..most);
        add(&mut rng, at, what);
    }
    for client in clients..clients + CLIENTS {
        let channels = vec![load.channels + rng.usize(0..CHANNELS)];
        let begin = [Begin::Latest, Begin::Earliest][rng.usize(0..2)];
        let (subject, manner) = (rng.usize(0..6), Manner::of(seed, client));
        let wish =
            Wish { channels, begin, subject, filtered: false, room: 65_536, sips: 300, in_url: rng.bool(), manner };
        let at = rng.u64(0..most / 2);
        add(&mut rng, at, What::Join { client, wish });
        for _ in 0..4 {
            let at = rng.u64(at..most);
            add(&mut rng, at, What::HangUp { client });
        }
    }
    steps
}

/// Publishes one event at any node, and compares what it is told.
pub async fn post(around: Surroundings, number: usize, channel: usize, mut rng: Rng) -> Result<(), String> {
    let Some((_, node)) = around.nodes.any(&mut rng) else { return Ok(()) };
    let address = IpAddr::V4(Ipv4Addr::new(10, 3, (number >> 8) as u8, number as u8));
    let (mut socket, sent) = (node.connect(address, 65_536), around.begun.elapsed());
    drop(node);
    let request = request(&around, number, channel, sent);
    let torn = rng.usize(0..request.len());
    socket.send(&request.as_bytes()[..torn]);
    sleep(Duration::from_millis(rng.u64(0..20))).await;
    socket.send(&request.as_bytes()[torn..]);
    if rng.once_in(8) {
        sleep(Duration::from_millis(rng.u64(0..100))).await;
        return Ok(());
    }
    let (mut answer, mut body) = (Answer::default(), Vec::new());
    while let Some(bytes) = socket.read(usize::MAX).await {
        body.extend(answer.feed(&bytes)?);
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let mut truth = around.truth.lock().expect("nobody panics");
    truth.note(
        around.begun.elapsed(),
        &format!("post {number} is told {:?} {text}", answer.head.map(|head| head.status)),
    );
    match answer.head.map(|head| head.status) {
        Some(201) => {}
        Some(401 | 429 | 500..) | None => return Ok(()),
        Some(other) => return Err(format!("a publisher is told {other}: {text}")),
    }
    let told: serde_json::Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let id: Position = told["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(|| format!("no id: {text}"))?;
    look(&mut truth, &around, channel);
    truth.is_of_post(id, number)?;
    let history = &truth.channels[channel];
    if history.index_of(id).is_none() && !history.broke_since(sent) {
        return Err(format!("post {number} was acknowledged as {id}, and is not in {}", history.name));
    }
    Ok(())
}

fn request(around: &Surroundings, number: usize, channel: usize, now: Duration) -> String {
    let name = around.truth.lock().expect("nobody panics").channels[channel].name.clone();
    let (subject, token_id) = ("publisher".to_owned(), format!("p{number}"));
    let holder = Holder { subject, token_id, expires: now + Duration::from_secs(60) };
    let token = match around.tokens {
        true => format!("Authorization: Bearer {}\r\n", holder.token(EPOCH_MS / 1_000)),
        false => String::new(),
    };
    let body = format!("{channel} p{number}");
    let length = body.len();
    format!(
        "POST /events/{name}?event=a HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {length}\r\n{token}\r\n{body}"
    )
}

/// Takes note of what nodes have appended to a channel.
pub fn look(truth: &mut Truth, around: &Surroundings, channel: usize) {
    if around.posted.contains(&channel) {
        let held = around.redis.held(&truth.channels[channel].name);
        truth.found(channel, &held, around.begun.elapsed());
    }
}
