//! Packing and unpacking messages: gzip (RFC 1952) and zlib (RFC 1950) streams, one message each.
//!
//! The contexts are the thread's and are reset for each message; none exists before the first.

use flate2::{Compress, Crc, Decompress, FlushCompress, FlushDecompress, Status};
use millrace_grpc::Encoding;

/// Bytes of a buffer that are kept from one message to the next.
const KEPT_BYTES: usize = 256 * 1024;
/// The first room for an unpacked message.
const FIRST_BYTES: usize = 4096;
/// A message smaller than this is not worth packing: the frame of gzip alone has 18 bytes.
const WORTH_BYTES: usize = 32;
/// The part of a gzip member's head that every member has, and what follows its data.
const GZIP_HEAD: usize = 10;
const GZIP_TAIL: usize = 8;

/// Why a message could not be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The bytes are not a complete stream of their encoding.
    Malformed,
    /// The message is larger than allowed; no more of it was unpacked.
    TooLarge,
}

/// The thread's contexts and buffers.
#[derive(Default)]
pub(crate) struct Codec {
    inflate: Option<Decompress>,
    gzip: Option<Compress>,
    zlib: Option<Compress>,
    /// What was unpacked last.
    pub(crate) inflated: Vec<u8>,
    /// What was packed last.
    pub(crate) deflated: Vec<u8>,
}

impl Codec {
    /// Unpacks a message of at most `limit` bytes into `inflated`.
    pub(crate) fn inflate(
        &mut self,
        encoding: Encoding,
        input: &[u8],
        limit: usize,
    ) -> Result<(), Failure> {
        if self.inflated.capacity() > KEPT_BYTES {
            self.inflated = Vec::new();
        }
        self.inflated.clear();
        let output = &mut self.inflated;
        let context = self.inflate.get_or_insert_with(|| Decompress::new(true));
        match encoding {
            Encoding::Identity => Err(Failure::Malformed),
            Encoding::Deflate => {
                context.reset(true);
                let used = inflate(context, input, output, limit)?;
                if used == input.len() {
                    Ok(())
                } else {
                    Err(Failure::Malformed)
                }
            }
            Encoding::Gzip => {
                let mut rest = input;
                loop {
                    let data = gzip_data(rest).ok_or(Failure::Malformed)?;
                    let start = output.len();
                    context.reset(false);
                    let used = inflate(context, data, output, limit)?;
                    let Some((tail, next)) = data[used..].split_first_chunk::<GZIP_TAIL>() else {
                        return Err(Failure::Malformed);
                    };
                    let mut sum = Crc::new();
                    sum.update(&output[start..]);
                    let length = (output.len() - start) as u32;
                    if tail[..4] != sum.sum().to_le_bytes() || tail[4..] != length.to_le_bytes() {
                        return Err(Failure::Malformed);
                    }
                    if next.is_empty() {
                        return Ok(());
                    }
                    rest = next;
                }
            }
        }
    }

    /// Packs a message into `deflated`; `false` if it would not become smaller.
    pub(crate) fn deflate(&mut self, encoding: Encoding, input: &[u8]) -> bool {
        if input.len() < WORTH_BYTES {
            return false;
        }
        let level = flate2::Compression::default();
        let context = match encoding {
            Encoding::Identity => return false,
            Encoding::Gzip => self
                .gzip
                .get_or_insert_with(|| Compress::new_gzip(level, 15)),
            Encoding::Deflate => self.zlib.get_or_insert_with(|| Compress::new(level, true)),
        };
        context.reset();
        if self.deflated.capacity() > KEPT_BYTES {
            self.deflated = Vec::new();
        }
        self.deflated.clear();
        // What does not fit here would not be smaller.
        self.deflated.reserve(input.len());
        let output = &mut self.deflated;
        let end = context.compress_vec(input, output, FlushCompress::Finish);
        matches!(end, Ok(Status::StreamEnd)) && output.len() < input.len()
    }
}

/// Appends one stream's content to `output`; tells how many bytes of input the stream has.
fn inflate(
    context: &mut Decompress,
    input: &[u8],
    output: &mut Vec<u8>,
    limit: usize,
) -> Result<usize, Failure> {
    loop {
        if output.len() > limit {
            return Err(Failure::TooLarge);
        }
        if output.len() == output.capacity() {
            let more = output.len().max(FIRST_BYTES);
            output.reserve_exact(more.min(limit - output.len() + 1));
        }
        let (used, filled) = (context.total_in() as usize, output.len());
        let status = context
            .decompress_vec(&input[used..], output, FlushDecompress::None)
            .map_err(|_| Failure::Malformed)?;
        let advanced = context.total_in() as usize > used || output.len() > filled;
        match status {
            Status::StreamEnd if output.len() > limit => return Err(Failure::TooLarge),
            Status::StreamEnd => return Ok(context.total_in() as usize),
            _ if !advanced => return Err(Failure::Malformed),
            _ => {}
        }
    }
}

/// What follows the head of a gzip member (RFC 1952, 2.3).
fn gzip_data(member: &[u8]) -> Option<&[u8]> {
    const HEADER_SUM: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const RESERVED: u8 = 0xe0;
    let (head, mut rest) = member.split_first_chunk::<GZIP_HEAD>()?;
    let flags = head[3];
    if head[..3] != [0x1f, 0x8b, 8] || flags & RESERVED != 0 {
        return None;
    }
    if flags & EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HEADER_SUM != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: [Encoding; 2] = [Encoding::Gzip, Encoding::Deflate];

    fn packed(codec: &mut Codec, encoding: Encoding, input: &[u8]) -> Vec<u8> {
        assert!(codec.deflate(encoding, input));
        codec.deflated.clone()
    }

    #[test]
    fn what_was_packed_is_unpacked_again_and_again() {
        let mut codec = Codec::default();
        for length in [200, 1000, 100_000, 4_000_000] {
            for encoding in BOTH {
                let input: Vec<u8> = (0..length).map(|at| (at / 7 % 50) as u8).collect();
                let bytes = packed(&mut codec, encoding, &input);
                assert_eq!(codec.inflate(encoding, &bytes, length), Ok(()));
                assert_eq!(codec.inflated, input);
                let small = codec.inflate(encoding, &bytes, length - 1);
                assert_eq!(small, Err(Failure::TooLarge));
            }
        }
    }

    #[test]
    fn what_would_grow_is_left_alone() {
        let mut codec = Codec::default();
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(1000)
        .collect();
        for encoding in BOTH {
            assert!(!codec.deflate(encoding, &noise));
            assert!(!codec.deflate(encoding, b"short"));
            assert!(codec.deflate(encoding, &[7; 1000]));
        }
    }

    #[test]
    fn a_bomb_is_unpacked_no_further_than_the_limit() {
        let mut codec = Codec::default();
        for encoding in BOTH {
            let bomb = packed(&mut codec, encoding, &vec![0; 16 * 1024 * 1024]);
            assert!(bomb.len() < 64 * 1024);
            let result = codec.inflate(encoding, &bomb, 100_000);
            assert_eq!(result, Err(Failure::TooLarge));
            assert!(codec.inflated.capacity() <= KEPT_BYTES);
        }
    }

    #[test]
    fn a_cut_or_lengthened_stream_is_malformed_at_every_byte() {
        let mut codec = Codec::default();
        for encoding in BOTH {
            let mut bytes = packed(&mut codec, encoding, &[&b"what repeats "[..]; 9].concat());
            for end in 0..bytes.len() {
                let result = codec.inflate(encoding, &bytes[..end], 1000);
                assert_eq!(result, Err(Failure::Malformed), "{encoding:?} cut at {end}");
            }
            bytes.push(0);
            let result = codec.inflate(encoding, &bytes, 1000);
            assert_eq!(result, Err(Failure::Malformed));
        }
    }

    #[test]
    fn gzip_may_have_every_part_of_a_head_and_several_members() {
        let mut codec = Codec::default();
        let plain = packed(&mut codec, Encoding::Gzip, &[b'a'; 40]);
        let mut full = vec![0x1f, 0x8b, 8, 2 | 4 | 8 | 16, 0, 0, 0, 0, 0, 255];
        full.extend(b"\x03\0xyzname\0comment\0\x12\x34");
        full.extend(&plain[GZIP_HEAD..]);
        let members = [full, plain.clone()].concat();
        assert_eq!(codec.inflate(Encoding::Gzip, &members, 80), Ok(()));
        assert_eq!(codec.inflated, [b'a'; 80]);
        let over = codec.inflate(Encoding::Gzip, &members, 79);
        assert_eq!(over, Err(Failure::TooLarge));
        for at in [0, 1, 2, 3, plain.len() - 8, plain.len() - 1] {
            let mut broken = plain.clone();
            broken[at] ^= 0xff;
            let result = codec.inflate(Encoding::Gzip, &broken, 80);
            assert_eq!(result, Err(Failure::Malformed), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_or_refused(input in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut codec = Codec::default();
            for encoding in BOTH {
                let _ = codec.inflate(encoding, &input, 1000);
                prop_assert!(codec.inflated.len() <= FIRST_BYTES);
                if codec.deflate(encoding, &input) {
                    let bytes = codec.deflated.clone();
                    prop_assert_eq!(codec.inflate(encoding, &bytes, 1000), Ok(()));
                    prop_assert_eq!(&codec.inflated, &input);
                }
            }
        }
    }
}
