//! What a good triple DES key is (Part 1, the annex on symmetric block ciphers; SP 800-67).

use zeroize::Zeroizing;

/// Whether these are two or three DES keys of which none is weak, semi-weak or possibly weak, and no neighbours are equal.
///
/// The parity bits play no part: DES ignores them.
pub fn tdes_key_valid(key: &[u8]) -> bool {
    if !matches!(key.len(), 16 | 24) {
        return false;
    }
    let (keys, _) = key.as_chunks::<8>();
    let mut previous = None;
    for key in keys {
        let mut bits = Zeroizing::new(*key);
        for byte in bits.iter_mut() {
            *byte >>= 1;
        }
        if is_weak(&bits) || previous.as_ref() == Some(&bits) {
            return false;
        }
        previous = Some(bits);
    }
    true
}

/// Sets the lowest bit of each byte so that the byte has an odd number of ones, as TDES keys in a TPM have.
pub fn tdes_set_odd_parity(key: &mut [u8]) {
    for byte in key {
        *byte = (*byte & 0xfe) | u8::from((*byte >> 1).count_ones() % 2 == 0);
    }
}

/// Whether these seven-bit bytes are one of the 64 keys that SP 800-67 lists.
///
/// In each of them every half of a byte is all zeros or all ones (upper three and lower four bits in the first four bytes,
/// upper four and lower three in the others), the last four bytes repeat the pattern of the first four, and each half is set
/// in an even number of the four. A test counts the keys and compares them with the published ones.
fn is_weak(bits: &[u8; 8]) -> bool {
    let ([first, second], _) = bits.as_chunks::<4>() else {
        return false;
    };
    let mut sum = 0;
    for (&left, &right) in first.iter().zip(second) {
        let pattern = match (left, right) {
            (0x00, 0x00) => 0,
            (0x0f, 0x07) => 1,
            (0x70, 0x78) => 2,
            (0x7f, 0x7f) => 3,
            _ => return false,
        };
        sum ^= pattern;
    }
    sum == 0
}
