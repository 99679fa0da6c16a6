//! The Huffman code of RFC 7541 Appendix B.
//!
//! The code is canonical, so the lengths define it: codes are handed out by length, then by symbol.
//! Decoding walks the code tree four bits at a time through a table made at compile time; no code
//! is shorter than five bits, so a step yields at most one symbol.

const SYMBOLS: usize = 257;
const END_OF_STRING: usize = 256;

/// Bits per symbol.
#[rustfmt::skip]
static LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// Code of each symbol, right-aligned.
static CODES: [u32; SYMBOLS] = {
    let mut codes = [0u32; SYMBOLS];
    let mut next = 0u32;
    let mut length = 1;
    while length <= 30 {
        next <<= 1;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] == length {
                codes[symbol] = next;
                next += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    // A complete prefix code ends with the code of all ones.
    assert!(next == 1 << 30);
    codes
};

#[derive(Clone, Copy)]
struct Step {
    next: u8,
    flags: u8,
    symbol: u8,
}

const EMITS: u8 = 1;
const FAILS: u8 = 2;

/// Inner nodes of the code tree: one fewer than its leaves.
const NODES: usize = SYMBOLS - 1;
const LEAF: u16 = 0x8000;

static CHILDREN: [[u16; 2]; NODES] = {
    let mut children = [[0u16; 2]; NODES];
    let mut used = 1;
    let mut symbol = 0;
    while symbol < SYMBOLS {
        let mut node = 0;
        let mut bit = LENGTHS[symbol] as u32;
        while bit > 0 {
            bit -= 1;
            let side = (CODES[symbol] >> bit & 1) as usize;
            if bit == 0 {
                children[node][side] = LEAF | symbol as u16;
            } else {
                if children[node][side] == 0 {
                    children[node][side] = used;
                    used += 1;
                }
                node = children[node][side] as usize;
            }
        }
        symbol += 1;
    }
    children
};

static STEPS: [[Step; 16]; NODES] = {
    let mut steps = [[Step {
        next: 0,
        flags: 0,
        symbol: 0,
    }; 16]; NODES];
    let mut start = 0;
    while start < NODES {
        let mut nibble = 0;
        while nibble < 16 {
            let mut step = Step {
                next: 0,
                flags: 0,
                symbol: 0,
            };
            let mut node = start;
            let mut bit = 4;
            while bit > 0 {
                bit -= 1;
                let child = CHILDREN[node][nibble >> bit & 1];
                if child & LEAF == 0 {
                    node = child as usize;
                    continue;
                }
                node = 0;
                let symbol = (child & !LEAF) as usize;
                if symbol == END_OF_STRING {
                    step.flags |= FAILS;
                    break;
                }
                step.flags |= EMITS;
                step.symbol = symbol as u8;
            }
            step.next = node as u8;
            steps[start][nibble] = step;
            nibble += 1;
        }
        start += 1;
    }
    steps
};

/// Nodes a string may end in: fewer than eight bits of padding, all ones.
static ENDS: [bool; NODES] = {
    let mut ends = [false; NODES];
    let mut node = 0;
    let mut depth = 0;
    while depth < 8 {
        ends[node] = true;
        node = CHILDREN[node][1] as usize;
        depth += 1;
    }
    ends
};

/// Appends the decoded bytes; false: the end-of-string symbol, or wrong padding.
#[inline]
pub(crate) fn decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    // The shortest code has five bits.
    out.reserve(input.len() * 8 / 5 + 1);
    let mut node = 0u8;
    for &byte in input {
        for nibble in [byte >> 4, byte & 15] {
            let step = STEPS[node as usize][nibble as usize];
            if step.flags != 0 {
                if step.flags & FAILS != 0 {
                    return false;
                }
                out.push(step.symbol);
            }
            node = step.next;
        }
    }
    ENDS[node as usize]
}

/// Bytes that `encode` would write.
#[inline]
pub(crate) fn encoded_length(input: &[u8]) -> usize {
    let bits: usize = input.iter().map(|&b| LENGTHS[b as usize] as usize).sum();
    bits.div_ceil(8)
}

/// Appends the code of `input`, padded with ones.
pub(crate) fn encode(input: &[u8], out: &mut Vec<u8>) {
    let mut pending = 0u64;
    let mut bits = 0u32;
    for &byte in input {
        let length = u32::from(LENGTHS[byte as usize]);
        pending = pending << length | u64::from(CODES[byte as usize]);
        bits += length;
        while bits >= 8 {
            bits -= 8;
            out.push((pending >> bits) as u8);
        }
    }
    if bits > 0 {
        let padding = 8 - bits;
        out.push((pending << padding) as u8 | ((1u16 << padding) - 1) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_appendix_b() {
        for (symbol, code, length) in [
            (0, 0x1ff8, 13),
            (b'0' as usize, 0x0, 5),
            (b'a' as usize, 0x3, 5),
            (b'z' as usize, 0x7b, 7),
            (b'\\' as usize, 0x7fff0, 19),
            (195, 0x7fff1, 19),
            (249, 0xffffffe, 28),
            (255, 0x3ffffee, 26),
            (10, 0x3ffffffc, 30),
            (256, 0x3fffffff, 30),
        ] {
            assert_eq!((CODES[symbol], LENGTHS[symbol]), (code, length), "{symbol}");
        }
    }

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).collect();
        let mut coded = Vec::new();
        encode(&all, &mut coded);
        assert_eq!(coded.len(), encoded_length(&all));
        let mut out = Vec::new();
        assert!(decode(&coded, &mut out));
        assert_eq!(out, all);
    }

    #[test]
    fn wrong_padding_and_end_of_string_are_refused() {
        for bad in [
            &[0xff, 0xff, 0xff, 0xff][..], // the end-of-string symbol
            &[0b0001_1000],                // 'a', then zeros
            &[0x1f, 0xff],                 // 'a', then eleven ones
        ] {
            assert!(!decode(bad, &mut Vec::new()), "{bad:x?}");
        }
        assert!(decode(&[0x1f], &mut Vec::new()));
        assert!(decode(&[], &mut Vec::new()));
    }
}
