//! Decoding of header blocks (RFC 7541 sections 3, 6).

use super::dynamic_table::{DynamicTable, ENTRY_OVERHEAD};
use super::field::{Class, FieldList};
use super::{huffman, integer, static_table};

/// Why a block could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The peer's and our state of the table differ from here on.
    Malformed(&'static str),
    /// The decoded list is beyond `ListLimits::abort_bytes`.
    TooLarge,
}

/// How much of a list is kept, and how much is put up with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListLimits {
    /// Beyond: the list is marked oversized and emptied.
    pub(crate) bytes: usize,
    /// Beyond: as above.
    pub(crate) fields: usize,
    /// Beyond: `DecodeError::TooLarge`.
    pub(crate) abort_bytes: usize,
    /// False: decode for the effect on the table alone.
    pub(crate) keep: bool,
}

/// The receiving end of one direction.
pub(crate) struct Decoder {
    table: DynamicTable,
    /// SETTINGS_HEADER_TABLE_SIZE of ours: what the peer may set the table to.
    allowed: usize,
}

impl Decoder {
    /// Until the peer has acknowledged our setting, it may go by the default of 4,096 bytes.
    pub(crate) fn new(setting: usize) -> Self {
        const DEFAULT: usize = 4_096;
        Self {
            table: DynamicTable::new(DEFAULT),
            allowed: setting.max(DEFAULT),
        }
    }

    /// The peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE. If that made the table smaller,
    /// the next block has to say so (RFC 9113 section 4.3.1).
    pub(crate) fn acknowledge(&mut self, setting: usize) {
        self.allowed = setting;
    }

    /// See [`DynamicTable::revision`].
    #[inline]
    pub(crate) fn revision(&self) -> u32 {
        self.table.revision()
    }

    /// Decodes one whole block into `list`, which is cleared first. Returns whether the block
    /// consists of indexed fields alone: then the same block with the same revision of the table
    /// means the same list.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        list: &mut FieldList,
        limits: &ListLimits,
    ) -> Result<bool, DecodeError> {
        list.clear();
        if !limits.keep {
            list.oversized = true;
        }
        let mut at = 0;
        let mut only_indexed = true;
        let mut updates = 0;
        if self.table.maximum() > self.allowed && block.first().is_none_or(|b| b & 0xe0 != 0x20) {
            return Err(DecodeError::Malformed("table size update missing"));
        }
        while let Some(&first) = block.get(at) {
            if first & 0x80 != 0 {
                let index = read_integer(block, &mut at, 7)?;
                self.indexed(index, list, limits)?;
                continue;
            }
            only_indexed = false;
            if first & 0xc0 == 0x40 {
                let index = read_integer(block, &mut at, 6)?;
                self.literal(block, &mut at, index, true, list, limits)?;
            } else if first & 0xe0 == 0x20 {
                let size = read_integer(block, &mut at, 5)?;
                updates += 1;
                // RFC 7541 section 4.2: at the start of a block, at most two.
                if list.count > 0 || updates > 2 {
                    return Err(DecodeError::Malformed("table size update out of place"));
                }
                if size > self.allowed {
                    return Err(DecodeError::Malformed(
                        "table size update above the setting",
                    ));
                }
                self.table.set_maximum(size);
            } else {
                let index = read_integer(block, &mut at, 4)?;
                self.literal(block, &mut at, index, false, list, limits)?;
            }
        }
        Ok(only_indexed)
    }

    #[inline]
    fn indexed(
        &mut self,
        index: usize,
        list: &mut FieldList,
        limits: &ListLimits,
    ) -> Result<(), DecodeError> {
        let (name, value, class) = if index.wrapping_sub(1) < static_table::LENGTH {
            let (name, value) = static_table::TABLE[index - 1];
            (name, value, static_class(index))
        } else {
            index
                .checked_sub(static_table::LENGTH + 1)
                .and_then(|index| self.table.get(index))
                .ok_or(DecodeError::Malformed("index beyond the tables"))?
        };
        if account(list, name.len() + value.len(), limits)? {
            list.push_copy(name, value, class);
        }
        Ok(())
    }

    fn literal(
        &mut self,
        block: &[u8],
        at: &mut usize,
        index: usize,
        insert: bool,
        list: &mut FieldList,
        limits: &ListLimits,
    ) -> Result<(), DecodeError> {
        let start = list.arena().len();
        let name_class = match index {
            0 => {
                read_string(block, at, list.arena())?;
                Class::of_name(&list.arena()[start..])
            }
            1..=static_table::LENGTH => {
                list.arena()
                    .extend_from_slice(static_table::TABLE[index - 1].0);
                static_class(index)
            }
            _ => {
                let (name, _, class) = self
                    .table
                    .get(index - static_table::LENGTH - 1)
                    .ok_or(DecodeError::Malformed("index beyond the tables"))?;
                list.arena().extend_from_slice(name);
                class.name()
            }
        };
        let middle = list.arena().len();
        read_string(block, at, list.arena())?;
        let (name, value) = list.arena()[start..].split_at(middle - start);
        let class = name_class.with_value(value);
        if insert {
            self.table.insert(name, value, class);
        }
        let bytes = list.arena().len() - start;
        if account(list, bytes, limits)? {
            list.push(start, middle - start, class);
        } else {
            list.arena().clear();
        }
        Ok(())
    }
}

/// The class of a static entry is its name's first index.
#[inline]
fn static_class(index: usize) -> Class {
    static CLASSES: [Class; static_table::LENGTH] = {
        let mut classes = [Class::BAD_NAME; static_table::LENGTH];
        let mut i = 0;
        while i < static_table::LENGTH {
            classes[i] = Class::of_static(match i + 1 {
                2 | 3 => 2,
                4 | 5 => 4,
                6 | 7 => 6,
                8..=14 => 8,
                index => index as u8,
            });
            i += 1;
        }
        classes
    };
    CLASSES[index - 1]
}

/// Counts a field; false: it is not kept.
#[inline]
fn account(list: &mut FieldList, bytes: usize, limits: &ListLimits) -> Result<bool, DecodeError> {
    list.size += bytes + ENTRY_OVERHEAD;
    list.count += 1;
    if list.size > limits.abort_bytes {
        return Err(DecodeError::TooLarge);
    }
    if !list.oversized && (list.size > limits.bytes || list.count > limits.fields) {
        list.overflow();
    }
    Ok(!list.oversized)
}

#[inline]
fn read_integer(block: &[u8], at: &mut usize, prefix: u32) -> Result<usize, DecodeError> {
    integer::decode(block, at, prefix)
        .map(|value| value as usize)
        .ok_or(DecodeError::Malformed("integer truncated or too large"))
}

#[inline]
fn read_string(block: &[u8], at: &mut usize, arena: &mut Vec<u8>) -> Result<(), DecodeError> {
    let huffman_coded = block.get(*at).is_some_and(|first| first & 0x80 != 0);
    let length = read_integer(block, at, 7)?;
    let end = *at + length;
    let bytes = block
        .get(*at..end)
        .ok_or(DecodeError::Malformed("string beyond the block"))?;
    *at = end;
    if !huffman_coded {
        arena.extend_from_slice(bytes);
    } else if !huffman::decode(bytes, arena) {
        return Err(DecodeError::Malformed("wrong Huffman code"));
    }
    Ok(())
}
