//! Publishing over HTTP: `POST /events/{channel}` and batches on `POST /events`.
//!
//! Owns the order of things and the answer; `receiving` reads a body, within what `room` has left for it. What a body means is [`crate::publication`]'s; who may
//! publish to what is decided before.

use super::receiving::Receiving;
use super::room::{Place, Room};
use crate::auth::{Action, Auth, Grant, Question};
use crate::backplane::{Backplane, BackplaneError, Publication};
use crate::channel::Channel;
use crate::cors::Cors;
use crate::limits::{Rate, TooFast, client_of};
use crate::position::Position;
use crate::problem::{Code, Problem, shortened};
use crate::publication::{self, Bounds, parse_batch, parse_first, parse_single, refuse_of_batch};
use crate::roster::Roster;
use crate::subscription::parse_switch;
use crate::telemetry::trace::{context, spans};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use ring::digest::{SHA256, digest};
use serde_json::json;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tracing::Instrument as _;

/// Time for the backplane to answer; it has shorter limits of its own.
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Events of one batch.
const MAX_BATCH_LINES: usize = 1_000;
/// Bytes of one batch, unless a single event may be larger.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// Bytes of all bodies that are in memory at once.
const MAX_BODY_MEMORY: usize = 64 << 20;

/// What publishing needs, shared by all connections.
pub struct Publisher {
    backplane: Arc<dyn Backplane>,
    cors: Arc<Cors>,
    auth: Arc<Auth>,
    rate: Option<Rate<IpAddr>>,
    subject_rate: Option<Rate<Arc<str>>>,
    limits: publication::Limits,
    max_batch_bytes: usize,
    /// Knows how many subscribers a channel has.
    roster: Option<Arc<Roster>>,
    /// What bodies may take.
    room: Room,
}

/// How much may be published over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Data of one event.
    pub event_bytes: usize,
    /// Events per second of one address; 0: no limit.
    pub address_rate: u32,
    /// Events per second of one subject; zero: no limit.
    pub subject_rate: u32,
    /// What may be said of streams.
    pub bounds: Bounds,
}

impl Publisher {
    pub fn new(backplane: Arc<dyn Backplane>, cors: Arc<Cors>, auth: Arc<Auth>, allowed: Allowed) -> Publisher {
        let max_event_bytes = allowed.event_bytes;
        // JSON escapes make an event up to six times as long.
        let max_batch_bytes = MAX_BATCH_BYTES.max(max_event_bytes.saturating_mul(6).saturating_add(4096));
        Publisher {
            backplane,
            cors,
            auth,
            rate: Rate::new(allowed.address_rate),
            subject_rate: Rate::new(allowed.subject_rate),
            limits: publication::Limits { max_event_bytes, max_batch_lines: MAX_BATCH_LINES, bounds: allowed.bounds },
            max_batch_bytes,
            roster: None,
            room: Room::new(MAX_BODY_MEMORY, max_batch_bytes, Code::PublishRate),
        }
    }

    /// A publisher that is able to tell how many subscribers were there.
    pub fn with(self, roster: Arc<Roster>) -> Publisher {
        Publisher { roster: Some(roster), ..self }
    }

    /// What an answer says beside the id: `subscribers` where the request asks for them.
    async fn about(&self, channel: &Channel, asked: bool, id: Position) -> serde_json::Value {
        let mut answer = json!({"id": id.to_string()});
        if let (true, Some(roster)) = (asked, &self.roster) {
            answer["subscribers"] = roster.audience(channel).await.subscribers.into();
            answer["approximate"] = true.into();
        }
        answer
    }

    /// Refuses what is clear from the head alone, before a body is read.
    fn check_head<B>(&self, request: &Request<B>, peer: IpAddr) -> Result<(), Problem> {
        if !self.cors.admits(request.headers()) {
            let detail = "--cors-origin does not name the origin of the page that sent this";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        let identity = |coding: &&HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
        let coding = request.headers().get_all(CONTENT_ENCODING).iter().find(|coding| !identity(coding));
        if let Some(coding) = coding {
            return Err(Problem::bad_parameter(
                "content-encoding",
                &String::from_utf8_lossy(coding.as_bytes()),
                "bodies come as they are",
            ));
        }
        if let Some(kind) = request.headers().get(CONTENT_TYPE).filter(|kind| is_multipart(kind.as_bytes())) {
            let kind = shortened(&String::from_utf8_lossy(kind.as_bytes()));
            let detail = format!("{kind:?}: a form's parts are not taken apart; the body is the data itself");
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        self.take_rate(peer, 1)
    }

    /// Asks whether this request may publish to these channels.
    async fn authorize(&self, head: &Request<()>, client: IpAddr, channels: &[Channel]) -> Result<Grant, Problem> {
        let (method, uri, headers) = (head.method(), head.uri(), head.headers());
        self.auth.authorize_at_once(Question { method, uri, headers, client, action: Action::Publish, channels }).await
    }

    fn take_rate(&self, peer: IpAddr, events: usize) -> Result<(), Problem> {
        take(&self.rate, client_of(peer), events, "an address")
    }

    fn take_subject_rate(&self, grant: &Grant, events: usize) -> Result<(), Problem> {
        match &grant.subject {
            Some(subject) => take(&self.subject_rate, subject.clone(), events, "a subject"),
            None => Ok(()),
        }
    }

    /// A place for the body of somebody whose subject may be known already.
    fn place(&self, peer: IpAddr, grant: Option<&Grant>) -> Place<'_> {
        self.room.enter(client_of(peer), grant.and_then(|grant| grant.subject.clone()))
    }

    async fn append(&self, publications: Vec<Publication>) -> Result<Vec<Result<Position, BackplaneError>>, Problem> {
        match timeout(APPEND_TIMEOUT, self.backplane.append(publications)).await {
            Ok(answer) => answer.map_err(|e| refusal(&e)),
            Err(_) => Err(refusal(&BackplaneError::down("it did not answer in time"))),
        }
    }
}

/// Whether a body has several parts, each with a head (RFC 2046, section 5.1).
fn is_multipart(kind: &[u8]) -> bool {
    const KIND: &[u8] = b"multipart/";
    kind.get(..KIND.len()).is_some_and(|start| start.eq_ignore_ascii_case(KIND))
}

fn take<K: Hash + Eq + Clone>(rate: &Option<Rate<K>>, who: K, events: usize, what: &str) -> Result<(), Problem> {
    let (Some(rate), Some(events)) = (rate, u32::try_from(events).ok().and_then(NonZeroU32::new)) else {
        return Ok(());
    };
    let limit = format!("{what} may publish {} events a second", rate.per_second());
    rate.take(who, events).map_err(|too_fast| match too_fast {
        TooFast::Wait(seconds) => Problem { retry_after: Some(seconds), ..Problem::new(Code::PublishRate, limit) },
        TooFast::Never => Problem::new(Code::PublishRate, format!("{limit}; {events} more at once never fit")),
    })
}

/// Serves a `POST` to `/events` or `/events/{channel}`.
///
/// One event: 201 and `{"id"}`. A batch: 200 and `{"ids"}`, one per event; where the backplane refused some of them, 207
/// with `null` among the ids and `errors` that name the lines. A batch that cannot be read publishes nothing.
/// CORS headers are for the caller to add.
pub async fn publish<B>(request: Request<B>, peer: IpAddr, publisher: &Publisher) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let (head, body) = request.into_parts();
    let head = Request::from_parts(head, ());
    let segment = head.uri().path().strip_prefix("/events/").map(str::to_owned);
    let span = spans::publish(head.headers(), segment.as_deref());
    let publishing = async {
        let answer = match segment {
            Some(segment) => publish_one(&segment, head, body, peer, publisher).await,
            None => publish_batch(head, body, peer, publisher).await,
        };
        answer.unwrap_or_else(|problem| {
            spans::refused(problem.code.as_str());
            problem.into_response()
        })
    };
    publishing.instrument(span).await
}

async fn publish_one<B>(
    segment: &str,
    head: Request<()>,
    body: B,
    peer: IpAddr,
    publisher: &Publisher,
) -> Result<Response<Full<Bytes>>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    publisher.check_head(&head, peer)?;
    // Read once without the body, so that a bad request is refused before its body is sent.
    let query = head.uri().query().unwrap_or_default();
    let without_data = parse_single(segment, query, head.headers(), Bytes::new(), &publisher.limits)?;
    let grant = publisher.authorize(&head, peer, &[without_data.channel]).await?;
    publisher.take_subject_rate(&grant, 1)?;
    let place = publisher.place(peer, Some(&grant));
    let received = Receiving::begin(body, publisher.limits.max_event_bytes, place)?.all().await?;
    let mut publication = parse_single(segment, query, head.headers(), received.body.clone(), &publisher.limits)?;
    context::stamp(&mut publication, head.headers());
    publication.belongs_to(&producer(&grant));
    let (channel, asked) = (publication.channel.clone(), asks_for_subscribers(query)?);
    match publisher.append(vec![publication]).await?.pop() {
        Some(Ok(id)) => {
            spans::published(id);
            Ok(answer(StatusCode::CREATED, &publisher.about(&channel, asked, id).await))
        }
        Some(Err(error)) => Err(refusal(&error)),
        None => Err(refusal(&BackplaneError::refused("no answer for the event"))),
    }
}

/// `subscribers=1`.
fn asks_for_subscribers(query: &str) -> Result<bool, Problem> {
    match form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "subscribers") {
        Some((name, value)) => parse_switch(&value).map_err(|why| Problem::bad_parameter(&name, &value, why)),
        None => Ok(false),
    }
}

async fn publish_batch<B>(
    head: Request<()>,
    body: B,
    peer: IpAddr,
    publisher: &Publisher,
) -> Result<Response<Full<Bytes>>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    publisher.check_head(&head, peer)?;
    refuse_of_batch(head.headers())?;
    // A body is not read for somebody who may publish nothing, where that is known without it.
    let known = match publisher.auth.needs_channels() {
        true => None,
        false => Some(publisher.authorize(&head, peer, &[]).await?),
    };
    let place = publisher.place(peer, known.as_ref());
    let mut receiving = Receiving::begin(body, publisher.max_batch_bytes, place)?;
    // Where it is not, the channel of its first line is asked about before more is read.
    if known.is_none()
        && let Some(line) = receiving.first_line().await?
    {
        let first = parse_first(&line, &publisher.limits)?;
        let grant = publisher.authorize(&head, peer, &[first]).await?;
        receiving.place().belongs_to(grant.subject.as_ref());
    }
    let received = receiving.all().await?;
    let batch = parse_batch(&received.body, &publisher.limits)?;
    let (lines, mut publications): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    spans::batch(lines.len());
    let mut channels: Vec<Channel> = publications.iter().map(|publication| publication.channel.clone()).collect();
    channels.sort_unstable();
    channels.dedup();
    let grant = match known {
        Some(grant) => publisher.auth.check(&grant, Action::Publish, &channels).map(|()| grant)?,
        None => publisher.authorize(&head, peer, &channels).await?,
    };
    let producer = producer(&grant);
    publications.iter_mut().for_each(|publication| {
        context::stamp(publication, head.headers());
        publication.belongs_to(&producer);
    });
    // One was taken for the request itself.
    publisher.take_rate(peer, lines.len() - 1)?;
    publisher.take_subject_rate(&grant, lines.len())?;
    let results = publisher.append(publications).await?;
    Ok(batch_answer(&lines, &results))
}

/// Whose keys those of a request are: the subject's, without telling it; of all who have none, the same.
fn producer(grant: &Grant) -> Arc<str> {
    /// Of the hash, in bytes: enough that nobody finds another subject with the same.
    const BYTES: usize = 16;
    match &grant.subject {
        Some(subject) => URL_SAFE_NO_PAD.encode(&digest(&SHA256, subject.as_bytes()).as_ref()[..BYTES]).into(),
        None => "-".into(),
    }
}

fn batch_answer(lines: &[usize], results: &[Result<Position, BackplaneError>]) -> Response<Full<Bytes>> {
    let ids: Vec<_> = results.iter().map(|result| result.as_ref().ok().map(Position::to_string)).collect();
    let error = |(line, result): (&usize, &Result<Position, BackplaneError>)| {
        let problem = refusal(result.as_ref().err()?);
        Some(json!({"line": line, "code": problem.code.as_str(), "detail": problem.detail}))
    };
    let errors: Vec<_> = lines.iter().zip(results).filter_map(error).collect();
    match errors.is_empty() {
        true => answer(StatusCode::OK, &json!({"ids": ids})),
        false => answer(StatusCode::MULTI_STATUS, &json!({"ids": ids, "errors": errors})),
    }
}

/// What a client is told of a backplane's failure. A lost answer leaves open whether the event was stored.
fn refusal(error: &BackplaneError) -> Problem {
    let mut problem = Problem::from(error);
    problem.detail.push_str(match error {
        BackplaneError::Refused { .. } => "",
        BackplaneError::Down { unsent: true, .. } => "; nothing was stored, so it may be published again",
        BackplaneError::Down { unsent: false, .. } => {
            "; whether anything was stored is unknown, so a repeat without a key may publish twice"
        }
    });
    problem
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{body}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
