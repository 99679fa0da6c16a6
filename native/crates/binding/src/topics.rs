//! Topics as JavaScript sees them: where it publishes.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use millrace_engine::{
    Published, SlowConsumer, Start, Subscribe, Topics, TopicsError, TopicsOptions,
};
use millrace_fanout::Retention;
use napi::bindgen_prelude::{ArrayBuffer, BigInt, Env, FromNapiValue, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::error::{self, Code, Result, guard};
use crate::host::Host;
use crate::memory;

thread_local! {
    /// The hosts of this thread whose engines have had subscribers.
    static HOSTS: RefCell<Vec<Weak<Host>>> = const { RefCell::new(Vec::new()) };
    /// The topics of this thread by their numbers, for the functions that are called most: methods of a
    /// class find and lock their object at each call, which costs more than what these do.
    static TOPICS: RefCell<Vec<Option<Topics>>> = const { RefCell::new(Vec::new()) };
}

/// What topics are made of; sizes are bytes, times milliseconds.
#[napi(object)]
pub struct NativeTopicsOptions {
    /// Those of one name share their events, on all threads of the process.
    pub name: String,
    /// Number of the field for the sequence; 0: the message has none.
    pub sequence_field: u32,
    /// Number of the field for how many events were dropped; 0: the message has none.
    pub dropped_field: u32,
    /// What is kept; absent: nothing.
    pub retention: Option<NativeRetention>,
    /// How long a subscriber may make publishers wait.
    pub block_timeout_ms: u32,
    /// Topics whose subscribers are kept found.
    pub topics: u32,
    /// Subscriptions at most.
    pub subscriptions: u32,
    /// Length of a topic or pattern.
    pub pattern_bytes: u32,
    /// Bytes of the events that durable groups hold.
    pub unacknowledged_bytes: f64,
}

/// What topics keep for replays and durable groups.
#[napi(object)]
pub struct NativeRetention {
    /// Events.
    pub count: u32,
    /// Bytes of messages.
    pub bytes: f64,
    /// Milliseconds.
    pub age_ms: f64,
}

/// What a subscription wants.
#[napi(object)]
pub struct NativeSubscription {
    /// Topics; `*` stands for a token, `>` for the rest.
    pub pattern: String,
    /// `block`, `drop-oldest`, `drop-newest` or `disconnect`.
    pub slow_consumer: String,
    /// From 1.
    pub max_pending: u32,
    /// The queue group.
    pub group: Option<String>,
    /// With what of the past it begins: `earliest`, `sequence` or `time`; absent: with nothing.
    pub start: Option<String>,
    /// The sequence, or the time in milliseconds since 1970.
    pub start_at: Option<BigInt>,
}

/// The topics of one name, as this thread publishes to them.
#[napi]
pub struct NativeTopics {
    /// `None`: they are closed.
    topics: RefCell<Option<Topics>>,
    number: u32,
}

impl Drop for NativeTopics {
    fn drop(&mut self) {
        // A thread may end in the middle of a tick: by `process.exit()`, an error or another thread.
        let _ = self.close();
    }
}

#[napi]
impl NativeTopics {
    /// Throws `MILLRACE_TOPICS_CONFLICT` if the process has topics of that name with other options.
    #[napi(constructor)]
    pub fn new(options: NativeTopicsOptions) -> Result<Self> {
        guard(|| {
            let topics = Topics::open(
                &options.name,
                &TopicsOptions {
                    sequence_tag: options.sequence_field << 3,
                    dropped_tag: options.dropped_field << 3,
                    retention: options.retention.map(|retention| Retention {
                        count_max: retention.count as usize,
                        bytes_max: retention.bytes as usize,
                        age_ms_max: retention.age_ms as u64,
                    }),
                    block_timeout_ms: u64::from(options.block_timeout_ms),
                    topics: options.topics,
                    subscriptions: options.subscriptions,
                    pattern_bytes: options.pattern_bytes,
                    unacknowledged_bytes: options.unacknowledged_bytes as u64,
                },
            )
            .map_err(from_topics)?;
            let number = TOPICS.with_borrow_mut(|all| {
                let place = all.iter().position(Option::is_none).unwrap_or(all.len());
                if place == all.len() {
                    all.push(None);
                }
                all[place] = Some(topics.clone());
                place as u32
            });
            Ok(Self {
                topics: RefCell::new(Some(topics)),
                number,
            })
        })
    }

    /// Publishes what is queued, and forgets everything, as this thread knows it: what else is asked of them
    /// throws `MILLRACE_TOPICS_CLOSED`, and their number may be that of others. Again is nothing.
    #[napi]
    pub fn close(&self) -> Result<()> {
        let Some(topics) = self.topics.take() else {
            return Ok(());
        };
        let published = guard(|| {
            topics.publish_queued();
            Ok(())
        });
        // A thread that ends may have forgotten them already.
        let gone = TOPICS.try_with(|all| {
            let mut all = all.borrow_mut();
            all.get_mut(self.number as usize).and_then(Option::take)
        });
        guard(|| {
            drop((topics, gone));
            published
        })
    }

    /// By which `publishQueued()` and `publishRetained()` know them, on this thread.
    #[napi(getter)]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Where messages are encoded before they are published: the head, the table and the messages
    /// that `TOPICS_` constants of the layout describe. Once only.
    #[napi]
    pub fn staging(&self, env: Env) -> Result<ArrayBuffer<'static>> {
        guard(|| {
            let buffer = memory::external(env.raw(), self.topics()?.staging())?;
            // SAFETY: the value was made above, in the open handle scope of this environment.
            unsafe { ArrayBuffer::from_napi_value(env.raw(), buffer) }
                .map_err(|failure| error::error(error::CALL, failure.reason.clone()))
        })
    }

    /// A number for a topic, until `forget()`. Throws `MILLRACE_TOPIC_ILLEGAL`.
    #[napi]
    pub fn topic(&self, topic: String) -> Result<u32> {
        guard(|| self.topics()?.topic(&topic).map_err(from_topics))
    }

    /// All numbers of topics mean nothing any more.
    #[napi]
    pub fn forget(&self) -> Result<()> {
        guard(|| {
            self.topics()?.forget();
            Ok(())
        })
    }

    /// Throws what `NativeEngine.subscribe` would now.
    #[napi]
    pub fn check(&self, subscription: NativeSubscription) -> Result<()> {
        guard(|| {
            self.topics()?
                .check(&subscription.read()?)
                .map_err(from_topics)
        })
    }

    /// As `publishRetained()` for a message that is larger than the staging memory. Without `retain` it
    /// is not kept.
    #[napi]
    pub fn publish_large(&self, topic: u32, message: &[u8], retain: bool) -> Result<i32> {
        guard(|| {
            Ok(said(
                self.topics()?.publish_from_head(topic, message, retain),
            ))
        })
    }

    /// Has the head of the staging memory say who gets the events of a topic. Answers how many events
    /// this thread may publish before it asks again whether a subscriber makes publishers of the topic
    /// wait: one does at 0, none ever would at 2^32 - 1.
    #[napi]
    pub fn look_up(&self, topic: u32) -> Result<u32> {
        guard(|| Ok(self.topics()?.look_up(topic)))
    }

    /// While `look_up()` answers 0: cuts off subscribers on other threads for which publishers of the
    /// topic have waited for too long; answers after how many milliseconds to ask again, -1: it answers more.
    #[napi]
    pub fn judge(&self, topic: u32) -> Result<f64> {
        guard(|| {
            Ok(self
                .topics()?
                .judge(topic)
                .map_or(-1.0, |after| after as f64))
        })
    }

    /// Calls back when `lookUp()` may answer more where it answered 0. It does not keep the
    /// process alive. Once only.
    #[napi]
    pub fn on_writable(&self, callback: Function<'_, (), ()>) -> Result<()> {
        guard(|| {
            let callback = callback
                .build_threadsafe_function()
                .weak::<true>()
                .max_queue_size::<1>()
                .build()
                .map_err(|failure| error::error(error::CALL, failure.reason.clone()))?;
            self.topics()?.on_writable(Box::new(move || {
                // If the queue is full it will be called anyway.
                callback.call((), ThreadsafeFunctionCallMode::NonBlocking);
            }));
            Ok(())
        })
    }

    /// Statistics as JSON.
    #[napi]
    pub fn stats(&self) -> Result<String> {
        guard(|| Ok(self.topics()?.stats()))
    }
}

impl NativeTopics {
    /// # Errors
    /// `MILLRACE_TOPICS_CLOSED`
    pub(crate) fn topics(&self) -> Result<Topics> {
        self.topics.borrow().clone().ok_or_else(closed)
    }
}

pub(crate) fn closed() -> napi::Error<Code> {
    error::error(
        Code("MILLRACE_TOPICS_CLOSED"),
        "these topics are closed; make them anew by topics()",
    )
}

/// Publishes what is queued in the staging memory of these topics; it is not retained.
#[napi]
pub fn publish_queued(topics: u32) -> Result<()> {
    guard(|| {
        if numbered(topics)?.publish_queued() {
            flush_hosts();
        }
        Ok(())
    })
}

/// Publishes what is queued, and then the `length` bytes behind its messages, which are kept, under the
/// sequence in the head if there is one; answers for how many subscriptions of this process, or -1: there
/// is an event of that sequence.
#[napi]
pub fn publish_retained(topics: u32, topic: u32, length: u32) -> Result<i32> {
    guard(|| Ok(said(numbered(topics)?.publish_staged(topic, length, true))))
}

fn numbered(number: u32) -> Result<Topics> {
    let found = TOPICS.with_borrow(|all| all.get(number as usize).cloned().flatten());
    found.ok_or_else(|| {
        let message = format!("there are no topics of the number {number} on this thread");
        error::error(error::CALL, message)
    })
}

fn said(published: Published) -> i32 {
    if published.full {
        flush_hosts();
    }
    if published.known {
        -1
    } else {
        published.delivered.cast_signed()
    }
}

impl NativeSubscription {
    /// # Errors
    /// `MILLRACE_OPTION_INVALID`
    fn read(&self) -> Result<Subscribe<'_>> {
        let invalid = |name: &str, given: &str, admitted: &str| {
            error::error(
                error::OPTION,
                format!("{name} is {given:?}, but has to be {admitted}"),
            )
        };
        let at = self.start_at.as_ref().map_or(0, |at| at.get_u64().1);
        Ok(Subscribe {
            pattern: &self.pattern,
            group: self.group.as_deref(),
            slow_consumer: match self.slow_consumer.as_str() {
                "block" => SlowConsumer::Block,
                "drop-oldest" => SlowConsumer::DropOldest,
                "drop-newest" => SlowConsumer::DropNewest,
                "disconnect" => SlowConsumer::Disconnect,
                other => {
                    let admitted = "block, drop-oldest, drop-newest or disconnect";
                    return Err(invalid("slowConsumer", other, admitted));
                }
            },
            max_pending: self.max_pending,
            start: match self.start.as_deref() {
                None => Start::Latest,
                Some("earliest") => Start::Earliest,
                Some("sequence") => Start::Sequence(at),
                Some("time") => Start::Time(at),
                Some(other) => {
                    return Err(invalid("start", other, "earliest, sequence or time"));
                }
            },
        })
    }
}

/// Has a call subscribe.
///
/// # Errors
/// `MILLRACE_PATTERN_ILLEGAL`, `MILLRACE_GROUP_ILLEGAL`, `MILLRACE_SUBSCRIPTIONS_FULL`,
/// `MILLRACE_TOPICS_CLOSED`, `MILLRACE_ENGINE_CLOSED`.
pub(crate) fn subscribe(
    host: &Rc<Host>,
    call: u32,
    topics: &NativeTopics,
    subscription: &NativeSubscription,
) -> Result<()> {
    let subscribe = subscription.read()?;
    let topics = topics.topics()?;
    host.command(|engine| {
        engine
            .subscribe(call, &topics, &subscribe)
            .map_err(from_topics)
    })?;
    HOSTS.with_borrow_mut(|hosts| {
        let weak = Rc::downgrade(host);
        if !hosts.iter().any(|each| each.ptr_eq(&weak)) {
            hosts.retain(|each| each.strong_count() > 0);
            hosts.push(weak);
        }
    });
    Ok(())
}

/// The engines of this thread take what was published; those that are closed or at work do not.
fn flush_hosts() {
    let hosts: Vec<_> = HOSTS.with_borrow(|hosts| hosts.iter().filter_map(Weak::upgrade).collect());
    for host in hosts {
        let _ = host.flush();
    }
}

pub(crate) fn from_topics(failure: TopicsError) -> napi::Error<Code> {
    error::error(Code(failure.code), failure.message)
}
