//! From the options object of JavaScript's to the engine's.

use millrace_engine::Options;
use napi::bindgen_prelude::Object;

use crate::error::{self, Result};

pub(crate) fn read(object: &Object<'_>) -> Result<Options> {
    let driver = object
        .get::<String>("driver")
        .map_err(|failure| error::error(error::OPTION, failure.reason.clone()))?;
    Ok(Options { driver })
}
