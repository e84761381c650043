//! A sensor measures two thousand times a second; the stream gets ten events a second, each with all that was measured
//! since the last one.

use axum::Router;
use redis::aio::ConnectionManager;
use redis::streams::StreamMaxlen;
use redis::{AsyncCommands, Client, RedisResult};
use std::env::var;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{MissedTickBehavior, interval};
use tower_http::services::ServeDir;

/// Measurements that may wait, ten seconds of them. Beyond that the sensor waits, too.
const MOST: usize = 20_000;
const BATCH: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = var("REDIS_URL").unwrap_or("redis://127.0.0.1:6379".into());
    let redis = Client::open(url)?.get_connection_manager().await?;
    let (sender, receiver) = mpsc::channel(MOST);
    std::thread::spawn(move || measure(&sender));
    tokio::spawn(publish(redis, receiver));
    let address = format!("{}:3000", var("HOST").unwrap_or("127.0.0.1".into()));
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://{address}");
    Ok(axum::serve(listener, Router::new().fallback_service(ServeDir::new("page"))).await?)
}

/// The sensor: a number, and what was measured.
fn measure(sender: &Sender<(u64, f64)>) {
    let mut value = 0.0;
    for number in 0.. {
        value += fastrand::f64() - 0.5;
        if sender.blocking_send((number, (value * 1000.0_f64).round() / 1000.0)).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

async fn publish(mut redis: ConnectionManager, mut receiver: Receiver<(u64, f64)>) {
    let mut tick = interval(BATCH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::new();
    loop {
        tick.tick().await;
        let room = MOST - batch.len();
        receiver.recv_many(&mut batch, room).await;
        let data = serde_json::json!(batch).to_string();
        let kept = StreamMaxlen::Approx(600);
        let added: RedisResult<String> = redis.xadd_maxlen("sse:sensor", kept, "*", &[("data", data)]).await;
        match added {
            Ok(_) => batch.clear(),
            Err(error) => eprintln!("{error}: {} measurements wait", batch.len()),
        }
    }
}
