//! The identifiers of messages published lately, for all threads of the process.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use millrace_fanout::Duplicates;
use napi::bindgen_prelude::BigInt;
use napi_derive::napi;

use crate::clock;
use crate::error::{Result, guard};

static WINDOWS: LazyLock<Mutex<HashMap<String, Weak<Mutex<Duplicates>>>>> =
    LazyLock::new(Mutex::default);

/// The identifiers of one name; they are kept while a thread has an object of that name.
#[napi]
pub struct NativeDuplicates {
    duplicates: Arc<Mutex<Duplicates>>,
}

#[napi]
impl NativeDuplicates {
    /// Those who come later get what the first has made, whatever their window and count.
    #[napi(constructor)]
    pub fn new(name: String, window_ms: u32, count_max: u32) -> Result<Self> {
        guard(|| {
            let mut windows = lock(&WINDOWS);
            if let Some(duplicates) = windows.get(&name).and_then(Weak::upgrade) {
                return Ok(Self { duplicates });
            }
            windows.retain(|_, window| window.strong_count() > 0);
            let duplicates = Arc::new(Mutex::new(Duplicates::new(
                u64::from(window_ms),
                count_max as usize,
            )));
            windows.insert(name, Arc::downgrade(&duplicates));
            Ok(Self { duplicates })
        })
    }

    /// Claims an identifier; null if it is new, else the sequence that it has got: 0 as long as its
    /// event is being published.
    #[napi(ts_return_type = "bigint | null")]
    pub fn claim(&self, id: String) -> Result<Option<u64>> {
        guard(|| Ok(lock(&self.duplicates).claim(clock::now(), &id)))
    }

    /// Says which sequence the event of a claimed identifier has got.
    #[napi]
    pub fn settle(&self, id: String, sequence: BigInt) -> Result<()> {
        guard(|| {
            lock(&self.duplicates).settle(&id, sequence.get_u64().1);
            Ok(())
        })
    }

    /// Gives up a claim: nothing was published.
    #[napi]
    pub fn release(&self, id: String) -> Result<()> {
        guard(|| {
            lock(&self.duplicates).release(&id);
            Ok(())
        })
    }

    /// How many identifiers were forgotten before their time, because there were too many.
    #[napi]
    pub fn forgotten(&self) -> Result<f64> {
        guard(|| Ok(lock(&self.duplicates).forgotten() as f64))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
