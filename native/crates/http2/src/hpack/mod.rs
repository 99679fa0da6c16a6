//! HPACK (RFC 7541): a decoder that keeps a header list in one reusable arena, and an encoder for
//! lists that hardly ever change.

mod decoder;
mod dynamic_table;
mod encoder;
mod field;
mod huffman;
mod integer;
mod static_table;
#[cfg(test)]
mod tests;

pub(crate) use decoder::{DecodeError, Decoder, ListLimits};
pub(crate) use encoder::Encoder;
pub use encoder::{Field, Indexing};
pub use field::Fields;
pub(crate) use field::{Class, FieldList};
