//! The static table (RFC 7541 Appendix A) and its search by name.

/// Number of entries; dynamic indices start behind it.
pub(crate) const LENGTH: usize = 61;

/// Entry `i` is index `i + 1` on the wire. Entries of one name are neighbours.
pub(crate) static TABLE: [(&[u8], &[u8]); LENGTH] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

const SLOTS: usize = 256;

const fn slot(name: &[u8]) -> usize {
    let length = name.len();
    let middle = name[length / 2] as usize;
    let last = name[length - 1] as usize;
    (length * 7 + name[0] as usize + middle * 5 + last * 29) % SLOTS
}

/// Open addressing by a cheap hash: wire index of the first entry of a name, 0 for none.
static BY_NAME: [u8; SLOTS] = {
    let mut slots = [0u8; SLOTS];
    let mut index = 0;
    while index < LENGTH {
        let name = TABLE[index].0;
        let repeated = index > 0 && same(TABLE[index - 1].0, name);
        if !repeated {
            let mut at = slot(name);
            while slots[at] != 0 {
                at = (at + 1) % SLOTS;
            }
            slots[at] = index as u8 + 1;
        }
        index += 1;
    }
    slots
};

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// The wire index of the first entry with this name.
#[inline]
pub(crate) fn find_name(name: &[u8]) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    let mut at = slot(name);
    loop {
        match BY_NAME[at] {
            0 => return None,
            index if TABLE[index as usize - 1].0 == name => return Some(index as usize),
            _ => at = (at + 1) % SLOTS,
        }
    }
}

/// The wire index of the entry with this value among those of the name whose first entry is `first`.
#[inline]
pub(crate) fn find_value(first: usize, value: &[u8]) -> Option<usize> {
    let values = match first {
        2 | 4 | 6 => 2,
        8 => 7,
        _ => 1,
    };
    TABLE[first - 1..first - 1 + values]
        .iter()
        .position(|entry| entry.1 == value)
        .map(|offset| first + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_name_and_value() {
        for (i, (name, value)) in TABLE.iter().enumerate() {
            let first = find_name(name).expect("a static name");
            assert_eq!(TABLE[first - 1].0, *name);
            assert_eq!(find_value(first, value), Some(i + 1));
        }
        assert_eq!(find_name(b"grpc-status"), None);
        assert_eq!(find_name(b""), None);
        assert_eq!(find_value(8, b"201"), None);
    }
}
