//! Metadata survives the way to the application and back.

use millrace_grpc::metadata::{
    BlockReader, MetadataError, encode_block, encode_wire, is_custom_name,
};
use proptest::prelude::*;

type Entries = Vec<(String, Vec<u8>)>;

fn block(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = (entries.len() as u32).to_le_bytes().to_vec();
    for (name, value) in entries {
        bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

fn read(block: &[u8]) -> Result<Entries, MetadataError> {
    BlockReader::new(block)
        .map(|entry| {
            entry.map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec()))
        })
        .collect()
}

fn received(fields: &[(&str, &str)]) -> Entries {
    let mut out = b"kept".to_vec();
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let count = encode_block(fields, &mut out);
    assert!(out.starts_with(b"kept"));
    let entries = read(&out[4..]).unwrap();
    assert_eq!(entries.len(), count as usize);
    entries
}

fn entries() -> impl Strategy<Value = Entries> {
    let ascii = ("[0-9a-z_.-]{1,12}x", "[!-~]([ -~]{0,20}[!-~])?")
        .prop_map(|(name, value)| (name, value.into_bytes()));
    let binary = ("[0-9a-z_.-]{0,12}-bin", any::<Vec<u8>>());
    let entry = prop_oneof![ascii, binary]
        .prop_filter("custom", |(name, _)| is_custom_name(name.as_bytes()));
    prop::collection::vec(entry, 0..8)
}

proptest! {
    #[test]
    fn to_the_wire_and_back(entries in entries()) {
        let mut scratch = Vec::new();
        let wire = encode_wire(&block(&entries), &mut scratch).unwrap();
        let mut out = Vec::new();
        let count = encode_block(wire, &mut out);
        prop_assert_eq!(count as usize, entries.len());
        prop_assert_eq!(read(&out), Ok(entries));
    }

    #[test]
    fn a_block_cut_anywhere_is_an_error_after_whole_entries(entries in entries(), cut: prop::sample::Index) {
        let bytes = block(&entries);
        let cut = cut.index(bytes.len());
        let mut reader = BlockReader::new(&bytes[..cut]);
        let mut whole = 0;
        for entry in reader.by_ref() {
            match entry {
                Ok((name, value)) => {
                    prop_assert_eq!(name, entries[whole].0.as_bytes());
                    prop_assert_eq!(value, &entries[whole].1[..]);
                    whole += 1;
                }
                Err(error) => {
                    prop_assert_eq!(error, MetadataError::MalformedBlock);
                    whole = usize::MAX;
                }
            }
        }
        // An empty slice stands for a block without entries; any other cut is an error.
        prop_assert_eq!(whole, if cut == 0 { 0 } else { usize::MAX });
        prop_assert!(reader.next().is_none());
    }

    #[test]
    fn any_bytes_are_a_block_or_an_error(bytes: Vec<u8>) {
        let mut scratch = Vec::new();
        if let Ok(wire) = encode_wire(&bytes, &mut scratch) {
            for (name, value) in wire {
                prop_assert!(is_custom_name(name));
                prop_assert!(value.iter().all(|byte| (b' '..=b'~').contains(byte)));
            }
        }
    }

    #[test]
    fn any_fields_make_a_block_that_reads_back(fields: Vec<(Vec<u8>, Vec<u8>)>) {
        let mut out = Vec::new();
        let count = encode_block(fields.iter().map(|(name, value)| (&name[..], &value[..])), &mut out);
        let entries: Result<Vec<_>, _> = BlockReader::new(&out).collect();
        prop_assert_eq!(entries.unwrap().len(), count as usize);
    }
}

#[test]
fn reserved_names_stay_out() {
    assert_eq!(
        received(&[
            (":path", "/a/b"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "grpc-node-js/1"),
            ("grpc-timeout", "1S"),
            ("grpc-internal-encoding-request", "x"),
            ("x-request-id", "7"),
            ("grpc-status-details-bin", "AAAA"),
            ("grpc-trace-bin", "AAE"),
        ]),
        [
            ("x-request-id".into(), b"7".to_vec()),
            ("grpc-status-details-bin".into(), vec![0, 0, 0]),
            ("grpc-trace-bin".into(), vec![0, 1]),
        ]
    );
}

#[test]
fn binary_values_are_split_at_commas_before_decoding() {
    assert_eq!(
        received(&[("k-bin", "Zg==,Zm8, Zm9v ,"), ("k-bin", "Zg")]),
        [
            ("k-bin".into(), b"f".to_vec()),
            ("k-bin".into(), b"fo".to_vec()),
            ("k-bin".into(), b"foo".to_vec()),
            ("k-bin".into(), b"".to_vec()),
            ("k-bin".into(), b"f".to_vec()),
        ]
    );
}

#[test]
fn what_grpc_does_not_allow_is_left_out() {
    assert_eq!(
        received(&[("a", "\u{e4}"), ("b-bin", "*"), ("c", "ok"), ("d!", "x")]),
        [("c".into(), b"ok".to_vec())]
    );
}

#[test]
fn what_must_not_be_sent_is_refused() {
    let cases: [(&str, &[u8], MetadataError); 6] = [
        ("", b"", MetadataError::IllegalName),
        ("Upper", b"", MetadataError::IllegalName),
        (":status", b"200", MetadataError::IllegalName),
        ("grpc-status", b"0", MetadataError::ReservedName),
        ("content-type", b"x", MetadataError::ReservedName),
        ("name", b"a\nb", MetadataError::IllegalValue),
    ];
    for (name, value, error) in cases {
        let mut scratch = Vec::new();
        let bytes = block(&[(name.into(), value.to_vec())]);
        assert_eq!(
            encode_wire(&bytes, &mut scratch).err(),
            Some(error),
            "{name}"
        );
    }
}

#[test]
fn a_block_that_goes_on_behind_its_entries_is_malformed() {
    assert_eq!(read(&[0, 0, 0, 0, 9]), Err(MetadataError::MalformedBlock));
    assert_eq!(read(&[]), Ok(vec![]));
}

#[test]
fn spaces_around_a_value_are_not_sent() {
    let mut scratch = Vec::new();
    let bytes = block(&[("name".into(), b"  a b ".to_vec())]);
    let fields: Vec<_> = encode_wire(&bytes, &mut scratch).unwrap().collect();
    assert_eq!(fields, [(&b"name"[..], &b"a b"[..])]);
}
