//! Header lists as the decoder leaves them, and what is known about each field.

use super::static_table;

/// What a field is, found out once when its literal is read and kept with it in the dynamic table,
/// so that an indexed field costs no second look.
///
/// The low bits name the field: the wire index of the first static entry of that name, or one of
/// the values below. The high bit says that the value may not stand in HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(u8);

const BAD_VALUE: u8 = 0x80;

impl Class {
    pub(crate) const AUTHORITY: Class = Class(1);
    pub(crate) const METHOD: Class = Class(2);
    pub(crate) const PATH: Class = Class(4);
    pub(crate) const SCHEME: Class = Class(6);
    pub(crate) const STATUS: Class = Class(8);
    pub(crate) const CONTENT_LENGTH: Class = Class(28);
    pub(crate) const HOST: Class = Class(38);
    pub(crate) const TRANSFER_ENCODING: Class = Class(57);
    /// A legal name without meaning to this layer.
    pub(crate) const ORDINARY: Class = Class(64);
    pub(crate) const TE: Class = Class(65);
    /// Connection, Keep-Alive, Proxy-Connection, Upgrade (RFC 9113 section 8.2.2).
    pub(crate) const CONNECTION_SPECIFIC: Class = Class(66);
    /// A name that starts with a colon and is not defined.
    pub(crate) const UNKNOWN_PSEUDO: Class = Class(67);
    pub(crate) const BAD_NAME: Class = Class(68);

    /// The class of a name by the wire index of its first static entry.
    pub(super) const fn of_static(first: u8) -> Class {
        Class(first)
    }

    pub(crate) fn of_name(name: &[u8]) -> Class {
        if let Some(index) = static_table::find_name(name) {
            return Class(index as u8);
        }
        match name {
            [] => Class::BAD_NAME,
            [b':', ..] => Class::UNKNOWN_PSEUDO,
            b"te" => Class::TE,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"upgrade" => {
                Class::CONNECTION_SPECIFIC
            }
            _ if name.iter().all(|&b| NAME_BYTES[b as usize]) => Class::ORDINARY,
            _ => Class::BAD_NAME,
        }
    }

    /// The same name with another value.
    #[inline]
    pub(crate) fn with_value(self, value: &[u8]) -> Class {
        if is_legal_value(value) {
            self.name()
        } else {
            Class(self.0 | BAD_VALUE)
        }
    }

    #[inline]
    pub(crate) fn name(self) -> Class {
        Class(self.0 & !BAD_VALUE)
    }

    #[inline]
    pub(crate) fn has_bad_value(self) -> bool {
        self.0 & BAD_VALUE != 0
    }

    #[inline]
    pub(crate) fn is_pseudo(self) -> bool {
        self.name().0 < 15 || self.name() == Class::UNKNOWN_PSEUDO
    }
}

/// RFC 9113 section 8.2.1: no NUL, CR or LF, no white space at either end.
#[inline]
fn is_legal_value(value: &[u8]) -> bool {
    let edge = |b: &u8| matches!(b, b' ' | b'\t');
    if value.first().is_some_and(edge) || value.last().is_some_and(edge) {
        return false;
    }
    !value
        .iter()
        .fold(false, |bad, b| bad | matches!(b, 0 | b'\r' | b'\n'))
}

/// The token characters of RFC 9110 section 5.6.2 without upper case.
static NAME_BYTES: [bool; 256] = {
    let mut legal = [false; 256];
    let mut byte = 0usize;
    while byte < 256 {
        legal[byte] = matches!(byte as u8,
            b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+'
            | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    legal
};

#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    name: u32,
    value: u32,
    class: Class,
}

/// An arena larger than this is not kept for the next list.
const KEPT_BYTES: usize = 4_096;

/// One header list in one arena, reused for the next.
#[derive(Default)]
pub(crate) struct FieldList {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Counted as SETTINGS_MAX_HEADER_LIST_SIZE counts.
    pub(super) size: usize,
    pub(super) count: usize,
    pub(super) oversized: bool,
}

impl FieldList {
    pub(crate) fn clear(&mut self) {
        // One large list is not to weigh on its connection for ever.
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.entries.clear();
        self.size = 0;
        self.count = 0;
        self.oversized = false;
    }

    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    #[inline]
    pub(crate) fn is_oversized(&self) -> bool {
        self.oversized
    }

    /// Nothing is kept any more.
    pub(super) fn overflow(&mut self) {
        self.oversized = true;
        self.bytes.clear();
        self.entries.clear();
    }

    #[inline]
    pub(super) fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The field that was appended to the arena from `start` on, with a name of `name` bytes.
    #[inline]
    pub(super) fn push(&mut self, start: usize, name: usize, class: Class) {
        self.entries.push(Entry {
            start: start as u32,
            name: name as u32,
            value: (self.bytes.len() - start - name) as u32,
            class,
        });
    }

    #[inline]
    pub(super) fn push_copy(&mut self, name: &[u8], value: &[u8], class: Class) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.push(start, name.len(), class);
    }

    #[inline]
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields {
            bytes: &self.bytes,
            entries: self.entries.iter(),
        }
    }

    /// Class and value of each, in order.
    #[inline]
    pub(crate) fn classes(&self) -> impl Iterator<Item = (Class, &[u8])> {
        self.entries.iter().map(|entry| {
            let start = (entry.start + entry.name) as usize;
            (
                entry.class,
                &self.bytes[start..start + entry.value as usize],
            )
        })
    }
}

/// Name and value of each field of the last `Headers` event, in order.
#[derive(Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    entries: std::slice::Iter<'a, Entry>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        let start = entry.start as usize;
        let middle = start + entry.name as usize;
        Some((
            &self.bytes[start..middle],
            &self.bytes[middle..middle + entry.value as usize],
        ))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Fields<'_> {}

impl std::fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        f.debug_map()
            .entries(self.clone().map(|(name, value)| (text(name), text(value))))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_classified() {
        for (name, class) in [
            (&b":path"[..], Class::PATH),
            (b":status", Class::STATUS),
            (b"content-length", Class::CONTENT_LENGTH),
            (b"host", Class::HOST),
            (b"transfer-encoding", Class::TRANSFER_ENCODING),
            (b"te", Class::TE),
            (b"connection", Class::CONNECTION_SPECIFIC),
            (b"upgrade", Class::CONNECTION_SPECIFIC),
            (b":protocol", Class::UNKNOWN_PSEUDO),
            (b"", Class::BAD_NAME),
            (b"Te", Class::BAD_NAME),
            (b"a b", Class::BAD_NAME),
            (b"a:b", Class::BAD_NAME),
            (b"\x7f", Class::BAD_NAME),
            (b"grpc-status", Class::ORDINARY),
        ] {
            assert_eq!(Class::of_name(name).with_value(b"v"), class, "{name:?}");
        }
        assert!(Class::PATH.is_pseudo() && Class::UNKNOWN_PSEUDO.is_pseudo());
        assert!(!Class::HOST.is_pseudo() && !Class::ORDINARY.is_pseudo());
    }

    #[test]
    fn values_are_checked() {
        for bad in [&b"a\0"[..], b"a\rb", b"a\nb", b" a", b"a ", b"\ta", b" "] {
            assert!(
                Class::of_name(b"x").with_value(bad).has_bad_value(),
                "{bad:?}"
            );
        }
        for good in [&b""[..], b"a b", b"\xff\x80", b"a\tb"] {
            assert!(
                !Class::of_name(b"x").with_value(good).has_bad_value(),
                "{good:?}"
            );
        }
    }
}
