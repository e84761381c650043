//! Places of the operators' connections: a bounded number, of which the slowest gives way to a newcomer.

use crate::http::console::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// Its client is to say something, or to say all of it.
    Asked,
    /// It is answered, which takes no longer than its client takes to read.
    Answered,
    /// It has a stream, of which there are fewer than places.
    Streaming,
}

/// Places of the operators' connections.
pub struct Places {
    most: usize,
    here: Mutex<Vec<Arc<Place>>>,
}

/// One connection.
pub struct Place {
    now: Mutex<(Doing, Instant)>,
    task: Mutex<Option<AbortHandle>>,
}

/// Gives its place back when dropped.
pub struct Seat {
    places: Arc<Places>,
    place: Arc<Place>,
}

impl Places {
    pub fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, here: Mutex::default() })
    }

    /// A place for a newcomer, and whether somebody had to give way.
    pub fn take(self: &Arc<Places>) -> (Seat, bool) {
        let mut here = self.here.lock();
        let displaced = here.len() >= self.most;
        if displaced && let Some(slowest) = (0..here.len()).min_by_key(|at| *here[*at].now.lock()) {
            let slowest = here.swap_remove(slowest);
            slowest.task.lock().take().inspect(AbortHandle::abort);
        }
        let place = Arc::new(Place { now: Mutex::new((Doing::Asked, Instant::now())), task: Mutex::default() });
        here.push(place.clone());
        (Seat { places: self.clone(), place }, displaced)
    }
}

impl Seat {
    pub fn place(&self) -> Arc<Place> {
        self.place.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.here.lock().retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}

impl Place {
    /// Who is to end where this place is needed.
    pub fn belongs_to(&self, task: AbortHandle) {
        *self.task.lock() = Some(task);
    }

    /// A request has come.
    pub fn begin(&self) {
        self.becomes(Doing::Answered);
    }

    /// Its answer; when that is written, the client's next request is waited for.
    pub fn answer(self: &Arc<Place>, answer: Response<Body>) -> Response<Body> {
        if answer.body().size_hint().exact().is_none() {
            self.becomes(Doing::Streaming);
        }
        answer.map(|body| Answer { body, place: self.clone() }.boxed_unsync())
    }

    fn becomes(&self, doing: Doing) {
        *self.now.lock() = (doing, Instant::now());
    }
}

struct Answer {
    body: Body,
    place: Arc<Place>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.place.becomes(Doing::Asked);
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_gives_way_before_who_reads_slowly_and_streams_never() {
        let places = Places::new(3);
        let (streaming, answered, asked) = (places.take().0, places.take().0, places.take().0);
        streaming.place.becomes(Doing::Streaming);
        answered.place.begin();
        let is_here = |seat: &Seat| places.here.lock().iter().any(|place| Arc::ptr_eq(place, &seat.place));
        let (newcomer, displaced) = places.take();
        assert!(displaced && !is_here(&asked) && is_here(&answered) && is_here(&newcomer));
        newcomer.place.begin();
        // The longest first.
        let (_next, displaced) = places.take();
        assert!(displaced && !is_here(&answered) && is_here(&newcomer) && is_here(&streaming));
        drop(streaming);
        assert!(!places.take().1, "a place that was given back");
    }
}
