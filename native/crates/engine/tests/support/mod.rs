//! What JavaScript does, in Rust: reads records, writes operations, over the same tables.
#![allow(dead_code)] // each user of this module takes a part of it

pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod wire;

use std::{collections::HashMap, sync::Arc, time::Duration};

use millrace_engine::{Engine, Method, MethodKind, Options, layout::*};
use millrace_ring::{DriverChoice, SharedMemory};

/// Every driver; what is promised holds on each.
pub(crate) const DRIVERS: [DriverChoice; 4] = [
    DriverChoice::Bundle,
    DriverChoice::Ring,
    DriverChoice::Classic,
    DriverChoice::Portable,
];

/// One of the shared tables.
pub(crate) struct Table(Arc<SharedMemory>);

impl Table {
    pub(crate) fn new(memory: Arc<SharedMemory>) -> Self {
        Self(memory)
    }

    pub(crate) fn get(&self, index: usize) -> u32 {
        assert!((index + 1) * 4 <= self.0.len());
        // SAFETY: inside the mapping; the engine is not running.
        unsafe { self.0.as_ptr().cast::<u32>().add(index).read() }
    }

    pub(crate) fn set(&self, index: usize, value: u32) {
        assert!((index + 1) * 4 <= self.0.len());
        // SAFETY: as in `get`.
        unsafe { self.0.as_ptr().cast::<u32>().add(index).write(value) }
    }

    pub(crate) fn bytes(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.0.len());
        // SAFETY: as in `get`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(offset), length).to_vec() }
    }

    pub(crate) fn copy_from(&self, offset: usize, source: &Table, from: usize, length: usize) {
        assert!(offset + length <= self.0.len() && from + length <= source.0.len());
        // SAFETY: both spans are inside their mappings, which differ.
        unsafe {
            std::ptr::copy_nonoverlapping(
                source.0.as_ptr().add(from),
                self.0.as_ptr().add(offset),
                length,
            );
        }
    }

    pub(crate) fn fill(&self, offset: usize, source: &[u8]) {
        assert!(offset + source.len() <= self.0.len());
        // SAFETY: inside the mapping; the engine is not running.
        unsafe {
            std::ptr::copy_nonoverlapping(
                source.as_ptr(),
                self.0.as_ptr().add(offset),
                source.len(),
            )
        };
    }
}

/// A call as JavaScript would remember it.
#[derive(Default, Debug)]
pub(crate) struct Call {
    pub(crate) method: u16,
    pub(crate) waiting: std::collections::VecDeque<u32>,
    pub(crate) ended: bool,
    pub(crate) blocked: bool,
}

/// How the script answers a method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behaviour {
    /// Sends every message back.
    Echo,
    /// Never pulls.
    Ignore,
}

pub(crate) struct Script {
    pub(crate) engine: Engine,
    control: Table,
    records: Table,
    slots: Table,
    consumed: Table,
    pending: Table,
    operations: Table,
    arena: Table,
    regions: Vec<Table>,
    methods: Vec<(MethodKind, Behaviour)>,
    pub(crate) calls: HashMap<u32, Call>,
    written: HashMap<u32, (u32, u32)>,
    pub(crate) port: u16,
    pub(crate) notices: Vec<String>,
    /// Cause and status code of each cancellation.
    pub(crate) cancelled: Vec<(u32, u32)>,
}

impl Script {
    pub(crate) fn new(options: Options, methods: &[(&str, MethodKind, Behaviour)]) -> Self {
        let mut engine = Engine::new(options).unwrap();
        engine.register(
            methods
                .iter()
                .map(|&(path, kind, _)| Method {
                    path: path.to_owned(),
                    kind,
                })
                .collect(),
        );
        let port = engine.listen("127.0.0.1", 0, false, 1024).unwrap();
        let views = engine.views();
        Self {
            control: Table(views.control),
            records: Table(views.records),
            slots: Table(views.slots),
            consumed: Table(views.consumed),
            pending: Table(views.pending),
            operations: Table(views.operations),
            arena: Table(views.arena),
            regions: vec![Table(views.ring)],
            methods: methods
                .iter()
                .map(|&(_, kind, behaviour)| (kind, behaviour))
                .collect(),
            calls: HashMap::new(),
            written: HashMap::new(),
            engine,
            port,
            notices: Vec::new(),
            cancelled: Vec::new(),
        }
    }

    /// Waits for the descriptor and runs one wake-up.
    pub(crate) fn turn(&mut self, wait: Duration) {
        let mut poll = libc::pollfd {
            fd: self.engine.descriptor(),
            events: libc::POLLIN,
            revents: 0,
        };
        let wait = if self.engine.ready() {
            Duration::ZERO
        } else {
            wait
        };
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&mut poll, 1, wait.as_millis() as i32) };
        for _ in 0..16 {
            let collected = self.engine.collect();
            for (number, region) in self.engine.take_regions() {
                assert_eq!(number as usize, self.regions.len());
                self.regions.push(Table(region));
            }
            self.notices.extend(
                self.engine
                    .take_notices()
                    .iter()
                    .map(|notice| notice.to_json()),
            );
            self.batch(collected.records as usize);
            self.engine.apply();
            if !self.engine.ready() {
                break;
            }
        }
    }

    fn push(&mut self, operation: [u32; 4]) {
        let mut count = self.control.get(CONTROL_OPERATION_COUNT) as usize;
        if count == OPERATION_CAPACITY {
            self.engine.flush();
            count = 0;
        }
        for (number, word) in operation.into_iter().enumerate() {
            self.operations.set(count * OPERATION_WORDS + number, word);
        }
        self.control.set(CONTROL_OPERATION_COUNT, count as u32 + 1);
    }

    fn batch(&mut self, records: usize) {
        for number in 0..records {
            let word = |at| self.records.get(number * RECORD_WORDS + at);
            let [head, call, slot, aux] = [word(0), word(1), word(2), word(3)];
            let (kind, flags, method) = (head & 0xff, head >> 8 & 0xff, (head >> 16) as u16);
            match kind {
                RECORD_REQUEST => {
                    if self.methods[method as usize].0 == MethodKind::Unary {
                        self.send(OPERATION_REPLY, call, slot);
                    } else {
                        self.send(OPERATION_MESSAGE, call, slot);
                        self.push([OPERATION_STATUS, call, 0, 0]);
                    }
                }
                RECORD_CALL => {
                    self.calls.insert(
                        call,
                        Call {
                            method,
                            ended: flags & FLAG_END != 0,
                            ..Call::default()
                        },
                    );
                    self.written.remove(&(call & 0xffff));
                    if self.methods[method as usize].1 == Behaviour::Echo {
                        self.push([OPERATION_READING, call, 0, 0]);
                    }
                    self.advance(call);
                }
                RECORD_MESSAGE => {
                    let entry = self.calls.get_mut(&call).expect("a call that began");
                    entry.waiting.push_back(slot);
                    entry.ended |= flags & FLAG_END != 0;
                    self.advance(call);
                }
                RECORD_END => {
                    self.calls.get_mut(&call).expect("a call that began").ended = true;
                    self.advance(call);
                }
                RECORD_WRITABLE => {
                    if let Some(entry) = self.calls.get_mut(&call) {
                        entry.blocked = false;
                        self.advance(call);
                    }
                }
                RECORD_CANCEL => {
                    // Absent where the status was queued before the cancellation was known.
                    if self.calls.remove(&call).is_some() {
                        self.cancelled.push((flags, aux));
                        self.push([OPERATION_RELEASE, call, 0, 0]);
                    }
                }
                RECORD_NONE => {}
                other => panic!("unknown record {other}"),
            }
        }
    }

    fn writable(&self, call: u32) -> bool {
        let epoch = self.control.get(CONTROL_EPOCH);
        let written = match self.written.get(&(call & 0xffff)) {
            Some(&(at, written)) if at == epoch => written,
            _ => 0,
        };
        let unsent = self.pending.get((call & 0xffff) as usize) + written;
        if self.control.get(CONTROL_OUTBOUND_FULL) == 1 {
            unsent == 0
        } else {
            unsent < self.control.get(CONTROL_STREAM_MARK)
        }
    }

    /// Echoes what waits, as far as the call is writable.
    fn advance(&mut self, call: u32) {
        let Some(entry) = self.calls.get(&call) else {
            return;
        };
        if self.methods[entry.method as usize].1 == Behaviour::Ignore {
            return;
        }
        let mut consumed = 0;
        loop {
            let Some(entry) = self.calls.get_mut(&call) else {
                return;
            };
            if entry.blocked {
                break;
            }
            let Some(slot) = entry.waiting.pop_front() else {
                break;
            };
            self.send(OPERATION_MESSAGE, call, slot);
            consumed += 1;
            let index = (call & 0xffff) as usize;
            self.consumed
                .set(index, self.consumed.get(index).wrapping_add(1));
            if !self.writable(call) {
                self.calls.get_mut(&call).expect("a live call").blocked = true;
            }
        }
        if consumed > 0 {
            self.push([OPERATION_CONSUMED, call, 0, 0]);
        }
        let entry = self.calls.get_mut(&call).expect("a live call");
        if entry.ended && entry.waiting.is_empty() && !entry.blocked {
            self.calls.remove(&call);
            self.push([OPERATION_STATUS, call, 0, 0]);
        }
    }

    fn send(&mut self, kind: u32, call: u32, slot: u32) {
        let [region, offset, length] =
            [0, 1, 2].map(|word| self.slots.get(slot as usize * SLOT_WORDS + word));
        if length as usize > ARENA_BYTES {
            let bytes = self.regions[region as usize].bytes(offset as usize, length as usize);
            self.engine
                .send_large(call, &bytes, kind == OPERATION_REPLY);
            return;
        }
        let mut at = self.control.get(CONTROL_ARENA_USED) as usize;
        if at + length as usize > ARENA_BYTES {
            self.engine.flush();
            at = 0;
        }
        self.arena.copy_from(
            at,
            &self.regions[region as usize],
            offset as usize,
            length as usize,
        );
        self.control
            .set(CONTROL_ARENA_USED, (at + length as usize) as u32);
        self.push([kind, call, at as u32, length]);
        let epoch = self.control.get(CONTROL_EPOCH);
        let entry = self.written.entry(call & 0xffff).or_default();
        if entry.0 != epoch {
            *entry = (epoch, 0);
        }
        entry.1 += length;
    }
}
