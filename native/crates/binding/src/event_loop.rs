//! The four libuv handles of an engine: when the loop turns to it, and whether it keeps the
//! process alive.
//!
//! - *poll* on the engine's descriptor: something was completed. Referenced only while there is a
//!   listener or an active call, so that a script with an idle client ends by itself.
//! - *prepare*, right before the loop would block: picks up what JavaScript wrote in timers,
//!   immediates and other sockets' callbacks.
//! - *idle*, while the engine is ready for more: comes back without blocking, after others had
//!   their turn.
//! - *timer*: the engine's next deadline.

use std::cell::Cell;
use std::ffi::c_int;
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::error::{self, Result};
use crate::host::Host;
use crate::libuv::{self, Handle, Kind, Libuv, Loop};

/// The handles; closed once, freed by libuv's close callbacks.
pub(crate) struct Handles {
    uv: &'static Libuv,
    event_loop: *mut Loop,
    poll: *mut Handle,
    prepare: *mut Handle,
    idle: *mut Handle,
    timer: *mut Handle,
    idling: Cell<bool>,
    referenced: Cell<bool>,
    /// When the armed timer fires, on the loop's clock in milliseconds.
    due: Cell<Option<u64>>,
}

impl Handles {
    /// Initialises the handles, all unreferenced and none active.
    ///
    /// # Errors
    /// `MILLRACE_LIBUV_MISSING`; `MILLRACE_EVENT_LOOP_FAILED` when libuv cannot poll the
    /// descriptor.
    pub(crate) fn new(event_loop: *mut Loop, descriptor: RawFd) -> Result<Handles> {
        let uv = libuv::libuv()?;
        let poll = uv.allocate(Kind::Poll);
        // SAFETY: zeroed memory of the size libuv asks for; the loop is this thread's.
        let status = unsafe { (uv.poll_init)(event_loop, poll, descriptor) };
        if status < 0 {
            // SAFETY: never initialised.
            unsafe { uv.free(poll) };
        }
        uv.check(status, "uv_poll_init")?;
        let prepare = uv.allocate(Kind::Prepare);
        let idle = uv.allocate(Kind::Idle);
        let timer = uv.allocate(Kind::Timer);
        // SAFETY: as for the poll handle; these three cannot fail.
        unsafe {
            (uv.prepare_init)(event_loop, prepare);
            (uv.idle_init)(event_loop, idle);
            (uv.timer_init)(event_loop, timer);
            for handle in [poll, prepare, idle, timer] {
                (uv.unreference)(handle);
            }
        }
        Ok(Handles {
            uv,
            event_loop,
            poll,
            prepare,
            idle,
            timer,
            idling: Cell::new(false),
            referenced: Cell::new(false),
            due: Cell::new(None),
        })
    }

    /// Starts polling and preparing. Each handle owns a count of `host` until it is closed.
    ///
    /// # Errors
    /// `MILLRACE_EVENT_LOOP_FAILED`; [`Handles::close`] is due all the same.
    pub(crate) fn start(&self, host: &Rc<Host>) -> Result<()> {
        // SAFETY: the handles are initialised; their data is read by the callbacks below only, and
        // the count it carries is given back in `closed`.
        unsafe {
            for handle in self.all() {
                (self.uv.handle_set_data)(handle, Rc::into_raw(Rc::clone(host)).cast_mut().cast());
            }
            self.uv.check(
                (self.uv.poll_start)(self.poll, libuv::READABLE, on_poll),
                "uv_poll_start",
            )?;
            self.uv.check(
                (self.uv.prepare_start)(self.prepare, on_prepare),
                "uv_prepare_start",
            )
        }
    }

    /// How many handles are to be closed.
    pub(crate) const COUNT: u32 = 4;

    fn all(&self) -> [*mut Handle; Self::COUNT as usize] {
        [self.poll, self.prepare, self.idle, self.timer]
    }

    /// Brings the handles in line with what the engine said after its turn: `ready` for more
    /// without waiting, `alive` (a listener or an active call), the next deadline in milliseconds
    /// from now.
    pub(crate) fn settle(&self, ready: bool, alive: bool, timeout: Option<u64>) {
        // SAFETY: the handles are initialised and not closed; stopping and starting, referencing
        // and unreferencing have no other precondition.
        unsafe {
            if ready != self.idling.replace(ready) {
                if ready {
                    (self.uv.idle_start)(self.idle, on_idle);
                } else {
                    (self.uv.idle_stop)(self.idle);
                }
            }
            if alive != self.referenced.replace(alive) {
                if alive {
                    (self.uv.reference)(self.poll);
                } else {
                    (self.uv.unreference)(self.poll);
                }
            }
            match timeout {
                None => {
                    if self.due.take().is_some() {
                        (self.uv.timer_stop)(self.timer);
                    }
                }
                Some(timeout) => {
                    // At least 1 ms: what is due now has just been handled.
                    let timeout = timeout.max(1);
                    let due = (self.uv.now)(self.event_loop).saturating_add(timeout);
                    // A timer that fires too early costs one empty turn; moving it at every
                    // wake-up, because deadlines recede under load, would cost more.
                    if self.due.get().is_none_or(|armed| armed > due) {
                        (self.uv.timer_start)(self.timer, on_timer, timeout, 0);
                        self.due.set(Some(due));
                    }
                }
            }
        }
    }

    /// No callback but those of closing runs after this.
    pub(crate) fn stop(&self) {
        // SAFETY: the handles are initialised and not closed.
        unsafe {
            (self.uv.poll_stop)(self.poll);
            (self.uv.prepare_stop)(self.prepare);
            (self.uv.idle_stop)(self.idle);
            (self.uv.timer_stop)(self.timer);
        }
        self.idling.set(false);
        self.due.set(None);
    }

    /// Closes the handles; libuv frees them in its next turn and calls [`Host::handle_closed`] for
    /// each. Once only.
    pub(crate) fn close(&self) {
        for handle in self.all() {
            // SAFETY: initialised and, by the caller's promise, not closed before.
            unsafe { (self.uv.close)(handle, Some(closed)) };
        }
    }
}

/// Runs `body` with the host of a handle. A panic ends the engine, not the process.
///
/// # Safety
/// `handle` is one of the four, started and not yet freed.
unsafe fn with_host(handle: *mut Handle, body: impl FnOnce(&Host)) {
    let Ok(uv) = libuv::libuv() else { return };
    // SAFETY: the data is the count of the host that the handle owns until `closed`; another one
    // is taken here, for the body may close the engine.
    let host = unsafe {
        let host = (uv.handle_get_data)(handle).cast::<Host>().cast_const();
        Rc::increment_strong_count(host);
        Rc::from_raw(host)
    };
    if let Err(failure) = error::guard(|| {
        body(&host);
        Ok(())
    }) {
        // A second panic, while the first is being reported, has nowhere to go.
        let _ = error::guard(|| {
            host.fail(&failure);
            Ok(())
        });
    }
}

unsafe extern "C" fn on_poll(handle: *mut Handle, status: c_int, _events: c_int) {
    // SAFETY: libuv passes the handle that was started with this callback; so below.
    unsafe {
        with_host(handle, |host| {
            match libuv::libuv().and_then(|uv| uv.check(status, "polling the engine's descriptor"))
            {
                Ok(()) => host.turn(),
                Err(failure) => host.fail(&failure),
            }
        });
    }
}

unsafe extern "C" fn on_prepare(handle: *mut Handle) {
    // SAFETY: as in `on_poll`.
    unsafe { with_host(handle, Host::before_blocking) };
}

unsafe extern "C" fn on_idle(handle: *mut Handle) {
    // SAFETY: as in `on_poll`.
    unsafe { with_host(handle, Host::turn) };
}

unsafe extern "C" fn on_timer(handle: *mut Handle) {
    // SAFETY: as in `on_poll`.
    unsafe {
        with_host(handle, |host| {
            host.handles.due.set(None);
            host.turn();
        });
    }
}

unsafe extern "C" fn closed(handle: *mut Handle) {
    let _ = error::guard(|| {
        let uv = libuv::libuv()?;
        // SAFETY: libuv has let go of the handle; its data is the count that `start` gave away,
        // taken back here once.
        let host = unsafe {
            let host = Rc::from_raw((uv.handle_get_data)(handle).cast::<Host>().cast_const());
            uv.free(handle);
            host
        };
        host.handle_closed();
        Ok(())
    });
}
