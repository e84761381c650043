//! What the console may change, only with `--admin-actions`: publish an event, disconnect a subscriber, and drain this node.
//!
//! An operator's browser shows other pages too, and sends what it knows of a token with their requests. So an action needs
//! a header that no page of another origin can send without being asked about it first, which nobody here allows; it may
//! come from a page of this origin alone; and pages that have made their own name lead here are kept out by that name
//! (`admin`).

use super::subscribers::{SubscriberId, not_an_id};
use super::{Body, Console, Operator, whole};
use crate::auth::control;
use crate::auth::revocation::Target;
use crate::http::publish::publish;
use crate::position::Position;
use crate::problem::{Code, Problem};
use hyper::body::Incoming;
use hyper::header::ORIGIN;
use hyper::{Request, Response, StatusCode, Uri};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The header that an action needs, with any value.
const ACTION: &str = "x-fantail-action";
/// For an order to be written; the backplane has shorter limits of its own.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);

/// Where an action comes from, for the log.
fn operator<B>(request: &Request<B>) -> String {
    request.extensions().get::<Operator>().map_or_else(String::new, |by| by.0.to_string())
}

impl Console {
    /// `POST /api/publish?channel=NAME&event=TYPE&final=1`, the data as body: as on the clients' listener.
    pub async fn publish(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let actions = self.allowed(&request)?;
        let query = request.uri().query().unwrap_or_default();
        let channel = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "channel");
        let Some((_, channel)) = channel else {
            return Err(Problem::new(Code::BadChannel, "no channel: name one in channel="));
        };
        let segment = percent_encoding::utf8_percent_encode(&channel, percent_encoding::NON_ALPHANUMERIC);
        let target = format!("/events/{segment}?{query}").parse::<Uri>();
        let target = target.map_err(|_| Problem::new(Code::BadChannel, format!("{channel:?} is no channel")))?;
        let by = operator(&request);
        let channel = channel.into_owned();
        let (mut head, body) = request.into_parts();
        head.uri = target;
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let answer = publish(Request::from_parts(head, body), peer, &actions.publisher).await;
        tracing::info!(channel, address = by, status = answer.status().as_u16(), "published by the console");
        Ok(whole(answer))
    }

    /// `POST /api/drain`: this node ends as SIGTERM would end it.
    pub fn drain(&self, request: &Request<Incoming>) -> Result<Response<Body>, Problem> {
        let actions = self.allowed(request)?;
        tracing::info!(address = operator(request), "told to drain by the console");
        actions.drain.notify_one();
        let mut response = super::json(&serde_json::json!({"draining": self.roster.id()}));
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok(response)
    }

    /// `POST /api/disconnect?subscriber=ID`: an order in the control stream, which the subscriber's node carries out.
    pub async fn disconnect(&self, request: &Request<Incoming>) -> Result<Response<Body>, Problem> {
        self.allowed(request)?;
        let query = request.uri().query().unwrap_or_default();
        let named = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "subscriber");
        let named = named.map(|(_, id)| id).unwrap_or_default();
        let id: SubscriberId = named.parse().map_err(|()| not_an_id("subscriber", &named))?;
        let order = control::disconnect(Target::Subscriber.label(), &id.to_string(), None);
        let ordered = control::write(&*self.hub.backplane, order, ORDER_TIMEOUT).await;
        let ordered = ordered.map_err(|error| Problem::from(&error));
        let result = ordered.as_ref().map_or_else(|problem| problem.code.as_str().to_owned(), Position::to_string);
        tracing::info!(subscriber = %id, address = operator(request), result, "told to disconnect by the console");
        let mut response = super::json(&serde_json::json!({"id": ordered?.to_string(), "subscriber": id.to_string()}));
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok(response)
    }

    /// What the console may do, if this request may ask for it. What may not leaves a line in the log, too.
    fn allowed(&self, request: &Request<Incoming>) -> Result<&super::Actions, Problem> {
        self.judged(request).inspect_err(|problem| {
            if let Some(suppressed) = self.log_throttle.turn("refused") {
                let (action, why) = (request.uri().path(), &problem.detail);
                tracing::warn!(
                    action,
                    address = operator(request),
                    why,
                    suppressed,
                    "an action of the console was refused"
                );
            }
        })
    }

    fn judged(&self, request: &Request<Incoming>) -> Result<&super::Actions, Problem> {
        let forbidden = |why: &str| Problem::new(Code::Forbidden, why);
        let actions = self.actions.as_ref();
        let actions = actions.ok_or_else(|| forbidden("actions are off on this node: --admin-actions allows them"))?;
        if !request.headers().contains_key(ACTION) {
            return Err(forbidden("an action needs the header X-Fantail-Action"));
        }
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let own = |origin: &str| {
            let authority = origin.split_once("://").map_or(origin, |(_, authority)| authority);
            text("host").is_some_and(|host| host.eq_ignore_ascii_case(authority))
        };
        // Browsers say themselves whose page it is (W3C Fetch Metadata); a header that cannot be read is nobody's own.
        let from_here = request.headers().get_all(ORIGIN).iter().all(|origin| origin.to_str().is_ok_and(own))
            && text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
        match from_here {
            true => Ok(actions),
            false => Err(forbidden("a page of another origin may not act here")),
        }
    }
}
