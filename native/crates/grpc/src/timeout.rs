//! The `grpc-timeout` field (PROTOCOL-HTTP2, "Timeout"): 1 to 8 digits and a unit.

/// Longest encoded timeout: 8 digits and the unit.
pub const ENCODED_BYTES_MAX: usize = 9;

const DIGITS_MAX: usize = 8;
const VALUE_MAX: u64 = 99_999_999;

/// Reads a timeout as milliseconds, rounded up, so that a deadline is never earlier than asked for.
/// 0 is accepted and means that the deadline has passed. Returns `None` if the value is malformed.
#[inline]
pub fn parse(value: &[u8]) -> Option<u64> {
    let (&unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let mut number: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(digit - b'0');
    }
    // The largest, 99,999,999 hours, is 3.6e14 milliseconds: nothing here can overflow.
    match unit {
        b'H' => Some(number * 3_600_000),
        b'M' => Some(number * 60_000),
        b'S' => Some(number * 1_000),
        b'm' => Some(number),
        b'u' => Some(number.div_ceil(1_000)),
        b'n' => Some(number.div_ceil(1_000_000)),
        _ => None,
    }
}

/// Writes a timeout in the smallest unit that fits 8 digits, rounded up, and returns the part of
/// `out` that was written. Beyond 99,999,999 hours it writes that.
pub fn encode(milliseconds: u64, out: &mut [u8; ENCODED_BYTES_MAX]) -> &[u8] {
    const UNITS: [(u64, u8); 4] = [(1, b'm'), (1_000, b'S'), (60_000, b'M'), (3_600_000, b'H')];
    let (mut value, unit) = UNITS
        .into_iter()
        .map(|(size, unit)| (milliseconds.div_ceil(size), unit))
        .find(|&(value, _)| value <= VALUE_MAX)
        .unwrap_or((VALUE_MAX, b'H'));
    let mut start = DIGITS_MAX;
    out[start] = unit;
    loop {
        start -= 1;
        out[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &out[start..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_each_unit_rounding_up() {
        let cases: [(&str, u64); 9] = [
            ("1H", 3_600_000),
            ("2M", 120_000),
            ("3S", 3_000),
            ("4m", 4),
            ("1u", 1),
            ("1001u", 2),
            ("1n", 1),
            ("0n", 0),
            ("99999999H", 99_999_999 * 3_600_000),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(parse(text.as_bytes()), Some(milliseconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_malformed() {
        for text in [
            "",
            "m",
            "1",
            "1x",
            "-1m",
            "+1m",
            "123456789m",
            "1.5S",
            " 1m",
            "1mm",
            "1 m",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn encodes_in_the_smallest_unit_that_fits() {
        let cases: [(u64, &str); 6] = [
            (0, "0m"),
            (99_999_999, "99999999m"),
            (100_000_000, "100000S"),
            (99_999_999_001, "1666667M"),
            (u64::MAX, "99999999H"),
            (99_999_998_001, "99999999S"),
        ];
        for (milliseconds, text) in cases {
            let mut out = [0; ENCODED_BYTES_MAX];
            assert_eq!(encode(milliseconds, &mut out), text.as_bytes());
        }
    }
}
