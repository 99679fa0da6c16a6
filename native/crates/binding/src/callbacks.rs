//! The three JavaScript functions of an engine, and the one entry per batch that calls them.

use std::ptr::null_mut;
use std::sync::Arc;

use millrace_engine::Notice;
use millrace_engine::SharedMemory;
use napi::sys;

use crate::error::{self, Result, check};
use crate::memory;

/// References to the functions given to the constructor, and the async context they run in.
pub(crate) struct Callbacks {
    env: sys::napi_env,
    context: sys::napi_async_context,
    resource: sys::napi_ref,
    on_batch: sys::napi_ref,
    on_region: sys::napi_ref,
    on_notice: sys::napi_ref,
}

/// What one entry brings to JavaScript, in this order.
pub(crate) struct Delivery {
    /// Memory that the records may name.
    pub(crate) regions: Vec<(u32, Arc<SharedMemory>)>,
    /// What the log should say.
    pub(crate) notices: Vec<Notice>,
    /// Records in the table.
    pub(crate) records: u32,
}

impl Delivery {
    /// Whether there is nothing to enter JavaScript for.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0 && self.regions.is_empty() && self.notices.is_empty()
    }
}

/// What a callback left behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// JavaScript may be entered again; an exception, if there was one, has been reported.
    Returned,
    /// The environment runs no JavaScript any more.
    Silenced,
}

impl Callbacks {
    /// Takes `onBatch`, `onRegion` and `onNotice` out of the object.
    ///
    /// # Errors
    /// `MILLRACE_OPTION_INVALID` naming the one that is no function.
    pub(crate) fn new(env: sys::napi_env, object: sys::napi_value) -> Result<Callbacks> {
        let function = |name: &std::ffi::CStr| -> Result<sys::napi_value> {
            let (mut value, mut kind) = (null_mut(), 0);
            // SAFETY: `object` is a value of the open handle scope, the name a C string.
            unsafe {
                check(
                    sys::napi_get_named_property(env, object, name.as_ptr(), &mut value),
                    "napi_get_named_property",
                )?;
                check(sys::napi_typeof(env, value, &mut kind), "napi_typeof")?;
            }
            if kind != sys::ValueType::napi_function {
                let name = name.to_string_lossy();
                return Err(error::error(
                    error::OPTION,
                    format!("{name} is not a function"),
                ));
            }
            Ok(value)
        };
        let functions = [
            function(c"onBatch")?,
            function(c"onRegion")?,
            function(c"onNotice")?,
        ];

        let name = error::string(env, "MILLRACE_ENGINE")?;
        let (mut resource, mut context) = (null_mut(), null_mut());
        // SAFETY: all values are of the open handle scope.
        unsafe {
            check(
                sys::napi_create_object(env, &mut resource),
                "napi_create_object",
            )?;
            check(
                sys::napi_async_init(env, resource, name, &mut context),
                "napi_async_init",
            )?;
        }
        let [on_batch, on_region, on_notice] = functions;
        Ok(Callbacks {
            env,
            context,
            resource: memory::reference(env, resource)?,
            on_batch: memory::reference(env, on_batch)?,
            on_region: memory::reference(env, on_region)?,
            on_notice: memory::reference(env, on_notice)?,
        })
    }

    /// Enters JavaScript once. Regions and notices come before the records; when the scope closes,
    /// ticks and microtasks have run, so that async handlers have replied. `skip` is asked before
    /// the records: a notice may have closed the engine.
    pub(crate) fn deliver(
        &self,
        delivery: Delivery,
        buffers: impl Fn(Arc<SharedMemory>) -> Result<sys::napi_value>,
        skip: impl Fn() -> bool,
    ) -> Outcome {
        let env = self.env;
        let (mut handles, mut callbacks) = (null_mut(), null_mut());
        // SAFETY: called from libuv on the environment's own thread, outside of any JavaScript.
        if unsafe { sys::napi_open_handle_scope(env, &mut handles) } != sys::Status::napi_ok {
            return Outcome::Silenced;
        }
        let opened = self.value(self.resource).is_some_and(|resource| {
            // SAFETY: the resource is the object that the context was made with; the scope is
            // closed below, in the same call.
            let status = unsafe {
                sys::napi_open_callback_scope(env, resource, self.context, &mut callbacks)
            };
            status == sys::Status::napi_ok
        });
        let mut outcome = Outcome::Silenced;
        if opened {
            outcome = self.call_all(delivery, buffers, skip);
            // SAFETY: opened above; ticks and microtasks run here, and what they throw goes to
            // `uncaughtException` by Node.js itself.
            unsafe { sys::napi_close_callback_scope(env, callbacks) };
        }
        // SAFETY: opened above.
        unsafe { sys::napi_close_handle_scope(env, handles) };
        outcome
    }

    fn call_all(
        &self,
        delivery: Delivery,
        buffers: impl Fn(Arc<SharedMemory>) -> Result<sys::napi_value>,
        skip: impl Fn() -> bool,
    ) -> Outcome {
        for (index, memory) in delivery.regions {
            let arguments = buffers(memory).and_then(|buffer| Ok([self.number(index)?, buffer]));
            let outcome = match arguments {
                Ok(arguments) => self.call(self.on_region, &arguments),
                Err(failure) => report(self.env, &failure),
            };
            if outcome == Outcome::Silenced {
                return outcome;
            }
        }
        for notice in delivery.notices {
            let outcome = match error::string(self.env, &notice.to_json()) {
                Ok(json) => self.call(self.on_notice, &[json]),
                Err(failure) => report(self.env, &failure),
            };
            if outcome == Outcome::Silenced {
                return outcome;
            }
        }
        if delivery.records == 0 || skip() {
            return Outcome::Returned;
        }
        match self.number(delivery.records) {
            Ok(count) => self.call(self.on_batch, &[count]),
            Err(failure) => report(self.env, &failure),
        }
    }

    fn call(&self, function: sys::napi_ref, arguments: &[sys::napi_value]) -> Outcome {
        let env = self.env;
        let (Some(receiver), Some(function)) = (self.value(self.resource), self.value(function))
        else {
            return Outcome::Silenced;
        };
        // SAFETY: all values are of the open handle scope; the result is not wanted.
        let status = unsafe {
            sys::napi_call_function(
                env,
                receiver,
                function,
                arguments.len(),
                arguments.as_ptr(),
                null_mut(),
            )
        };
        match status {
            sys::Status::napi_ok => Outcome::Returned,
            sys::Status::napi_closing | sys::Status::napi_cannot_run_js => Outcome::Silenced,
            sys::Status::napi_pending_exception => raise_pending(env),
            _ => match check(status, "napi_call_function") {
                Ok(()) => Outcome::Returned,
                Err(failure) => report(env, &failure),
            },
        }
    }

    fn value(&self, reference: sys::napi_ref) -> Option<sys::napi_value> {
        let mut value = null_mut();
        // SAFETY: the reference is ours and alive until `release`.
        let status = unsafe { sys::napi_get_reference_value(self.env, reference, &mut value) };
        (status == sys::Status::napi_ok && !value.is_null()).then_some(value)
    }

    fn number(&self, number: u32) -> Result<sys::napi_value> {
        let mut value = null_mut();
        // SAFETY: a handle scope is open; small integers allocate nothing.
        let status = unsafe { sys::napi_create_uint32(self.env, number, &mut value) };
        check(status, "napi_create_uint32")?;
        Ok(value)
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        for reference in [self.resource, self.on_batch, self.on_region, self.on_notice] {
            // SAFETY: made in `new` in this environment, whose thread this is; runs no JavaScript.
            unsafe { sys::napi_delete_reference(self.env, reference) };
        }
        // SAFETY: made in `new`, destroyed once; no callback scope is open on it, for `deliver`
        // borrows the callbacks while one is.
        unsafe { sys::napi_async_destroy(self.env, self.context) };
    }
}

/// Gives an error of ours to `uncaughtException`. Needs an open handle scope.
pub(crate) fn report(env: sys::napi_env, failure: &napi::Error<error::Code>) -> Outcome {
    match error::to_value(env, failure) {
        Ok(value) => raise(env, value),
        Err(_) => Outcome::Silenced,
    }
}

/// Gives the exception that a callback threw to `uncaughtException`.
fn raise_pending(env: sys::napi_env) -> Outcome {
    let (mut pending, mut value) = (false, null_mut());
    // SAFETY: plain queries of the live environment.
    unsafe {
        sys::napi_is_exception_pending(env, &mut pending);
        // Without an exception the status means that no JavaScript may run, as while a worker ends.
        if !pending
            || sys::napi_get_and_clear_last_exception(env, &mut value) != sys::Status::napi_ok
        {
            return Outcome::Silenced;
        }
    }
    raise(env, value)
}

fn raise(env: sys::napi_env, value: sys::napi_value) -> Outcome {
    // SAFETY: `value` is of the open handle scope. An environment that is ending refuses.
    match unsafe { sys::napi_fatal_exception(env, value) } {
        sys::Status::napi_ok => Outcome::Returned,
        _ => Outcome::Silenced,
    }
}
