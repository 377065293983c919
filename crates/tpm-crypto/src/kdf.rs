//! Key derivation and mask generation (Part 1, 11.4.10).

use alloc::vec;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use crate::hash::{Digest, HashAlgorithm, Hasher, Hmac, hash};

/// `KDFa`: SP 800-108 in counter mode over HMAC (Part 1, 11.4.10.2).
///
/// The label comes without its terminating zero, which is added here. If `bits` is not a multiple of 8, the excess bits at the
/// top of the first byte are zero.
#[doc(alias = "CryptKDFa")]
pub fn kdfa(
    algorithm: HashAlgorithm,
    key: &[u8],
    label: &[u8],
    context_u: &[u8],
    context_v: &[u8],
    bits: u32,
) -> Zeroizing<Vec<u8>> {
    let mut out = zeros(bits);
    Kdfa::new(algorithm, key, label, context_u, context_v, bits).fill(&mut out);
    mask_excess_bits(&mut out, bits);
    out
}

/// [`kdfa`] into a buffer: as many bytes as it holds.
pub fn kdfa_into(
    algorithm: HashAlgorithm,
    key: &[u8],
    label: &[u8],
    context_u: &[u8],
    context_v: &[u8],
    out: &mut [u8],
) {
    let bits = bits_of(out);
    Kdfa::new(algorithm, key, label, context_u, context_v, bits).fill(out);
}

/// `KDFe`: SP 800-56A over a hash, for secrets agreed with ECDH (Part 1, 11.4.10.3).
///
/// `z` is the x-coordinate of the shared point, padded to the size of the curve. The label comes without its terminating zero,
/// which is added here. If `bits` is not a multiple of 8, the excess bits at the top of the first byte are zero.
#[doc(alias = "CryptKDFe")]
pub fn kdfe(
    algorithm: HashAlgorithm,
    z: &[u8],
    use_label: &[u8],
    party_u: &[u8],
    party_v: &[u8],
    bits: u32,
) -> Zeroizing<Vec<u8>> {
    let mut out = zeros(bits);
    for (chunk, counter) in out.chunks_mut(algorithm.digest_size()).zip(1u32..) {
        let parts = [&counter.to_be_bytes(), z, use_label, &[0], party_u, party_v];
        copy(chunk, &Zeroizing::new(hash(algorithm, &parts)));
    }
    mask_excess_bits(&mut out, bits);
    out
}

/// KDF2 of IEEE 1363a: hashes of the parts of `z` and a counter that starts at one.
pub fn kdf2(algorithm: HashAlgorithm, z: &[&[u8]], out: &mut [u8]) {
    seed_and_counter(algorithm, z, 1, out, copy);
}

/// MGF1 of PKCS #1: hashes of the seed and a counter that starts at zero.
pub fn mgf1(algorithm: HashAlgorithm, seed: &[u8], out: &mut [u8]) {
    seed_and_counter(algorithm, &[seed], 0, out, copy);
}

/// Adds the mask that [`mgf1`] makes to the data.
pub fn mgf1_xor(algorithm: HashAlgorithm, seed: &[u8], data: &mut [u8]) {
    seed_and_counter(algorithm, &[seed], 0, data, xor);
}

/// XOR obfuscation of a parameter, which is its own inverse (Part 1, 11.4.7).
pub fn xor_obfuscation(
    algorithm: HashAlgorithm,
    key: &[u8],
    nonce_newer: &[u8],
    nonce_older: &[u8],
    data: &mut [u8],
) {
    let bits = bits_of(data);
    let kdfa = Kdfa::new(algorithm, key, b"XOR", nonce_newer, nonce_older, bits);
    kdfa.each_block(data, xor);
}

/// KDFa with everything but the output.
struct Kdfa<'a> {
    keyed: Hmac,
    label: &'a [u8],
    context_u: &'a [u8],
    context_v: &'a [u8],
    bits: u32,
}

impl<'a> Kdfa<'a> {
    fn new(
        algorithm: HashAlgorithm,
        key: &[u8],
        label: &'a [u8],
        context_u: &'a [u8],
        context_v: &'a [u8],
        bits: u32,
    ) -> Self {
        Self {
            keyed: Hmac::new(algorithm, key),
            label,
            context_u,
            context_v,
            bits,
        }
    }

    fn fill(&self, out: &mut [u8]) {
        self.each_block(out, copy);
    }

    fn each_block(&self, data: &mut [u8], apply: fn(&mut [u8], &[u8])) {
        let size = self.keyed.algorithm().digest_size();
        for (chunk, counter) in data.chunks_mut(size).zip(1u32..) {
            apply(chunk, &self.block(counter));
        }
    }

    fn block(&self, counter: u32) -> Zeroizing<Digest> {
        let mut hmac = self.keyed.clone();
        hmac.update(&counter.to_be_bytes());
        hmac.update(self.label);
        hmac.update(&[0]);
        hmac.update(self.context_u);
        hmac.update(self.context_v);
        hmac.update(&self.bits.to_be_bytes());
        Zeroizing::new(hmac.finish())
    }
}

fn seed_and_counter(
    algorithm: HashAlgorithm,
    seed: &[&[u8]],
    first: u32,
    data: &mut [u8],
    apply: fn(&mut [u8], &[u8]),
) {
    let mut seeded = Hasher::new(algorithm);
    for part in seed {
        seeded.update(part);
    }
    for (chunk, counter) in data.chunks_mut(algorithm.digest_size()).zip(first..) {
        let mut hasher = seeded.clone();
        hasher.update(&counter.to_be_bytes());
        apply(chunk, &Zeroizing::new(hasher.finish()));
    }
}

fn zeros(bits: u32) -> Zeroizing<Vec<u8>> {
    // On a target of 16 bits nothing that large could be asked for.
    let size = usize::try_from(bits.div_ceil(8)).unwrap_or_default();
    Zeroizing::new(vec![0; size])
}

/// The size in bits goes into the derivation as 32 bits; buffers of a TPM are far smaller than that.
fn bits_of(out: &[u8]) -> u32 {
    u32::try_from(out.len()).map_or(u32::MAX, |size| size.saturating_mul(8))
}

fn mask_excess_bits(out: &mut [u8], bits: u32) {
    if let (Some(first), used @ 1..) = (out.first_mut(), bits % 8) {
        *first &= 0xff >> (8 - used);
    }
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

fn xor(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= from;
    }
}

/// Vectors computed with an independent implementation over OpenSSL's hashes.
#[cfg(test)]
mod tests {
    use super::*;

    const U: [u8; 16] = counted(0x40);
    const V: [u8; 20] = counted(0x80);
    const KEY: [u8; 32] = counted(0);

    const fn counted<const N: usize>(first: u8) -> [u8; N] {
        let mut bytes = [first; N];
        let mut i = 1;
        while i < N {
            bytes[i] = bytes[i - 1] + 1;
            i += 1;
        }
        bytes
    }

    #[test]
    fn kdfa_matches() {
        for (algorithm, bits, expected) in KDFA {
            let key = kdfa(algorithm, &KEY, b"STORAGE", &U, &V, bits);
            assert_eq!(hex::encode(&*key), expected);
            if bits % 8 == 0 {
                let mut key = vec![0; key.len()];
                kdfa_into(algorithm, &KEY, b"STORAGE", &U, &V, &mut key);
                assert_eq!(hex::encode(key), expected);
            }
        }
    }

    #[test]
    fn kdfe_matches() {
        let z: [u8; 32] = counted(1);
        let (u, v): ([u8; 32], [u8; 32]) = (counted(0x40), counted(0x80));
        for (algorithm, bits, expected) in KDFE {
            let key = kdfe(algorithm, &z, b"SECRET", &u, &v, bits);
            assert_eq!(hex::encode(&*key), expected);
        }
    }

    #[test]
    fn masks_match() {
        let mut mask = [0; 70];
        mgf1(HashAlgorithm::Sha256, b"seed of the mask", &mut mask);
        assert_eq!(hex::encode(mask), MGF1);
        mgf1_xor(HashAlgorithm::Sha256, b"seed of the mask", &mut mask);
        assert_eq!(mask, [0; 70]);
        kdf2(
            HashAlgorithm::Sha256,
            &[b"seed of", b" the mask"],
            &mut mask,
        );
        assert_eq!(hex::encode(mask), KDF2);
    }

    #[test]
    fn xor_obfuscation_matches_and_undoes_itself() {
        let mut data: [u8; 70] = counted(0);
        xor_obfuscation(HashAlgorithm::Sha256, &KEY, &U, &V, &mut data);
        assert_eq!(hex::encode(data), XOR);
        xor_obfuscation(HashAlgorithm::Sha256, &KEY, &U, &V, &mut data);
        assert_eq!(data, counted(0));
    }

    #[test]
    fn nothing_asked_is_nothing_given() {
        let algorithm = HashAlgorithm::Sha256;
        assert!(kdfa(algorithm, b"", b"", b"", b"", 0).is_empty());
        assert!(kdfe(algorithm, b"", b"", b"", b"", 0).is_empty());
        kdfa_into(algorithm, b"", b"", b"", b"", &mut []);
        xor_obfuscation(algorithm, b"", b"", b"", &mut []);
        mgf1(algorithm, b"", &mut []);
    }

    const KDFA: [(HashAlgorithm, u32, &str); 11] = [
        (HashAlgorithm::Sha1, 128, "2a64cf62111cef7fb83371dc03ece679"),
        (
            HashAlgorithm::Sha256,
            128,
            "8d624f4a0f77daa2a53adc7351cb3d54",
        ),
        (
            HashAlgorithm::Sha384,
            128,
            "7f18fd16445e43c3c8650763126bcb7b",
        ),
        (
            HashAlgorithm::Sha512,
            128,
            "2c8847af6776b6176fb7920ebe673b82",
        ),
        (
            HashAlgorithm::Sha3_256,
            128,
            "b20d20d7ff7a1d22d3c6e794df5c331d",
        ),
        (
            HashAlgorithm::Sha3_384,
            128,
            "8973a3fd6659ecb07ae81d1eb0b250dd",
        ),
        (
            HashAlgorithm::Sha3_512,
            128,
            "f04bd29478a2695bd7a5e52e5b9556e5",
        ),
        (
            HashAlgorithm::Sm3_256,
            128,
            "dc858f36b8482b3270e198f7aa7150e7",
        ),
        (
            HashAlgorithm::Sha256,
            521,
            "01f12605aa6b53ca810c669e2328814f47d78442e4bee8fd2284c12aa0333622d28556d7784aafd9831fa92b024bbf66905f9643033a6f8a51321141cb004943d499",
        ),
        (
            HashAlgorithm::Sha256,
            1000,
            "758be1b80cd99ad4d4f00946b1ab3578fde1cb29648bb642cbb4dc9a4322e3485ea125b383927a23899777eeae8cfb006fb5ad3b557c2ff5a9666047bce2f111d548bcfed7d8ab860f0920e2adf5f59226e422c0297fd401a4b036fe484f7814804cf1c1ada6c2ab28e988757ce952a001dd58aad7d5750eb9d3cfa269",
        ),
        (HashAlgorithm::Sha384, 9, "01c6"),
    ];

    const KDFE: [(HashAlgorithm, u32, &str); 6] = [
        (
            HashAlgorithm::Sha1,
            160,
            "11bd8efc990fd21badbda95a51e697ff830b9e20",
        ),
        (
            HashAlgorithm::Sha256,
            256,
            "01451a35cb4f6a7f526d496b80ab17be06b5e9d939719b8b8d379828f78d817d",
        ),
        (
            HashAlgorithm::Sha256,
            521,
            "01451a35cb4f6a7f526d496b80ab17be06b5e9d939719b8b8d379828f78d817d839457b5e1550df0030e503e90beea6c39fe427c96cd52d2d65f2f0ddfc6b3e99ce3",
        ),
        (
            HashAlgorithm::Sha384,
            384,
            "69b262708a5f4dbbf3a960de981b6a1d1b491aadc8d6d31c66da4d66e7f36f63ef1c53985f2b523a910c5b534606b158",
        ),
        (
            HashAlgorithm::Sha512,
            1024,
            "476b1c9e7d754ba4d30102c6885eb335b5ee4412a45030eab1e039bd77c6925dad110fe47955b82045dfb02a6a87ce150bd2a38a5ced14b1e96f26c43896d4518aa0133109588e54f32a83eb0d781a421506930b03228a747f3cc118691e9214b3cc63f69b4a99fccd9440e076cca61f06d059099fdf0cca26bb491b94b0747c",
        ),
        (
            HashAlgorithm::Sm3_256,
            128,
            "0993f7cb9d52b0f85cf8d638ded695e2",
        ),
    ];

    const MGF1: &str = "c1f8d97458da7d05265aa8f5fd227c7473b36f23065e6ba60b11a844d739162e57800d483d2f539411192e5cbaa149b1bcc70ec4f61bbe21374d23c1272b078446b9f41f739c";
    const KDF2: &str = "57800d483d2f539411192e5cbaa149b1bcc70ec4f61bbe21374d23c1272b078446b9f41f739c475edcfbace7b7829f7d4b0436eb879483e377ac95fb3cc06a69b9863135d2cb";
    const XOR: &str = "950559f69d3a138eabd318bffb432ce90f615b973bbd148d6d46d644c5ca400da00a9ed77265c20539f84a590a47161bc9f56aa8598031b42821783e07bedb4277319c933ddb";
}
