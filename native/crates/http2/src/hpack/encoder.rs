//! Encoding of header lists, in the order in which the blocks leave.

use super::dynamic_table::{DynamicTable, ENTRY_OVERHEAD};
use super::field::Class;
use super::{huffman, integer, static_table};

/// How a field may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Indexing {
    /// Repeated: goes into the dynamic table.
    Index,
    /// Varies: literal, not added.
    Skip,
    /// Secret: literal, never to be indexed by anyone on the way.
    Never,
}

/// A field to send. Names are lowercase; pseudo-header fields come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Lowercase name.
    pub name: &'a [u8],
    /// Value.
    pub value: &'a [u8],
    /// How it may be compressed.
    pub indexing: Indexing,
}

/// The sending end of one direction.
pub(crate) struct Encoder {
    table: DynamicTable,
    /// What we use at most, whatever the peer allows.
    own_maximum: usize,
    /// The lowest size since the last block, if it changed (RFC 7541 section 4.2).
    lowest: Option<usize>,
}

impl Encoder {
    /// Starts with the peer's default of 4,096 bytes, or less if `own_maximum` is less.
    pub(crate) fn new(own_maximum: usize) -> Self {
        const INITIAL: usize = 4_096;
        Self {
            table: DynamicTable::new(INITIAL),
            own_maximum,
            lowest: (own_maximum < INITIAL).then_some(own_maximum),
        }
        .with_maximum(own_maximum.min(INITIAL))
    }

    fn with_maximum(mut self, maximum: usize) -> Self {
        self.table.set_maximum(maximum);
        self
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE.
    pub(crate) fn set_peer_maximum(&mut self, maximum: usize) {
        let maximum = maximum.min(self.own_maximum);
        if maximum != self.table.maximum() {
            self.table.set_maximum(maximum);
            self.lowest = Some(self.lowest.unwrap_or(maximum).min(maximum));
        }
    }

    /// To be called before the first field of each block.
    #[inline]
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(lowest) = self.lowest.take() {
            let now = self.table.maximum();
            if lowest < now {
                integer::encode(lowest, 5, 0x20, out);
            }
            integer::encode(now, 5, 0x20, out);
        }
    }

    #[inline]
    pub(crate) fn encode(&mut self, field: Field<'_>, out: &mut Vec<u8>) {
        let Field {
            name,
            value,
            indexing,
        } = field;
        let static_name = static_table::find_name(name);
        let may_index = indexing != Indexing::Never;
        if may_index
            && let Some(first) = static_name
            && let Some(index) = static_table::find_value(first, value)
        {
            return integer::encode(index, 7, 0x80, out);
        }
        let (dynamic, dynamic_name) = self.table.find(name, value);
        if may_index && let Some(index) = dynamic {
            return integer::encode(static_table::LENGTH + 1 + index, 7, 0x80, out);
        }
        let name_index = static_name.or_else(|| {
            dynamic
                .or(dynamic_name)
                .map(|index| static_table::LENGTH + 1 + index)
        });
        let fits = name.len() + value.len() + ENTRY_OVERHEAD <= self.table.maximum();
        let (prefix, pattern, insert) = match indexing {
            Indexing::Index if fits => (6, 0x40, true),
            Indexing::Index | Indexing::Skip => (4, 0x00, false),
            Indexing::Never => (4, 0x10, false),
        };
        integer::encode(name_index.unwrap_or(0), prefix, pattern, out);
        if name_index.is_none() {
            write_string(name, out);
        }
        write_string(value, out);
        if insert {
            self.table.insert(name, value, Class::ORDINARY);
        }
    }
}

fn write_string(string: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::encoded_length(string);
    if coded < string.len() {
        integer::encode(coded, 7, 0x80, out);
        huffman::encode(string, out);
    } else {
        integer::encode(string.len(), 7, 0, out);
        out.extend_from_slice(string);
    }
}
