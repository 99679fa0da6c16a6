//! Metadata in all its forms: fields to a block and back, any bytes as a block, request heads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_grpc::metadata::{self, BlockReader, Entry};
use millrace_grpc::{Head, message, timeout};

/// Fields made of the input: a length byte, a name, a length byte, a value, and so on. Half of the
/// names are taken from a list, for few random names mean anything.
fn fields(mut rest: &[u8]) -> Vec<Entry<'_>> {
    const NAMES: [&[u8]; 10] = [
        b":method",
        b":path",
        b"content-type",
        b"te",
        b"grpc-timeout",
        b"grpc-encoding",
        b"x-custom",
        b"x-custom-bin",
        b"grpc-status-details-bin",
        b"user-agent",
    ];
    let mut fields = Vec::new();
    while let Some((&choice, tail)) = rest.split_first() {
        let (name, tail) = match NAMES.get(usize::from(choice)) {
            Some(&name) => (name, tail),
            None => tail.split_at(tail.len().min(usize::from(choice % 16))),
        };
        let Some((&length, tail)) = tail.split_first() else {
            break;
        };
        let (value, tail) = tail.split_at(tail.len().min(usize::from(length)));
        fields.push((name, value));
        rest = tail;
    }
    fields
}

fuzz_target!(|data: &[u8]| {
    let fields = fields(data);

    let head = Head::read(fields.iter().copied());
    let mut block = Vec::new();
    let count = metadata::encode_block(fields.iter().copied(), &mut block);
    let entries: Vec<_> = BlockReader::new(&block)
        .collect::<Result<_, _>>()
        .expect("a block of ours reads back");
    assert_eq!(entries.len(), count as usize);
    if let Ok(head) = head {
        assert_eq!(head.path.first(), Some(&b'/'));
        assert!(head.has_metadata || count == 0);
    }

    // To the wire and back, all stays as it was but spaces around ASCII values.
    let mut scratch = Vec::new();
    let wire = metadata::encode_wire(&block, &mut scratch).expect("what was received may be sent");
    for (name, value) in wire.clone() {
        assert!(metadata::is_custom_name(name) && metadata::is_ascii_value(value));
    }
    let mut again = Vec::new();
    metadata::encode_block(wire, &mut again);
    let trimmed: Vec<_> = entries
        .iter()
        .map(|&(name, value)| match metadata::is_binary_name(name) {
            true => (name, value),
            false => (name, value.trim_ascii()),
        })
        .collect();
    let again: Vec<_> = BlockReader::new(&again)
        .collect::<Result<_, _>>()
        .expect("a block of ours reads back");
    assert_eq!(again, trimmed);

    // Any bytes are a block or an error, and what is read from them lies inside them.
    let mut read = 4;
    for (name, value) in BlockReader::new(data).map_while(Result::ok) {
        read += 8 + name.len() + value.len();
        assert!(read <= data.len());
    }

    let text = message::decode(data);
    let mut encoded = Vec::new();
    message::encode(text.as_bytes(), &mut encoded);
    assert!(metadata::is_ascii_value(&encoded));
    assert_eq!(message::decode(&encoded), text);

    if let Some(milliseconds) = timeout::parse(data) {
        let mut buffer = [0; timeout::ENCODED_BYTES_MAX];
        let parsed = timeout::parse(timeout::encode(milliseconds, &mut buffer));
        assert!(parsed.is_some_and(|parsed| parsed >= milliseconds));
    }
});
