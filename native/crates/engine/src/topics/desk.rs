//! Where a thread publishes.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt::Write,
    rc::{Rc, Weak},
    sync::{Arc, atomic::Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use millrace_fanout::Pattern;
use millrace_ring::SharedMemory;

use super::{
    Past, TopicsError, TopicsOptions, Waker,
    event::{Audience, FIELD_BYTES, Log, PREFIX, field},
    space::{Group, Matches, Member, Seat, Space},
};
use crate::shared;

/// Bytes and events of a log from which its engine should take them before more is published.
const LOG_BYTES: usize = 1024 * 1024;
const LOG_EVENTS: usize = 4096;

/// Bytes of the memory into which JavaScript encodes what it publishes, and of its head: the sequence
/// that the last event got, and that which the next is given.
const STAGING_BYTES: usize = 64 * 1024;
const STAGING_HEAD: usize = 16;

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
    waker: Cell<Option<u64>>,
    known: RefCell<Vec<Known>>,
    /// Of each queue group, how many events were for it.
    turns: RefCell<HashMap<Arc<str>, Rc<Cell<usize>>>>,
    framed: RefCell<Vec<u8>>,
    staging: Arc<SharedMemory>,
}

struct Known {
    topic: Arc<str>,
    matches: Option<Rc<Route>>,
}

/// Who gets the events of a topic, and how they get there from this thread.
struct Route {
    topic: Arc<str>,
    matches: Matches,
    parts: Vec<Place>,
    groups: Vec<Vec<Place>>,
    turns: Vec<Rc<Cell<usize>>>,
}

/// Where an engine is.
enum Place {
    /// On this thread.
    Here(Rc<RefCell<Log>>),
    /// Elsewhere, or gone.
    Away,
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(waker) = self.waker.take() {
            self.space.remove_waker(waker);
        }
    }
}

impl Topics {
    /// The topics of that name, made if this process has none.
    ///
    /// # Errors
    /// `MILLRACE_TOPICS_CONFLICT`: they exist with other options.
    pub fn open(name: &str, options: &TopicsOptions) -> Result<Self, TopicsError> {
        let staging = SharedMemory::new(STAGING_BYTES).map_err(|error| TopicsError {
            code: "MILLRACE_MEMORY",
            message: format!("cannot map memory for topics: {error}"),
        })?;
        Ok(Self {
            desk: Rc::new(Desk {
                space: Space::open(name, options)?,
                waker: Cell::new(None),
                known: RefCell::default(),
                turns: RefCell::default(),
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
    }

    /// Whether a pattern and a queue group's name are legal.
    ///
    /// # Errors
    /// `MILLRACE_PATTERN_ILLEGAL`, `MILLRACE_GROUP_ILLEGAL`
    pub fn check(&self, pattern: &str, group: Option<&str>) -> Result<(), TopicsError> {
        self.desk.space.check_pattern(pattern, group).map(|_| ())
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

    /// The memory into which JavaScript encodes.
    pub fn staging(&self) -> Arc<SharedMemory> {
        Arc::clone(&self.desk.staging)
    }

    /// Publishes the first `length` bytes behind the head of the staging memory, as
    /// [`Topics::publish`] does; with `retain` under the sequence in the head, if there is one.
    pub fn publish_staged(&self, topic: u32, length: u32, retain: bool) -> Published {
        let staging = Arc::clone(&self.desk.staging);
        let message = shared::bytes(&staging, STAGING_HEAD, length as usize);
        self.publish_from_head(topic, message, retain)
    }

    /// The same for a message from elsewhere.
    pub fn publish_from_head(&self, topic: u32, message: &[u8], retain: bool) -> Published {
        let staging = Arc::clone(&self.desk.staging);
        let given = shared::bytes(&staging, 8, 8)
            .try_into()
            .map_or(0, u64::from_le_bytes);
        let retain = match (retain, given) {
            (false, _) => Retain::No,
            (true, 0) => Retain::Counted,
            (true, given) => Retain::As(given),
        };
        let published = self.publish(topic, message, retain);
        shared::copy_in(&staging, 0, &published.sequence.to_le_bytes());
        published
    }

    /// Publishes an encoded message to a topic; engines of this thread send it when they are applied
    /// or flushed next. Nothing happens for a number that is none. What is retained needs a retention;
    /// without, it is not.
    pub fn publish(&self, topic: u32, message: &[u8], retain: Retain) -> Published {
        let Some(route) = self.route(topic) else {
            return Published::nothing(0, false);
        };
        let Desk { space, framed, .. } = &*self.desk;
        let mut framed = framed.borrow_mut();
        let own = match retain {
            Retain::As(sequence) => Some(sequence),
            _ => None,
        };
        let tag = space.options.sequence_tag;
        let sequence = match &space.past {
            Some(past) if retain != Retain::No => {
                let placed = past.retain(wall_clock(), &route.topic, own, |sequence| {
                    frame(message, tag, sequence, &mut framed);
                    (Arc::from(&framed[..]), framed.len())
                });
                match placed {
                    Some(placed) => placed.sequence,
                    None => return Published::nothing(own.unwrap_or(0), true),
                }
            }
            _ => {
                frame(message, tag, 0, &mut framed);
                0
            }
        };
        space.counters.published.fetch_add(1, Ordering::Relaxed);
        let mut full = false;
        for ((_, audience), place) in route.matches.parts.iter().zip(&route.parts) {
            full |= place.give(&framed, audience);
        }
        for standing in &route.matches.blocking {
            standing.give();
        }
        for (number, group) in route.matches.groups.iter().enumerate() {
            let turns = &route.turns[number];
            let chosen = choose(group, turns);
            let Some(member) = group.members.get(chosen) else {
                continue;
            };
            if member.standing.blocks() {
                member.standing.give();
            }
            full |= route.groups[number][chosen].give(&framed, &member.alone);
        }
        Published {
            sequence,
            known: false,
            delivered: route.matches.delivered,
            full,
        }
    }

    /// Whether no subscriber makes the publishers of a topic wait.
    pub fn are_writable(&self, topic: u32) -> bool {
        self.route(topic)
            .is_none_or(|route| route.matches.are_writable())
    }

    /// What is there and what was counted, as JSON.
    pub fn stats(&self) -> String {
        let space = &self.desk.space;
        let mut json = String::new();
        let counters = &space.counters;
        let levels = space.past.as_ref().map(|past| past.levels());
        let (groups, durable) = space
            .past
            .as_ref()
            .map(|past| past.durables())
            .unwrap_or_default();
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
            ("durableGroups", groups as u64),
            ("consumed", durable.delivered),
            ("redelivered", durable.redelivered),
            ("acknowledged", durable.acknowledged),
            ("rejected", durable.rejected),
            ("timedOut", durable.timed_out),
            ("deadLetters", durable.dead),
            ("overtaken", durable.overtaken),
        ] {
            let separator = if json.is_empty() { '{' } else { ',' };
            let _ = write!(json, "{separator}\"{name}\":{value}");
        }
        json.push('}');
        json
    }

    fn route(&self, topic: u32) -> Option<Rc<Route>> {
        let mut known = self.desk.known.borrow_mut();
        let known = known.get_mut(topic as usize)?;
        if let Some(route) = &known.matches
            && self.desk.space.is_current(&route.matches)
        {
            return Some(Rc::clone(route));
        }
        let route = Rc::new(self.find(&known.topic));
        known.matches = Some(Rc::clone(&route));
        Some(route)
    }

    fn find(&self, topic: &Arc<str>) -> Route {
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
            topic: Arc::clone(topic),
            parts: matches
                .parts
                .iter()
                .map(|(seat, _)| Place::of(seat))
                .collect(),
            groups: matches
                .groups
                .iter()
                .map(|group| {
                    group
                        .members
                        .iter()
                        .map(|member| Place::of(&member.seat))
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

/// Milliseconds since 1970.
pub fn wall_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

impl Place {
    fn of(seat: &Seat) -> Self {
        log_of(seat).map_or(Self::Away, Self::Here)
    }

    /// Puts an event on its way; whether there should be no more for now.
    #[inline]
    fn give(&self, framed: &[u8], audience: &Audience) -> bool {
        match self {
            Self::Here(log) => {
                let mut log = log.borrow_mut();
                log.push(framed);
                log.address(audience);
                log.bytes() >= LOG_BYTES || log.events() >= LOG_EVENTS
            }
            Self::Away => false,
        }
    }
}

/// Which member of a group gets the next event: in turn, but past those at their bound while another
/// is not.
fn choose(group: &Group, turns: &Cell<usize>) -> usize {
    let count = group.members.len().max(1);
    let first = turns.get() % count;
    let free = |index: &usize| {
        let Member { standing, .. } = &group.members[*index];
        !standing.is_at_bound()
    };
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
