//! ArrayBuffers over the engine's memory.
//!
//! Each mapping is shown to JavaScript by exactly one ArrayBuffer (V8 does not admit a second one
//! over the same address), which owns a count of the mapping until the garbage collector has
//! finalized it. So neither side can pull memory away from under the other.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use millrace_engine::SharedMemory;
use millrace_engine::Views;
use napi::sys;

use crate::error::{self, Result, check};

/// The ArrayBuffers of one engine, kept so that `close` can detach them.
#[derive(Default)]
pub(crate) struct Buffers {
    views: Option<sys::napi_ref>,
    held: Vec<sys::napi_ref>,
}

impl Buffers {
    /// The object with one ArrayBuffer per table; the same object at every call.
    ///
    /// # Errors
    /// `MILLRACE_NATIVE_CALL_FAILED`, usually because this JavaScript engine admits no external
    /// buffers.
    pub(crate) fn views(&mut self, env: sys::napi_env, views: Views) -> Result<sys::napi_value> {
        if let Some(reference) = self.views {
            let mut object = null_mut();
            // SAFETY: the reference was made below in this environment and not deleted since.
            let status = unsafe { sys::napi_get_reference_value(env, reference, &mut object) };
            check(status, "napi_get_reference_value")?;
            return Ok(object);
        }
        let mut object = null_mut();
        // SAFETY: `env` is this thread's environment with an open handle scope.
        let status = unsafe { sys::napi_create_object(env, &mut object) };
        check(status, "napi_create_object")?;
        for (name, memory) in [
            (c"control", views.control),
            (c"records", views.records),
            (c"slots", views.slots),
            (c"consumed", views.consumed),
            (c"pending", views.pending),
            (c"operations", views.operations),
            (c"arena", views.arena),
            (c"ring", views.ring),
        ] {
            let buffer = self.add(env, memory)?;
            // SAFETY: both values are of the open handle scope; the name is a C string.
            let status =
                unsafe { sys::napi_set_named_property(env, object, name.as_ptr(), buffer) };
            check(status, "napi_set_named_property")?;
        }
        self.views = Some(reference(env, object)?);
        Ok(object)
    }

    /// An ArrayBuffer over all of `memory`, which must not have one yet.
    pub(crate) fn add(
        &mut self,
        env: sys::napi_env,
        memory: Arc<SharedMemory>,
    ) -> Result<sys::napi_value> {
        let buffer = external(env, memory)?;
        self.held.push(reference(env, buffer)?);
        Ok(buffer)
    }

    /// Detaches every buffer: JavaScript sees them with length 0 from now on.
    ///
    /// Failures are passed over: a buffer that cannot be detached keeps its memory alive.
    pub(crate) fn detach(&mut self, env: sys::napi_env) {
        for reference in self.held.drain(..) {
            let mut buffer = null_mut();
            // SAFETY: the reference is ours, in the environment it was made in, and deleted last.
            unsafe {
                if sys::napi_get_reference_value(env, reference, &mut buffer)
                    == sys::Status::napi_ok
                    && !buffer.is_null()
                {
                    sys::napi_detach_arraybuffer(env, buffer);
                }
                sys::napi_delete_reference(env, reference);
            }
        }
        if let Some(reference) = self.views.take() {
            // SAFETY: as above.
            unsafe { sys::napi_delete_reference(env, reference) };
        }
    }

    /// Lets go of the references alone; the environment, which is ending, finalizes the buffers.
    pub(crate) fn release(&mut self, env: sys::napi_env) {
        for reference in self.held.drain(..).chain(self.views.take()) {
            // SAFETY: the reference is ours, in the environment it was made in; this runs no
            // JavaScript.
            unsafe { sys::napi_delete_reference(env, reference) };
        }
    }
}

/// An ArrayBuffer over all of `memory`, which must not have one yet, and which it keeps.
///
/// # Errors
/// `MILLRACE_NATIVE_CALL_FAILED`
pub(crate) fn external(env: sys::napi_env, memory: Arc<SharedMemory>) -> Result<sys::napi_value> {
    let (address, length) = (memory.as_ptr(), memory.len());
    let owner = Arc::into_raw(memory).cast_mut();
    let mut buffer = null_mut();
    // SAFETY: the memory is valid for `length` bytes while `owner` counts, and `finalize`
    // gives that count back, once.
    let status = unsafe {
        sys::napi_create_external_arraybuffer(
            env,
            address.cast(),
            length,
            Some(finalize),
            owner.cast(),
            &mut buffer,
        )
    };
    if status != sys::Status::napi_ok {
        // SAFETY: N-API refused and will not call `finalize`; the count is still ours.
        drop(unsafe { Arc::from_raw(owner) });
    }
    check(status, "napi_create_external_arraybuffer")?;
    Ok(buffer)
}

/// A strong reference to `value`.
pub(crate) fn reference(env: sys::napi_env, value: sys::napi_value) -> Result<sys::napi_ref> {
    let mut reference = null_mut();
    // SAFETY: `value` is an object of the open handle scope of `env`.
    let status = unsafe { sys::napi_create_reference(env, value, 1, &mut reference) };
    check(status, "napi_create_reference")?;
    Ok(reference)
}

unsafe extern "C" fn finalize(_env: sys::napi_env, _address: *mut c_void, owner: *mut c_void) {
    // Dropping a mapping cannot run code of ours that panics, but nothing may unwind into C.
    let _ = error::guard(|| {
        // SAFETY: `owner` is the count that `external` gave away; N-API finalizes once.
        drop(unsafe { Arc::from_raw(owner.cast_const().cast::<SharedMemory>()) });
        Ok(())
    });
}
