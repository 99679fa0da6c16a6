//! Where a thread publishes.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt::Write,
    rc::{Rc, Weak},
    sync::{Arc, LazyLock, atomic::Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use millrace_fanout::{OutOfRange, Pattern, past::Placed};
use millrace_ring::SharedMemory;

use super::{
    Past, SlowConsumer, Start, TopicsError, TopicsOptions, Waker,
    event::{FIELD_BYTES, Log, PREFIX, field},
    feed::Replay,
    lane::{Carried, Lane, Seat},
    space::{Group, Matches, Part, Space, Subscribe},
    staging::{Messages, Staging},
};

/// How many subscribers are kept found for the topics that a thread knows, all of them together: they are
/// found anew beyond that. One topic may have more alone.
const SUBSCRIBERS_KEPT: usize = 1_000_000;

thread_local! {
    /// The logs of the engines of this thread, by the number of their seat.
    static LOGS: RefCell<HashMap<u64, Weak<RefCell<Log>>>> = RefCell::default();
}

/// Makes the log of a seat known to the publishers of this thread.
pub(crate) fn place_log(seat: &Seat, log: &Rc<RefCell<Log>>) {
    LOGS.with_borrow_mut(|logs| {
        logs.retain(|_, log| log.strong_count() > 0);
        logs.insert(seat.id, Rc::downgrade(log));
    });
}

fn log_of(seat: &Seat) -> Option<Rc<RefCell<Log>>> {
    LOGS.with_borrow(|logs| logs.get(&seat.id).and_then(Weak::upgrade))
}

/// Whether an event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retain {
    /// It is not, and has no sequence.
    No,
    /// With the next sequence.
    Counted,
    /// With this one, which comes from elsewhere.
    As(u64),
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// 0 if it is not retained.
    pub sequence: u64,
    /// There was an event of its sequence: nothing was published.
    pub known: bool,
    /// Subscriptions of this process that it is for; a queue group counts one.
    pub delivered: u32,
    /// So much waits for the engines of this thread that they should be flushed
    /// ([`Engine::flush`](crate::Engine::flush)) before more is published.
    pub full: bool,
}

/// The topics of one name, as one thread publishes to them and its engines subscribe. Clones are the
/// same.
#[derive(Clone)]
pub struct Topics {
    desk: Rc<Desk>,
}

struct Desk {
    space: Arc<Space>,
    /// The number by which the space knows it as one that publishes.
    publisher: u64,
    waker: Cell<Option<u64>>,
    known: RefCell<Vec<Known>>,
    /// How many subscribers the routes of all known topics have together.
    subscribers_kept: Cell<usize>,
    /// Of each queue group, how many events were for it.
    turns: RefCell<HashMap<Arc<str>, Rc<Cell<usize>>>>,
    /// The ways to engines of other threads, by the number of their seat.
    lanes: RefCell<HashMap<u64, Rc<Lane>>>,
    framed: RefCell<Vec<u8>>,
    staging: Staging,
}

struct Known {
    topic: Arc<str>,
    matches: Option<Rc<Route>>,
}

/// Who gets the events of a topic, and how they get there from this thread.
struct Route {
    matches: Matches,
    parts: Vec<Place>,
    groups: Vec<Vec<Place>>,
    turns: Vec<Rc<Cell<usize>>>,
}

impl Route {
    fn subscribers(&self) -> usize {
        let parts = self.matches.parts.iter();
        let members = self.matches.groups.iter().flat_map(|group| &group.members);
        parts.chain(members).map(|part| part.audience.len()).sum()
    }
}

/// Where an engine is.
enum Place {
    /// On this thread.
    Here(Rc<RefCell<Log>>),
    /// On another.
    Away(Rc<Lane>),
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(waker) = self.waker.take() {
            self.space.remove_waker(waker);
        }
        self.space.remove_publisher(self.publisher);
    }
}

impl Topics {
    /// The topics of that name, made if this process has none.
    ///
    /// # Errors
    /// `MILLRACE_TOPICS_CONFLICT`: they exist with other options.
    pub fn open(name: &str, options: &TopicsOptions) -> Result<Self, TopicsError> {
        let staging = Staging::new().map_err(|error| TopicsError {
            code: "MILLRACE_MEMORY",
            message: format!("cannot map memory for topics: {error}"),
        })?;
        let space = Space::open(name, options)?;
        Ok(Self {
            desk: Rc::new(Desk {
                publisher: space.add_publisher(&staging),
                space,
                waker: Cell::new(None),
                known: RefCell::default(),
                subscribers_kept: Cell::new(0),
                turns: RefCell::default(),
                lanes: RefCell::default(),
                framed: RefCell::default(),
                staging,
            }),
        })
    }

    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.desk.space
    }

    /// Calls `waker`, on any thread, when [`Topics::are_writable`] may answer otherwise than before.
    pub fn on_writable(&self, waker: Waker) {
        let number = self.desk.space.add_waker(waker);
        if let Some(earlier) = self.desk.waker.replace(Some(number)) {
            self.desk.space.remove_waker(earlier);
        }
    }

    /// A number for a topic, valid until [`Topics::forget`].
    ///
    /// # Errors
    /// `MILLRACE_TOPIC_ILLEGAL`
    pub fn topic(&self, text: &str) -> Result<u32, TopicsError> {
        self.desk.space.check_topic(text)?;
        let mut known = self.desk.known.borrow_mut();
        known.push(Known {
            topic: text.into(),
            matches: None,
        });
        Ok(known.len() as u32 - 1)
    }

    /// Numbers of topics mean nothing any more.
    pub fn forget(&self) {
        self.desk.known.borrow_mut().clear();
        self.desk.subscribers_kept.set(0);
    }

    /// Whether a subscription is legal, and its start is retained now.
    ///
    /// # Errors
    /// `MILLRACE_PATTERN_ILLEGAL`, `MILLRACE_GROUP_ILLEGAL`; `MILLRACE_TOPICS_NOT_RETAINED`: nothing is retained;
    /// `MILLRACE_START_OUT_OF_RANGE`: what the start asks for is not, or not any more.
    pub fn check(&self, subscribe: &Subscribe<'_>) -> Result<(), TopicsError> {
        self.desk
            .space
            .check_pattern(subscribe.pattern, subscribe.group)?;
        if subscribe.start != Start::Latest {
            let past = self.retained()?;
            past.start(wall_clock(), subscribe.start)
                .map_err(out_of_range)?;
        }
        Ok(())
    }

    /// The pattern of a durable group.
    ///
    /// # Errors
    /// `MILLRACE_PATTERN_ILLEGAL`, `MILLRACE_GROUP_ILLEGAL`
    pub fn pattern(&self, pattern: &str, group: &str) -> Result<Pattern, TopicsError> {
        self.desk.space.check_pattern(pattern, Some(group))
    }

    /// What is retained; `None` if nothing is.
    pub fn past(&self) -> Option<&Arc<Past>> {
        self.desk.space.past.as_ref()
    }

    /// What of the past comes before what is published.
    ///
    /// # Errors
    /// `MILLRACE_TOPICS_NOT_RETAINED`: nothing is retained; `MILLRACE_START_OUT_OF_RANGE`: what it asks for is not,
    /// or not any more.
    pub(crate) fn replay(&self, start: Start, pattern: Pattern) -> Result<Replay, TopicsError> {
        self.retained()?
            .replay(wall_clock(), start, pattern)
            .map_err(out_of_range)
    }

    fn retained(&self) -> Result<&Arc<Past>, TopicsError> {
        self.past().ok_or_else(|| TopicsError {
            code: "MILLRACE_TOPICS_NOT_RETAINED",
            message: "nothing is retained, so that there is no past to start with: leave start out, or give topics() a retention".to_owned(),
        })
    }

    /// The memory into which JavaScript encodes.
    pub fn staging(&self) -> Arc<SharedMemory> {
        self.desk.staging.memory()
    }

    /// Publishes what is queued in the staging memory, in its order, and does not retain it. Whether the
    /// engines of this thread should be flushed ([`Engine::flush`](crate::Engine::flush)) before more is
    /// published.
    pub fn publish_queued(&self) -> bool {
        let mut queued = self.desk.staging.take();
        let mut full = false;
        while let Some((topic, messages)) = queued.run() {
            full |= self.publish_run(topic, messages);
        }
        full
    }

    /// Publishes what is queued, and then the message behind it, of `length` bytes, as
    /// [`Topics::publish`] does; with `retain` under the sequence in the head, if there is one.
    pub fn publish_staged(&self, topic: u32, length: u32, retain: bool) -> Published {
        let message = self.desk.staging.message(length);
        self.publish_from_head(topic, message, retain)
    }

    /// The same for a message from elsewhere.
    pub fn publish_from_head(&self, topic: u32, message: &[u8], retain: bool) -> Published {
        let Desk { staging, .. } = &*self.desk;
        let full = self.publish_queued();
        let retain = match (retain, staging.given()) {
            (false, _) => Retain::No,
            (true, 0) => Retain::Counted,
            (true, given) => Retain::As(given),
        };
        let mut published = self.publish(topic, message, retain);
        published.full |= full;
        staging.sequenced(published.sequence);
        published
    }

    /// Says in the head of the staging memory how many subscriptions get the events of a topic. Answers
    /// how many this thread may publish, to it and others together, before it has to ask again whether
    /// somebody makes it wait; `u32::MAX`: nobody would.
    pub fn look_up(&self, topic: u32) -> u32 {
        let Desk { staging, space, .. } = &*self.desk;
        let Some(route) = self.route(topic) else {
            staging.found(0, 0);
            return u32::MAX;
        };
        staging.found(route.matches.version, route.matches.delivered);
        match route.matches.room() {
            // What others publish meanwhile needs room, too.
            Some(room) => room.div_ceil(space.publishers()),
            None => u32::MAX,
        }
    }

    /// Publishes an encoded message to a topic; engines of this thread send it when they are applied
    /// or flushed next. Nothing happens for a number that is none. What is retained needs a retention;
    /// without, it is not.
    pub fn publish(&self, topic: u32, message: &[u8], retain: Retain) -> Published {
        let Some(name) = self.name(topic) else {
            return Published::nothing(0, false);
        };
        let Desk { space, framed, .. } = &*self.desk;
        let mut framed = framed.borrow_mut();
        let own = match retain {
            Retain::As(sequence) => Some(sequence),
            _ => None,
        };
        let tag = space.options.sequence_tag;
        let mut kept = None;
        let placed = match &space.past {
            Some(past) if retain != Retain::No => {
                let placed = past.retain(wall_clock(), &name, own, |sequence| {
                    frame(message, tag, sequence, &mut framed);
                    let event: Arc<[u8]> = Arc::from(&framed[..]);
                    kept = Some(Arc::clone(&event));
                    (event, framed.len())
                });
                match placed {
                    Some(placed) => placed,
                    None => return Published::nothing(own.unwrap_or(0), true),
                }
            }
            _ => {
                frame(message, tag, 0, &mut framed);
                Placed {
                    sequence: 0,
                    arrival: 0,
                }
            }
        };
        // Only now: who registers and reads the past to its end before this event was put there is among
        // those who get it live.
        let Some(route) = self.route(topic) else {
            return Published::nothing(placed.sequence, false);
        };
        space.counters.published.fetch_add(1, Ordering::Relaxed);
        let mut event = Event {
            space,
            framed: &framed,
            arrival: placed.arrival,
            kept,
            missed: 0,
        };
        // Before it is on its way: its engine may have sent it at once, and counts it off then.
        for standing in &route.matches.blocking {
            standing.give(1);
        }
        let full = self.give(&route, &mut event);
        Published {
            sequence: placed.sequence,
            known: false,
            delivered: route.matches.delivered,
            full,
        }
    }

    /// Publishes events to one topic that are not retained; whether there should be no more for now.
    fn publish_run(&self, topic: u32, messages: Messages<'_>) -> bool {
        let Some(route) = self.route(topic) else {
            return false;
        };
        let Desk { space, framed, .. } = &*self.desk;
        let count = messages.len();
        let published = &space.counters.published;
        published.fetch_add(count as u64, Ordering::Relaxed);
        // As above, before they are on their way.
        for standing in &route.matches.blocking {
            standing.give(count as u32);
        }
        let matches = &route.matches;
        if let ([Place::Here(log)], [part], []) =
            (&route.parts[..], &matches.parts[..], &matches.groups[..])
        {
            let mut log = log.borrow_mut();
            for message in messages {
                log.push_message(message);
            }
            log.address(count, &part.audience);
            return log.is_full();
        }
        let mut framed = framed.borrow_mut();
        let mut full = false;
        for message in messages {
            frame(message, 0, 0, &mut framed);
            let mut event = Event {
                space,
                framed: &framed,
                arrival: 0,
                kept: None,
                missed: 0,
            };
            full |= self.give(&route, &mut event);
        }
        full
    }

    /// Puts an event on its way to everybody, whether there should be no more for now.
    fn give(&self, route: &Route, event: &mut Event<'_>) -> bool {
        let mut full = false;
        for (part, place) in route.matches.parts.iter().zip(&route.parts) {
            full |= place.give(event, part);
        }
        for (number, group) in route.matches.groups.iter().enumerate() {
            let turns = &route.turns[number];
            let chosen = choose(group, turns);
            let Some(member) = group.members.get(chosen) else {
                continue;
            };
            if !member.blocking.is_empty() {
                member
                    .standings
                    .iter()
                    .for_each(|standing| standing.give(1));
            }
            full |= route.groups[number][chosen].give(event, member);
        }
        if event.missed > 0 {
            let dropped = &self.desk.space.counters.dropped;
            dropped.fetch_add(event.missed, Ordering::Relaxed);
        }
        full
    }

    /// Whether no subscriber makes the publishers of a topic wait.
    pub fn are_writable(&self, topic: u32) -> bool {
        self.route(topic)
            .is_none_or(|route| route.matches.room() != Some(0))
    }

    /// Cuts off the subscribers on other threads for which publishers of a topic have waited for too long: those
    /// threads see to it themselves, unless they are busy, or dead. Answers after how many milliseconds to ask
    /// again; `None`: nobody has to wait.
    pub fn judge(&self, topic: u32) -> Option<u64> {
        let route = self.route(topic)?;
        if route.matches.room() != Some(0) {
            return None;
        }
        let space = &self.desk.space;
        let timeout = space.options.block_timeout_ms;
        let now = monotonic();
        let parts = route.parts.iter().zip(&route.matches.parts);
        let members = route.groups.iter().zip(&route.matches.groups);
        let members = members.flat_map(|(places, group)| places.iter().zip(&group.members));
        let away = parts
            .chain(members)
            .filter(|(place, part)| matches!(place, Place::Away(_)) && !part.blocking.is_empty());
        let standings = away.flat_map(|(_, part)| &part.standings);
        space.cut(standings.filter(|standing| {
            standing.blocks() && standing.is_at_bound() && standing.waited(now) >= timeout
        }));
        // What leaves in between begins the time anew: so it is at most this much late.
        self.route(topic)
            .is_some_and(|route| route.matches.room() == Some(0))
            .then(|| (timeout / 8).max(1))
    }

    /// What is there and what was counted, as JSON.
    pub fn stats(&self) -> String {
        let space = &self.desk.space;
        let mut json = String::new();
        let counters = &space.counters;
        let levels = space.past.as_ref().map(|past| past.levels());
        let durables = space.past.as_ref().map(|past| past.durables());
        let durables = durables.unwrap_or_default();
        let durable = durables.counters;
        for (name, value) in [
            ("topics", self.desk.known.borrow().len() as u64),
            ("subscriptions", space.subscriptions() as u64),
            ("published", counters.published.load(Ordering::Relaxed)),
            ("delivered", counters.delivered.load(Ordering::Relaxed)),
            ("dropped", counters.dropped.load(Ordering::Relaxed)),
            (
                "disconnected",
                counters.disconnected.load(Ordering::Relaxed),
            ),
            ("retained", levels.map_or(0, |levels| levels.events as u64)),
            (
                "retainedBytes",
                levels.map_or(0, |levels| levels.bytes as u64),
            ),
            ("evicted", levels.map_or(0, |levels| levels.evicted)),
            (
                "lastSequence",
                levels.map_or(0, |levels| levels.last_sequence),
            ),
            ("durableGroups", durables.groups as u64),
            ("unacknowledged", durables.unsettled as u64),
            ("unacknowledgedBytes", durables.unsettled_bytes as u64),
            ("consumed", durable.delivered),
            ("redelivered", durable.redelivered),
            ("acknowledged", durable.acknowledged),
            ("rejected", durable.rejected),
            ("timedOut", durable.timed_out),
            ("deadLetters", durable.dead),
            ("overtaken", durable.overtaken),
            ("heldBack", durable.held_back),
        ] {
            let separator = if json.is_empty() { '{' } else { ',' };
            let _ = write!(json, "{separator}\"{name}\":{value}");
        }
        json.push('}');
        json
    }

    fn name(&self, topic: u32) -> Option<Arc<str>> {
        let known = self.desk.known.borrow();
        known
            .get(topic as usize)
            .map(|known| Arc::clone(&known.topic))
    }

    fn route(&self, topic: u32) -> Option<Rc<Route>> {
        let mut all = self.desk.known.borrow_mut();
        let known = all.get_mut(topic as usize)?;
        if let Some(route) = &known.matches {
            if self.desk.space.is_current(&route.matches) {
                return Some(Rc::clone(route));
            }
            let kept = self.desk.subscribers_kept.get();
            self.desk.subscribers_kept.set(kept - route.subscribers());
        }
        let route = Rc::new(self.find(&known.topic));
        known.matches = Some(Rc::clone(&route));
        let kept = self.desk.subscribers_kept.get() + route.subscribers();
        if kept > SUBSCRIBERS_KEPT {
            for other in all.iter_mut() {
                other.matches = None;
            }
            all[topic as usize].matches = Some(Rc::clone(&route));
            self.desk.subscribers_kept.set(route.subscribers());
        } else {
            self.desk.subscribers_kept.set(kept);
        }
        Some(route)
    }

    /// How to get to an engine from this thread.
    fn place(&self, part: &Part) -> Place {
        if let Some(log) = log_of(&part.seat) {
            return Place::Here(log);
        }
        let mut lanes = self.desk.lanes.borrow_mut();
        if let Some(lane) = lanes.get(&part.seat.id) {
            return Place::Away(Rc::clone(lane));
        }
        lanes.retain(|_, lane| !lane.is_dead());
        let lane = Rc::new(part.seat.lane());
        lanes.insert(part.seat.id, Rc::clone(&lane));
        Place::Away(lane)
    }

    fn find(&self, topic: &str) -> Route {
        let matches = self.desk.space.matches(topic);
        let mut turns = self.desk.turns.borrow_mut();
        let known: Vec<_> = matches
            .groups
            .iter()
            .map(|group| Rc::clone(turns.entry(Arc::clone(&group.name)).or_default()))
            .collect();
        // Groups come and go.
        if turns.len() > 2 * known.len() + 1024 {
            turns.retain(|_, turns| Rc::strong_count(turns) > 1);
        }
        Route {
            parts: matches.parts.iter().map(|part| self.place(part)).collect(),
            groups: matches
                .groups
                .iter()
                .map(|group| {
                    group
                        .members
                        .iter()
                        .map(|member| self.place(member))
                        .collect()
                })
                .collect(),
            turns: known,
            matches,
        }
    }
}

impl Published {
    fn nothing(sequence: u64, known: bool) -> Self {
        Self {
            sequence,
            known,
            delivered: 0,
            full: false,
        }
    }
}

fn out_of_range(gone: OutOfRange) -> TopicsError {
    TopicsError {
        code: "MILLRACE_START_OUT_OF_RANGE",
        message: gone.to_string(),
    }
}

/// Milliseconds on a clock that only goes forward, the same on all threads.
fn monotonic() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64
}

/// Milliseconds since 1970.
pub fn wall_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// An event while it is given to its subscribers.
struct Event<'a> {
    space: &'a Space,
    framed: &'a [u8],
    /// Counts what is retained; 0 if it is not.
    arrival: u64,
    /// The same in memory of its own, once somebody needs it.
    kept: Option<Arc<[u8]>>,
    /// For how many subscribers it was dropped.
    missed: u64,
}

impl Event<'_> {
    fn kept(&mut self) -> Arc<[u8]> {
        Arc::clone(self.kept.get_or_insert_with(|| self.framed.into()))
    }
}

impl Place {
    /// Puts an event on its way; whether there should be no more for now.
    #[inline]
    fn give(&self, event: &mut Event<'_>, part: &Part) -> bool {
        match self {
            Self::Here(log) => {
                let mut log = log.borrow_mut();
                log.push(event.framed, event.arrival, event.kept.as_ref());
                log.address(1, &part.audience);
                log.is_full()
            }
            Self::Away(lane) => {
                let carried = Carried {
                    framed: event.kept(),
                    arrival: event.arrival,
                    audience: Arc::clone(&part.audience),
                };
                if !lane.send(carried) {
                    event.refuse(part, lane);
                }
                false
            }
        }
    }
}

impl Event<'_> {
    /// There was no room on the way: what that means is for each subscriber's policy to say.
    #[cold]
    fn refuse(&mut self, part: &Part, lane: &Lane) {
        let (mut late, mut overrun, mut missed) = (false, false, 0);
        let (now, timeout) = (monotonic(), self.space.options.block_timeout_ms);
        for standing in &part.standings {
            match standing.policy {
                _ if standing.replays(self.arrival) => {}
                SlowConsumer::Block => {
                    standing.run_short();
                    late |= standing.waited(now) >= timeout;
                }
                SlowConsumer::Disconnect => {
                    standing.overrun();
                    overrun = true;
                }
                SlowConsumer::DropOldest | SlowConsumer::DropNewest => {
                    standing.miss();
                    missed += 1;
                }
            }
        }
        if late {
            // For a publisher that does not wait.
            let standings = part.standings.iter();
            self.space.cut(standings.filter(|standing| {
                standing.blocks()
                    && !standing.replays(self.arrival)
                    && standing.waited(now) >= timeout
            }));
        }
        self.missed += missed;
        if missed > 0 {
            lane.seat().note_missed();
        }
        if overrun {
            lane.seat().note_overrun();
        }
        if !part.blocking.is_empty() {
            lane.spill(Carried {
                framed: self.kept(),
                arrival: self.arrival,
                audience: Arc::clone(&part.blocking),
            });
        }
    }
}

/// Which member of a group gets the next event: in turn, but past those at their bound while another
/// is not.
fn choose(group: &Group, turns: &Cell<usize>) -> usize {
    let count = group.members.len().max(1);
    let first = turns.get() % count;
    let free = |index: &usize| !group.members[*index].is_at_bound();
    let chosen = (first..group.members.len())
        .chain(0..first)
        .find(free)
        .unwrap_or(first);
    turns.set((chosen + 1) % count);
    chosen
}

/// gRPC's prefix, the message and its sequence.
fn frame(message: &[u8], sequence_tag: u32, sequence: u64, out: &mut Vec<u8>) {
    let mut suffix = [0; FIELD_BYTES];
    let suffix_bytes = if sequence == 0 || sequence_tag == 0 {
        0
    } else {
        field(sequence_tag, sequence, &mut suffix)
    };
    let length = message.len() + suffix_bytes;
    out.clear();
    out.reserve(PREFIX + length);
    out.push(0);
    out.extend_from_slice(&(length as u32).to_be_bytes());
    out.extend_from_slice(message);
    out.extend_from_slice(&suffix[..suffix_bytes]);
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, sync::atomic::AtomicU32};

    use millrace_fanout::Retention;

    use super::*;
    use crate::topics::feed::{Feed, Standing};

    /// A publisher that is held up between retaining an event and sending it, while the subscriber reads the past.
    #[test]
    fn what_the_past_has_brought_is_no_loss_where_it_had_no_room() {
        for policy in [
            SlowConsumer::Disconnect,
            SlowConsumer::DropOldest,
            SlowConsumer::Block,
        ] {
            let options = TopicsOptions {
                retention: Some(Retention {
                    count_max: 10,
                    bytes_max: 1_000,
                    age_ms_max: u64::MAX,
                }),
                ..TopicsOptions::default()
            };
            let topics = Topics::open(&format!("brought, {policy:?}"), &options).unwrap();
            let (bell, _heard) = UnixStream::pair().unwrap();
            let seat = Seat::new(&Arc::new(bell));
            let space = topics.space();
            let own = Standing::new(policy, u32::MAX, true);
            let registration = space
                .register("a", None, own, &seat, 1)
                .unwrap_or_else(|error| panic!("{error}"));
            let standing = Arc::clone(registration.standing());
            let lost = || standing.is_overrun() || standing.has_missed() || standing.room() == 0;
            let pattern = space.check_pattern("a", None).unwrap();
            let replay = topics.replay(Start::Earliest, pattern).unwrap();
            let mut feed = Feed::new(registration, 0, 0, Some(replay));
            // Others fill the lane.
            let lane = seat.lane();
            topics
                .desk
                .lanes
                .borrow_mut()
                .insert(seat.id, Rc::new(lane));
            let topic = topics.topic("a").unwrap();
            let route = topics.route(topic).unwrap();
            let Place::Away(lane) = &route.parts[0] else {
                panic!("its engine is on no thread");
            };
            let other = || Carried {
                framed: b"".as_slice().into(),
                arrival: 0,
                audience: [2].into(),
            };
            while lane.send(other()) {}

            let event = |arrival| Event {
                space,
                framed: b"event",
                arrival,
                kept: None,
                missed: 0,
            };
            let retain = || {
                let past = topics.past().unwrap();
                let placed = past.retain(0, &"a".into(), None, |_| (b"event".as_slice().into(), 5));
                placed.unwrap().arrival
            };
            let mut brought = event(retain());
            assert_eq!(feed.read_past(&Rc::default(), &mut Vec::new()), 0);
            assert!(feed.has_waiting() && !feed.is_replaying());
            topics.give(&route, &mut brought);
            assert_eq!((brought.missed, lost()), (0, false), "{policy:?}");

            let mut later = event(retain());
            topics.give(&route, &mut later);
            let dropped = u64::from(policy == SlowConsumer::DropOldest);
            assert_eq!((later.missed, lost()), (dropped, true), "{policy:?}");
        }
    }

    #[test]
    fn subscribers_that_are_cut_off_together_are_looked_for_once() {
        const SUBSCRIBERS: u32 = 1_000;
        let options = TopicsOptions {
            block_timeout_ms: 0,
            retention: None,
            ..TopicsOptions::default()
        };
        let topics = Topics::open("cut", &options).unwrap();
        let (bell, _heard) = UnixStream::pair().unwrap();
        let seat = Seat::new(&Arc::new(bell));
        let space = topics.space();
        let registrations: Vec<_> = (0..SUBSCRIBERS)
            .map(|call| {
                let standing = Standing::new(SlowConsumer::Block, 1, false);
                let registered = space.register("a", None, standing, &seat, call);
                registered.unwrap_or_else(|error| panic!("{error}"))
            })
            .collect();
        let wakes = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&wakes);
        topics.on_writable(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        let topic = topics.topic("a").unwrap();
        assert_eq!(
            topics.publish(topic, b"", Retain::No).delivered,
            SUBSCRIBERS
        );
        assert_eq!(topics.judge(topic), None);
        assert!(seat.take_overrun());
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert!(registrations.iter().all(|each| each.standing().is_cut()));
        assert_eq!(topics.publish(topic, b"", Retain::No).delivered, 0);
        let disconnected = &space.counters.disconnected;
        assert_eq!(disconnected.load(Ordering::Relaxed), SUBSCRIBERS.into());
        // Their places are free once, when their calls are over.
        drop(registrations);
        assert_eq!(space.subscriptions(), 0);
    }

    #[test]
    fn subscribers_of_many_topics_are_not_all_kept() {
        const SUBSCRIBERS: usize = 2_000;
        let options = TopicsOptions {
            retention: None,
            ..TopicsOptions::default()
        };
        let topics = Topics::open("kept", &options).unwrap();
        let (bell, _heard) = UnixStream::pair().unwrap();
        let seat = Seat::new(&Arc::new(bell));
        let space = topics.space();
        let registrations: Vec<_> = (0..SUBSCRIBERS as u32)
            .map(|call| {
                let standing = Standing::new(SlowConsumer::DropOldest, 1, false);
                let registered = space.register(">", None, standing, &seat, call);
                registered.unwrap_or_else(|error| panic!("{error}"))
            })
            .collect();
        let sum = || -> usize {
            let known = topics.desk.known.borrow();
            let routes = known.iter().filter_map(|known| known.matches.as_ref());
            routes.map(|route| route.subscribers()).sum()
        };
        let mut most = 0;
        for number in 0..2 * SUBSCRIBERS_KEPT / SUBSCRIBERS {
            let topic = topics.topic(&format!("a.{number}")).unwrap();
            let published = topics.publish(topic, b"", Retain::No);
            assert_eq!(published.delivered, SUBSCRIBERS as u32);
            most = most.max(sum());
            assert_eq!(sum(), topics.desk.subscribers_kept.get());
        }
        assert_eq!(most, SUBSCRIBERS_KEPT);
        drop(registrations);
        assert_eq!(topics.publish(0, b"", Retain::No).delivered, 0);
        assert_eq!(sum(), topics.desk.subscribers_kept.get());
    }
}
