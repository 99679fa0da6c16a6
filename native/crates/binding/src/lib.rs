//! The engine as Node.js sees it: N-API and libuv, and nothing else.
//!
//! What crosses on the hot path is one call per batch; everything else lies in memory that both
//! sides see. A reader follows one wake-up through `event_loop` (libuv's callbacks), `host` (the
//! turn: collect, enter JavaScript, apply) and `callbacks` (the entry). `engine` is the class that
//! JavaScript holds, `memory` the ArrayBuffers, `cleanup` the end of an environment.
//!
//! Everything here runs on the one thread of its JavaScript environment. The engine is never
//! borrowed while JavaScript runs.

mod allocator;
mod callbacks;
mod cleanup;
mod clock;
pub mod descriptors;
pub mod duplicates;
pub mod durable;
pub mod engine;
pub mod error;
mod event_loop;
mod host;
mod libuv;
mod memory;
mod options;
pub mod topics;

use napi::bindgen_prelude::Object;
use napi_derive::napi;

/// Runs when a JavaScript environment loads this module: a host without libuv is told at once.
#[napi(module_exports)]
pub fn load(_exports: Object<'_>) -> napi::Result<()> {
    libuv::libuv().map(|_| ()).map_err(|failure| {
        let code = failure.status.as_ref();
        napi::Error::new(
            napi::Status::GenericFailure,
            format!("{code}: {}", failure.reason),
        )
    })
}
