//! Both roles of HTTP/2 over a driver, for conformance tools that speak no gRPC. As a server it
//! answers every request with 200 and a short body; as a client it sends one GET and then does
//! whatever the server wants until the connection ends or is silent for half a second.
//!
//! `cargo run --release -p millrace-engine --example http2_peer -- serve bundle 127.0.0.1:8080`
//! `cargo run --release -p millrace-engine --example http2_peer -- get portable http://127.0.0.1:8080/`
//!
//! With TLS: `serve bundle cert.pem key.pem 127.0.0.1:8443`, `get portable ca.pem https://127.0.0.1:8443/`.

use std::collections::{HashMap, VecDeque};
use std::io::Error;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use millrace_http2::{Connection, Event, Field, HeadersKind, Indexing, Limits, Role, StreamKey};
use millrace_ring::{Chunk, Completion, Driver, DriverChoice, Options, SocketId, select};
use millrace_tls::{ClientConfig, ClientOptions, ServerConfig, ServerOptions, Session};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

const BODY: &[u8] = b"{\"answer\": \"Millrace\"}";
const TURN: Duration = Duration::from_millis(100);
const CLIENT_SILENCE: Duration = Duration::from_millis(500);
const USAGE: &str = "http2_peer serve|get auto|bundle|ring|classic|portable [<certificate> <key>|<authority>] <address|url>";

fn main() -> Result<(), Error> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [mode, driver, files @ .., target] = words.as_slice() else {
        return Err(Error::other(USAGE));
    };
    let choice: DriverChoice = driver.parse().map_err(Error::other)?;
    let mut peers = Peers::new(choice)?;
    match (mode.as_str(), files) {
        ("serve", [] | [_, _]) => {
            if let [certificate, key] = files {
                let options = ServerOptions {
                    certificate: std::fs::read(certificate)?,
                    key: std::fs::read(key)?,
                    ..ServerOptions::default()
                };
                peers.tls = Some(ServerConfig::new(&options).map_err(Error::other)?);
            }
            let listener = TcpListener::bind(target)?;
            println!(
                "{{\"msg\":\"listening\",\"port\":{}}}",
                listener.local_addr()?.port()
            );
            peers.driver.listen(OwnedFd::from(listener));
            loop {
                peers.turn()?;
            }
        }
        ("get", [] | [_]) => {
            peers.get(target, files.first())?;
            let mut heard = Instant::now();
            while !peers.all.is_empty() && heard.elapsed() < CLIENT_SILENCE {
                if peers.turn()? {
                    heard = Instant::now();
                }
            }
            Ok(())
        }
        _ => Err(Error::other(USAGE)),
    }
}

struct Peers {
    driver: Box<dyn Driver>,
    /// How accepted connections speak TLS; `None`: in the clear.
    tls: Option<ServerConfig>,
    poll: Poll,
    started: Instant,
    all: HashMap<SocketId, Peer>,
}

/// One connection.
struct Peer {
    tls: Option<Session>,
    connection: Connection,
    /// What was framed and not yet encrypted or given to the driver, in wire order.
    out: Vec<u8>,
    sending: bool,
    /// After what is framed, the connection ends.
    ending: bool,
    /// The driver was told to close it.
    closing: bool,
    /// Answers begun, and how much of the body each has sent.
    answers: VecDeque<(StreamKey, usize)>,
}

impl Peers {
    fn new(choice: DriverChoice) -> Result<Self, Error> {
        let driver = select(choice, &Options::default())
            .map_err(Error::other)?
            .driver;
        let poll = Poll::new()?;
        let descriptor = driver.descriptor();
        poll.registry()
            .register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE)?;
        Ok(Self {
            driver,
            tls: None,
            poll,
            started: Instant::now(),
            all: HashMap::new(),
        })
    }

    fn attach(
        &mut self,
        descriptor: OwnedFd,
        role: Role,
        tls: Option<Session>,
    ) -> Result<&mut Peer, Error> {
        let socket = self.driver.attach(descriptor)?;
        let now = self.started.elapsed().as_millis() as u64;
        Ok(self
            .all
            .entry(socket)
            .insert_entry(Peer {
                tls,
                connection: Connection::new(role, Limits::default(), now),
                out: Vec::new(),
                sending: false,
                ending: false,
                closing: false,
                answers: VecDeque::new(),
            })
            .into_mut())
    }

    fn get(&mut self, url: &str, authority_file: Option<&String>) -> Result<(), Error> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = format!("/{path}");
        let socket = TcpStream::connect(address)?;
        let tls = match (scheme, authority_file) {
            ("https", Some(file)) => {
                let options = ClientOptions {
                    authorities: Some(std::fs::read(file)?),
                    identity: None,
                };
                let config = ClientConfig::new(&options).map_err(Error::other)?;
                let name = address.rsplit_once(':').map_or(address, |(host, _)| host);
                Some(config.session(name).map_err(Error::other)?)
            }
            ("http", None) => None,
            _ => return Err(Error::other(USAGE)),
        };
        let peer = self.attach(OwnedFd::from(socket), Role::Client, tls)?;
        let fields = [
            (":method", "GET"),
            (":scheme", scheme),
            (":path", &path),
            (":authority", address),
        ];
        let fields = fields.map(|(name, value)| Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
            indexing: Indexing::Index,
        });
        let mut request = Vec::new();
        peer.connection
            .open_stream(fields.into_iter(), true, &mut request)
            .map_err(Error::other)?;
        // The preface waits among what is urgent.
        peer.collect();
        peer.out.extend_from_slice(&request);
        Ok(())
    }

    /// One wake-up; whether anything arrived.
    fn turn(&mut self) -> Result<bool, Error> {
        for (&socket, peer) in &mut self.all {
            peer.flush(socket, self.driver.as_mut());
        }
        self.driver.submit()?;
        if !self.driver.has_completions() {
            // Completions made for this thread may interrupt its wait; then there are some.
            let _ = self.poll.poll(&mut Events::with_capacity(1), Some(TURN));
        }
        let now = self.started.elapsed().as_millis() as u64;
        let mut completions = Vec::new();
        self.driver.complete(&mut completions, 1024);
        let mut heard = false;
        for completion in completions {
            match completion {
                Completion::Accepted { descriptor, .. } => {
                    // One that is gone already is not worth a word.
                    let tls = self.tls.as_ref().map(ServerConfig::session);
                    let tls = tls.transpose().map_err(Error::other)?;
                    let _ = self.attach(descriptor, Role::Server, tls);
                }
                Completion::Received {
                    socket,
                    buffer,
                    length,
                } => {
                    heard = true;
                    if let Some(peer) = self.all.get_mut(&socket) {
                        peer.receive(self.driver.buffers().bytes(buffer, 0..length), now);
                    }
                    self.driver.release(buffer);
                }
                Completion::Sent { socket, .. } => {
                    if let Some(peer) = self.all.get_mut(&socket) {
                        peer.sending = false;
                    }
                }
                Completion::ReceiveEnded { socket, .. } | Completion::SendFailed { socket, .. } => {
                    if let Some(peer) = self.all.get_mut(&socket) {
                        peer.closing = true;
                        self.driver.close(socket);
                    }
                }
                Completion::Closed { socket } => {
                    self.all.remove(&socket);
                }
                // Sockets are connected before they are attached.
                Completion::Connected { .. } | Completion::ConnectFailed { .. } => {}
                Completion::AcceptFailed { listener, error } => {
                    eprintln!("accepting failed: {}", Error::from_raw_os_error(error));
                    self.driver.retry_accept(listener);
                }
            }
        }
        for peer in self.all.values_mut() {
            if let Err(error) = peer.connection.handle_timeout(now) {
                eprintln!("{error}");
                peer.ending = true;
            }
        }
        Ok(heard)
    }
}

impl Peer {
    fn receive(&mut self, input: &[u8], now: u64) {
        let Some(tls) = &mut self.tls else {
            return self.receive_frames(input, now);
        };
        let mut plaintext = Vec::new();
        let result = tls.receive(input, &mut plaintext);
        let closed = tls.is_closed();
        self.receive_frames(&plaintext, now);
        if let Err(error) = result {
            eprintln!("{error}");
            self.ending = true;
        }
        self.ending |= closed;
    }

    fn receive_frames(&mut self, input: &[u8], now: u64) {
        let mut at = 0;
        while !self.ending {
            match self.connection.receive(&input[at..], now) {
                Ok((consumed, event)) => {
                    at += consumed;
                    match event {
                        Some(event) => self.act(event),
                        None if at == input.len() => break,
                        None => {}
                    }
                }
                Err(error) => {
                    eprintln!("{error}");
                    self.ending = true;
                }
            }
        }
        for _ in 0..self.answers.len() {
            if let Some((stream, sent)) = self.answers.pop_front() {
                self.answer(stream, sent);
            }
        }
        self.collect();
    }

    fn act(&mut self, event: Event) {
        let (stream, end_stream, is_request) = match event {
            Event::Headers {
                stream,
                end_stream,
                kind,
                ..
            } => (stream, end_stream, matches!(kind, HeadersKind::Request)),
            Event::Data {
                stream,
                length,
                end_stream,
                ..
            } => {
                self.connection.credit_connection(length as u32);
                self.connection.credit_stream(stream, length as u32);
                (stream, end_stream, false)
            }
            Event::Reset { stream, .. } => {
                self.answers.retain(|answer| answer.0 != stream);
                return self.connection.release(stream);
            }
            _ => return,
        };
        // Marks what is to be answered; a client's own stream is not.
        if is_request {
            self.connection.set_token(stream, 1);
        }
        if !end_stream || self.connection.token(stream) != Some(1) {
            return;
        }
        let fields = [(":status", "200"), ("content-type", "application/json")];
        let fields = fields.map(|(name, value)| Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
            indexing: Indexing::Index,
        });
        self.connection
            .send_headers(stream, fields.into_iter(), false, &mut self.out);
        self.answers.push_back((stream, 0));
    }

    /// Sends what the windows admit; the rest waits for another turn.
    fn answer(&mut self, stream: StreamKey, sent: usize) {
        let left = BODY.len() - sent;
        let length = left.min(self.connection.send_window(stream));
        if length == 0 {
            return self.answers.push_back((stream, sent));
        }
        let is_last = length == left;
        let head = self.connection.data_head(stream, length, is_last);
        self.out.extend_from_slice(&head);
        self.out.extend_from_slice(&BODY[sent..sent + length]);
        if is_last {
            self.connection.release(stream);
        } else {
            self.answers.push_back((stream, sent + length));
        }
    }

    /// Moves what HTTP/2 itself has to say before or behind what was framed.
    fn collect(&mut self) {
        self.out.append(self.connection.ordered());
        let urgent = std::mem::take(self.connection.urgent());
        self.out.splice(0..0, urgent);
    }

    fn flush(&mut self, socket: SocketId, driver: &mut dyn Driver) {
        self.collect();
        if self.sending || self.closing {
            return;
        }
        let bytes = self.wire_bytes();
        if !bytes.is_empty() {
            self.sending = true;
            driver.send(socket, &mut VecDeque::from([Chunk::from_vec(bytes)]), 1);
        } else if self.ending {
            self.closing = true;
            driver.close(socket);
        }
    }

    /// What can leave now: encrypted, where there is TLS, and in the end with its close_notify.
    fn wire_bytes(&mut self) -> Vec<u8> {
        let Some(tls) = &mut self.tls else {
            return std::mem::take(&mut self.out);
        };
        let mut bytes = Vec::new();
        tls.write_output(&mut bytes);
        if !tls.is_handshaking() && !self.out.is_empty() {
            tls.encrypt(&self.out, &mut bytes);
            self.out.clear();
        }
        if self.ending && bytes.is_empty() {
            tls.close();
            tls.write_output(&mut bytes);
        }
        bytes
    }
}
