//! From a failure in native code to a JavaScript `Error` with a `.code`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use millrace_engine::EngineError;
use napi::sys;

/// The value of `.code` on the JavaScript `Error`; codes are API, messages are for people.
#[derive(Clone, Copy, Debug)]
pub struct Code(pub(crate) &'static str);

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        self.0
    }
}

/// What every function that JavaScript calls returns.
pub type Result<T> = std::result::Result<T, napi::Error<Code>>;

/// A native function panicked: a defect in Millrace. The panic ends here.
pub(crate) const PANIC: Code = Code("MILLRACE_NATIVE_PANIC");
/// The engine was closed before this call, which needs it open.
pub(crate) const CLOSED: Code = Code("MILLRACE_ENGINE_CLOSED");
/// The engine is at work below this call: a defect in Millrace, for every entry into JavaScript
/// releases it first.
pub(crate) const BUSY: Code = Code("MILLRACE_ENGINE_BUSY");
/// An option is not known, or not of its type.
pub(crate) const OPTION: Code = Code("MILLRACE_OPTION_INVALID");
/// An N-API function failed for a reason that is not an exception of JavaScript's.
pub(crate) const CALL: Code = Code("MILLRACE_NATIVE_CALL_FAILED");
/// The host process exports no libuv, or an incomplete one.
pub(crate) const LIBUV: Code = Code("MILLRACE_LIBUV_MISSING");
/// The host's libuv refused a handle, or stopped polling the engine's descriptor.
pub(crate) const EVENT_LOOP: Code = Code("MILLRACE_EVENT_LOOP_FAILED");

/// An error with one of the codes above.
pub(crate) fn error(code: Code, message: impl Into<String>) -> napi::Error<Code> {
    napi::Error::new(code, message.into())
}

/// The engine's own error; its code crosses unchanged.
pub(crate) fn from_engine(failure: EngineError) -> napi::Error<Code> {
    error(Code(failure.code), failure.message)
}

/// Turns a status of N-API that is not `napi_ok` into an error naming the function.
pub(crate) fn check(status: sys::napi_status, function: &str) -> Result<()> {
    if status == sys::Status::napi_ok {
        return Ok(());
    }
    let name = napi::Status::from(status);
    Err(error(CALL, format!("{function} failed: {name}")))
}

/// Runs the body of a function that C calls; a panic becomes an error instead of ending the
/// process.
pub(crate) fn guard<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(from_panic(panic.as_ref())))
}

/// The message of a panic as an error.
pub(crate) fn from_panic(panic: &(dyn Any + Send)) -> napi::Error<Code> {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    error(PANIC, format!("the native core panicked: {text}"))
}

/// The JavaScript `Error` itself, for `napi_fatal_exception`.
///
/// # Errors
/// When the environment can create no values any more.
pub(crate) fn to_value(env: sys::napi_env, failure: &napi::Error<Code>) -> Result<sys::napi_value> {
    let code = string(env, failure.status.as_ref())?;
    let message = string(env, &failure.reason)?;
    let mut value = std::ptr::null_mut();
    // SAFETY: `env` is the live environment of this thread, both strings are values of the open
    // handle scope, and `value` is written before it is read.
    let status = unsafe { sys::napi_create_error(env, code, message, &mut value) };
    check(status, "napi_create_error")?;
    Ok(value)
}

/// A JavaScript string.
pub(crate) fn string(env: sys::napi_env, text: &str) -> Result<sys::napi_value> {
    let mut value = std::ptr::null_mut();
    // SAFETY: the pointer and the length are those of `text`, which N-API copies before returning.
    let status = unsafe {
        sys::napi_create_string_utf8(env, text.as_ptr().cast(), text.len() as isize, &mut value)
    };
    check(status, "napi_create_string_utf8")?;
    Ok(value)
}
