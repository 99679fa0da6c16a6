//! Section 3: how a connection begins.

use crate::pair::*;
use millrace_http2::{ErrorKind, Limits, Reason, Role};

#[test]
fn a_server_answers_the_preface_with_its_settings() {
    let mut server = Endpoint::new(Role::Server, Limits::default());
    assert!(server.output().is_empty(), "nothing before the preface");
    server.feed(PREFACE);
    let written = server.output();
    assert_eq!(written.len(), 1);
    assert_eq!((written[0].kind, written[0].flags), (SETTINGS, 0));
    let expected = settings(&[(1, 4_096), (3, 1_000), (4, 65_536), (5, 16_384), (6, 8_192)]);
    assert_eq!(written, frames(&expected));
    server.feed(&settings(&[]));
    assert_eq!(server.take_seen(), [Seen::SettingsReceived]);
    assert_eq!(server.output(), frames(&frame(SETTINGS, ACK, 0, &[])));
}

#[test]
fn a_client_starts_with_the_preface_and_disables_push() {
    let mut client = Endpoint::new(Role::Client, Limits::default());
    let written = client.raw_output();
    let rest = written.strip_prefix(PREFACE).expect("the preface");
    let expected = settings(&[(1, 4_096), (2, 0), (4, 65_536), (5, 16_384), (6, 8_192)]);
    assert_eq!(rest, expected);
}

#[test]
fn the_first_frame_is_settings() {
    for first in [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, ACK, 0, &[]),
        request(1, 0),
        frame(0x42, 0, 0, &[]),
    ] {
        let mut server = Endpoint::new(Role::Server, Limits::default());
        server.feed(PREFACE);
        server.feed(&first);
        server.assert_error(Reason::PROTOCOL_ERROR, &format!("{first:?}"));
    }
}

/// However the bytes arrive, the verdict is the same, and nothing is sent to such a peer.
#[test]
fn other_protocols_are_recognised() {
    for (bytes, kind) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], ErrorKind::Http1),
        (b"POST /x HTTP/1.0\r\n", ErrorKind::Http1),
        (b"PUT /", ErrorKind::Http1),
        (b"PATCH /", ErrorKind::Http1),
        (b"DELETE / HTTP/1.1", ErrorKind::Http1),
        (b"OPTIONS * HTTP/1.1", ErrorKind::Http1),
        (b"CONNECT a:1 HTTP/1.1", ErrorKind::Http1),
        (b"\x16\x03\x01\x02\x00\x01", ErrorKind::NotHttp2),
        (b"GETTING", ErrorKind::NotHttp2),
        (b"PRI * HTTP/1.1", ErrorKind::NotHttp2),
        (b"INVALID CONNECTION PREFACE\r\n\r\n", ErrorKind::NotHttp2),
        (b"\0", ErrorKind::NotHttp2),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", ErrorKind::NotHttp2),
    ] {
        for step in [1, 2, 3, bytes.len()] {
            let mut server = Endpoint::new(Role::Server, Limits::default());
            for piece in bytes.chunks(step) {
                server.feed(piece);
            }
            let error = server.error.expect("an error");
            assert_eq!(error.kind, kind, "{}", String::from_utf8_lossy(bytes));
            assert!(server.raw_output().is_empty());
        }
    }
}

#[test]
fn a_start_of_a_method_is_waited_for() {
    let mut server = Endpoint::new(Role::Server, Limits::default());
    server.feed(b"P");
    server.feed(b"OST");
    assert_eq!(server.error, None);
    server.feed(b" ");
    assert_eq!(server.error.map(|e| e.kind), Some(ErrorKind::Http1));
}
