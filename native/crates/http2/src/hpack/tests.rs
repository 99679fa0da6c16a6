//! RFC 7541 Appendix C, the rules a block can break, and properties of decoder and encoder.

use proptest::prelude::*;

use super::dynamic_table::DynamicTable;
use super::field::Class;
use super::{DecodeError, Decoder, Encoder, Field, FieldList, Indexing, ListLimits};

const LIMITS: ListLimits = ListLimits {
    bytes: 16_384,
    fields: 128,
    abort_bytes: 65_536,
    keep: true,
};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let digit = |b: u8| (b as char).to_digit(16).expect("a hexadecimal digit") as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn pairs(list: &FieldList) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    list.fields().map(|(n, v)| (text(n), text(v))).collect()
}

/// Decodes each block with one decoder and compares with `name: value` lines.
fn check(table_bytes: Option<u32>, blocks: &[(&str, &[&str])]) {
    let mut decoder = Decoder::new(4_096);
    let mut list = FieldList::default();
    if table_bytes == Some(256) {
        decoder
            .decode(&[0x3f, 0xe1, 0x01], &mut list, &LIMITS)
            .expect("a size update to 256");
    }
    for (hex, lines) in blocks {
        decoder
            .decode(&bytes(hex), &mut list, &LIMITS)
            .expect("a block of the RFC");
        let expected: Vec<_> = lines
            .iter()
            .map(|line| {
                let (name, value) = line.rsplit_once(": ").expect("a line");
                (name.to_owned(), value.to_owned())
            })
            .collect();
        assert_eq!(pairs(&list), expected);
    }
}

#[test]
fn c_2_single_fields() {
    check(
        None,
        &[
            (
                "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
                &["custom-key: custom-header"],
            ),
            (
                "040c 2f73 616d 706c 652f 7061 7468",
                &[":path: /sample/path"],
            ),
            (
                "1008 7061 7373 776f 7264 0673 6563 7265 74",
                &["password: secret"],
            ),
            ("82", &[":method: GET"]),
            ("be", &["custom-key: custom-header"]),
        ],
    );
}

const REQUESTS: [&[&str]; 3] = [
    &[
        ":method: GET",
        ":scheme: http",
        ":path: /",
        ":authority: www.example.com",
    ],
    &[
        ":method: GET",
        ":scheme: http",
        ":path: /",
        ":authority: www.example.com",
        "cache-control: no-cache",
    ],
    &[
        ":method: GET",
        ":scheme: https",
        ":path: /index.html",
        ":authority: www.example.com",
        "custom-key: custom-value",
    ],
];

#[test]
fn c_3_and_c_4_requests() {
    check(
        None,
        &[
            (
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                REQUESTS[0],
            ),
            ("8286 84be 5808 6e6f 2d63 6163 6865", REQUESTS[1]),
            (
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
                REQUESTS[2],
            ),
        ],
    );
    check(
        None,
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUESTS[0]),
            ("8286 84be 5886 a8eb 1064 9cbf", REQUESTS[1]),
            (
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
                REQUESTS[2],
            ),
        ],
    );
}

const COOKIE: &str = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";

/// `check` splits at the last colon and space; none of the values holds one.
const RESPONSES: [&[&str]; 3] = [
    &[
        ":status: 302",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ],
    &[
        ":status: 307",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ],
    &[
        ":status: 200",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:22 GMT",
        "location: https://www.example.com",
        "content-encoding: gzip",
        COOKIE,
    ],
];

#[test]
fn c_5_and_c_6_responses_with_eviction() {
    check(
        Some(256),
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230
                 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65
                 7861 6d70 6c65 2e63 6f6d",
                RESPONSES[0],
            ),
            ("4803 3330 37c1 c0bf", RESPONSES[1]),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220
                 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157
                 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076
                 6572 7369 6f6e 3d31",
                RESPONSES[2],
            ),
        ],
    );
    check(
        Some(256),
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0
                 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                RESPONSES[0],
            ),
            ("4883 640e ffc1 c0bf", RESPONSES[1]),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b
                 d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27
                 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                RESPONSES[2],
            ),
        ],
    );
}

/// The encoder writes C.4's very bytes: static indices, the dynamic table, Huffman where shorter.
#[test]
fn c_4_encoded() {
    let mut encoder = Encoder::new(4_096);
    let expected = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for (lines, hex) in REQUESTS.iter().zip(expected) {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for line in *lines {
            let (name, value) = line.rsplit_once(": ").expect("a line");
            encoder.encode(field(name, value, Indexing::Index), &mut out);
        }
        assert_eq!(out, bytes(hex));
    }
}

fn field<'a>(name: &'a str, value: &'a str, indexing: Indexing) -> Field<'a> {
    Field {
        name: name.as_bytes(),
        value: value.as_bytes(),
        indexing,
    }
}

#[test]
fn secrets_are_never_indexed() {
    let mut encoder = Encoder::new(4_096);
    let mut out = Vec::new();
    encoder.encode(field("authorization", "x", Indexing::Never), &mut out);
    encoder.encode(field("authorization", "x", Indexing::Never), &mut out);
    assert_eq!(out, [0x1f, 8, 1, b'x', 0x1f, 8, 1, b'x']);
    out.clear();
    encoder.encode(field(":method", "GET", Indexing::Never), &mut out);
    assert_eq!(out[0], 0x12);
}

#[test]
fn a_smaller_table_is_announced_before_the_next_block() {
    let mut encoder = Encoder::new(4_096);
    let mut out = Vec::new();
    encoder.encode(field("a", "b", Indexing::Index), &mut out);
    encoder.set_peer_maximum(0);
    encoder.set_peer_maximum(100);
    out.clear();
    encoder.begin(&mut out);
    assert_eq!(out, [0x20, 0x3f, 100 - 31]);
    out.clear();
    encoder.begin(&mut out);
    encoder.encode(field("a", "b", Indexing::Index), &mut out);
    assert_eq!(out, [0x40, 1, b'a', 1, b'b'], "the table was emptied");
    encoder.set_peer_maximum(1 << 20);
    out.clear();
    encoder.begin(&mut out);
    assert_eq!(out, bytes("3fe11f"), "not beyond our own 4,096");
}

#[test]
fn broken_blocks_are_refused() {
    for (name, hex) in [
        ("index 0", "80"),
        ("index beyond the tables", "be"),
        ("name index beyond the tables", "7e0161"),
        ("no name", "40"),
        ("name beyond the block", "4005 6161"),
        ("no value", "4001 61"),
        ("integer without an end", "ffff"),
        ("integer too large", "ffffffffffff0f"),
        ("wrong Huffman padding", "4001 6181 18"),
        ("update above the setting", "3fe2 1f"),
        ("update behind a field", "8220"),
        ("three updates", "2020 20"),
    ] {
        let result = Decoder::new(4_096).decode(&bytes(hex), &mut FieldList::default(), &LIMITS);
        assert!(
            matches!(result, Err(DecodeError::Malformed(_))),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn an_acknowledged_reduction_has_to_be_followed_by_an_update() {
    let mut list = FieldList::default();
    let mut decoder = Decoder::new(100);
    assert!(decoder.decode(&[0x82], &mut list, &LIMITS).is_ok());
    decoder.acknowledge(100);
    assert!(decoder.decode(&[0x82], &mut list, &LIMITS).is_err());
    assert!(
        decoder
            .decode(&[0x3f, 69, 0x82], &mut list, &LIMITS)
            .is_ok()
    );
    assert!(decoder.decode(&[0x82], &mut list, &LIMITS).is_ok());
}

#[test]
fn an_oversized_list_keeps_nothing_and_the_table_right() {
    let mut decoder = Decoder::new(4_096);
    let mut list = FieldList::default();
    // One entry of 1,000 bytes, then 16 references to it.
    let mut block = vec![0x40, 1, b'a', 0x7f, 0xe8, 0x06];
    block.extend(vec![b'v'; 127 + 0x68 + (6 << 7)]);
    block.extend([0xbe; 16]);
    block.extend([0x40, 1, b'b', 1, b'c']);
    assert_eq!(decoder.decode(&block, &mut list, &LIMITS), Ok(false));
    assert!(list.is_oversized() && list.fields().next().is_none());
    assert_eq!(decoder.decode(&[0xbe], &mut list, &LIMITS), Ok(true));
    assert_eq!(pairs(&list), [("b".to_owned(), "c".to_owned())]);
    let bomb = [0xbf; 70];
    assert_eq!(
        decoder.decode(&bomb, &mut list, &LIMITS),
        Err(DecodeError::TooLarge)
    );
}

#[test]
fn fields_beyond_the_count_are_too_many() {
    let mut list = FieldList::default();
    let mut decoder = Decoder::new(4_096);
    assert!(decoder.decode(&[0x82; 128], &mut list, &LIMITS).is_ok());
    assert!(!list.is_oversized());
    assert!(decoder.decode(&[0x82; 129], &mut list, &LIMITS).is_ok());
    assert!(list.is_oversized());
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut table = DynamicTable::new(100);
    table.insert(b"a", b"b", Class::ORDINARY);
    assert_eq!(table.size(), 34);
    table.insert(b"a", &[b'x'; 68], Class::ORDINARY);
    assert_eq!(table.size(), 0);
    assert!(table.get(0).is_none());
}

fn arbitrary_field() -> impl Strategy<Value = (String, String, Indexing)> {
    let name = prop_oneof![
        Just(":path".to_owned()),
        Just(":status".to_owned()),
        Just("content-type".to_owned()),
        Just("grpc-status".to_owned()),
        "[a-z-]{1,40}",
    ];
    let value = prop_oneof![
        Just("200".to_owned()),
        Just("application/grpc".to_owned()),
        "[ -~]{0,300}",
        "\\PC{0,30}",
    ];
    let indexing = prop_oneof![
        Just(Indexing::Index),
        Just(Indexing::Skip),
        Just(Indexing::Never)
    ];
    (name, value, indexing)
}

#[derive(Clone, Debug)]
enum Step {
    Block(Vec<(String, String, Indexing)>),
    TableSize(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            4 => prop::collection::vec(arbitrary_field(), 0..12).prop_map(Step::Block),
            1 => (0u32..5_000).prop_map(Step::TableSize),
        ],
        0..30,
    )
}

proptest! {
    /// Through any changes of the table's size, what is encoded is decoded.
    #[test]
    fn decoder_reads_what_encoder_writes(steps in steps()) {
        let mut encoder = Encoder::new(4_096);
        let mut decoder = Decoder::new(4_096);
        let mut list = FieldList::default();
        for step in steps {
            match step {
                Step::TableSize(bytes) => encoder.set_peer_maximum(bytes as usize),
                Step::Block(fields) => {
                    let mut out = Vec::new();
                    encoder.begin(&mut out);
                    for (name, value, indexing) in &fields {
                        encoder.encode(field(name, value, *indexing), &mut out);
                    }
                    decoder.decode(&out, &mut list, &LIMITS).expect("our own block");
                    let expected: Vec<_> =
                        fields.into_iter().map(|(name, value, _)| (name, value)).collect();
                    prop_assert_eq!(pairs(&list), expected);
                }
            }
        }
    }

    /// The dynamic table against the obvious implementation.
    #[test]
    fn table_behaves_like_a_list(
        maximum in 0usize..600,
        entries in prop::collection::vec(("[a-c]{1,3}", "[a-z]{0,120}"), 0..60),
    ) {
        let mut table = DynamicTable::new(maximum);
        let mut model: Vec<(String, String)> = Vec::new();
        for (name, value) in entries {
            table.insert(name.as_bytes(), value.as_bytes(), Class::ORDINARY);
            model.insert(0, (name, value));
            while model.iter().map(|(n, v)| n.len() + v.len() + 32).sum::<usize>() > maximum {
                model.pop();
            }
            for (i, (name, value)) in model.iter().enumerate() {
                let (own_name, own_value, _) = table.get(i).expect("an entry");
                prop_assert_eq!((own_name, own_value), (name.as_bytes(), value.as_bytes()));
                let first = model.iter().position(|e| e == &model[i]);
                prop_assert_eq!(table.find(name.as_bytes(), value.as_bytes()).0, first);
            }
            prop_assert!(table.get(model.len()).is_none());
        }
    }

    /// Random bytes never panic, and the list respects its limits.
    #[test]
    fn decoder_survives_anything(blocks in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..200), 0..8)
    ) {
        let mut decoder = Decoder::new(4_096);
        let mut list = FieldList::default();
        for block in blocks {
            let result = decoder.decode(&block, &mut list, &LIMITS);
            prop_assert!(list.size() <= LIMITS.abort_bytes || result.is_err());
            prop_assert!(list.fields().count() <= LIMITS.fields);
            if result.is_err() {
                break;
            }
        }
    }

    #[test]
    fn huffman_reads_what_it_writes(input in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut coded = Vec::new();
        super::huffman::encode(&input, &mut coded);
        prop_assert_eq!(coded.len(), super::huffman::encoded_length(&input));
        let mut out = Vec::new();
        prop_assert!(super::huffman::decode(&coded, &mut out));
        prop_assert_eq!(out, input);
    }
}
