//! Addresses to connect to, or to listen on, as text.

use std::net::SocketAddr;

use socket2::SockAddr;

/// Reads `127.0.0.1:50051`, `[::1]:50051`, `unix:/path` or `unix-abstract:name`.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub(crate) fn parse(text: &str) -> Result<SockAddr, String> {
    let unix = |path: &str| {
        SockAddr::unix(path).map_err(|error| format!("the address {text} cannot be used: {error}"))
    };
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path);
    }
    if let Some(name) = text.strip_prefix("unix-abstract:") {
        if !cfg!(target_os = "linux") {
            return Err(format!(
                "the address {text} cannot be used: abstract Unix sockets exist on Linux only"
            ));
        }
        return unix(&format!("\0{name}"));
    }
    text.parse::<SocketAddr>().map(SockAddr::from).map_err(|_| {
        format!(
            "the address {text} cannot be read; give 127.0.0.1:50051, [::1]:50051, unix:/path or unix-abstract:name"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn addresses_are_read() {
        let port = |text| parse(text).unwrap().as_socket().unwrap().port();
        assert_eq!(port("127.0.0.1:50051"), 50051);
        assert_eq!(port("[::1]:1"), 1);
        let path = parse("unix:/run/a b.sock").unwrap();
        assert_eq!(path.as_pathname().unwrap().to_str(), Some("/run/a b.sock"));
        #[cfg(target_os = "linux")]
        assert_eq!(
            parse("unix-abstract:name").unwrap().as_abstract_namespace(),
            Some(&b"name"[..])
        );
        for wrong in ["localhost:1", "127.0.0.1", "::1:1", "", "[::1]"] {
            assert!(parse(wrong).unwrap_err().contains("unix:/path"), "{wrong}");
        }
        assert!(parse(&format!("unix:/{}", "x".repeat(200))).is_err());
    }
}
