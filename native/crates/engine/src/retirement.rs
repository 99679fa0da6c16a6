//! Connections that end because they are old or idle, and not because anything went wrong
//! (gRFC A9): GOAWAY in two steps first, so that no call is lost, and a limit to their last calls.

use std::hash::{BuildHasher, RandomState};

use millrace_grpc::Code;
use millrace_http2::{self as http2, Expired};

use crate::{
    Engine, call::NOBODY, connection::State, layout::CAUSE_AGE, linger::Manner, notice::Severity,
};

const MAX_IDLE: &[u8] = b"max_idle";
const MAX_AGE: &[u8] = b"max_age";
const GRACE_OVER: &str = "the connection has reached its greatest age, and the grace for its last calls is over; call again";

impl Engine {
    /// The limits of a connection that was accepted, with an age of its own.
    pub(crate) fn server_limits(&self) -> http2::Limits {
        let positive = |milliseconds: u64| (milliseconds > 0).then_some(milliseconds);
        let age = positive(self.options.max_connection_age_ms);
        http2::Limits {
            max_connection_age: age.map(|age| spread(age, random())),
            max_connection_age_grace: positive(self.options.max_connection_age_grace_ms),
            ..self.http2_limits()
        }
    }

    /// Does what is due on an open connection.
    pub(crate) fn run_connection_timers(&mut self, index: u32) {
        loop {
            let Some(connection) = self
                .connections
                .get_mut(index)
                .filter(|connection| connection.state == State::Open)
            else {
                return;
            };
            match connection.http2.handle_timeout(self.now) {
                Ok(Some(Expired::Idle)) => self.drain_connection(index, MAX_IDLE),
                Ok(Some(Expired::Age)) => self.drain_connection(index, MAX_AGE),
                Ok(Some(Expired::AgeGrace)) => self.end_aged(index),
                Ok(None) => return self.mark_dirty(index),
                Err(error) => self.connection_error(index, error, &[]),
            }
        }
    }

    /// Ends the calls that the grace was not enough for, and their connection.
    fn end_aged(&mut self, index: u32) {
        let mut open = Vec::new();
        let mut call = self
            .connections
            .get(index)
            .map_or(NOBODY, |connection| connection.first_call);
        while call != NOBODY {
            open.push(self.calls.reference(call));
            call = self.calls[call].next_of_connection;
        }
        if !open.is_empty() {
            let message = format!(
                "the connection has reached its greatest age; {} calls that outlived the grace were ended",
                open.len()
            );
            let peer = self.peer_of(index);
            self.notices
                .push(Severity::Info, "connection_aged", peer, message);
        }
        for reference in open {
            if let Some(call) = self.calls.find(reference) {
                self.fail_call(call, CAUSE_AGE, Code::Unavailable, GRACE_OVER);
            }
        }
        if let Some(connection) = self.connections.get_mut(index)
            && connection.state == State::Open
        {
            connection.finish(Manner::Patient);
        }
        self.mark_dirty(index);
    }
}

/// A tenth more or less, evenly.
fn spread(age: u64, random: u64) -> u64 {
    let tenth = age / 10;
    age - tenth + random % (2 * tenth + 1)
}

/// Good enough to spread by; nobody gains anything by guessing it.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_over_a_tenth_each_way() {
        assert_eq!(spread(1_000, 0), 900);
        assert_eq!(spread(1_000, 200), 1_100);
        assert_eq!(spread(1_000, 201), 900);
        assert_eq!(spread(5, 7), 5);
        let ages: Vec<u64> = (0..100).map(|_| spread(3_600_000, random())).collect();
        assert!(ages.iter().all(|age| (3_240_000..=3_960_000).contains(age)));
        let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!(most - least > 360_000, "from {least} to {most}");
    }
}
