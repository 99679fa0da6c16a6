//! One engine inside one JavaScript thread: the turn of a wake-up, and its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use millrace_engine::Engine;
use napi::sys;

use crate::callbacks::{self, Callbacks, Delivery, Outcome};
use crate::cleanup::{self, Hook};
use crate::error::{self, Code, Result, check};
use crate::event_loop::Handles;
use crate::memory::Buffers;

/// A wake-up gives the loop back after this much time …
const TURN: Duration = Duration::from_millis(2);
/// … or this many records …
const TURN_RECORDS: u32 = 4096;
/// … or this many rounds, so that timers and other sockets live.
const TURN_ROUNDS: u32 = 4;

/// Where an engine is in its life.
///
/// ```text
///   Open ──close()──▶ Closed              outside of a turn
///   Open ──close()──▶ Ending ──▶ Closed   inside: after the batch
///   Open ──the environment may run no JavaScript──▶ Silent ──clean-up hook──▶ Closed
///   any  ──panic──▶ Closed                the engine is leaked on purpose
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Ending,
    Silent,
    Closed,
}

/// The engine, and everything that ties it to its environment.
pub(crate) struct Host {
    env: sys::napi_env,
    engine: RefCell<Option<Engine>>,
    callbacks: RefCell<Option<Callbacks>>,
    buffers: RefCell<Buffers>,
    pub(crate) handles: Handles,
    open_handles: Cell<u32>,
    hook: Cell<Option<Hook>>,
    phase: Cell<Phase>,
    in_turn: Cell<bool>,
    /// What `stats()` answers once the engine is gone.
    last_stats: RefCell<String>,
}

impl Host {
    /// Ties an engine to the event loop of `env`.
    ///
    /// # Errors
    /// Those of [`Handles::new`], [`Handles::start`] and of N-API.
    pub(crate) fn new(
        env: sys::napi_env,
        engine: Engine,
        callbacks: Callbacks,
    ) -> Result<Rc<Host>> {
        let mut event_loop = std::ptr::null_mut();
        // SAFETY: `env` is the live environment of this thread.
        let status = unsafe { sys::napi_get_uv_event_loop(env, &mut event_loop) };
        check(status, "napi_get_uv_event_loop")?;
        let handles = Handles::new(event_loop.cast(), engine.descriptor())?;
        let host = Rc::new(Host {
            env,
            engine: RefCell::new(Some(engine)),
            callbacks: RefCell::new(Some(callbacks)),
            buffers: RefCell::default(),
            handles,
            open_handles: Cell::new(Handles::COUNT),
            hook: Cell::new(None),
            phase: Cell::new(Phase::Open),
            in_turn: Cell::new(false),
            last_stats: RefCell::new("{}".to_owned()),
        });
        let started = host.handles.start(&host).and_then(|()| {
            host.hook.set(Some(Hook::add(env, &host)?));
            Ok(())
        });
        if started.is_err() {
            host.end();
        }
        started.map(|()| host)
    }

    /// One wake-up: collect, enter JavaScript once if there is something for it, apply what it
    /// answered; again while the engine is ready, within the bounds above.
    pub(crate) fn turn(&self) {
        // A loop that is run from inside a callback (some embedders do) finds the turn taken.
        if self.phase.get() != Phase::Open || self.in_turn.replace(true) {
            return;
        }
        let started = Instant::now();
        let mut records = 0;
        for _ in 0..TURN_ROUNDS {
            let delivery = self.engine_mut(|engine| {
                let collected = engine.collect();
                Delivery {
                    regions: if collected.regions {
                        engine.take_regions()
                    } else {
                        Vec::new()
                    },
                    notices: if collected.notices {
                        engine.take_notices()
                    } else {
                        Vec::new()
                    },
                    records: collected.records,
                }
            });
            let delivery = match delivery {
                Ok(delivery) => delivery,
                Err(failure) => return self.fail(&failure),
            };
            records += delivery.records;
            if !delivery.is_empty() && self.deliver(delivery) == Outcome::Silenced {
                self.handles.stop();
                self.phase.set(Phase::Silent);
                break;
            }
            if self.phase.get() != Phase::Open {
                break;
            }
            let ready = self.engine_mut(|engine| {
                engine.apply();
                engine.ready()
            });
            match ready {
                Ok(true) if records < TURN_RECORDS && started.elapsed() < TURN => {}
                Ok(_) => break,
                Err(failure) => return self.fail(&failure),
            }
        }
        self.in_turn.set(false);
        match self.phase.get() {
            Phase::Open => self.settle(),
            Phase::Ending => self.end(),
            Phase::Silent => {}
            Phase::Closed => self.release_callbacks(),
        }
    }

    fn deliver(&self, delivery: Delivery) -> Outcome {
        let callbacks = self.callbacks.borrow();
        let Some(callbacks) = callbacks.as_ref() else {
            return Outcome::Silenced;
        };
        callbacks.deliver(
            delivery,
            |memory| self.buffers.borrow_mut().add(self.env, memory),
            || self.phase.get() != Phase::Open,
        )
    }

    /// Right before the loop blocks: what JavaScript wrote elsewhere in this turn of the loop.
    pub(crate) fn before_blocking(&self) {
        if self.phase.get() != Phase::Open || self.in_turn.get() {
            return;
        }
        let applied = self.engine_mut(|engine| {
            let pending = engine.pending_operations();
            if pending {
                engine.apply();
            }
            pending
        });
        match applied {
            Ok(true) => self.settle(),
            Ok(false) => {}
            Err(failure) => self.fail(&failure),
        }
    }

    /// Runs a command of JavaScript's. Outside of a turn what it queued is applied at once; inside,
    /// the batch is not over and the turn does that.
    ///
    /// # Errors
    /// `MILLRACE_ENGINE_CLOSED`, or what the command says.
    pub(crate) fn command<T>(&self, body: impl FnOnce(&mut Engine) -> Result<T>) -> Result<T> {
        if self.phase.get() != Phase::Open {
            return Err(closed());
        }
        let in_turn = self.in_turn.get();
        let result = self.engine_mut(|engine| {
            let result = body(engine);
            if !in_turn {
                engine.apply();
            }
            result
        });
        if !in_turn {
            self.settle();
        }
        result?
    }

    /// Drains the operation table and the arena.
    ///
    /// # Errors
    /// `MILLRACE_ENGINE_CLOSED`.
    pub(crate) fn flush(&self) -> Result<()> {
        let in_turn = self.in_turn.get();
        self.command(|engine| {
            if in_turn {
                engine.flush();
            }
            Ok(())
        })
    }

    /// Reads from the engine; `None` once it is closed.
    ///
    /// # Errors
    /// `MILLRACE_ENGINE_BUSY`.
    pub(crate) fn read<T>(&self, body: impl FnOnce(&Engine) -> T) -> Result<Option<T>> {
        let engine = self.engine.try_borrow().map_err(|_| busy())?;
        Ok(engine.as_ref().map(body))
    }

    /// What `views()` answers.
    ///
    /// # Errors
    /// `MILLRACE_ENGINE_CLOSED`, or what N-API says.
    pub(crate) fn views(&self) -> Result<sys::napi_value> {
        match self.read(Engine::views)? {
            Some(views) if self.phase.get() == Phase::Open => {
                self.buffers.borrow_mut().views(self.env, views)
            }
            _ => Err(closed()),
        }
    }

    /// The engine's statistics; after the end those of the end.
    ///
    /// # Errors
    /// `MILLRACE_ENGINE_BUSY`.
    pub(crate) fn stats(&self) -> Result<String> {
        Ok(self
            .read(Engine::stats)?
            .unwrap_or_else(|| self.last_stats.borrow().clone()))
    }

    /// Ends the engine: at once, or when the batch below is over. Again is nothing.
    pub(crate) fn close(&self) {
        match self.phase.get() {
            Phase::Open if self.in_turn.get() => self.phase.set(Phase::Ending),
            Phase::Open => self.end(),
            Phase::Ending | Phase::Silent | Phase::Closed => {}
        }
    }

    /// The environment is going away: no JavaScript runs from here on. Called by the clean-up
    /// hook, once.
    pub(crate) fn environment_ends(&self) {
        if self.phase.replace(Phase::Closed) == Phase::Closed {
            return;
        }
        self.handles.stop();
        // The environment finalizes the ArrayBuffers itself.
        self.release_buffers();
        self.release_callbacks();
        match self.engine.try_borrow_mut().map(|mut engine| engine.take()) {
            Ok(Some(engine)) => cleanup::end_within_bounds(engine),
            Ok(None) => {}
            Err(_) => cleanup::count_leak(),
        }
        self.handles.close();
    }

    /// Something below is broken: stops, and tells JavaScript by `uncaughtException`.
    pub(crate) fn fail(&self, failure: &napi::Error<Code>) {
        self.abandon();
        self.in_turn.set(false);
        self.with_handle_scope(|env| {
            callbacks::report(env, failure);
        });
        self.release_callbacks();
    }

    /// Stops without touching the engine again. What the kernel may still write to stays mapped,
    /// for nobody can say any more what it is.
    fn abandon(&self) {
        if self.phase.replace(Phase::Closed) == Phase::Closed {
            return;
        }
        self.handles.stop();
        match self.engine.try_borrow_mut().map(|mut engine| engine.take()) {
            Ok(Some(engine)) => cleanup::give_up(engine),
            Ok(None) | Err(_) => cleanup::count_leak(),
        }
        self.release_buffers();
        self.release_callbacks();
        self.handles.close();
    }

    /// Lets go of the functions, unless one of them is running: then the turn does it.
    fn release_callbacks(&self) {
        if let Ok(mut callbacks) = self.callbacks.try_borrow_mut() {
            callbacks.take();
        }
    }

    /// Leaves the ArrayBuffers to whoever holds them; each keeps its memory alive.
    fn release_buffers(&self) {
        if let Ok(mut buffers) = self.buffers.try_borrow_mut() {
            buffers.release(self.env);
        }
    }

    /// A handle was closed by libuv; with the last one the environment need not wait for us.
    pub(crate) fn handle_closed(&self) {
        self.open_handles.set(self.open_handles.get() - 1);
        if self.open_handles.get() == 0
            && let Some(hook) = self.hook.take()
        {
            hook.remove();
        }
    }

    /// Stops everything, in the order that leaves nobody with a pointer to what is gone: the loop,
    /// the kernel, JavaScript's views, the memory.
    fn end(&self) {
        self.phase.set(Phase::Closed);
        self.handles.stop();
        let engine = self
            .engine
            .try_borrow_mut()
            .ok()
            .and_then(|mut engine| engine.take());
        if let Some(mut engine) = engine {
            engine.close();
            *self.last_stats.borrow_mut() = engine.stats();
            self.with_handle_scope(|env| self.buffers.borrow_mut().detach(env));
        }
        self.release_callbacks();
        self.handles.close();
    }

    fn settle(&self) {
        let state =
            self.read(|engine| (engine.ready(), engine.keeps_alive(), engine.next_timeout()));
        if let Ok(Some((ready, alive, timeout))) = state {
            self.handles.settle(ready, alive, timeout);
        }
    }

    /// Runs `body` on the engine, which is released before this returns.
    ///
    /// # Errors
    /// `MILLRACE_ENGINE_CLOSED`, or `MILLRACE_NATIVE_PANIC`, after which it is closed.
    fn engine_mut<T>(&self, body: impl FnOnce(&mut Engine) -> T) -> Result<T> {
        let result = {
            let mut engine = self.engine.try_borrow_mut().map_err(|_| busy())?;
            let engine = engine.as_mut().ok_or_else(closed)?;
            error::guard(|| Ok(body(engine)))
        };
        if result.is_err() {
            self.abandon();
        }
        result
    }

    fn with_handle_scope(&self, body: impl FnOnce(sys::napi_env)) {
        let mut scope = std::ptr::null_mut();
        // SAFETY: on the environment's own thread; closed below.
        if unsafe { sys::napi_open_handle_scope(self.env, &mut scope) } == sys::Status::napi_ok {
            body(self.env);
            // SAFETY: opened above.
            unsafe { sys::napi_close_handle_scope(self.env, scope) };
        }
    }
}

fn closed() -> napi::Error<Code> {
    error::error(error::CLOSED, "the engine is closed; create a new one")
}

fn busy() -> napi::Error<Code> {
    error::error(
        error::BUSY,
        "the engine is at work below this call; please report this",
    )
}
