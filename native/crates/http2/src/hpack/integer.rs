//! Prefix-coded integers (RFC 7541 section 5.1).

/// Nothing in HTTP/2 that we accept comes near this; larger values are an error.
const MAXIMUM: u32 = 1 << 28;

/// Reads an integer whose first byte, at `input[*at]`, keeps it in its low `prefix` bits.
/// `None`: truncated or too large. `at` moves behind it.
#[inline]
pub(crate) fn decode(input: &[u8], at: &mut usize, prefix: u32) -> Option<u32> {
    let mask = (1u32 << prefix) - 1;
    let first = u32::from(*input.get(*at)?) & mask;
    *at += 1;
    if first < mask {
        return Some(first);
    }
    let mut value = mask;
    let mut shift = 0;
    loop {
        let byte = *input.get(*at)?;
        *at += 1;
        // Five bytes of continuation carry more than MAXIMUM, also when padded with zeros.
        if shift > 28 {
            return None;
        }
        value = value.checked_add(u32::from(byte & 0x7f).checked_shl(shift)?)?;
        if value > MAXIMUM {
            return None;
        }
        if byte & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
    }
}

/// Writes `value` with `pattern` in the bits above the prefix.
#[inline]
pub(crate) fn encode(value: usize, prefix: u32, pattern: u8, out: &mut Vec<u8>) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7541_c_1() {
        let mut out = Vec::new();
        encode(10, 5, 0, &mut out);
        encode(1337, 5, 0, &mut out);
        encode(42, 8, 0, &mut out);
        assert_eq!(out, [0b01010, 0b11111, 0b1001_1010, 0b0000_1010, 42]);
        let mut at = 0;
        assert_eq!(decode(&out, &mut at, 5), Some(10));
        assert_eq!(decode(&out, &mut at, 5), Some(1337));
        assert_eq!(decode(&out, &mut at, 8), Some(42));
        assert_eq!(at, out.len());
    }

    #[test]
    fn too_large_padded_and_truncated_are_refused() {
        for bytes in [
            &[0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f][..],
            &[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
            &[0x7f, 0x80],
            &[],
        ] {
            assert_eq!(decode(bytes, &mut 0, 7), None, "{bytes:x?}");
        }
    }
}
