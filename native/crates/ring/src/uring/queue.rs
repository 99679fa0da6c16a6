//! One io_uring: submissions in, completions out.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;
use io_uring::{EnterFlags, IoUring, cqueue, opcode};
use socket2::SockAddr;

use crate::Options;
use crate::fault::{Attempt, Saboteur};

/// What an operation is, so that its completion is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Accept = 1,
    Receive = 2,
    Send = 3,
    CancelSocket = 4,
    CancelListener = 5,
    Connect = 6,
    /// Waits for bytes before a receive is made.
    Poll = 7,
    /// Provides buffers; the owner is the first and the count.
    Provide = 8,
    /// A cancel that nobody asked for.
    Sabotage = 9,
}

/// Names an operation: its kind, and whose it is in 56 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) owner: u64,
}

impl Token {
    fn to_bits(self) -> u64 {
        debug_assert!(self.owner >> 56 == 0);
        self.owner | (self.kind as u64) << 56
    }

    fn from_bits(bits: u64) -> Option<Self> {
        let kind = match bits >> 56 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::CancelSocket,
            5 => Kind::CancelListener,
            6 => Kind::Connect,
            7 => Kind::Poll,
            8 => Kind::Provide,
            9 => Kind::Sabotage,
            _ => return None,
        };
        Some(Self {
            kind,
            owner: bits & ((1 << 56) - 1),
        })
    }
}

/// How a socket receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiveMode {
    /// Multishot; a completion may fill several buffers.
    Bundle,
    /// Multishot; a completion fills one buffer.
    Multishot,
    /// One completion, one buffer, then it has to be armed again.
    Single,
    /// As `Single`, after a poll that has its own completion: before 5.18 a receive that waits for
    /// bytes keeps the buffer that it chose, so that idle connections would hold all of them.
    Polled,
}

/// What may be asked of the kernel besides receiving and sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing newer than `IORING_OP_PROVIDE_BUFFERS`: one accept at a time, and sends that end when
    /// the socket's buffer is full.
    Linux5_7,
    /// Completions without interrupts, multishot accepts, and sends that go on by themselves (5.19).
    Linux6_0,
}

/// A completion, copied out of the queue.
#[derive(Debug)]
pub(crate) struct Reaped {
    pub(crate) token: Token,
    /// A count or a descriptor, or a negative `errno`.
    pub(crate) result: i32,
    /// More completions of the same operation follow.
    pub(crate) more: bool,
    /// The first buffer that was filled.
    pub(crate) buffer: Option<u16>,
}

impl Reaped {
    /// The only completion of an operation.
    fn over(token: Token, result: i32) -> Self {
        Self {
            token,
            result,
            more: false,
            buffer: None,
        }
    }

    /// The accepted connection, if this is one.
    pub(crate) fn into_connection(self) -> Option<OwnedFd> {
        if self.token.kind != Kind::Accept || self.result < 0 {
            return None;
        }
        // SAFETY: the kernel made this descriptor for the accept operation and told nobody else;
        // `self` is consumed, so it is owned once.
        Some(unsafe { OwnedFd::from_raw_fd(self.result) })
    }
}

/// A ring that is used by the thread that made it.
pub(crate) struct Queue {
    ring: IoUring,
    base: Base,
    /// Submissions that found the queue full; they go first.
    backlog: VecDeque<Queued>,
    /// Operations whose last completion was not reaped yet.
    in_flight: u64,
    /// System calls made.
    pub(crate) enters: u64,
    /// Those that took nothing and are made once more.
    pub(crate) interruptions: u64,
    saboteur: Saboteur,
    /// Completions that the saboteur gave in the kernel's place.
    answered: VecDeque<Reaped>,
}

/// What is pushed at once.
enum Queued {
    Alone(Entry),
    Linked([Entry; 2]),
}

impl Queued {
    fn entries(&self) -> &[Entry] {
        match self {
            Self::Alone(entry) => std::slice::from_ref(entry),
            Self::Linked(pair) => pair,
        }
    }
}

/// Completions copied out at once.
const BATCH: usize = 128;

impl Queue {
    /// Makes a ring. From 6.0 on with more flags:
    ///
    /// `COOP_TASKRUN`: completions are made when this thread enters the kernel anyway, without an
    /// interrupt. `TASKRUN_FLAG`: and a flag says that some wait for that. `SUBMIT_ALL`: one bad
    /// entry does not hold back the rest.
    ///
    /// # Errors
    /// `EPERM`, `EACCES`, `ENOSYS`: forbidden or absent. `EINVAL`: the kernel is too old for the
    /// flags. `ENOMEM`: `RLIMIT_MEMLOCK`.
    pub(crate) fn new(base: Base, options: &Options) -> io::Result<Self> {
        // A linked pair is submitted together.
        let submission_entries = options.submission_entries.max(2);
        let mut builder = IoUring::builder();
        builder
            .setup_clamp()
            .setup_cqsize(options.completion_entries.max(submission_entries));
        if base == Base::Linux6_0 {
            builder
                .setup_coop_taskrun()
                .setup_taskrun_flag()
                .setup_single_issuer()
                .setup_submit_all();
        }
        let ring = builder.build(submission_entries)?;
        Ok(Self {
            ring,
            base,
            backlog: VecDeque::new(),
            in_flight: 0,
            enters: 0,
            interruptions: 0,
            saboteur: Saboteur::new(options),
            answered: VecDeque::new(),
        })
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Whether the kernel can send and receive bundles at all (6.10).
    pub(crate) fn has_bundles(&self) -> bool {
        self.ring.params().is_feature_recvsend_bundle()
    }

    /// Whether receives wait for bytes by a poll and not in a thread of the kernel's (5.7).
    pub(crate) fn has_fast_poll(&self) -> bool {
        self.ring.params().is_feature_fast_poll()
    }

    pub(crate) fn base(&self) -> Base {
        self.base
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn ring(&self) -> &IoUring {
        &self.ring
    }

    /// Accepts until cancelled, or once; connections are non-blocking and close-on-exec.
    pub(crate) fn accept(&mut self, token: Token, listener: BorrowedFd<'_>) {
        let listener = Fd(listener.as_raw_fd());
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let entry = match self.base {
            Base::Linux6_0 => opcode::AcceptMulti::new(listener).flags(flags).build(),
            Base::Linux5_7 => {
                let nobody = std::ptr::null_mut();
                opcode::Accept::new(listener, nobody, nobody.cast())
                    .flags(flags)
                    .build()
            }
        };
        self.push(token, entry);
    }

    /// Connects. The caller keeps the address where it is until the completion was reaped.
    pub(crate) fn connect(
        &mut self,
        token: Token,
        socket: BorrowedFd<'_>,
        address: &Pin<Box<SockAddr>>,
    ) {
        let socket = Fd(socket.as_raw_fd());
        let entry = opcode::Connect::new(socket, address.as_ptr().cast(), address.len()).build();
        self.push(token, entry);
    }

    /// Receives into buffers of `group`, which are `buffer_bytes` long. With
    /// [`ReceiveMode::Polled`] two completions come: `token`'s, and one of [`Kind::Poll`].
    pub(crate) fn receive(
        &mut self,
        token: Token,
        socket: BorrowedFd<'_>,
        group: &ReceiveGroup,
        mode: ReceiveMode,
        buffer_bytes: u32,
    ) {
        let socket = Fd(socket.as_raw_fd());
        let single = || {
            // Without a length, kernels before 6.0 receive nothing.
            opcode::Recv::new(socket, std::ptr::null_mut(), buffer_bytes)
                .buf_group(group.0)
                .build()
                .flags(Flags::BUFFER_SELECT)
        };
        let entry = match mode {
            ReceiveMode::Bundle => opcode::RecvMultiBundle::new(socket, group.0).build(),
            ReceiveMode::Multishot => opcode::RecvMulti::new(socket, group.0).build(),
            ReceiveMode::Single => single(),
            ReceiveMode::Polled => {
                let poll = Token {
                    kind: Kind::Poll,
                    owner: token.owner,
                };
                let entry = opcode::PollAdd::new(socket, libc::POLLIN as u32).build();
                return self.push_linked((poll, entry), (token, single()));
            }
        };
        self.push(token, entry);
    }

    /// Cancels one operation.
    pub(crate) fn cancel(&mut self, token: Token, target: Token) {
        let entry = opcode::AsyncCancel::new(target.to_bits()).build();
        self.push(token, entry);
    }

    /// Queues an entry. The caller, in this module, answers for the memory it names.
    pub(super) fn push(&mut self, token: Token, entry: Entry) {
        match self.sabotage(token.kind) {
            Some(result) => self.answered.push_back(Reaped::over(token, result)),
            None => self.push_unharmed(token, entry),
        }
    }

    /// Queues a send from a ring.
    pub(super) fn push_from_ring(&mut self, token: Token, entry: Entry) {
        match self.saboteur.answer(Attempt::SendFromRing) {
            Some(result) => self.answered.push_back(Reaped::over(token, result)),
            None => self.push_unharmed(token, entry),
        }
    }

    fn push_unharmed(&mut self, token: Token, entry: Entry) {
        let entry = entry.user_data(token.to_bits());
        self.in_flight += 1;
        if !self.backlog.is_empty() {
            self.backlog.push_back(Queued::Alone(entry));
            return;
        }
        // SAFETY: whoever calls keeps what the entry names alive until its completion was reaped:
        // receives and accepts name no memory, sends go through `Outbox`, which owns it, and the
        // address of a connect stays with its socket (the kernel copies it when it is submitted).
        if unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.backlog.push_back(Queued::Alone(entry));
        }
    }

    /// Queues two entries, the second of which starts when the first has succeeded. The chain ends
    /// where a submission ends, so both go in one.
    fn push_linked(&mut self, first: (Token, Entry), second: (Token, Entry)) {
        if let Some(result) = self.sabotage(second.0.kind) {
            let answers = [(first.0, 0), (second.0, result)];
            let answers = answers.map(|(token, result)| Reaped::over(token, result));
            self.answered.extend(answers);
            return;
        }
        let pair = [
            first.1.user_data(first.0.to_bits()).flags(Flags::IO_LINK),
            second.1.user_data(second.0.to_bits()),
        ];
        self.in_flight += 2;
        // SAFETY: as in `push`; a poll names no memory.
        let queued = self.backlog.is_empty()
            && unsafe { self.ring.submission().push_multiple(&pair) }.is_ok();
        if !queued {
            self.backlog.push_back(Queued::Linked(pair));
        }
    }

    /// What an operation ends with instead of being made.
    fn sabotage(&mut self, kind: Kind) -> Option<i32> {
        let attempt = match kind {
            Kind::Accept => Attempt::Accept,
            Kind::Receive => Attempt::Receive,
            Kind::Send => Attempt::Send,
            Kind::CancelSocket | Kind::CancelListener => Attempt::Cancel,
            Kind::Provide => Attempt::Provide,
            Kind::Connect | Kind::Poll | Kind::Sabotage => return None,
        };
        self.saboteur.answer(attempt)
    }

    /// How many of `bytes` a send without a ring is given.
    pub(super) fn shorten(&mut self, bytes: usize) -> usize {
        self.saboteur.shorten(bytes)
    }

    /// Gives the kernel what is queued, in one system call unless more is queued than the
    /// submission queue holds. What the kernel cannot take now stays queued.
    ///
    /// # Errors
    /// Only what is not answered by trying again later.
    pub(crate) fn submit(&mut self) -> io::Result<()> {
        loop {
            let (waiting, events) = {
                let mut submission = self.ring.submission();
                while let Some(queued) = self.backlog.front() {
                    // SAFETY: as in `push`.
                    if unsafe { submission.push_multiple(queued.entries()) }.is_err() {
                        break;
                    }
                    self.backlog.pop_front();
                }
                (
                    submission.len(),
                    submission.taskrun() || submission.cq_overflow(),
                )
            };
            if waiting == 0 && !events {
                return Ok(());
            }
            match self.enter(waiting as u32, 0, events) {
                Ok(taken) if taken > 0 && !self.backlog.is_empty() => {}
                Ok(_) => return Ok(()),
                Err(error) => {
                    let number = error.raw_os_error();
                    if !matches!(number, Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) {
                        return Err(error);
                    }
                    self.interruptions += 1;
                    // But for a signal: completions have to be reaped first, or memory is short.
                    // Entries stay queued and the next turn tries again.
                    if number != Some(libc::EINTR) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits until there is a completion or the time is over. Polled for, since waiting with a time
    /// takes Linux 5.11.
    pub(crate) fn wait(&mut self, time: Duration) {
        // Whatever it says, the caller looks at the queue.
        poll(self.ring.as_raw_fd(), time);
    }

    fn enter(&mut self, submit: u32, complete: u32, events: bool) -> io::Result<usize> {
        let flags = if events {
            EnterFlags::GETEVENTS
        } else {
            EnterFlags::empty()
        };
        self.enters += 1;
        if let Some(error) = self.saboteur.answer(Attempt::Enter) {
            return Err(io::Error::from_raw_os_error(-error));
        }
        // SAFETY: no argument is passed, and every queued entry's memory is owned until reaped.
        unsafe {
            self.ring
                .submitter()
                .enter::<libc::sigset_t>(submit, complete, flags.bits(), None)
        }
    }

    /// Copies completions out, oldest first, and gives their places back to the kernel at once.
    pub(crate) fn reap(&mut self, most: usize, into: &mut VecDeque<Reaped>) {
        into.append(&mut self.answered);
        let mut batch = [const { MaybeUninit::<cqueue::Entry>::uninit() }; BATCH];
        let most = most.clamp(1, BATCH);
        let mut cut_short = None;
        let filled = self.ring.completion().fill(&mut batch[..most]);
        for entry in filled {
            let flags = entry.flags();
            let more = cqueue::more(flags);
            if !more {
                self.in_flight -= 1;
            }
            let Some(token) = Token::from_bits(entry.user_data()) else {
                debug_assert!(false, "a completion of nobody");
                continue;
            };
            match token.kind {
                Kind::Sabotage => continue,
                Kind::Receive if more && self.saboteur.ends() => cut_short = Some(token),
                _ => {}
            }
            let buffer = cqueue::buffer_select(flags);
            into.push_back(Reaped {
                token,
                result: entry.result(),
                more,
                buffer,
            });
        }
        if let Some(target) = cut_short {
            let token = Token {
                kind: Kind::Sabotage,
                ..target
            };
            self.cancel(token, target);
        }
    }

    /// Lets the kernel make completions that it holds back: task work, and what overflowed.
    pub(crate) fn flush(&mut self) {
        // Whatever it says, the caller looks at the queue.
        let _ = self.enter(0, 0, true);
    }

    /// Whether completions wait in the queue.
    pub(crate) fn has_completions(&self) -> bool {
        // SAFETY: guards live only within a method of this type, which is not `Sync`, so no other
        // guard of the completion queue is alive.
        !self.answered.is_empty() || !unsafe { self.ring.completion_shared() }.is_empty()
    }

    /// Whether [`Queue::flush`] would make completions appear.
    pub(crate) fn wants_flush(&self) -> bool {
        // SAFETY: as in `has_completions`, for the submission queue.
        let submission = unsafe { self.ring.submission_shared() };
        submission.taskrun() || submission.cq_overflow()
    }

    /// Whether the completion queue overflowed. The kernel keeps the completions until `flush`.
    pub(crate) fn is_overflowing(&self) -> bool {
        // SAFETY: as in `has_completions`, for the submission queue.
        unsafe { self.ring.submission_shared() }.cq_overflow()
    }

    /// Whether submissions wait that the kernel has not taken.
    pub(crate) fn has_submissions(&self) -> bool {
        // SAFETY: as in `has_completions`, for the submission queue.
        !self.backlog.is_empty() || !unsafe { self.ring.submission_shared() }.is_empty()
    }
}

/// Whether bytes or connections wait at a socket.
pub(crate) fn is_readable(socket: BorrowedFd<'_>) -> bool {
    poll(socket.as_raw_fd(), Duration::ZERO)
}

fn poll(descriptor: RawFd, time: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd: descriptor,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid pollfd is passed.
    unsafe { libc::poll(&raw mut poll, 1, time.as_millis() as i32) > 0 }
}

/// The number of a group of receive buffers that is registered and whose memory lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveGroup(pub(super) u16);
