//! What the threads of a process share of the topics of one name: who has subscribed to what.
//!
//! It is locked when a subscription comes or goes, when a topic is published to for the first time
//! after that, and for an event that is retained; never to deliver one.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use millrace_fanout::{Pattern, Routes, RoutesLimits, SubscriptionId, Topic, topic::SyntaxLimits};

use super::{
    Past, Start, TopicsError, TopicsOptions,
    event::Audience,
    feed::{SlowConsumer, Standing},
    lane::Seat,
    staging::Staging,
};

/// Longest name of a queue group, in bytes.
const GROUP_BYTES_MAX: usize = 256;

/// The spaces of this process by name.
static SPACES: Mutex<Option<HashMap<String, Weak<Space>>>> = Mutex::new(None);

/// What is counted for a space, on all threads.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) published: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) disconnected: AtomicU64,
}

/// The topics of one name in this process.
pub(crate) struct Space {
    pub(crate) options: TopicsOptions,
    /// `None`: nothing is retained.
    pub(crate) past: Option<Arc<Past>>,
    /// Changes with every subscription that comes or goes.
    version: AtomicU64,
    state: Mutex<State>,
    pub(crate) counters: Counters,
    /// Called when publishers need not wait any more; by the number of their handle.
    wakers: Mutex<Vec<(u64, Waker)>>,
    handles: AtomicU64,
    /// How many publish to it: `stagings` of the state.
    publishers: AtomicU32,
}

/// Wakes the publishers of one thread, from any thread.
pub type Waker = Box<dyn Fn() + Send>;

struct State {
    routes: Routes<u32>,
    /// Of those who publish, by the number of their handle: where they are shown the version.
    stagings: Vec<(u64, Staging)>,
    /// By the number that the routes have for them.
    subscribers: Vec<Option<Subscriber>>,
    free: Vec<u32>,
}

struct Subscriber {
    seat: Arc<Seat>,
    call: u32,
    standing: Arc<Standing>,
    group: Option<Arc<str>>,
    id: SubscriptionId,
}

/// A subscription as long as it is registered.
pub(crate) struct Registration {
    space: Arc<Space>,
    standing: Arc<Standing>,
    number: u32,
    id: SubscriptionId,
}

impl Registration {
    pub(crate) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.space
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.space.state();
        state.routes.unsubscribe(self.id);
        state.subscribers[self.number as usize] = None;
        state.free.push(self.number);
        self.space.publish_version(&state);
        drop(state);
        if self.standing.blocks() {
            self.space.wake_publishers();
        }
    }
}

/// Who gets the events of a topic, until a subscription comes or goes.
pub(crate) struct Matches {
    pub(crate) version: u64,
    /// Subscriptions, a queue group counting one.
    pub(crate) delivered: u32,
    pub(crate) parts: Vec<Part>,
    pub(crate) groups: Vec<Group>,
    /// Of subscribers outside of groups: those for which publishers wait.
    pub(crate) blocking: Vec<Arc<Standing>>,
}

/// The members of a queue group that want the events of a topic.
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    pub(crate) members: Vec<Part>,
}

impl Group {
    /// As [`Matches::room`]: another member takes what one has no room for.
    fn room(&self) -> Option<u32> {
        let mut most = 0;
        for member in &self.members {
            if member.blocking.is_empty() {
                return None;
            }
            let room = member.standings.iter().map(|standing| standing.room());
            most = most.max(room.min().unwrap_or(0));
        }
        Some(most)
    }
}

/// Subscribers of one engine.
pub(crate) struct Part {
    pub(crate) seat: Arc<Seat>,
    pub(crate) audience: Audience,
    /// Those of them that block.
    pub(crate) blocking: Audience,
    pub(crate) standings: Box<[Arc<Standing>]>,
}

/// A subscriber's call, and how it stands.
type Own = (u32, Arc<Standing>);

impl Part {
    fn new(seat: &Arc<Seat>, subscribers: &[Own]) -> Self {
        Self {
            seat: Arc::clone(seat),
            audience: subscribers.iter().map(|&(call, _)| call).collect(),
            blocking: subscribers
                .iter()
                .filter(|(_, standing)| standing.blocks())
                .map(|&(call, _)| call)
                .collect(),
            standings: subscribers
                .iter()
                .map(|(_, standing)| Arc::clone(standing))
                .collect(),
        }
    }

    pub(crate) fn is_at_bound(&self) -> bool {
        self.standings.iter().all(|standing| standing.is_at_bound())
    }
}

impl Matches {
    /// How many events may be published before publishers of the topic have to wait; `None`: nobody
    /// makes them wait.
    pub(crate) fn room(&self) -> Option<u32> {
        let alone = self.blocking.iter().map(|standing| standing.room());
        let groups = self.groups.iter().filter_map(Group::room);
        alone.chain(groups).min()
    }
}

impl Space {
    /// The space of that name, made if there is none.
    ///
    /// # Errors
    /// It exists with other options.
    pub(crate) fn open(name: &str, options: &TopicsOptions) -> Result<Arc<Self>, TopicsError> {
        let mut spaces = SPACES.lock().unwrap_or_else(PoisonError::into_inner);
        let spaces = spaces.get_or_insert_with(HashMap::new);
        if let Some(space) = spaces.get(name).and_then(Weak::upgrade) {
            if space.options != *options {
                return Err(TopicsError {
                    code: "MILLRACE_TOPICS_CONFLICT",
                    message: format!(
                        "topics of the name {name:?} exist in this process with other options; give the same, or another name"
                    ),
                });
            }
            return Ok(space);
        }
        spaces.retain(|_, space| space.strong_count() > 0);
        let space = Arc::new(Self {
            options: options.clone(),
            past: options.retention.map(|retention| {
                let most = options.unacknowledged_bytes;
                Arc::new(Past::new(
                    retention,
                    usize::try_from(most).unwrap_or(usize::MAX),
                ))
            }),
            version: AtomicU64::new(0),
            state: Mutex::new(State {
                routes: Routes::new(RoutesLimits {
                    topics_max: options.topics as usize,
                    ..RoutesLimits::default()
                }),
                stagings: Vec::new(),
                subscribers: Vec::new(),
                free: Vec::new(),
            }),
            counters: Counters::default(),
            wakers: Mutex::default(),
            handles: AtomicU64::new(0),
            publishers: AtomicU32::new(0),
        });
        spaces.insert(name.to_owned(), Arc::downgrade(&space));
        Ok(space)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish_version(&self, state: &State) {
        let version = state.routes.version();
        self.version.store(version, Ordering::SeqCst);
        for (_, staging) in &state.stagings {
            staging.show_version(version);
        }
    }

    /// Somebody publishes who wants to be shown the version; answers the number of the handle.
    pub(crate) fn add_publisher(&self, staging: &Staging) -> u64 {
        let number = self.handles.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        staging.show_version(state.routes.version());
        state.stagings.push((number, staging.clone()));
        self.publishers
            .store(state.stagings.len() as u32, Ordering::Relaxed);
        number
    }

    pub(crate) fn remove_publisher(&self, number: u64) {
        let mut state = self.state();
        state.stagings.retain(|(each, _)| *each != number);
        self.publishers
            .store(state.stagings.len() as u32, Ordering::Relaxed);
    }

    /// How many publish, this one included.
    pub(crate) fn publishers(&self) -> u32 {
        self.publishers.load(Ordering::Relaxed).max(1)
    }

    /// How long topics and patterns may be.
    pub(crate) fn syntax(&self) -> SyntaxLimits {
        SyntaxLimits {
            bytes_max: self.options.pattern_bytes as usize,
            ..SyntaxLimits::default()
        }
    }

    /// # Errors
    /// The text is no topic.
    pub(crate) fn check_topic<'a>(&self, text: &'a str) -> Result<Topic<'a>, TopicsError> {
        Topic::parse(text, &self.syntax()).map_err(|illegal| TopicsError {
            code: "MILLRACE_TOPIC_ILLEGAL",
            message: illegal.to_string(),
        })
    }

    /// # Errors
    /// The text is no pattern, or that of the group no name.
    pub(crate) fn check_pattern(
        &self,
        text: &str,
        group: Option<&str>,
    ) -> Result<Pattern, TopicsError> {
        if let Some(group) = group
            && (group.is_empty() || group.len() > GROUP_BYTES_MAX)
        {
            return Err(TopicsError {
                code: "MILLRACE_GROUP_ILLEGAL",
                message: format!(
                    "the name of a queue group has {} bytes, but has to have from 1 to {GROUP_BYTES_MAX}",
                    group.len()
                ),
            });
        }
        Pattern::parse(text, &self.syntax()).map_err(|illegal| TopicsError {
            code: "MILLRACE_PATTERN_ILLEGAL",
            message: illegal.to_string(),
        })
    }

    /// Registers a subscription: what is published from here on, on any thread, is for it.
    ///
    /// # Errors
    /// As [`Space::check_pattern`]; there are too many.
    pub(crate) fn register(
        self: &Arc<Self>,
        pattern: &str,
        group: Option<&str>,
        standing: Standing,
        seat: &Arc<Seat>,
        call: u32,
    ) -> Result<Registration, TopicsError> {
        let pattern = self.check_pattern(pattern, group)?;
        let standing = Arc::new(standing);
        let mut state = self.state();
        let limit = self.options.subscriptions as usize;
        if state.routes.subscriptions() >= limit {
            return Err(TopicsError {
                code: "MILLRACE_SUBSCRIPTIONS_FULL",
                message: format!(
                    "there are {limit} subscriptions, as many as limits.subscriptions allows; end some, or raise it"
                ),
            });
        }
        let number = state.free.pop().unwrap_or_else(|| {
            state.subscribers.push(None);
            state.subscribers.len() as u32 - 1
        });
        let id = state.routes.subscribe(&pattern, number);
        state.subscribers[number as usize] = Some(Subscriber {
            seat: Arc::clone(seat),
            call,
            standing: Arc::clone(&standing),
            group: group.map(Arc::from),
            id,
        });
        self.publish_version(&state);
        drop(state);
        if group.is_some() {
            // It may take what the other members have no room for.
            self.wake_publishers();
        }
        Ok(Registration {
            space: Arc::clone(self),
            standing,
            number,
            id,
        })
    }

    /// Ends subscriptions for which publishers have waited for too long. Their engines, which may be busy or
    /// dead, are told to end the calls; their places are free when that is over.
    #[cold]
    pub(crate) fn cut<'a>(&self, standings: impl Iterator<Item = &'a Arc<Standing>>) {
        let count = standings.filter(|standing| standing.cut()).count();
        if count == 0 {
            return;
        }
        let disconnected = &self.counters.disconnected;
        disconnected.fetch_add(count as u64, Ordering::Relaxed);
        let mut state = self.state();
        let State {
            routes,
            subscribers,
            ..
        } = &mut *state;
        // One look at all of them, however many go. Whose call has just ended is not there any more.
        let gone: Vec<Subscriber> = subscribers
            .iter_mut()
            .filter_map(|each| each.take_if(|each| each.standing.is_cut()))
            .collect();
        for subscriber in &gone {
            routes.unsubscribe(subscriber.id);
        }
        self.publish_version(&state);
        drop(state);
        for subscriber in gone {
            subscriber.seat.note_overrun();
        }
        self.wake_publishers();
    }

    /// Whether `matches` are those of now.
    #[inline]
    pub(crate) fn is_current(&self, matches: &Matches) -> bool {
        matches.version == self.version.load(Ordering::SeqCst)
    }

    /// Who gets the events of a topic, which [`Space::check_topic`] has let pass.
    pub(crate) fn matches(&self, topic: &str) -> Matches {
        let mut state = self.state();
        let State {
            routes,
            subscribers,
            ..
        } = &mut *state;
        let mut found = Matches {
            version: routes.version(),
            delivered: 0,
            parts: Vec::new(),
            groups: Vec::new(),
            blocking: Vec::new(),
        };
        let Ok(topic) = Topic::parse(topic, &self.syntax()) else {
            return found;
        };
        let id = routes.topic(topic);
        let mut parts: Vec<(Arc<Seat>, Vec<Own>)> = Vec::new();
        // Subscribers name groups: there may be as many as subscriptions.
        let mut places = HashMap::new();
        for &number in routes.matches(id).unwrap_or_default() {
            let Some(subscriber) = &subscribers[number as usize] else {
                continue;
            };
            let own = (subscriber.call, Arc::clone(&subscriber.standing));
            let Some(group) = &subscriber.group else {
                found.delivered += 1;
                if subscriber.standing.blocks() {
                    found.blocking.push(Arc::clone(&subscriber.standing));
                }
                let seat = &subscriber.seat;
                // Those of one engine follow each other as a rule, since they came together.
                match parts.iter_mut().rfind(|(each, _)| Arc::ptr_eq(each, seat)) {
                    Some((_, each)) => each.push(own),
                    None => parts.push((Arc::clone(seat), vec![own])),
                }
                continue;
            };
            let member = Part::new(&subscriber.seat, &[own]);
            let place = *places.entry(group).or_insert(found.groups.len());
            match found.groups.get_mut(place) {
                Some(group) => group.members.push(member),
                None => {
                    found.delivered += 1;
                    found.groups.push(Group {
                        name: Arc::clone(group),
                        members: vec![member],
                    });
                }
            }
        }
        found.parts = parts
            .into_iter()
            .map(|(seat, subscribers)| Part::new(&seat, &subscribers))
            .collect();
        found
    }

    /// Subscriptions there are.
    pub(crate) fn subscriptions(&self) -> usize {
        self.state().routes.subscriptions()
    }

    /// A number for a publisher's handle, and how to wake it.
    pub(crate) fn add_waker(&self, waker: Waker) -> u64 {
        let number = self.handles.fetch_add(1, Ordering::Relaxed);
        self.wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((number, waker));
        number
    }

    pub(crate) fn remove_waker(&self, number: u64) {
        self.wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(each, _)| *each != number);
    }

    /// Publishers look again whether they have to wait.
    pub(crate) fn wake_publishers(&self) {
        for (_, wake) in self
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            wake();
        }
    }
}

/// How a subscription wants its events.
#[derive(Clone, Debug)]
pub struct Subscribe<'a> {
    /// Which topics.
    pub pattern: &'a str,
    /// The queue group of which it is a member: each event goes to one of them.
    pub group: Option<&'a str>,
    /// What happens when `max_pending` events wait.
    pub slow_consumer: SlowConsumer,
    /// At least 1.
    pub max_pending: u32,
    /// With which events of the past it begins; [`Start::Latest`]: with none.
    pub start: Start,
}
