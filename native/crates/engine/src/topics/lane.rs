//! From a thread that publishes to an engine of another: a bounded queue for each pair, and a bell.

use std::{
    io::Write,
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
};

use super::event::Audience;

/// Events and bytes that may be on their way from one thread to one engine.
const LANE_EVENTS: usize = 4096;
const LANE_BYTES: usize = 16 * 1024 * 1024;

/// Events and bytes that an engine takes from one lane in a turn.
const TURN_EVENTS: usize = 4096;
const TURN_BYTES: usize = 4 * 1024 * 1024;

/// The number of the next seat.
static SEATS: AtomicU64 = AtomicU64::new(1);

/// An event on its way.
pub(crate) struct Carried {
    pub(crate) framed: Arc<[u8]>,
    pub(crate) arrival: u64,
    pub(crate) audience: Audience,
}

/// An engine that has subscribers in a space, as publishers on any thread see it.
pub(crate) struct Seat {
    pub(crate) id: u64,
    /// A byte in it wakes the engine.
    bell: Arc<UnixStream>,
    /// Something was put on a lane, or beside one, since the engine looked.
    rung: AtomicBool,
    /// Lanes that the engine has not seen.
    fresh: Mutex<Vec<Inlet>>,
    /// Events that may not be lost and did not fit into a lane.
    spilled: Mutex<Vec<(Carried, Arc<AtomicUsize>)>>,
    /// Subscribers may have to be cut off: an event for them did not fit.
    overrun: AtomicBool,
    /// An event was dropped before it got here.
    missed: AtomicBool,
}

/// The end of a lane at the engine.
struct Inlet {
    events: Receiver<Carried>,
    bytes: Arc<AtomicUsize>,
}

/// The end of a lane at the publisher.
pub(crate) struct Lane {
    seat: Arc<Seat>,
    events: SyncSender<Carried>,
    bytes: Arc<AtomicUsize>,
    /// Events of this lane that are spilled.
    spilled: Arc<AtomicUsize>,
}

impl Seat {
    pub(crate) fn new(bell: &Arc<UnixStream>) -> Arc<Self> {
        Arc::new(Self {
            id: SEATS.fetch_add(1, Ordering::Relaxed),
            bell: Arc::clone(bell),
            rung: AtomicBool::new(false),
            fresh: Mutex::default(),
            spilled: Mutex::default(),
            overrun: AtomicBool::new(false),
            missed: AtomicBool::new(false),
        })
    }

    /// A way to this engine for one more thread.
    pub(crate) fn lane(self: &Arc<Self>) -> Lane {
        let (events, inlet) = sync_channel(LANE_EVENTS);
        let bytes = Arc::new(AtomicUsize::new(0));
        self.fresh
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Inlet {
                events: inlet,
                bytes: Arc::clone(&bytes),
            });
        Lane {
            seat: Arc::clone(self),
            events,
            bytes,
            spilled: Arc::default(),
        }
    }

    fn spilled(&self) -> MutexGuard<'_, Vec<(Carried, Arc<AtomicUsize>)>> {
        self.spilled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Full, it rings already.
            let _ = (&*self.bell).write(&[0]);
        }
    }

    /// Whether somebody has rung since this was asked last.
    pub(crate) fn take_ring(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::AcqRel)
    }

    /// An event for a subscriber that is to be cut off for it did not fit.
    pub(crate) fn note_overrun(&self) {
        self.overrun.store(true, Ordering::Release);
        self.ring();
    }

    pub(crate) fn take_overrun(&self) -> bool {
        self.overrun.swap(false, Ordering::AcqRel)
    }

    /// An event for a subscriber that drops did not fit.
    pub(crate) fn note_missed(&self) {
        self.missed.store(true, Ordering::Release);
    }

    pub(crate) fn has_missed(&self) -> bool {
        self.missed.load(Ordering::Acquire)
    }
}

impl Lane {
    /// Whether nobody but the lane knows its engine any more.
    pub(crate) fn is_dead(&self) -> bool {
        Arc::strong_count(&self.seat) == 1
    }

    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Puts an event on its way; false if there is no room for it.
    pub(crate) fn send(&self, carried: Carried) -> bool {
        let length = carried.framed.len();
        let queued = self.bytes.load(Ordering::Relaxed);
        if self.spilled.load(Ordering::Acquire) > 0 || queued > 0 && queued + length > LANE_BYTES {
            return false;
        }
        self.bytes.fetch_add(length, Ordering::Relaxed);
        if self.events.try_send(carried).is_err() {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            return false;
        }
        self.seat.ring();
        true
    }

    /// The same for an event that must not be lost, behind those on the lane.
    pub(crate) fn spill(&self, carried: Carried) {
        self.spilled.fetch_add(1, Ordering::AcqRel);
        self.seat
            .spilled()
            .push((carried, Arc::clone(&self.spilled)));
        self.seat.ring();
    }
}

/// All lanes of an engine in one space, at the engine.
#[derive(Default)]
pub(crate) struct Inlets(Vec<Inlet>);

impl Inlets {
    /// Gives what has come to `take`, in the order of each publisher; whether there is more.
    pub(crate) fn take(&mut self, seat: &Seat, mut take: impl FnMut(&Carried)) -> bool {
        // Whoever spills puts nothing on its lane until this is counted as taken: so what its lane has
        // comes first.
        let mut spilled = std::mem::take(&mut *seat.spilled());
        self.0
            .append(&mut seat.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        let mut more = false;
        self.0.retain(|inlet| {
            let mut bytes = 0;
            for _ in 0..TURN_EVENTS {
                match inlet.events.try_recv() {
                    Ok(carried) => {
                        bytes += carried.framed.len();
                        take(&carried);
                        if bytes >= TURN_BYTES {
                            break;
                        }
                    }
                    Err(end) => {
                        inlet.bytes.fetch_sub(bytes, Ordering::Relaxed);
                        return end == TryRecvError::Empty;
                    }
                }
            }
            inlet.bytes.fetch_sub(bytes, Ordering::Relaxed);
            more = true;
            true
        });
        if more {
            let mut later = seat.spilled();
            spilled.append(&mut later);
            *later = spilled;
            return true;
        }
        for (carried, count) in spilled {
            take(&carried);
            count.fetch_sub(1, Ordering::AcqRel);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat() -> (Arc<Seat>, UnixStream) {
        let (bell, heard) = UnixStream::pair().unwrap();
        (Seat::new(&Arc::new(bell)), heard)
    }

    fn event(number: u32) -> Carried {
        Carried {
            framed: number.to_le_bytes().as_slice().into(),
            arrival: 0,
            audience: [number].into(),
        }
    }

    fn taken(inlets: &mut Inlets, seat: &Seat) -> Vec<u32> {
        let mut numbers = Vec::new();
        while inlets.take(seat, |carried| numbers.push(carried.audience[0])) {}
        numbers
    }

    #[test]
    fn a_full_lane_takes_nothing_until_it_is_emptied() {
        let (seat, _heard) = seat();
        let lane = seat.lane();
        let mut inlets = Inlets::default();
        let count = LANE_EVENTS as u32;
        assert!((0..count).all(|number| lane.send(event(number))));
        assert!(!lane.send(event(count)));
        assert!(seat.take_ring());
        assert!(!seat.take_ring());
        assert_eq!(taken(&mut inlets, &seat), (0..count).collect::<Vec<_>>());
        assert!(lane.send(event(7)));
        assert_eq!(taken(&mut inlets, &seat), [7]);
    }

    #[test]
    fn what_is_spilled_stays_in_order() {
        let (seat, _heard) = seat();
        let lane = seat.lane();
        let mut inlets = Inlets::default();
        let count = LANE_EVENTS as u32;
        for number in 0..2 * count {
            if !lane.send(event(number)) {
                lane.spill(event(number));
            }
        }
        assert_eq!(
            taken(&mut inlets, &seat),
            (0..2 * count).collect::<Vec<_>>()
        );
        assert!(lane.send(event(1)), "the lane is open again");
    }

    #[test]
    fn a_single_event_may_be_larger_than_a_lane() {
        let (seat, _heard) = seat();
        let lane = seat.lane();
        let large = || Carried {
            framed: vec![0; LANE_BYTES + 1].into(),
            arrival: 0,
            audience: [1].into(),
        };
        assert!(lane.send(large()));
        assert!(!lane.send(large()));
        let mut inlets = Inlets::default();
        assert_eq!(taken(&mut inlets, &seat), [1]);
        assert!(lane.send(large()));
    }

    #[test]
    fn a_publisher_that_is_gone_leaves_no_lane_behind() {
        let (seat, _heard) = seat();
        let lane = seat.lane();
        lane.send(event(3));
        let mut inlets = Inlets::default();
        drop(lane);
        assert_eq!(taken(&mut inlets, &seat), [3]);
        assert!(inlets.0.is_empty());
    }
}
