//! The end of an environment: a worker that is terminated, a process that ends by itself.
//!
//! The hook calls no JavaScript. The environment waits until libuv has closed the handles, which
//! it does in the next turn of the loop; the engine itself gets at most a second. What it cannot
//! take back from the kernel in that time is leaked on purpose, so that the kernel never writes to
//! memory that was given away, and counted.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use millrace_engine::Engine;
use napi::sys;

use crate::error::{self, Result, check};
use crate::host::Host;

static LEAKED: AtomicU32 = AtomicU32::new(0);

/// Engines of this process that were leaked on purpose.
pub(crate) fn leaked() -> u32 {
    LEAKED.load(Ordering::Relaxed)
}

/// One more.
pub(crate) fn count_leak() {
    LEAKED.fetch_add(1, Ordering::Relaxed);
}

/// Leaks an engine. Publishers on other threads do not wait for its subscribers.
pub(crate) fn give_up(engine: Engine) {
    let mut engine = std::mem::ManuallyDrop::new(engine);
    // What panics here had panicked before, and the engine is leaked either way.
    let _ = error::guard(|| {
        engine.leave_topics();
        Ok(())
    });
    count_leak();
}

/// Closes the engine and lets go of it; after a panic it is leaked instead.
pub(crate) fn end_within_bounds(engine: Engine) {
    let mut engine = std::mem::ManuallyDrop::new(engine);
    let ended = error::guard(|| {
        engine.close();
        Ok(())
    });
    match ended {
        Ok(()) => drop(std::mem::ManuallyDrop::into_inner(engine)),
        Err(_) => give_up(std::mem::ManuallyDrop::into_inner(engine)),
    }
}

/// The registered hook; it owns a count of the host.
pub(crate) struct Hook {
    handle: sys::napi_async_cleanup_hook_handle,
    host: *const Host,
}

impl Hook {
    /// Registers the hook for `host`.
    ///
    /// # Errors
    /// What N-API says.
    pub(crate) fn add(env: sys::napi_env, host: &Rc<Host>) -> Result<Hook> {
        let host = Rc::into_raw(Rc::clone(host));
        let mut handle = null_mut();
        // SAFETY: the count of `host` that the data carries lives until `remove`.
        let status = unsafe {
            sys::napi_add_async_cleanup_hook(
                env,
                Some(environment_ends),
                host.cast_mut().cast(),
                &mut handle,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: N-API refused; the count is still ours.
            drop(unsafe { Rc::from_raw(host) });
        }
        check(status, "napi_add_async_cleanup_hook")?;
        Ok(Hook { handle, host })
    }

    /// Unregisters the hook or, while the environment ends, tells it that we are done.
    pub(crate) fn remove(self) {
        // SAFETY: the handle is removed once, here; the count was taken in `add`, and the caller
        // holds another one.
        unsafe {
            sys::napi_remove_async_cleanup_hook(self.handle);
            drop(Rc::from_raw(self.host));
        }
    }
}

unsafe extern "C" fn environment_ends(
    _handle: sys::napi_async_cleanup_hook_handle,
    data: *mut c_void,
) {
    let _ = error::guard(|| {
        // SAFETY: the data is the host whose count the hook owns; another one is taken here, for
        // the hook may be removed meanwhile.
        let host = unsafe {
            Rc::increment_strong_count(data.cast::<Host>().cast_const());
            Rc::from_raw(data.cast::<Host>().cast_const())
        };
        host.environment_ends();
        Ok(())
    });
}
