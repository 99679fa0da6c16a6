//! Base64 with the standard alphabet (RFC 4648, section 4), as `-bin` metadata uses it: padded and
//! unpadded in, unpadded out.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const INVALID: u8 = 0xff;
const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut index = 0;
    while index < ALPHABET.len() {
        values[ALPHABET[index] as usize] = index as u8;
        index += 1;
    }
    values
};

/// Appends the unpadded encoding of `bytes`.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let sextet = |bits: u32, shift: u32| ALPHABET[(bits >> shift & 63) as usize];
    let (groups, rest) = bytes.as_chunks::<3>();
    out.reserve(encoded_length(bytes.len()));
    for &[a, b, c] in groups {
        let bits = u32::from_be_bytes([0, a, b, c]);
        out.extend_from_slice(&[18, 12, 6, 0].map(|shift| sextet(bits, shift)));
    }
    match *rest {
        [a] => {
            let bits = u32::from_be_bytes([0, a, 0, 0]);
            out.extend_from_slice(&[18, 12].map(|shift| sextet(bits, shift)));
        }
        [a, b] => {
            let bits = u32::from_be_bytes([0, a, b, 0]);
            out.extend_from_slice(&[18, 12, 6].map(|shift| sextet(bits, shift)));
        }
        _ => {}
    }
}

/// Bytes that [`encode`] appends for `length` bytes.
pub(crate) fn encoded_length(length: usize) -> usize {
    (length * 4).div_ceil(3)
}

/// Appends what `text` encodes and returns whether it is valid; if not, `out` is as before.
///
/// Bits left over in the last character are ignored: decoders differ in what they demand there,
/// and a peer's sloppy encoder is no reason to refuse its call.
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let before = out.len();
    let valid = decode_groups(text, out);
    if !valid {
        out.truncate(before);
    }
    valid
}

/// Whether [`decode`] would succeed.
pub(crate) fn is_valid(text: &[u8]) -> bool {
    let digits = without_padding(text);
    digits.is_some_and(|digits| {
        digits.len() % 4 != 1
            && digits
                .iter()
                .all(|&byte| VALUES[usize::from(byte)] != INVALID)
    })
}

/// Strips padding; `None` if there is padding that does not fill the last group.
fn without_padding(text: &[u8]) -> Option<&[u8]> {
    let digits = match text {
        [digits @ .., b'=', b'='] | [digits @ .., b'='] => digits,
        digits => return Some(digits),
    };
    text.len().is_multiple_of(4).then_some(digits)
}

fn decode_groups(text: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(digits) = without_padding(text) else {
        return false;
    };
    let (groups, rest) = digits.as_chunks::<4>();
    out.reserve(digits.len() * 3 / 4);
    for group in groups {
        let Some(bits) = join(group) else {
            return false;
        };
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    let Some(bits) = join(rest) else {
        return false;
    };
    match rest.len() {
        0 => true,
        2 => {
            out.push((bits >> 4) as u8);
            true
        }
        3 => {
            out.extend_from_slice(&((bits >> 2) as u16).to_be_bytes());
            true
        }
        _ => false,
    }
}

/// The sextets of up to four characters, joined; `None` if one is not of the alphabet.
fn join(characters: &[u8]) -> Option<u32> {
    let mut bits = 0;
    let mut seen = 0;
    for &character in characters {
        let value = VALUES[usize::from(character)];
        seen |= value;
        bits = bits << 6 | u32::from(value & 63);
    }
    (seen != INVALID).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(bytes, &mut out);
        out
    }

    fn decoded(text: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        let valid = decode(text, &mut out);
        assert_eq!(valid, is_valid(text), "{text:?}");
        assert!(out.starts_with(b"before"));
        assert!(valid || out.len() == 6);
        valid.then(|| out.split_off(6))
    }

    #[test]
    fn the_vectors_of_rfc_4648_section_10() {
        let vectors: [(&[u8], &[u8]); 7] = [
            (b"", b""),
            (b"f", b"Zg=="),
            (b"fo", b"Zm8="),
            (b"foo", b"Zm9v"),
            (b"foob", b"Zm9vYg=="),
            (b"fooba", b"Zm9vYmE="),
            (b"foobar", b"Zm9vYmFy"),
        ];
        for (bytes, text) in vectors {
            let unpadded: Vec<u8> = text.iter().copied().filter(|&byte| byte != b'=').collect();
            assert_eq!(encoded(bytes), unpadded);
            assert_eq!(encoded_length(bytes.len()), unpadded.len());
            assert_eq!(decoded(text).as_deref(), Some(bytes));
            assert_eq!(decoded(&unpadded).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn refuses_what_is_no_base64() {
        for text in [
            "A",
            "AAAAA",
            "A===",
            "AA=",
            "AAA==",
            "=",
            "==",
            "====",
            "AA==AA==",
            "AA A",
            "A-_A",
            "AAA\n",
            "AAA\u{e9}",
        ] {
            assert_eq!(decoded(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn ignores_bits_left_over() {
        assert_eq!(decoded(b"Zh").as_deref(), Some(&b"f"[..]));
    }

    proptest::proptest! {
        #[test]
        fn round_trips(bytes: Vec<u8>) {
            proptest::prop_assert_eq!(decoded(&encoded(&bytes)), Some(bytes));
        }
    }
}
