//! libuv, as the host process exports it: the functions used, and handles on the heap.
//!
//! Nothing is linked: Node.js carries its own libuv and exports it, and so does a build against a
//! shared libuv. A host that exports none (some embedders) gets a clear error when this module
//! loads.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::error::{self, Result};

/// `uv_handle_t`, `uv_poll_t` …: only ever behind a pointer.
#[repr(C)]
pub(crate) struct Handle {
    opaque: [u8; 0],
}

/// `uv_loop_t`.
#[repr(C)]
pub(crate) struct Loop {
    opaque: [u8; 0],
}

/// `uv_handle_type` of the kinds used; the numbers are part of libuv's stable interface.
#[derive(Clone, Copy)]
#[repr(i32)]
pub(crate) enum Kind {
    /// Comes back without blocking, once per turn of the loop.
    Idle = 6,
    /// Watches the engine's descriptor.
    Poll = 8,
    /// Runs right before the loop would block.
    Prepare = 9,
    /// The engine's next deadline.
    Timer = 13,
}

/// `UV_READABLE`.
pub(crate) const READABLE: c_int = 1;

/// Callback of idle, prepare and timer handles, and of `uv_close`.
pub(crate) type HandleCallback = unsafe extern "C" fn(*mut Handle);
/// Callback of poll handles: handle, status, events.
pub(crate) type PollCallback = unsafe extern "C" fn(*mut Handle, c_int, c_int);

macro_rules! functions {
    ($($name:ident = $symbol:literal : fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// One pointer per libuv function, named without its `uv_`.
        #[allow(missing_docs)] // the names are libuv's own, documented in its manual
        pub(crate) struct Libuv {
            $(pub(crate) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Libuv {
            fn resolve() -> std::result::Result<Libuv, &'static CStr> {
                Ok(Libuv {
                    $($name: {
                        let address = symbol($symbol).ok_or($symbol)?;
                        // SAFETY: the address is that of the libuv function of this name, whose
                        // signature is stable within libuv 1.x and written in the table below.
                        unsafe {
                            std::mem::transmute::<
                                NonNull<c_void>,
                                unsafe extern "C" fn($($argument),*) $(-> $result)?,
                            >(address)
                        }
                    },)*
                })
            }
        }
    };
}

functions! {
    handle_size = c"uv_handle_size": fn(c_int) -> usize;
    handle_get_data = c"uv_handle_get_data": fn(*const Handle) -> *mut c_void;
    handle_set_data = c"uv_handle_set_data": fn(*mut Handle, *mut c_void);
    reference = c"uv_ref": fn(*mut Handle);
    unreference = c"uv_unref": fn(*mut Handle);
    close = c"uv_close": fn(*mut Handle, Option<HandleCallback>);
    strerror = c"uv_strerror": fn(c_int) -> *const c_char;
    poll_init = c"uv_poll_init": fn(*mut Loop, *mut Handle, c_int) -> c_int;
    poll_start = c"uv_poll_start": fn(*mut Handle, c_int, PollCallback) -> c_int;
    poll_stop = c"uv_poll_stop": fn(*mut Handle) -> c_int;
    prepare_init = c"uv_prepare_init": fn(*mut Loop, *mut Handle) -> c_int;
    prepare_start = c"uv_prepare_start": fn(*mut Handle, HandleCallback) -> c_int;
    prepare_stop = c"uv_prepare_stop": fn(*mut Handle) -> c_int;
    idle_init = c"uv_idle_init": fn(*mut Loop, *mut Handle) -> c_int;
    idle_start = c"uv_idle_start": fn(*mut Handle, HandleCallback) -> c_int;
    idle_stop = c"uv_idle_stop": fn(*mut Handle) -> c_int;
    now = c"uv_now": fn(*const Loop) -> u64;
    timer_init = c"uv_timer_init": fn(*mut Loop, *mut Handle) -> c_int;
    timer_start = c"uv_timer_start": fn(*mut Handle, HandleCallback, u64, u64) -> c_int;
    timer_stop = c"uv_timer_stop": fn(*mut Handle) -> c_int;
}

static LIBUV: OnceLock<std::result::Result<Libuv, &'static CStr>> = OnceLock::new();

/// The host's libuv.
///
/// # Errors
/// `MILLRACE_LIBUV_MISSING` naming the first function that the process does not export.
pub(crate) fn libuv() -> Result<&'static Libuv> {
    LIBUV.get_or_init(Libuv::resolve).as_ref().map_err(|missing| {
        error::error(
            error::LIBUV,
            format!(
                "this process does not export libuv's {}, which @millrace/native needs to wait for \
                 its sockets; run it in Node.js 20.19 or later",
                missing.to_string_lossy()
            ),
        )
    })
}

fn symbol(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: `name` is a C string; looking a symbol up in the running process has no other
    // precondition.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}

impl Libuv {
    /// Zeroed memory for a handle of this kind, to be initialised by its `uv_*_init`, closed by
    /// `uv_close` and freed by [`Libuv::free`] in the close callback, never earlier.
    pub(crate) fn allocate(&self, kind: Kind) -> *mut Handle {
        // SAFETY: `uv_handle_size` takes any number; `calloc` any size.
        let memory = unsafe { libc::calloc(1, (self.handle_size)(kind as c_int)) };
        assert!(!memory.is_null(), "no memory for an event loop handle");
        memory.cast()
    }

    /// # Safety
    /// `handle` comes from [`Libuv::allocate`]; it was never initialised, or its close callback is
    /// running.
    pub(crate) unsafe fn free(&self, handle: *mut Handle) {
        // SAFETY: the caller passes memory that `calloc` gave and that libuv has let go of.
        unsafe { libc::free(handle.cast()) };
    }

    /// An error that names the libuv function and its reason, where `status` is negative.
    pub(crate) fn check(&self, status: c_int, function: &str) -> Result<()> {
        if status >= 0 {
            return Ok(());
        }
        // SAFETY: `uv_strerror` returns a C string, static or leaked on purpose, for any number.
        let reason = unsafe { CStr::from_ptr((self.strerror)(status)) }.to_string_lossy();
        Err(error::error(
            error::EVENT_LOOP,
            format!("{function} failed: {reason}"),
        ))
    }
}
