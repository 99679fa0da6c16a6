//! The connection against RFC 9113, a module per chapter, and against attacks; no sockets, no
//! sleeps: time is a number.

mod abuse;
mod client;
mod flow;
mod frames;
mod hostile;
mod http;
mod pair;
mod splits;
mod starting;
mod streams;
mod timers;
