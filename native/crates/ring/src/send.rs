//! Sending from provided rings: accounting of one ring, and the pool they are leased from.
