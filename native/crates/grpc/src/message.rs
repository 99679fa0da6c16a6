//! Percent-encoding of `grpc-message` (PROTOCOL-HTTP2, "Status-Message").

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends `text` (UTF-8) to `out`: bytes 0x20 to 0x7E but `%` stay, all others become `%XX`.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        }
    }
}

/// Reads a `grpc-message`. It never fails: an escape that is none stays as it came, and bytes that
/// are not UTF-8 become U+FFFD, since a broken message must not hide the status beside it.
pub fn decode(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%'
            && let Some((&[high, low], after)) = tail.split_first_chunk::<2>()
            && let (Some(high), Some(low)) = (hex_digit(high), hex_digit(low))
        {
            bytes.push(high << 4 | low);
            rest = after;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_by_the_document() {
        let mut out = Vec::new();
        encode("50 % \t\r\nö~\u{7f}".as_bytes(), &mut out);
        assert_eq!(out, b"50 %25 %09%0D%0A%C3%B6~%7F");
    }

    #[test]
    fn decoding_never_fails() {
        assert_eq!(decode(b"a%2"), "a%2");
        assert_eq!(decode(b"%"), "%");
        assert_eq!(decode(b"%zz%41"), "%zzA");
        assert_eq!(decode(b"%c3%b6"), "ö");
        assert_eq!(decode(b"%FF"), "\u{fffd}");
    }
}
