//! Routing: which request is what, and which subscriptions are admitted.

use super::Context;
use super::about;
use super::changes;
use super::decision::{Admitted, Decision};
use super::encoding::Coding;
use super::head::{self, Marks};
use super::history::{self, Page};
use super::metrics::Published;
use super::paths;
use super::query;
use super::rates::{take_rate, take_subject_rate};
use super::request_body::RequestBody;
use super::session;
use super::subscribe::{is_finished, returns_after_ms};
use super::well_formed;
use crate::auth::{Action, Grant, Question};
use crate::channel::Channel;
use crate::condition::Conditions;
use crate::limits::{Applicant, Full, client_of};
use crate::problem::{Code, Problem};
use crate::subscription::{Limits, Subscription, Texts, Wish};
use crate::telemetry::trace::spans;
use bytes::Bytes;
use http_body_util::{Either, Full as FullBody};
use hyper::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

type Answer = Response<FullBody<Bytes>>;

/// Methods of `/events` and `/events/{channel}`.
const ALLOW: &str = "GET, HEAD, POST, QUERY, OPTIONS";
/// The greatest `tail`: where it begins is found by reading all of it once, before the first event is sent.
const MOST_TAIL: usize = 100_000;

/// Answers a request; what is decided of a subscription goes into `decision` instead, and the future stays pending.
pub async fn route(
    mut request: Request<RequestBody>,
    peer: IpAddr,
    context: &Arc<Context>,
    decision: &Mutex<Option<Decision>>,
) -> Result<history::Answer, Infallible> {
    let mut answer = match well_formed::check(&mut request) {
        Ok(()) => answer(request, peer, context, decision).await,
        Err(problem) => problem.into_response().map(Either::Left),
    };
    // What is JSON or an event stream, nobody is to take for a page.
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(answer)
}

async fn answer(
    request: Request<RequestBody>,
    peer: IpAddr,
    context: &Arc<Context>,
    decision: &Mutex<Option<Decision>>,
) -> history::Answer {
    let direct = peer;
    let peer = context.proxies.client(peer, request.headers());
    let cors = context.cors.headers_for(request.headers());
    let mut answer = match paths::below(request.uri().path(), paths::EVENTS) {
        None if session::is_served(request.uri().path(), context) => match *request.method() {
            Method::OPTIONS => return context.cors.preflight(request.headers(), session::ALLOW).map(Either::Left),
            _ => session::answer(&request, direct, peer, context).await,
        },
        None if is_history(request.uri().path()) => return history(request, peer, context).await,
        None if request.uri().path() == about::PATH => match *request.method() {
            Method::OPTIONS => return context.cors.preflight(request.headers(), about::ALLOW).map(Either::Left),
            ref method => about::answer(method),
        },
        None => no_such_path(request.uri().path(), context).into_response(),
        Some(channel) => match *request.method() {
            Method::GET => {
                let asking = Asking { head: &request, channel, form: None };
                match decide(&asking, peer, context).await {
                    Ok(decided) => {
                        drop(request);
                        *decision.lock() = Some(decided);
                        std::future::pending().await
                    }
                    Err(problem) => problem.into_response(),
                }
            }
            Method::HEAD => match may_read(&Asking { head: &request, channel, form: None }, peer, context).await {
                Ok(true) => {
                    let mut answer = Response::default();
                    *answer.status_mut() = StatusCode::NO_CONTENT;
                    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                    answer
                }
                Ok(false) => {
                    let mut answer = Response::new(FullBody::default());
                    head::stream_headers(answer.headers_mut());
                    Coding::of(request.headers(), context.settings.compress).apply(answer.headers_mut());
                    answer
                }
                Err(problem) => {
                    context.refused(&problem, peer);
                    problem.into_response()
                }
            },
            Method::OPTIONS => {
                let mut answer = context.cors.preflight(request.headers(), ALLOW);
                answer.headers_mut().insert(query::ACCEPT_QUERY, HeaderValue::from_static(query::FORM));
                return answer.map(Either::Left);
            }
            Method::POST => publish(request, peer, context).await,
            ref method if query::is(method) => {
                let channel = channel.map(str::to_owned);
                match asked_with_body(request, channel.as_deref(), peer, context).await {
                    Ok(decided) => {
                        *decision.lock() = Some(decided);
                        std::future::pending().await
                    }
                    Err(problem) => {
                        let mut answer = problem.into_response();
                        answer.headers_mut().insert(query::ACCEPT_QUERY, HeaderValue::from_static(query::FORM));
                        answer
                    }
                }
            }
            ref method => Problem::method_not_allowed(method, ALLOW).into_response(),
        },
    };
    cors.apply(answer.headers_mut());
    answer.map(Either::Left)
}

/// Whether it is below `/history`, as `/history/{channel}`.
fn is_history(path: &str) -> bool {
    paths::below(path, paths::HISTORY).is_some_and(|rest| rest.is_some() || path.ends_with('/'))
}

fn no_such_path(path: &str, context: &Context) -> Problem {
    let has_sessions = session::is_served(paths::SESSION, context);
    let served = paths::PUBLIC.into_iter().filter(|public| has_sessions || *public != paths::SESSION);
    let served = served.collect::<Vec<_>>().join(", ");
    Problem::new(
        Code::NotFound,
        match path {
            paths::SESSION => format!("there is no {path} without --token-cookie; clients ask for {served}"),
            path if paths::is_of_operators(path) => format!("{path} is not for clients: --admin-listen has it"),
            path => format!("there is no {path}; clients ask for {served}"),
        },
    )
}

/// A request for a stream, as far as it says what it wants.
struct Asking<'a, B> {
    head: &'a Request<B>,
    /// The segment behind `/events/`, still percent-encoded.
    channel: Option<&'a str>,
    /// The body of a `QUERY`.
    form: Option<&'a [u8]>,
}

/// Receives the body of a `QUERY`, and decides.
async fn asked_with_body(
    request: Request<RequestBody>,
    channel: Option<&str>,
    client: IpAddr,
    context: &Arc<Context>,
) -> Result<Decision, Problem> {
    let (head, body) = request.into_parts();
    let head = Request::from_parts(head, ());
    let received = query::receive(head.headers(), body, client, context).await;
    let received = received.inspect_err(|problem| context.refused(problem, client))?;
    decide(&Asking { head: &head, channel, form: Some(&received.body) }, client, context).await
}

/// `GET /history/{channel}`, which whoever may subscribe may read.
async fn history(request: Request<RequestBody>, client: IpAddr, context: &Arc<Context>) -> history::Answer {
    const ALLOW: &str = "GET, HEAD, OPTIONS";
    let cors = context.cors.headers_for(request.headers());
    let mut answer = match *request.method() {
        Method::GET | Method::HEAD => {
            let segment = paths::below(request.uri().path(), paths::HISTORY).flatten().unwrap_or_default();
            let answered = match may_page(&request, segment, client, context).await {
                Ok(page) => {
                    let head = request.method() == Method::HEAD;
                    drop(request);
                    page.answer(client, head, context).await
                }
                Err(problem) => Err(problem),
            };
            answered.unwrap_or_else(|problem| {
                context.refused(&problem, client);
                problem.into_response().map(Either::Left)
            })
        }
        Method::OPTIONS => return context.cors.preflight(request.headers(), ALLOW).map(Either::Left),
        ref method => Problem::method_not_allowed(method, ALLOW).into_response().map(Either::Left),
    };
    cors.apply(answer.headers_mut());
    answer
}

async fn publish(request: Request<RequestBody>, peer: IpAddr, context: &Context) -> Answer {
    let answer = match &context.publisher {
        Some(publisher) => super::publish::publish(request, peer, publisher).await,
        None => {
            let detail = "publishing over HTTP is off on this node: --publish on allows it, XADD always works";
            Problem::new(Code::PublishOff, detail).into_response()
        }
    };
    let refused = answer.extensions().get::<Code>();
    context.metrics.publish_requests.inc(refused.map_or(Published::Ok.into(), |code| (*code).into()));
    answer
}

impl<B> Asking<'_, B> {
    /// Channels that a stream may have which is asked for in this way.
    fn max_channels(&self, context: &Context) -> usize {
        let settings = &context.settings;
        if self.form.is_some() { settings.max_channels_per_query } else { settings.max_channels }
    }

    fn wish(&self, context: &Context) -> Result<Wish, Problem> {
        let (settings, max_channels) = (&context.settings, self.max_channels(context));
        // Of several the last one counts, which is the nearest to the client.
        let last_event_id = self.head.headers().get_all("last-event-id").iter().next_back().map(HeaderValue::as_bytes);
        let query = self.head.uri().query().unwrap_or_default();
        let texts = Texts { path_channel: self.channel, query, form: self.form, last_event_id };
        let heartbeat = (settings.heartbeat_range.from, settings.heartbeat_range.to);
        Wish::parse(&texts, &Limits { max_channels, max_tail: MOST_TAIL, heartbeat }, context.now_ms())
    }

    /// What it subscribes to, where it may, and its grant.
    async fn authorized(&self, wish: Wish, client: IpAddr, context: &Context) -> Result<Authorized, Problem> {
        let left_to_the_grant = wish.channels().is_empty();
        let access = context.auth.authorize(question(self.head, client, wish.channels())).await?;
        let mut subscription = wish.subscription(&access.channels)?;
        if left_to_the_grant {
            context.auth.check(&access, Action::Subscribe, &subscription.channels)?;
        }
        take_subject_rate(&access, context)?;
        let quota = access.quota.channels.map_or(usize::MAX, |most| most as usize);
        let most_channels = self.max_channels(context).min(quota);
        let changed = changes::apply(&mut subscription, &access, most_channels, context);
        Ok(Authorized { subscription, access, most_channels, changed })
    }
}

/// A subscription that may be had.
struct Authorized {
    subscription: Subscription,
    access: Grant,
    most_channels: usize,
    changed: changes::Ordering,
}

/// What a `HEAD` is told of a subscription that it could ask for: whether all of it has ended.
async fn may_read<B>(asking: &Asking<'_, B>, client: IpAddr, context: &Arc<Context>) -> Result<bool, Problem> {
    take_rate(&context.subscribe_rate, client_of(client), "an address")?;
    let Authorized { subscription, access, .. } = asking.authorized(asking.wish(context)?, client, context).await?;
    is_finished(subscription, &access, context).await
}

/// The part of history that a request asks for, where it may subscribe to the channel.
async fn may_page(
    request: &Request<RequestBody>,
    segment: &str,
    client: IpAddr,
    context: &Context,
) -> Result<Page, Problem> {
    take_rate(&context.subscribe_rate, client_of(client), "an address")?;
    let mut page = Page::parse(segment, request.uri().query().unwrap_or_default())?;
    let question = question(request, client, std::slice::from_ref(&page.channel));
    let access = context.auth.authorize_at_once(question).await?;
    take_subject_rate(&access, context)?;
    page.filter.conditions = Conditions::and(page.filter.conditions, access.conditions);
    Ok(page)
}

fn question<'a, B>(request: &'a Request<B>, client: IpAddr, channels: &'a [Channel]) -> Question<'a> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    Question { method, uri, headers, client, action: Action::Subscribe, channels }
}

/// A place for a subscription; without one, whether it is told to come back.
async fn decide<B>(asking: &Asking<'_, B>, client: IpAddr, context: &Arc<Context>) -> Result<Decision, Problem> {
    let request = asking.head;
    let problem = match admit(asking, client, context).await {
        Ok(admitted) => return Ok(Decision::Admit(admitted)),
        Err(problem) => problem,
    };
    context.refused(&problem, client);
    let Some(retry_ms) = returns_after_ms(&problem, context) else { return Err(problem) };
    let cors = context.cors.headers_for(request.headers());
    Ok(Decision::ComeBack { cors, marks: Marks::of(request.version(), request.headers()), retry_ms })
}

async fn admit<B>(asking: &Asking<'_, B>, client: IpAddr, context: &Arc<Context>) -> Result<Admitted, Problem> {
    let request = asking.head;
    if context.is_closing() {
        return Err(Problem::new(Code::Draining, "this node is shutting down"));
    }
    // Before anything that costs more.
    take_rate(&context.subscribe_rate, client_of(client), "an address")?;
    let wish = asking.wish(context)?;
    if context.limits.taken() >= context.limits.max() {
        // Known without asking anybody.
        return Err(no_place(Full::Node, client, context));
    }
    let authorized = asking.authorized(wish, client, context).await?;
    let Authorized { subscription, access, most_channels, changed } = authorized;
    let applicant = Applicant {
        address: client,
        subject: access.holder(),
        channels: subscription.channels.len(),
        connections_allowed: access.quota.connections,
    };
    let seat = context.limits.enter(applicant).map_err(|full| no_place(full, client, context))?;
    let cors = context.cors.headers_for(request.headers());
    let marks = Marks::of(request.version(), request.headers());
    // HTTP/1.0 clients are those that know least.
    let coding = Coding::of(request.headers(), context.settings.compress);
    let coding = if marks.chunked { coding } else { coding.plain() };
    let trace = spans::subscribe(request.headers(), &subscription.channels);
    let changes::Ordering { ordered, told } = changed;
    Ok(Admitted { subscription, seat, cors, access, most_channels, ordered, told, client, marks, coding, trace })
}

fn no_place(full: Full, client: IpAddr, context: &Context) -> Problem {
    let (code, detail) = match full {
        Full::Node => (Code::NodeFull, format!("this node has its {} subscribers", context.limits.max())),
        Full::Address(most) => (Code::TooManyConnections, format!("{client} has its {most} subscribers on this node")),
        Full::AddressChannels(most) => {
            (Code::TooManySubscriptions, format!("{client} would have more than its {most} channels on this node"))
        }
        Full::Subject(most) => {
            (Code::TooManyConnections, format!("the subject has its {most} subscribers on this node"))
        }
        Full::SubjectChannels(most) => {
            (Code::TooManySubscriptions, format!("the subject would have more than its {most} channels on this node"))
        }
    };
    Problem::new(code, detail)
}
