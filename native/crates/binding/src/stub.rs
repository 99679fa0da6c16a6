//! A stand-in for the engine while its crate is being written.
#![allow(missing_docs)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

pub struct SharedMemory {
    address: *mut u8,
    bytes: usize,
}

// SAFETY: plain memory without an owner thread.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    pub fn new(bytes: usize) -> io::Result<Arc<SharedMemory>> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Arc::new(SharedMemory {
            address: address.cast(),
            bytes,
        }))
    }
    pub fn as_ptr(&self) -> *mut u8 {
        self.address
    }
    pub fn len(&self) -> usize {
        self.bytes
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`.
        unsafe { libc::munmap(self.address.cast(), self.bytes) };
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DriverChoice {
    Automatic,
    Portable,
}

impl std::str::FromStr for DriverChoice {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Automatic),
            "portable" => Ok(Self::Portable),
            other => Err(format!("unknown driver '{other}'")),
        }
    }
}

#[derive(Debug)]
pub struct Options {
    pub driver: DriverChoice,
    pub ring_buffers: u16,
    pub ring_buffer_bytes: u32,
    pub submission_entries: u32,
    pub completion_entries: u32,
    pub send_ring_entries: u16,
    pub send_rings: u16,
    pub stream_window_bytes: u32,
    pub stream_window_bytes_max: u32,
    pub connection_window_bytes: u32,
    pub connection_budget_bytes: u32,
    pub buffered_bytes_max: u64,
    pub stream_unsent_bytes: u32,
    pub connection_unsent_bytes: u32,
    pub unsent_bytes_max: u64,
    pub concurrent_streams: u32,
    pub concurrent_calls: u32,
    pub receive_message_bytes: u32,
    pub send_message_bytes: u32,
    pub header_list_bytes: u32,
    pub stalled_stream_timeout_ms: u64,
    pub send_progress_timeout_ms: u64,
    pub connections: u32,
    pub handshake_timeout_ms: u64,
    pub connection_idle_ms: u64,
    pub keepalive_time_ms: u64,
    pub keepalive_timeout_ms: u64,
    pub keepalive_min_time_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            driver: DriverChoice::Automatic,
            ring_buffers: 1024,
            ring_buffer_bytes: 16 * 1024,
            submission_entries: 1024,
            completion_entries: 16_384,
            send_ring_entries: 256,
            send_rings: 512,
            stream_window_bytes: 64 * 1024,
            stream_window_bytes_max: 256 * 1024,
            connection_window_bytes: 1024 * 1024,
            connection_budget_bytes: 8 * 1024 * 1024,
            buffered_bytes_max: 256 * 1024 * 1024,
            stream_unsent_bytes: 256 * 1024,
            connection_unsent_bytes: 8 * 1024 * 1024,
            unsent_bytes_max: 256 * 1024 * 1024,
            concurrent_streams: 1000,
            concurrent_calls: 10_000,
            receive_message_bytes: 4 * 1024 * 1024,
            send_message_bytes: 4 * 1024 * 1024,
            header_list_bytes: 8 * 1024,
            stalled_stream_timeout_ms: 60_000,
            send_progress_timeout_ms: 30_000,
            connections: 65_536,
            handshake_timeout_ms: 10_000,
            connection_idle_ms: 0,
            keepalive_time_ms: 7_200_000,
            keepalive_timeout_ms: 20_000,
            keepalive_min_time_ms: 300_000,
        }
    }
}

#[derive(Debug)]
pub struct EngineError {
    pub code: &'static str,
    pub message: String,
}

#[derive(Clone)]
pub struct Views {
    pub control: Arc<SharedMemory>,
    pub records: Arc<SharedMemory>,
    pub slots: Arc<SharedMemory>,
    pub consumed: Arc<SharedMemory>,
    pub pending: Arc<SharedMemory>,
    pub operations: Arc<SharedMemory>,
    pub arena: Arc<SharedMemory>,
    pub ring: Arc<SharedMemory>,
}

#[derive(Clone, Copy)]
pub enum MethodKind {
    Unary,
    ClientStreaming,
    ServerStreaming,
    Bidi,
}

pub struct Method {
    pub path: String,
    pub kind: MethodKind,
}

#[derive(Clone, Copy, Default)]
pub struct Collected {
    pub records: u32,
    pub notices: bool,
    pub regions: bool,
}

pub struct Notice(pub String);

impl Notice {
    pub fn to_json(&self) -> String {
        self.0.clone()
    }
}

pub struct Engine {
    event: OwnedFd,
    views: Views,
    queued: u32,
    listening: bool,
    drained: bool,
    notices: Vec<Notice>,
    regions: Vec<(u32, Arc<SharedMemory>)>,
}

impl Engine {
    pub fn new(options: Options) -> Result<Engine, EngineError> {
        if options.ring_buffers == 17 {
            return Err(EngineError {
                code: "MILLRACE_DRIVER_UNAVAILABLE",
                message: "no driver is called bogus".into(),
            });
        }
        // SAFETY: eventfd has no precondition; the result is an owned descriptor.
        let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_NONBLOCK)) };
        let map = |bytes| SharedMemory::new(bytes).expect("memory");
        let views = Views {
            control: map(4096),
            records: map(65536),
            slots: map(65536),
            consumed: map(65536),
            pending: map(65536),
            operations: map(262144),
            arena: map(4 << 20),
            ring: map(16 << 20),
        };
        Ok(Engine {
            event,
            views,
            queued: 0,
            listening: false,
            drained: false,
            notices: vec![],
            regions: vec![],
        })
    }
    fn control(&mut self, word: usize) -> &mut u32 {
        // SAFETY: the control page holds 64 words.
        unsafe { &mut *self.views.control.as_ptr().cast::<u32>().add(word) }
    }
    fn wake(&self) {
        // SAFETY: eight bytes of a live u64.
        unsafe { libc::write(self.event.as_raw_fd(), (&1u64 as *const u64).cast(), 8) };
    }
    pub fn descriptor(&self) -> RawFd {
        self.event.as_raw_fd()
    }
    pub fn views(&self) -> Views {
        self.views.clone()
    }
    pub fn register(&mut self, _methods: Vec<Method>) {}
    pub fn listen(
        &mut self,
        host: &str,
        port: u16,
        _reuse_port: bool,
        _backlog: i32,
    ) -> Result<u16, EngineError> {
        if host != "127.0.0.1" {
            return Err(EngineError {
                code: "MILLRACE_LISTEN_FAILED",
                message: format!("{host}: no such address"),
            });
        }
        self.listening = true;
        Ok(if port == 0 { 1 } else { port })
    }
    pub fn collect(&mut self) -> Collected {
        let mut word = 0u64;
        // SAFETY: eight bytes of a live u64.
        unsafe { libc::read(self.event.as_raw_fd(), (&mut word as *mut u64).cast(), 8) };
        let records = std::mem::take(&mut self.queued);
        *self.control(0) = records;
        Collected {
            records,
            notices: !self.notices.is_empty(),
            regions: !self.regions.is_empty(),
        }
    }
    pub fn apply(&mut self) {
        let operations = std::mem::take(self.control(1));
        *self.control(2) = 0;
        *self.control(3) += 1;
        if operations > 0 {
            self.queued += operations;
            self.wake();
        }
    }
    pub fn flush(&mut self) {
        self.apply();
    }
    pub fn ready(&self) -> bool {
        self.queued > 0 || !self.notices.is_empty()
    }
    pub fn pending_operations(&self) -> bool {
        // SAFETY: the control page holds 64 words.
        unsafe { *self.views.control.as_ptr().cast::<u32>().add(1) > 0 }
    }
    pub fn next_timeout(&self) -> Option<u64> {
        self.listening.then_some(1000)
    }
    pub fn take_regions(&mut self) -> Vec<(u32, Arc<SharedMemory>)> {
        std::mem::take(&mut self.regions)
    }
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
    pub fn metadata(&self, _call: u32) -> Option<Vec<u8>> {
        None
    }
    pub fn peer(&self, _call: u32) -> Option<String> {
        None
    }
    pub fn send_large(&mut self, call: u32, _bytes: &[u8]) {
        assert!(call != 0xdead, "a panic on request");
        let memory = SharedMemory::new(1 << 20).expect("memory");
        self.regions.push((1, memory));
        self.queued += 1;
        self.wake();
    }
    pub fn stats(&self) -> String {
        "{}".into()
    }
    pub fn driver_name(&self) -> &'static str {
        "portable"
    }
    pub fn driver_reason(&self) -> &str {
        "the stand-in"
    }
    pub fn drain(&mut self) {
        self.drained = true;
        self.listening = false;
        self.notices.push(Notice("{\"event\":\"drained\"}".into()));
    }
    pub fn is_drained(&self) -> bool {
        self.drained
    }
    pub fn active_calls(&self) -> u32 {
        0
    }
    pub fn has_listener(&self) -> bool {
        self.listening
    }
    pub fn close(&mut self) {
        self.listening = false;
    }
}
