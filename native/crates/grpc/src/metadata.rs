//! Custom metadata: which header fields are metadata, and the block in which they cross to the
//! application and back (PROTOCOL-HTTP2, "Custom-Metadata").
//!
//! # The metadata block
//!
//! Little-endian: `u32` count; then for each entry `u32` name length, `u32` value length, the name's
//! bytes, the value's bytes. Values of names that end in `-bin` are raw bytes in the block and
//! base64 in header fields; the translation happens here. Entries keep the order of the fields.

use crate::base64;
use std::fmt;

/// A name and a value.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

const COUNT_BYTES: usize = 4;
const ENTRY_HEAD_BYTES: usize = 8;

/// Names that begin with `grpc-` and are the application's business all the same: status details
/// (a trailer), the two fields of retries (proposal A6), and what tracing hands on.
const SHARED_NAMES: [&[u8]; 5] = [
    b"grpc-status-details-bin",
    b"grpc-retry-pushback-ms",
    b"grpc-previous-rpc-attempts",
    b"grpc-trace-bin",
    b"grpc-tags-bin",
];

/// Whether the name consists of what metadata names may: `0-9 a-z _ - .`, at least one of them.
#[inline]
pub fn is_legal_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'_' | b'-' | b'.'))
}

/// Whether the name belongs to HTTP or to gRPC itself, so that no application sees or sets it.
#[inline]
pub fn is_reserved_name(name: &[u8]) -> bool {
    match name.len() {
        2 => name == b"te",
        4 => name == b"host",
        7 => name == b"upgrade",
        10 => matches!(name, b"user-agent" | b"connection" | b"keep-alive"),
        12 if name == b"content-type" => true,
        14 if name == b"content-length" => true,
        15 if name == b"accept-encoding" => true,
        16 if name == b"proxy-connection" => true,
        17 if name == b"transfer-encoding" => true,
        _ => name.starts_with(b"grpc-") && !SHARED_NAMES.contains(&name),
    }
}

/// Whether a field of this name is custom metadata.
#[inline]
pub fn is_custom_name(name: &[u8]) -> bool {
    is_legal_name(name) && !is_reserved_name(name)
}

/// Whether values of this name are bytes, base64 in header fields.
#[inline]
pub fn is_binary_name(name: &[u8]) -> bool {
    name.ends_with(b"-bin")
}

/// Whether the value may stand in an ASCII header field: bytes 0x20 to 0x7E.
#[inline]
pub fn is_ascii_value(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The values of a received `-bin` field: intermediaries may have joined several with commas, so
/// they are split before each is decoded. Spaces around a comma are no part of a value.
fn binary_values(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(|part| part.trim_ascii())
}

/// Whether every value of a received `-bin` field is base64.
pub(crate) fn is_binary_field(value: &[u8]) -> bool {
    binary_values(value).all(base64::is_valid)
}

/// Appends the block of all custom metadata among received header fields and returns the number
/// of its entries.
///
/// Fields that are no custom metadata are left out, and so are ASCII values with bytes that gRPC
/// does not allow and `-bin` values that are no base64: both are legal HTTP, and no reason to fail
/// here ([`crate::request::Head::read`] refuses a request with the latter).
pub fn encode_block<'a>(fields: impl IntoIterator<Item = Entry<'a>>, out: &mut Vec<u8>) -> u32 {
    let start = out.len();
    out.extend_from_slice(&[0; COUNT_BYTES]);
    let mut count: u32 = 0;
    for (name, value) in fields {
        if !is_custom_name(name) {
            continue;
        }
        if is_binary_name(name) {
            for part in binary_values(value) {
                let entry = out.len();
                push_head(out, name.len(), 0);
                out.extend_from_slice(name);
                let before = out.len();
                if base64::decode(part, out) {
                    let length = (out.len() - before) as u32;
                    out[entry + 4..entry + 8].copy_from_slice(&length.to_le_bytes());
                    count += 1;
                } else {
                    out.truncate(entry);
                }
            }
        } else if is_ascii_value(value) {
            push_entry(out, name, value);
            count += 1;
        }
    }
    out[start..start + COUNT_BYTES].copy_from_slice(&count.to_le_bytes());
    count
}

fn push_head(out: &mut Vec<u8>, name_length: usize, value_length: usize) {
    out.extend_from_slice(&(name_length as u32).to_le_bytes());
    out.extend_from_slice(&(value_length as u32).to_le_bytes());
}

fn push_entry(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push_head(out, name.len(), value.len());
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

/// A block that cannot be read, or an entry that must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataError {
    /// The block ends before what its lengths announce, or goes on behind it.
    MalformedBlock,
    /// A name has characters other than `0-9 a-z _ - .`, or none.
    IllegalName,
    /// A name belongs to HTTP or gRPC.
    ReservedName,
    /// A value of a name without `-bin` has bytes other than 0x20 to 0x7E.
    IllegalValue,
}

impl fmt::Display for MetadataError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            MetadataError::MalformedBlock => "metadata block is malformed",
            MetadataError::IllegalName => {
                "metadata name is empty or has characters other than 0-9 a-z _ - ."
            }
            MetadataError::ReservedName => "metadata name is reserved for HTTP or gRPC",
            MetadataError::IllegalValue => {
                "metadata value has bytes other than 0x20 to 0x7E, and its name does not end in -bin"
            }
        })
    }
}

impl std::error::Error for MetadataError {}

/// Reads a metadata block: an iterator of `(name, value)`, which ends after the first error.
#[derive(Clone, Debug)]
pub struct BlockReader<'a> {
    rest: &'a [u8],
    /// Entries still to come; `None` until the count was read.
    left: Option<u32>,
}

impl<'a> BlockReader<'a> {
    /// `block`: the whole block and nothing else. An empty slice is a block without entries.
    pub fn new(block: &'a [u8]) -> Self {
        let left = if block.is_empty() { Some(0) } else { None };
        Self { rest: block, left }
    }

    fn word(&mut self) -> Result<u32, MetadataError> {
        let (word, rest) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or(MetadataError::MalformedBlock)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*word))
    }

    fn bytes(&mut self, length: u32) -> Result<&'a [u8], MetadataError> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(length as usize)
            .ok_or(MetadataError::MalformedBlock)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn entry(&mut self) -> Result<Option<Entry<'a>>, MetadataError> {
        let left = match self.left {
            Some(left) => left,
            None => self.word()?,
        };
        if left == 0 {
            self.left = Some(0);
            return if self.rest.is_empty() {
                Ok(None)
            } else {
                Err(MetadataError::MalformedBlock)
            };
        }
        self.left = Some(left - 1);
        let name_length = self.word()?;
        let value_length = self.word()?;
        Ok(Some((self.bytes(name_length)?, self.bytes(value_length)?)))
    }
}

impl<'a> Iterator for BlockReader<'a> {
    type Item = Result<Entry<'a>, MetadataError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entry().transpose();
        if matches!(entry, Some(Err(_))) {
            self.rest = &[];
            self.left = Some(0);
        }
        entry
    }
}

/// Header fields made from a block by [`encode_wire`]: an iterator of `(name, value)`.
#[derive(Clone, Debug)]
pub struct Wire<'a> {
    /// Entries without a count, each known to be whole.
    rest: &'a [u8],
}

impl Wire<'_> {
    /// No fields.
    pub const NONE: Wire<'static> = Wire { rest: &[] };
}

impl<'a> Iterator for Wire<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.rest.split_first_chunk::<ENTRY_HEAD_BYTES>()?;
        let [a, b, c, d, e, f, g, h] = *head;
        let name_length = u32::from_le_bytes([a, b, c, d]) as usize;
        let value_length = u32::from_le_bytes([e, f, g, h]) as usize;
        let (name, rest) = rest.split_at_checked(name_length)?;
        let (value, rest) = rest.split_at_checked(value_length)?;
        self.rest = rest;
        Some((name, value))
    }
}

/// Turns the application's block into header fields: checks names and values, encodes `-bin`
/// values as unpadded base64, and strips spaces around the others, which RFC 9113 (section 8.2.1)
/// forbids. The fields live in `scratch`, which is cleared first.
///
/// # Errors
/// The first thing in the block that must not be sent; then nothing is.
pub fn encode_wire<'s>(block: &[u8], scratch: &'s mut Vec<u8>) -> Result<Wire<'s>, MetadataError> {
    scratch.clear();
    for entry in BlockReader::new(block) {
        let (name, value) = entry?;
        if !is_legal_name(name) {
            return Err(MetadataError::IllegalName);
        }
        if is_reserved_name(name) {
            return Err(MetadataError::ReservedName);
        }
        if is_binary_name(name) {
            push_head(scratch, name.len(), base64::encoded_length(value.len()));
            scratch.extend_from_slice(name);
            base64::encode(value, scratch);
        } else if is_ascii_value(value) {
            push_entry(scratch, name, value.trim_ascii());
        } else {
            return Err(MetadataError::IllegalValue);
        }
    }
    Ok(Wire { rest: scratch })
}
