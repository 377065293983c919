//! As much of DER (ITU-T X.690) as a certificate to complete needs: what a caller sends is read, what the TPM adds is written.

use alloc::vec::Vec;

/// `INTEGER`.
const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(super) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub(super) const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
/// `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;
/// `NULL`, whole.
pub(super) const NULL: &[u8] = &[0x05, 0x00];

/// The tag of an explicit `[number]`.
pub(super) const fn explicit(number: u8) -> u8 {
    0xA0 | number
}

/// One element: tag, length and content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    /// The tag.
    pub(super) tag: u8,
    /// The content.
    pub(super) content: &'a [u8],
    /// The whole element.
    pub(super) whole: &'a [u8],
}

/// The elements of some content, in order; `None` stands for bytes that are no element, and ends them.
pub(super) fn elements(content: &[u8]) -> impl Iterator<Item = Option<Element<'_>>> {
    let mut rest = content;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let element = first(rest);
        rest = element.map_or(&[], |(_, after)| after);
        Some(element.map(|(element, _)| element))
    })
}

/// The only element of the bytes, if it fills them.
pub(super) fn only(bytes: &[u8]) -> Option<Element<'_>> {
    first(bytes)
        .filter(|(_, rest)| rest.is_empty())
        .map(|(element, _)| element)
}

/// The first element and what follows it. Lengths have at most two octets, and no more than they need.
fn first(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    // Tags of more than one octet occur in no certificate.
    if tag & 0x1F == 0x1F {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81 => {
            let (&length, rest) = rest.split_first()?;
            (usize::from(length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let least = match first {
        0x81 => 0x80,
        0x82 => 0x100,
        _ => 0,
    };
    if length < least {
        return None;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    let (whole, _) = bytes.split_at_checked(bytes.len() - rest.len())?;
    let element = Element {
        tag,
        content,
        whole,
    };
    Some((element, rest))
}

/// The bits of a `BIT STRING` of at most 32, the first in the most significant place.
pub(super) fn bits(element: Element<'_>) -> Option<u32> {
    if element.tag != BIT_STRING {
        return None;
    }
    let (&unused, octets) = element.content.split_first()?;
    if unused > 7 || octets.len() > 4 || octets.is_empty() && unused != 0 {
        return None;
    }
    let mut word = [0; 4];
    for (to, from) in word.iter_mut().zip(octets) {
        *to = *from;
    }
    let used = u32::try_from(octets.len()).ok()? * 8 - u32::from(unused);
    let mask = u32::MAX.checked_shl(32 - used).unwrap_or_default();
    Some(u32::from_be_bytes(word) & mask)
}

/// An element whose content is these parts.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 5);
    out.push(tag);
    let octets = length.to_be_bytes();
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let needed = octets.get(zeros..).unwrap_or_default();
    if length >= 0x80 {
        out.push(0x80 | u8::try_from(needed.len()).unwrap_or_default());
    }
    out.extend_from_slice(if length == 0 { &[0] } else { needed });
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// A number that is not negative, big-endian with any zeros in front.
pub(super) fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    let sign: &[u8] = match number.first() {
        Some(0..0x80) => &[],
        _ => &[0],
    };
    element(INTEGER, &[sign, number])
}

/// A string of whole octets.
pub(super) fn bit_string(parts: &[&[u8]]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], &parts.concat()])
}

#[cfg(test)]
mod tests {
    use super::{SEQUENCE, bits, element, elements, integer, only};
    use alloc::vec;

    #[test]
    fn lengths_are_written_and_read_in_their_shortest_form() {
        for (length, header) in [
            (0usize, &[0x30, 0][..]),
            (0x7F, &[0x30, 0x7F]),
            (0x80, &[0x30, 0x81, 0x80]),
            (0x100, &[0x30, 0x82, 1, 0]),
        ] {
            let content = vec![7; length];
            let bytes = element(SEQUENCE, &[&content]);
            assert_eq!(&bytes[..header.len()], header);
            assert_eq!(only(&bytes).unwrap().content, content);
        }
        assert!(only(&[0x30, 0x81, 0x01, 0]).is_none());
        assert!(only(&[0x30, 0x82, 0x00, 0x01, 0]).is_none());
    }

    #[test]
    fn cut_and_strange_elements_are_none() {
        for bytes in [
            &[0x30][..],
            &[0x30, 1],
            &[0x30, 0x80],
            &[0x30, 0x83, 0, 0, 1, 0],
            &[0x1F, 0],
            &[0x30, 0x82, 0xFF],
            &[0x30, 0, 0],
        ] {
            assert!(only(bytes).is_none(), "{bytes:02x?}");
        }
        assert!(
            elements(&[0x30, 0, 0x30, 9])
                .map(|element| element.is_some())
                .eq([true, false])
        );
    }

    #[test]
    fn integers_are_positive() {
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0x7F]), [2, 1, 0x7F]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
    }

    #[test]
    fn bits_stand_at_the_top() {
        let of = |bytes: &[u8]| bits(only(bytes).unwrap());
        assert_eq!(of(&[3, 2, 5, 0xA0]), Some(0xA000_0000));
        assert_eq!(of(&[3, 2, 5, 0xBF]), Some(0xA000_0000));
        assert_eq!(of(&[3, 5, 0, 1, 2, 3, 4]), Some(0x0102_0304));
        assert_eq!(of(&[3, 1, 0]), Some(0));
        assert_eq!(of(&[3, 1, 1]), None);
        assert_eq!(of(&[3, 2, 8, 0]), None);
        assert_eq!(of(&[3, 0]), None);
        assert_eq!(of(&[3, 6, 0, 1, 2, 3, 4, 5]), None);
        assert_eq!(of(&[4, 2, 0, 1]), None);
    }
}
