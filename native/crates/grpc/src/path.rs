//! The `:path` of a call: `/service/method` (PROTOCOL-HTTP2, "Path").

/// Splits a path into service and method. `None` unless it is a slash, a name, a slash and a name,
/// with nothing else: a path without its first slash or with a third must not reach a handler, for
/// what guards a service may compare paths as text (CVE-2026-33186).
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let names = path.strip_prefix(b"/")?;
    let slash = names.iter().position(|&byte| byte == b'/')?;
    let (service, method) = (&names[..slash], &names[slash + 1..]);
    if service.is_empty() || method.is_empty() {
        return None;
    }
    let legal = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#');
    (service.iter().all(legal) && method.iter().all(legal)).then_some((service, method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_service_and_a_method_and_nothing_else() {
        assert_eq!(
            split(b"/millrace.echo.v1.Echo/Say"),
            Some((&b"millrace.echo.v1.Echo"[..], &b"Say"[..]))
        );
        for path in [
            "", "/", "//", "/a", "/a/", "//b", "a/b", "/a/b/", "/a/b/c", "/a/b?c", "/a b/c", "*",
        ] {
            assert_eq!(split(path.as_bytes()), None, "{path}");
        }
    }
}
