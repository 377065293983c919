use super::*;

fn every_type() -> Item<'static> {
    let tag = Tag(0x42_0020);
    Item::structure(
        Tag::REQUEST_MESSAGE,
        vec![
            Item::integer(tag, -8),
            Item::new(tag, Value::LongInteger(1 << 56)),
            Item::new(tag, Value::BigInteger(&[1, 2, 3, 4, 5, 6, 7, 8])),
            Item::enumeration(tag, 255),
            Item::new(tag, Value::Boolean(true)),
            Item::text(tag, "Hello World"),
            Item::new(tag, Value::ByteString(&[1, 2, 3])),
            Item::new(tag, Value::DateTime(0x47da_67f8)),
            Item::new(tag, Value::Interval(864_000)),
            Item::structure(tag, vec![]),
        ],
    )
}

#[test]
fn the_examples_of_the_specification_read_and_write() {
    // KMIP 1.4, 9.1.2.
    let tag = Tag(0x42_0020);
    for (bytes, value) in [
        (
            &[0x42, 0, 0x20, 2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0][..],
            Value::Integer(8),
        ),
        (
            &[0x42, 0, 0x20, 5, 0, 0, 0, 4, 0, 0, 0, 255, 0, 0, 0, 0],
            Value::Enumeration(255),
        ),
        (
            &[0x42, 0, 0x20, 6, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1],
            Value::Boolean(true),
        ),
        (
            &[0x42, 0, 0x20, 8, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0],
            Value::ByteString(&[1, 2, 3]),
        ),
        (
            &[0x42, 0, 0x20, 10, 0, 0, 0, 4, 0, 0x0d, 0x2f, 0, 0, 0, 0, 0],
            Value::Interval(864_000),
        ),
    ] {
        let item = Item::new(tag, value);
        assert_eq!(decode(bytes).as_ref(), Ok(&item));
        assert_eq!(encode(&item).as_deref(), Some(bytes));
    }
}

#[test]
fn every_type_reads_back() {
    let bytes = encode(&every_type()).unwrap();
    assert_eq!(decode(&bytes), Ok(every_type()));
}

#[test]
fn every_cut_is_refused() {
    let bytes = encode(&every_type()).unwrap();
    for length in 0..bytes.len() {
        assert_eq!(decode(&bytes[..length]), Err(TtlvError::Cut), "{length}");
    }
}

#[test]
fn every_changed_byte_is_refused_or_reads_back_as_it_stands() {
    let bytes = encode(&every_type()).unwrap();
    for position in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[position] ^= flip;
            if let Ok(item) = decode(&changed) {
                assert_eq!(encode(&item), Some(changed), "byte {position}");
            }
        }
    }
}

#[test]
fn a_length_that_promises_gigabytes_is_refused() {
    for kind in [1, 4, 7, 8] {
        for length in [u32::MAX, u32::MAX - 7, 1 << 30] {
            let mut bytes = vec![0x42, 0, 0x20, kind];
            bytes.extend(length.to_be_bytes());
            bytes.extend([0; 64]);
            assert_eq!(decode(&bytes), Err(TtlvError::Cut));
        }
    }
}

#[test]
fn each_fault_is_named() {
    let head = |kind: u8, length: u32, body: &[u8]| {
        let mut bytes = vec![0x42, 0, 0x20, kind];
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
        bytes
    };
    for (bytes, error) in [
        (head(11, 0, &[]), TtlvError::UnknownType(11)),
        (head(0, 0, &[]), TtlvError::UnknownType(0)),
        (head(2, 4, &[0, 0, 0, 1, 0, 0, 0, 1]), TtlvError::Padding),
        (
            head(2, 8, &[0; 8]),
            TtlvError::Length { kind: 2, length: 8 },
        ),
        (head(4, 0, &[]), TtlvError::Length { kind: 4, length: 0 }),
        (head(6, 8, &[0, 0, 0, 0, 0, 0, 0, 2]), TtlvError::Boolean),
        (head(7, 1, &[255, 0, 0, 0, 0, 0, 0, 0]), TtlvError::Text),
        (head(8, 0, &[0]), TtlvError::LeftOver),
    ] {
        assert_eq!(decode(&bytes), Err(error), "{bytes:02x?}");
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let nest = |depth: usize| {
        let mut item = Item::structure(Tag::NAME, vec![]);
        for _ in 1..depth {
            item = Item::structure(Tag::NAME, vec![item]);
        }
        encode(&item).unwrap()
    };
    assert!(decode(&nest(MAX_DEPTH)).is_ok());
    assert_eq!(decode(&nest(MAX_DEPTH + 1)), Err(TtlvError::TooDeep));

    let many = |count| {
        let items = vec![Item::structure(Tag::NAME, vec![]); count];
        encode(&Item::structure(Tag::NAME, items)).unwrap()
    };
    assert!(decode(&many(MAX_ITEMS - 1)).is_ok());
    assert_eq!(decode(&many(MAX_ITEMS)), Err(TtlvError::TooMany));
}

#[test]
fn debug_output_shows_no_bytes() {
    let item = Item::new(Tag::KEY_MATERIAL, Value::ByteString(&[0xab, 0xcd]));
    let text = format!("{item:?}");
    assert!(text.contains("2 bytes"), "{text}");
    assert!(!text.contains("171") && !text.contains("ab"), "{text}");
}
