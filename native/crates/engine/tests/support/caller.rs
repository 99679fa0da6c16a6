//! A caller in JavaScript's place: starts calls, reads records, over the same tables.

use std::{collections::HashMap, time::Duration};

use millrace_engine::{Engine, Method, MethodKind, Options, Role, layout::*};
use millrace_ring::DriverChoice;

use super::Table;

pub(crate) const SAY: u32 = 0;
pub(crate) const COLLECT: u32 = 1;
pub(crate) const EXPAND: u32 = 2;
pub(crate) const CHAT: u32 = 3;
pub(crate) const METHODS: [(&str, MethodKind); 4] = [
    ("/t.Echo/Say", MethodKind::Unary),
    ("/t.Echo/Collect", MethodKind::ClientStreaming),
    ("/t.Echo/Expand", MethodKind::ServerStreaming),
    ("/t.Echo/Chat", MethodKind::Bidi),
];
/// No test takes this long; one that hangs fails by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a call.
#[derive(Default, Debug)]
pub(crate) struct Outcome {
    pub(crate) response: Option<u32>,
    pub(crate) waiting: Vec<u32>,
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) reply: Option<Vec<u8>>,
    /// Code and bits.
    pub(crate) status: Option<u32>,
    pub(crate) text: String,
    pub(crate) writable: u32,
}

impl Outcome {
    pub(crate) fn is_over(&self) -> bool {
        self.reply.is_some() || self.status.is_some()
    }

    pub(crate) fn code(&self) -> u32 {
        self.status.expect("a status") & 0xff
    }

    #[track_caller]
    pub(crate) fn is(&self, code: u32, set: u32, clear: u32, text: &str) {
        let status = self.status.expect("a status");
        assert_eq!(status & 0xff, code, "{}", self.text);
        assert_eq!(status & set, set, "bits {status:#x}: {}", self.text);
        assert_eq!(status & clear, 0, "bits {status:#x}: {}", self.text);
        assert!(self.text.contains(text), "{:?} lacks {text:?}", self.text);
    }
}

/// JavaScript's part, by hand.
pub(crate) struct Client {
    pub(crate) engine: Engine,
    pub(crate) control: Table,
    pub(crate) records: Table,
    pub(crate) slots: Table,
    pub(crate) consumed: Table,
    pub(crate) pending: Table,
    pub(crate) operations: Table,
    pub(crate) arena: Table,
    pub(crate) regions: Vec<Table>,
    pub(crate) notices: Vec<String>,
    pub(crate) calls: HashMap<u32, Outcome>,
    /// Messages are taken as they come.
    pub(crate) reads: bool,
    pub(crate) next: u32,
}

impl Client {
    pub(crate) fn new(driver: DriverChoice, options: Options) -> Self {
        let mut engine = Engine::new(Options {
            driver,
            role: Role::Client,
            ..options
        })
        .unwrap();
        let method = |&(path, kind): &(&str, MethodKind)| Method {
            path: path.to_owned(),
            kind,
        };
        assert_eq!(
            engine.register(METHODS[..1].iter().map(method).collect()),
            0
        );
        assert_eq!(
            engine.register(METHODS[1..].iter().map(method).collect()),
            1
        );
        let views = engine.views();
        Self {
            engine,
            control: Table::new(views.control),
            records: Table::new(views.records),
            slots: Table::new(views.slots),
            consumed: Table::new(views.consumed),
            pending: Table::new(views.pending),
            operations: Table::new(views.operations),
            arena: Table::new(views.arena),
            regions: vec![Table::new(views.ring)],
            notices: Vec::new(),
            calls: HashMap::new(),
            reads: true,
            next: 0,
        }
    }

    pub(crate) fn push(&mut self, operation: [u32; 4]) {
        let count = self.control.get(CONTROL_OPERATION_COUNT) as usize;
        assert!(count < OPERATION_CAPACITY);
        for (at, word) in operation.into_iter().enumerate() {
            self.operations.set(count * OPERATION_WORDS + at, word);
        }
        self.control.set(CONTROL_OPERATION_COUNT, count as u32 + 1);
    }

    pub(crate) fn stage(&mut self, bytes: &[u8]) -> (u32, u32) {
        let at = self.control.get(CONTROL_ARENA_USED) as usize;
        self.arena.fill(at, bytes);
        self.control
            .set(CONTROL_ARENA_USED, (at + bytes.len()) as u32);
        (at as u32, bytes.len() as u32)
    }

    pub(crate) fn start(&mut self, link: u32, method: u32, timeout: u32) -> u32 {
        let call = self.next;
        self.next += 1;
        self.calls.insert(call, Outcome::default());
        self.push([OPERATION_START | method << 16, call, link, timeout]);
        call
    }

    pub(crate) fn message(&mut self, call: u32, bytes: &[u8], end: bool) {
        let (at, length) = self.stage(bytes);
        let flags = if end { MESSAGE_END } else { 0 };
        self.push([OPERATION_MESSAGE | flags << 8, call, at, length]);
    }

    pub(crate) fn say(&mut self, link: u32, bytes: &[u8]) -> u32 {
        let call = self.start(link, SAY, NO_TIMEOUT);
        self.message(call, bytes, true);
        call
    }

    pub(crate) fn read(&self, slot: u32) -> Vec<u8> {
        let [region, offset, length] =
            [0, 1, 2].map(|at| self.slots.get(slot as usize * 4 + at) as usize);
        self.regions[region].bytes(offset, length)
    }

    /// Takes what waits for a call.
    pub(crate) fn consume(&mut self, call: u32) {
        let slots = std::mem::take(&mut self.calls.get_mut(&call).unwrap().waiting);
        for &slot in &slots {
            let bytes = self.read(slot);
            self.calls.get_mut(&call).unwrap().messages.push(bytes);
        }
        let index = call as usize & 0xffff;
        self.consumed
            .set(index, self.consumed.get(index) + slots.len() as u32);
        self.push([OPERATION_CONSUMED, call, 0, 0]);
    }

    pub(crate) fn turn(&mut self) {
        for _ in 0..8 {
            let collected = self.engine.collect();
            for (number, region) in self.engine.take_regions() {
                assert_eq!(number as usize, self.regions.len());
                self.regions.push(Table::new(region));
            }
            let notices = self.engine.take_notices();
            self.notices
                .extend(notices.iter().map(|notice| notice.to_json()));
            for number in 0..collected.records as usize {
                self.record([0, 1, 2, 3].map(|at| self.records.get(number * RECORD_WORDS + at)));
            }
            self.engine.apply();
            if !self.engine.ready() {
                return;
            }
        }
    }

    pub(crate) fn record(&mut self, [head, call, slot, auxiliary]: [u32; 4]) {
        let bytes = (slot != NO_SLOT).then(|| self.read(slot));
        let details = self.engine.status_details(call);
        let outcome = self.calls.get_mut(&call).expect("a call of ours");
        assert!(!outcome.is_over(), "a record behind the last: {outcome:?}");
        match head & 0xff {
            RECORD_RESPONSE => outcome.response = Some(head >> 8 & 0xff),
            RECORD_MESSAGE => {
                outcome.waiting.push(slot);
                if self.reads {
                    self.consume(call);
                }
            }
            RECORD_REPLY => outcome.reply = bytes,
            RECORD_STATUS => {
                outcome.status = Some(auxiliary);
                assert_eq!(details.is_some(), auxiliary & STATUS_HAS_DETAILS != 0);
                let details = details.unwrap_or_default();
                if let Some((length, rest)) = details.split_first_chunk::<4>() {
                    let message = &rest[..u32::from_le_bytes(*length) as usize];
                    outcome.text = String::from_utf8(message.to_vec()).unwrap();
                }
            }
            RECORD_WRITABLE => outcome.writable += 1,
            other => panic!("record {other}"),
        }
    }

    /// Whether a connection was told to be in this state; the words of the notice.
    pub(crate) fn state(&self, link: u32, state: &str) -> Option<&str> {
        let wanted = format!("\"connection\":{link},\"state\":\"{state}\"");
        let found = self.notices.iter().find(|notice| notice.contains(&wanted));
        found.map(String::as_str)
    }

    pub(crate) fn stat(&self, name: &str) -> u64 {
        let stats = self.engine.stats();
        let rest = stats.split(&format!("\"{name}\":")).nth(1).expect(name);
        let digits = rest.chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse().unwrap()
    }

    /// Lets go of every call; then nothing may be left.
    pub(crate) fn settle(&mut self) {
        let calls: Vec<u32> = self.calls.keys().copied().collect();
        for call in calls {
            self.push([OPERATION_RELEASE, call, 0, 0]);
        }
        self.turn();
        for name in ["activeCalls", "waitingMessages", "unsentBytes", "ringHeld"] {
            assert_eq!(self.stat(name), 0, "{name}: {}", self.engine.stats());
        }
    }
}
