//! Nonces of signatures: deterministic after RFC 6979, hedged with fresh entropy.
//!
//! Two signatures with the same nonce give the key away, so the nonce never depends on the entropy alone: it is derived
//! from the private key, the whole digest, the scheme and the entropy. Entropy that repeats, as after copying a machine,
//! repeats a whole signature and nothing else; entropy that is known makes it plain RFC 6979.

use super::arithmetic::{Group, integer, leftmost, reduce, scalar};
use crate::hash::{Digest, HashAlgorithm, hmac};
use primeorder::elliptic_curve::Scalar;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The hash of the generator: no weaker than any of the curves.
pub(super) const HASH: HashAlgorithm = HashAlgorithm::Sha512;

/// `HMAC_DRBG` as RFC 6979, 3.2 and 3.6, use it.
pub(super) struct Nonces {
    hash: HashAlgorithm,
    key: Digest,
    value: Digest,
    used: bool,
}

impl Nonces {
    /// Starts the generator for a private key and a digest; `extra` are the additional octets of RFC 6979, 3.6.
    pub(super) fn new<C: Group>(
        hash: HashAlgorithm,
        private: &Scalar<C>,
        digest: &[u8],
        extra: &[&[u8]],
    ) -> Self {
        let private = Zeroizing::new(integer::<C>(private));
        let digest = integer::<C>(&reduce::<C>(&leftmost::<C>(digest)));
        let mut zeros = [0_u8; 64];
        let size = hash.digest_size();
        let (zero, _) = zeros.split_at_mut_checked(size).unwrap_or_default();
        let mut ones = [1_u8; 64];
        let (one, _) = ones.split_at_mut_checked(size).unwrap_or_default();

        let [a, b, c] = parts(extra);
        let mut key = hmac(hash, zero, &[one, &[0], &private, &digest, a, b, c]);
        let mut value = hmac(hash, &key, &[one]);
        key = hmac(hash, &key, &[&value, &[1], &private, &digest, a, b, c]);
        value = hmac(hash, &key, &[&value]);
        Self {
            hash,
            key,
            value,
            used: false,
        }
    }

    /// The next scalar above zero and below the order.
    pub(super) fn next<C: Group>(&mut self) -> Zeroizing<Scalar<C>> {
        loop {
            if self.used {
                self.key = hmac(self.hash, &self.key, &[&self.value, &[0]]);
                self.value = hmac(self.hash, &self.key, &[&self.value]);
            }
            self.used = true;
            let mut drawn = Zeroizing::new([0_u8; 2 * 64]);
            for block in drawn
                .chunks_mut(self.hash.digest_size())
                .take(C::CURVE.order_bytes().div_ceil(self.hash.digest_size()))
            {
                self.value = hmac(self.hash, &self.key, &[&self.value]);
                for (to, from) in block.iter_mut().zip(self.value.iter()) {
                    *to = *from;
                }
            }
            let candidate = Zeroizing::new(leftmost::<C>(drawn.as_slice()));
            if let Some(value) = scalar::<C>(&candidate) {
                return Zeroizing::new(value);
            }
        }
    }
}

/// Up to three extra parts; the rest is empty.
fn parts<'a>(extra: &[&'a [u8]]) -> [&'a [u8]; 3] {
    let mut all: [&[u8]; 3] = [&[]; 3];
    for (to, from) in all.iter_mut().zip(extra) {
        *to = from;
    }
    all
}

impl Drop for Nonces {
    fn drop(&mut self) {
        self.key.zeroize();
        self.value.zeroize();
    }
}

impl ZeroizeOnDrop for Nonces {}
