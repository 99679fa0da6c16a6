//! A client and a server of ours, byte by byte and in one piece, with certificates made on the spot.
#![allow(missing_docs)]

use millrace_tls::{
    ClientCertificate, ClientConfig, ClientOptions, Identity, ServerConfig, ServerOptions, Session,
    SessionError,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    Authority {
        certificate,
        issuer: Issuer::new(params, key),
    }
}

fn certified(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new(vec!["server.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "server");
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Identity {
        certificate: params
            .signed_by(&key, &authority.issuer)
            .unwrap()
            .pem()
            .into_bytes(),
        key: key.serialize_pem().into_bytes(),
    }
}

fn server(identity: &Identity, authorities: Option<&Authority>) -> ServerConfig {
    let options = ServerOptions {
        certificate: identity.certificate.clone(),
        key: identity.key.clone(),
        authorities: authorities.map(|authority| authority.certificate.clone().into_bytes()),
        client_certificate: match authorities {
            Some(_) => ClientCertificate::Require,
            None => ClientCertificate::None,
        },
    };
    ServerConfig::new(&options).unwrap()
}

fn client(authority: &Authority, identity: Option<Identity>) -> ClientConfig {
    ClientConfig::new(&ClientOptions {
        authorities: Some(authority.certificate.clone().into_bytes()),
        identity,
    })
    .unwrap()
}

/// Passes bytes between the two, in pieces, until neither has anything to say.
fn converse(
    client: &mut Session,
    server: &mut Session,
    piece: usize,
) -> Result<(Vec<u8>, Vec<u8>), SessionError> {
    let (mut at_client, mut at_server) = (Vec::new(), Vec::new());
    loop {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        client.write_output(&mut up);
        for bytes in up.chunks(piece) {
            server.receive(bytes, &mut at_server)?;
        }
        server.write_output(&mut down);
        for bytes in down.chunks(piece) {
            client.receive(bytes, &mut at_client)?;
        }
        if up.is_empty() && down.is_empty() {
            return Ok((at_client, at_server));
        }
    }
}

#[test]
fn bytes_of_any_pieces_come_through_in_order() {
    let authority = authority("root");
    let server_config = server(&certified(&authority, |_| {}), None);
    let client_config = client(&authority, None);
    for piece in [1, 7, 1000, 100_000] {
        let mut one = client_config.session("server.example").unwrap();
        let mut other = server_config.session().unwrap();
        assert!(one.is_handshaking() && other.is_handshaking());
        converse(&mut one, &mut other, piece).unwrap();
        assert!(!one.is_handshaking() && !other.is_handshaking());
        assert!(other.peer().is_none());
        assert_eq!(one.peer().unwrap().dns_names, ["server.example"]);
        let text: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
        let mut wire = Vec::new();
        one.encrypt(&text, &mut wire);
        assert!(wire.len() > text.len());
        let mut got = Vec::new();
        for bytes in wire.chunks(piece) {
            let before = got.len();
            other.receive(bytes, &mut got).unwrap();
            assert!(got.len() - before <= bytes.len() + 16_384);
        }
        assert!(got == text);
        one.close();
        converse(&mut one, &mut other, piece).unwrap();
        assert!(other.is_closed());
    }
}

#[test]
fn a_client_says_who_it_is() {
    let root = authority("root");
    let server_config = server(&certified(&root, |_| {}), Some(&root));
    let identity = certified(&root, |params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "billing");
        params.subject_alt_names = vec![
            SanType::URI("spiffe://example.org/billing".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
            SanType::Rfc822Name("billing@example.org".try_into().unwrap()),
        ];
    });
    let mut one = client(&root, Some(identity))
        .session("server.example")
        .unwrap();
    let mut other = server_config.session().unwrap();
    converse(&mut one, &mut other, 5000).unwrap();
    let peer = other.peer().unwrap();
    assert_eq!(peer.subject, "CN=billing");
    assert_eq!(peer.issuer, "CN=root");
    assert_eq!(peer.uris, ["spiffe://example.org/billing"]);
    assert_eq!(peer.ip_addresses, ["10.0.0.1"]);
    assert_eq!(peer.emails, ["billing@example.org"]);
    assert_eq!(peer.fingerprint.len(), 95);
}

#[test]
fn whoever_is_not_trusted_is_refused_with_the_reason() {
    let (root, other_root) = (authority("root"), authority("other"));
    let identity = certified(&root, |_| {});
    let failed = |client: ClientConfig, server: &ServerConfig, name: &str| {
        let mut one = client.session(name).unwrap();
        let mut other = server.session().unwrap();
        converse(&mut one, &mut other, 5000)
            .unwrap_err()
            .to_string()
    };
    let open = server(&identity, None);
    let closed = server(&identity, Some(&root));
    let text = failed(client(&other_root, None), &open, "server.example");
    assert!(text.contains("signed by none of the authorities"), "{text}");
    let text = failed(client(&root, None), &open, "another.example");
    assert!(text.contains("another.example"), "{text}");
    let text = failed(client(&root, None), &closed, "server.example");
    assert!(text.contains("presented no certificate"), "{text}");
    let stranger = certified(&other_root, |_| {});
    let text = failed(client(&root, Some(stranger)), &closed, "server.example");
    assert!(text.contains("signed by none of the authorities"), "{text}");
}

#[test]
fn what_is_no_tls_is_named() {
    let root = authority("root");
    let config = server(&certified(&root, |_| {}), None);
    let first = |bytes: &[u8]| {
        let mut session = config.session().unwrap();
        session.receive(bytes, &mut Vec::new()).unwrap_err()
    };
    assert_eq!(
        first(b"PRI * HTTP/2.0\r\n\r\nSM"),
        SessionError::PlaintextHttp2
    );
    assert_eq!(first(b"GET / HTTP/1.1\r\n"), SessionError::PlaintextHttp1);
    assert_eq!(first(&[0, 1, 2]), SessionError::NotTls);
    let answer = |bytes: &[u8]| {
        let mut session = client(&root, None).session("server.example").unwrap();
        session.receive(bytes, &mut Vec::new()).unwrap_err()
    };
    assert_eq!(
        answer(&[0, 0, 6, 4, 0, 0, 0, 0, 0]),
        SessionError::PlaintextHttp2
    );
    assert_eq!(
        answer(b"HTTP/1.1 400 Bad Request"),
        SessionError::PlaintextHttp1
    );
}

#[test]
fn certificates_that_cannot_work_say_why() {
    let root = authority("root");
    let good = certified(&root, |_| {});
    let other = certified(&root, |_| {});
    let expired = certified(&root, |params| params.not_after = date_time_ymd(2020, 1, 1));
    let later = certified(&root, |params| {
        params.not_before = date_time_ymd(2100, 1, 1)
    });
    let refused = |certificate: &[u8], key: &[u8]| {
        let options = ServerOptions {
            certificate: certificate.to_vec(),
            key: key.to_vec(),
            ..ServerOptions::default()
        };
        ServerConfig::new(&options).unwrap_err()
    };
    for (error, code, text) in [
        (refused(&good.certificate, &other.key), "MILLRACE_TLS_KEY", "does not belong"),
        (refused(&expired.certificate, &expired.key), "MILLRACE_TLS_EXPIRED", "expired at"),
        (refused(&later.certificate, &later.key), "MILLRACE_TLS_EXPIRED", "clock"),
        (refused(&good.key, &good.key), "MILLRACE_TLS_CERTIFICATE", "holds a private key"),
        (refused(b"", &good.key), "MILLRACE_TLS_CERTIFICATE", "is empty"),
        (refused(&good.certificate, &good.certificate), "MILLRACE_TLS_KEY", "holds a certificate"),
        (
            refused(&good.certificate, b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"),
            "MILLRACE_TLS_KEY",
            "password",
        ),
    ] {
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(text), "{error}");
    }
    let error = client(&root, None).session("not a name").unwrap_err();
    assert_eq!(error.code, "MILLRACE_TLS_NAME");
}

/// Records whose bytes are not what was sent end the connection, at every position.
#[test]
fn a_changed_byte_never_becomes_plaintext() {
    let root = authority("root");
    let server_config = server(&certified(&root, |_| {}), None);
    let client_config = client(&root, None);
    // Bytes 1 and 2 are the legacy version, which means nothing (RFC 8446, 5.1).
    for position in std::iter::once(0).chain(3..31) {
        let mut one = client_config.session("server.example").unwrap();
        let mut other = server_config.session().unwrap();
        converse(&mut one, &mut other, 5000).unwrap();
        let mut wire = Vec::new();
        one.encrypt(b"some text", &mut wire);
        if position >= wire.len() {
            break;
        }
        wire[position] ^= 0x40;
        let mut got = Vec::new();
        let result = other.receive(&wire, &mut got);
        assert!(got.is_empty());
        // A longer length waits for more bytes that never come.
        assert!(
            result.is_err() || (3..5).contains(&position),
            "byte {position}"
        );
    }
}

#[test]
fn what_is_printed_has_no_key() {
    let identity = Identity {
        certificate: vec![1; 4],
        key: vec![222; 4],
    };
    let server = ServerOptions {
        key: identity.key.clone(),
        ..ServerOptions::default()
    };
    let client = ClientOptions {
        identity: Some(identity),
        ..ClientOptions::default()
    };
    let printed = format!("{server:?} {client:?}");
    assert!(printed.contains("ServerOptions") && printed.contains("Identity"));
    assert!(!printed.contains("222"), "{printed}");
}
