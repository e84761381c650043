use super::*;
use crate::backplane::memory::{Memory, Settings};
use crate::backplane::{Publication, StreamState};
use crate::channel::Channel;
use crate::hub::bell::FeedNumber;
use crate::hub::feed::Feed;
use crate::hub::fixture;
use bytes::Bytes;
use tokio::time::Instant;

fn hub() -> Arc<Hub> {
    fixture::hub(Memory::new(Settings::default())).0
}

/// A leg's request that knows as much of the stream as its feed does now.
fn request(feed: &Arc<Feed>, standing: Standing, fresh: bool, here: &Arc<()>) -> PageRequest {
    let (known_to, here) = (feed.lock().log.end(), Arc::downgrade(here));
    PageRequest { feed: feed.clone(), standing, known_to, fresh, given: 0, here }
}

#[tokio::test]
async fn a_leg_that_is_owed_nothing_goes_on_at_the_end_of_a_log_that_went_back() {
    let (hub, feed) = (hub(), Arc::new(Feed::new(FeedNumber::new(0), Channel::new("a").unwrap())));
    let here = Arc::new(());
    let standing = Standing { position: Position::new(5, 0), due: None, entry: false };
    let request = request(&feed, standing, true, &here);
    let mut allowance = hub.allowance(&request, Instant::now()).expect("nothing is limited");
    let page = hub.page(&request, &mut allowance).await.expect("nothing is read");
    let end = feed.lock().log.end();
    assert_eq!((page.at, page.frames.len(), page.standing.position), (Some(end), 0, Position::ZERO));
}

#[tokio::test]
async fn a_leg_that_is_owed_nothing_has_all_of_a_new_life_though_the_tail_has_lost_its_beginning() {
    let (hub, channel) = (hub(), Channel::new("a").unwrap());
    let fields: Vec<(Bytes, Bytes)> = vec![("data".into(), "x".into())];
    let publication = Publication::new(channel.clone(), fields.clone());
    let appended = hub.backplane.append(vec![publication; 3]).await.expect("it is memory");
    let positions: Vec<Position> = appended.into_iter().map(|position| position.expect("it is memory")).collect();
    let feed = Arc::new(Feed::new(FeedNumber::new(0), channel));
    {
        let mut state = feed.lock();
        state.log.begin_at(Position::new(u64::MAX, 0), Some(7), false);
        state.log.continue_after(Position::ZERO, Some(0), None);
        let entry = |at: &Position| Entry { position: *at, fields: fields.clone() };
        let entries: Vec<Entry> = positions.iter().map(entry).collect();
        encode(&feed.channel, &entries, None, None).into_iter().for_each(|frame| state.log.push(frame));
        state.log.trim(0, 1);
    }
    let here = Arc::new(());
    let standing = Standing { position: Position::new(u64::MAX, 0).before(), due: None, entry: false };
    let request = request(&feed, standing, true, &here);
    let mut allowance = hub.allowance(&request, Instant::now()).expect("nothing is limited");
    let page = hub.page(&request, &mut allowance).await.expect("it is read");
    let read: Vec<Position> = page.frames.iter().map(|frame| frame.position).collect();
    assert_eq!((read, page.at), (positions[..2].to_vec(), Some(feed.lock().log.start())));
}

#[tokio::test]
async fn a_look_of_before_the_stream_went_missing_is_not_believed() {
    let (hub, feed) = (hub(), Arc::new(Feed::new(FeedNumber::new(0), Channel::new("a").unwrap())));
    let known = Position::new(9, 0);
    feed.lock().log.begin_at(known, Some(1), false);
    let state = StreamState { length: 1, added: Some(1), last: known, ..StreamState::default() };
    let standing = feed.lock().log.mark().standing;
    assert!(hub.went_back(&feed, standing, Some(&state)).is_ok());
    feed.lock().log.continue_after(Position::ZERO, None, None);
    assert!(hub.went_back(&feed, standing, Some(&state)).is_err(), "who stood there would be told of nothing");
}

#[tokio::test]
async fn a_stream_whose_ids_go_on_and_that_has_had_fewer_entries_is_another_one() {
    let (hub, feed) = (hub(), Arc::new(Feed::new(FeedNumber::new(0), Channel::new("a").unwrap())));
    feed.lock().log.begin_at(Position::new(9, 0), Some(3), false);
    let known = feed.lock().log.mark().standing;
    let state =
        |added| StreamState { length: 2, added: Some(added), last: Position::new(11, 0), ..StreamState::default() };
    assert!(hub.went_back(&feed, known, Some(&state(3))).is_ok());
    assert!(hub.went_back(&feed, known, Some(&state(2))).is_err(), "entries of both would be mixed");
}

#[tokio::test]
async fn what_was_deleted_before_a_page_is_told_once_and_counts_as_passed() {
    let (memory, channel) = (Memory::new(Settings::default()), Channel::new("a").unwrap());
    let hub = fixture::hub(memory.clone()).0;
    let publication = Publication::new(channel.clone(), vec![("data".into(), "x".into())]);
    let appended = hub.backplane.append(vec![publication; 3]).await.expect("it is memory");
    let positions: Vec<Position> = appended.into_iter().map(|position| position.expect("it is memory")).collect();
    memory.delete_entry(&channel, positions[1]);
    let feed = Arc::new(Feed::new(FeedNumber::new(0), channel));
    feed.lock().log.begin_at(positions[2], Some(3), false);
    let here = Arc::new(());
    let standing = Standing { position: positions[0], due: due_after(Some(1)), entry: true };
    let request = request(&feed, standing, false, &here);
    let mut allowance = hub.allowance(&request, Instant::now()).expect("nothing is limited");
    let page = hub.page(&request, &mut allowance).await.expect("it is read");
    let told: Vec<bool> = page.frames.iter().map(|frame| frame.is_event()).collect();
    assert_eq!((told, page.standing.position), (vec![true, false], positions[2]), "an event, and a gap behind it");
    assert_eq!(page.standing.rank(), Some(3), "who falls behind here would be told of it again");
}

/// A feed whose stream went missing and is another one now, of two entries around the one where its log stood, both of which the log
/// has; how a leg asks that stood there before: after nothing, as far as counts say, or having had nothing at all.
async fn made_anew(fresh: bool) -> (Arc<Hub>, Arc<Feed>, PageRequest, Arc<()>) {
    let (memory, channel, here) = (Memory::new(Settings::default()), Channel::new("a").unwrap(), Arc::new(()));
    let hub = fixture::hub(memory.clone()).0;
    let feed = Arc::new(Feed::new(FeedNumber::new(0), channel.clone()));
    feed.lock().log.begin_at(Position::new(9, 0), Some(3), false);
    let standing = Standing { position: Position::new(5, 0), due: due_after(Some(0)), entry: false };
    let request = request(&feed, standing, fresh, &here);
    let fields: Vec<(Bytes, Bytes)> = vec![("data".into(), "x".into())];
    let entry = |ms| Entry { position: Position::new(ms, 0), fields: fields.clone() };
    let entries = [entry(4), entry(7)];
    entries.iter().for_each(|entry| assert!(memory.append_at(&channel, entry.position, &fields).is_ok()));
    {
        let mut state = feed.lock();
        let missing = Arc::new(Frame::control(Position::ZERO, b"event: fantail.gap\ndata: {}\n\n"));
        state.log.continue_after(Position::ZERO, Some(0), Some(missing));
        state.log.begin_life();
        encode(&channel, &entries, None, None).into_iter().for_each(|frame| state.log.push(frame));
    }
    (hub, feed, request, here)
}

#[tokio::test]
async fn who_is_behind_the_tail_while_its_stream_is_made_anew_is_told_so_though_counts_agree() {
    let (hub, feed, request, _here) = made_anew(false).await;
    let mut allowance = hub.allowance(&request, Instant::now()).expect("nothing is limited");
    let page = hub.page(&request, &mut allowance).await.expect("it is read");
    let told: Vec<(bool, u64)> = page.frames.iter().map(|frame| (frame.is_event(), frame.position.ms)).collect();
    assert_eq!(told, [(false, 5), (true, 7)], "a gap, and what lies behind it");
    let (known_to, at) = (page.known_to, feed.lock().log.end());
    assert_eq!((page.at, known_to), (Some(at), at));
}

#[tokio::test]
async fn who_waits_for_its_first_page_while_its_stream_is_made_anew_is_told_so_and_has_all_of_the_new_one() {
    let (hub, feed, request, _here) = made_anew(true).await;
    let mut allowance = hub.allowance(&request, Instant::now()).expect("nothing is limited");
    let page = hub.page(&request, &mut allowance).await.expect("nothing is read");
    let told: Vec<(bool, u64)> = page.frames.iter().map(|frame| (frame.is_event(), frame.position.ms)).collect();
    assert_eq!((page.at, told), (feed.lock().log.life(), vec![(false, 5)]), "both entries are in the log");
    let earliest = PageRequest { standing: Standing { position: Position::ZERO, ..request.standing }, ..request };
    let page = hub.page(&earliest, &mut allowance).await.expect("nothing is read");
    assert_eq!((page.at, page.frames.len()), (feed.lock().log.life(), 0), "it stood nowhere");
}

/// The number of lost entries that a leg is told that has had `1-0`, of a stream that holds the last two of those from `first` to `last`,
/// by a node that has read up to `read`, of which its log has counted `rank`. `unsure`: the log did not go on by an entry that it knew.
async fn number_told(stream: std::ops::RangeInclusive<u64>, read: u64, rank: u64, unsure: bool) -> Option<u64> {
    let (memory, channel, here) = (Memory::new(Settings::default()), Channel::new("a").unwrap(), Arc::new(()));
    let hub = fixture::hub(memory.clone()).0;
    let fields: Vec<(Bytes, Bytes)> = vec![("data".into(), "x".into())];
    for ms in stream {
        assert!(memory.append_at(&channel, Position::new(ms, 0), &fields).is_ok());
    }
    memory.trim(&channel, 2);
    let feed = Arc::new(Feed::new(FeedNumber::new(0), channel));
    feed.lock().log.begin_at(Position::new(read, 0), Some(rank), false);
    let standing = Standing { position: Position::new(1, 0), due: due_after(Some(1)), entry: true };
    let request = request(&feed, standing, false, &here);
    if unsure {
        let mut state = feed.lock();
        let gap = Arc::new(Frame::control(Position::new(1, 0), b"event: fantail.gap\ndata: {}\n\n"));
        state.log.continue_after(Position::new(read, 0), Some(rank), Some(gap));
        state.log.count_anew();
    }
    let mut allowance = hub.allowance(&request, Instant::now()).expect("nothing is limited");
    let page = hub.page(&request, &mut allowance).await.expect("it is read");
    let gap = page.frames.first().and_then(|frame| frame.gap()).expect("a gap");
    assert_eq!(gap.reason, GapReason::Trimmed);
    gap.lost
}

#[tokio::test]
async fn who_is_behind_the_tail_is_told_a_number_where_the_node_has_read_what_is_still_there() {
    assert_eq!(number_told(1..=6, 6, 6, false).await, Some(3));
    assert_eq!(number_told(1..=6, 5, 5, false).await, Some(3));
    assert_eq!(number_told(1..=6, 4, 4, false).await, None, "of what the node has read nothing is there");
    assert_eq!(number_told(4..=34, 3, 3, false).await, None, "made anew, of which the node does not know");
}

#[tokio::test]
async fn who_was_behind_before_its_node_lost_count_is_told_no_number() {
    assert_eq!(number_told(4..=34, 34, 31, true).await, None);
}
