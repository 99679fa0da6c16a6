//! Durable groups as JavaScript sees them: the members that this thread has in them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_engine::{Past, Topics, wall_clock};
use millrace_fanout::{Durable, DurableError, Kept, Member, Start};
use napi::bindgen_prelude::{BigInt, BufferSlice, Env, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::clock;
use crate::error::{self, Code, Result, guard};
use crate::topics::{NativeTopics, closed};

/// gRPC's prefix, with which events are kept.
const PREFIX: usize = 5;
/// Bytes after which `take()` leaves the rest for the next call.
const TAKEN_BYTES: usize = 256 * 1024;
/// Events that are taken between two looks at their bytes.
const TAKEN_AT_ONCE: usize = 8;

type Event = Kept<Arc<[u8]>>;

/// How a member wants its durable group, and its own part in it.
#[napi(object)]
pub struct NativeDurableOptions {
    /// The group's name.
    pub group: String,
    /// Its topics.
    pub pattern: String,
    /// Where it begins if it does not exist: `latest`, `earliest`, `sequence` or `time`.
    pub start: String,
    /// The sequence, or the time in milliseconds since 1970.
    pub start_at: Option<BigInt>,
    /// How long a delivery may stay unacknowledged, milliseconds.
    pub ack_wait_ms: u32,
    /// How often an event is delivered; 0: without a limit.
    pub deliveries_max: u32,
    /// Deliveries that the member may hold unacknowledged.
    pub unacknowledged_max: u32,
}

/// The members that this thread has in durable groups of the topics of one name.
///
/// They are numbers here. Lists of events are bytes: for each a u64 sequence, a u32 attempt, a u32
/// length and the message; all little-endian.
#[napi]
pub struct NativeDurables {
    /// `None`: they are closed.
    open: RefCell<Option<Open>>,
    members: RefCell<HashMap<u32, Member<Arc<[u8]>>>>,
    named: Cell<u32>,
}

#[derive(Clone)]
struct Open {
    past: Arc<Past>,
    topics: Topics,
    woken: Arc<Woken>,
}

/// Members that should ask again, from whichever thread that was said.
struct Woken {
    members: Mutex<Vec<u32>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[napi]
impl NativeDurables {
    /// `wake` is called when `woken()` has something to answer; it does not keep the process alive.
    /// Throws `MILLRACE_TOPICS_NOT_RETAINED` if these topics retain nothing.
    #[napi(constructor)]
    pub fn new(topics: &NativeTopics, wake: Function<'_, (), ()>) -> Result<Self> {
        guard(|| {
            let topics = topics.topics()?;
            let past = topics.past().ok_or_else(|| {
                error::error(
                    Code("MILLRACE_TOPICS_NOT_RETAINED"),
                    "these topics retain nothing; give them a retention",
                )
            })?;
            let wake = wake
                .build_threadsafe_function()
                .weak::<true>()
                .max_queue_size::<1>()
                .build()
                .map_err(|failure| error::error(error::CALL, failure.reason.clone()))?;
            let open = Open {
                past: Arc::clone(past),
                woken: Arc::new(Woken {
                    members: Mutex::default(),
                    wake: Box::new(move || {
                        // If the queue is full it will be called anyway.
                        wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
                    }),
                }),
                topics,
            };
            Ok(Self {
                open: RefCell::new(Some(open)),
                members: RefCell::default(),
                named: Cell::new(0),
            })
        })
    }

    /// Joins a group, which is made if there is none; answers the member's number. Throws `MILLRACE_TOPICS_CLOSED`,
    /// `MILLRACE_PATTERN_ILLEGAL`, `MILLRACE_GROUP_ILLEGAL`, `MILLRACE_GROUP_CONFLICT` (it exists with
    /// another pattern), `MILLRACE_GROUPS_FULL`, `MILLRACE_START_OUT_OF_RANGE`.
    #[napi]
    pub fn join(&self, options: NativeDurableOptions) -> Result<u32> {
        guard(|| {
            let Open {
                past,
                topics,
                woken,
            } = self.open.borrow().clone().ok_or_else(closed)?;
            let pattern = topics
                .pattern(&options.pattern, &options.group)
                .map_err(crate::topics::from_topics)?;
            let number = self.named.get().wrapping_add(1);
            let wake = Box::new(move || {
                lock(&woken.members).push(number);
                (woken.wake)();
            });
            let asked = Durable {
                pattern: &pattern,
                start: start(&options)?,
                ack_wait_ms: u64::from(options.ack_wait_ms),
                deliveries_max: options.deliveries_max,
                unacknowledged_max: options.unacknowledged_max as usize,
            };
            let member = past
                .join(wall_clock(), &options.group, &asked, wake)
                .map_err(refusal)?;
            self.members.borrow_mut().insert(number, member);
            self.named.set(number);
            Ok(number)
        })
    }

    /// Gives a member up to `max` events: a u32 that is 1 if it should ask again at once for what else
    /// it wants, and a list; null for neither. Otherwise `woken()` names it when it should ask again;
    /// one that holds as many as it may should ask after each answer.
    #[napi(ts_return_type = "Buffer | null")]
    pub fn take<'env>(
        &self,
        env: &'env Env,
        member: u32,
        max: u32,
    ) -> Result<Option<BufferSlice<'env>>> {
        guard(|| {
            let members = self.members.borrow();
            let Some(member) = members.get(&member) else {
                return Ok(None);
            };
            let mut list = vec![0; 4];
            let mut wanted = max as usize;
            let mut deliveries = Vec::new();
            // Whoever is given less than it asked for is woken; one that was given all has to ask.
            let mut ask_again = true;
            while ask_again && wanted > 0 && list.len() < TAKEN_BYTES {
                let most = wanted.min(TAKEN_AT_ONCE);
                let more = member.take(clock::now(), most, &mut deliveries);
                wanted -= deliveries.len();
                ask_again = more || deliveries.len() == most;
                for delivery in deliveries.drain(..) {
                    append(
                        &mut list,
                        delivery.sequence,
                        delivery.attempt,
                        &delivery.event,
                    );
                }
            }
            if list.len() == 4 && !ask_again {
                return Ok(None);
            }
            list[0] = u8::from(ask_again);
            buffer(env, list)
        })
    }

    /// An event is done with; whether it was this member's.
    #[napi]
    pub fn acknowledge(&self, member: u32, sequence: BigInt) -> Result<bool> {
        guard(|| {
            let members = self.members.borrow();
            Ok(members
                .get(&member)
                .is_some_and(|member| member.acknowledge(number(&sequence))))
        })
    }

    /// An event is to be delivered again, to any member; whether it was this member's.
    #[napi]
    pub fn reject(&self, member: u32, sequence: BigInt) -> Result<bool> {
        guard(|| {
            let members = self.members.borrow();
            Ok(members
                .get(&member)
                .is_some_and(|member| member.reject(number(&sequence))))
        })
    }

    /// Has what the member's group delivered too long ago wait again; answers after how many
    /// milliseconds there is something to do next, -1: nothing.
    #[napi]
    pub fn expire(&self, member: u32) -> Result<f64> {
        guard(|| {
            let members = self.members.borrow();
            let now = clock::now();
            let due = members.get(&member).and_then(|member| member.expire(now));
            Ok(due.map_or(-1.0, |due| due.saturating_sub(now) as f64))
        })
    }

    /// The dead letters of the member's group as a list, which are the caller's now; null without.
    #[napi(ts_return_type = "Buffer | null")]
    pub fn dead_letters<'env>(
        &self,
        env: &'env Env,
        member: u32,
    ) -> Result<Option<BufferSlice<'env>>> {
        guard(|| {
            let members = self.members.borrow();
            let mut list = Vec::new();
            while list.len() < TAKEN_BYTES
                && let Some(letter) = members.get(&member).and_then(Member::dead_letter)
            {
                append(&mut list, letter.sequence, letter.attempts, &letter.event);
            }
            if list.is_empty() {
                return Ok(None);
            }
            buffer(env, list)
        })
    }

    /// A member leaves: what it has not acknowledged is for the others of its group, or dead. It may
    /// still take dead letters. Again is nothing.
    #[napi]
    pub fn leave(&self, member: u32) -> Result<()> {
        guard(|| {
            if let Some(member) = self.members.borrow().get(&member) {
                member.leave();
            }
            Ok(())
        })
    }

    /// A member that has left is not asked for anything any more.
    #[napi]
    pub fn forget(&self, member: u32) -> Result<()> {
        guard(|| {
            let member = self.members.borrow_mut().remove(&member);
            drop(member);
            Ok(())
        })
    }

    /// All members leave, and nobody is woken any more. Again is nothing.
    #[napi]
    pub fn close(&self) -> Result<()> {
        guard(|| {
            drop(self.members.take());
            drop(self.open.take());
            Ok(())
        })
    }

    /// The members that should ask again.
    #[napi]
    pub fn woken(&self) -> Result<Vec<u32>> {
        guard(|| {
            let open = self.open.borrow();
            Ok(open.as_ref().map_or_else(Vec::new, |open| {
                std::mem::take(&mut *lock(&open.woken.members))
            }))
        })
    }
}

fn start(options: &NativeDurableOptions) -> Result<Start> {
    let at = options.start_at.as_ref().map_or(0, number);
    match options.start.as_str() {
        "latest" => Ok(Start::Latest),
        "earliest" => Ok(Start::Earliest),
        "sequence" => Ok(Start::Sequence(at)),
        "time" => Ok(Start::Time(at)),
        other => Err(error::error(
            error::OPTION,
            format!("start is {other:?}, but has to be latest, earliest, sequence or time"),
        )),
    }
}

fn refusal(failure: DurableError) -> napi::Error<Code> {
    let code = match failure {
        DurableError::OtherPattern { .. } => "MILLRACE_GROUP_CONFLICT",
        DurableError::OutOfRange(_) => "MILLRACE_START_OUT_OF_RANGE",
        DurableError::TooMany => "MILLRACE_GROUPS_FULL",
    };
    error::error(Code(code), failure.to_string())
}

fn append(list: &mut Vec<u8>, sequence: u64, attempt: u32, event: &Event) {
    let message = &event.event[PREFIX..];
    list.extend_from_slice(&sequence.to_le_bytes());
    list.extend_from_slice(&attempt.to_le_bytes());
    list.extend_from_slice(&(message.len() as u32).to_le_bytes());
    list.extend_from_slice(message);
}

fn buffer(env: &Env, bytes: Vec<u8>) -> Result<Option<BufferSlice<'_>>> {
    BufferSlice::from_data(env, bytes)
        .map(Some)
        .map_err(|failure| error::error(error::CALL, failure.reason.clone()))
}

/// What does not fit is no sequence of any event.
fn number(value: &BigInt) -> u64 {
    let (negative, number, lossless) = value.get_u64();
    if negative || !lossless { 0 } else { number }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
