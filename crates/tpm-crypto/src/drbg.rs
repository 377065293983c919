//! The random bit generator: CTR_DRBG with AES-256 and the derivation function (SP 800-90A, 10.2).
//!
//! Chosen over HMAC_DRBG because a prime search draws many blocks, which the counter mode makes side by side in
//! the processor's AES units, and because the TCG reference code made the same choice.
//!
//! The generator is deterministic, and what it gives is a promise: primary keys are derived with it, so the same seed and
//! parts must give the same bytes for ever. The test `output_never_changes` guards that.

use core::convert::Infallible;
use core::fmt;

use aes::Aes256Enc;
use cipher::{Array, BlockCipherEncrypt, KeyInit, consts::U16};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::{Zeroize, Zeroizing};

type Block = Array<u8, U16>;

/// A deterministic random bit generator.
///
/// It cannot be cloned: two generators with one state would repeat each other. There is no limit of requests, since the
/// 2^48 that SP 800-90A grants between two seeds take longer than any machine runs.
pub struct Drbg {
    cipher: Aes256Enc,
    /// The counter called V.
    value: u128,
}

impl Drbg {
    /// Seeds a generator.
    ///
    /// The personalization parts are joined with the length of each before it, so that different lists of parts never give the
    /// same generator. `entropy` is either 32 bytes or more from an entropy source, or a secret seed of which a key is to be derived.
    pub fn new(entropy: &[u8], personalization: &[&[u8]]) -> Self {
        let mut size = entropy.len();
        for part in personalization {
            size = size.saturating_add(PART_HEADER).saturating_add(part.len());
        }
        let mut derivation = Derivation::new(size);
        derivation.absorb(entropy);
        for part in personalization {
            derivation.absorb(&length(part.len()));
            derivation.absorb(part);
        }
        Self::instantiate(derivation)
    }

    /// Mixes new entropy in; what is secret about the state stays secret whatever the bytes are.
    pub fn reseed(&mut self, entropy: &[u8]) {
        let mut derivation = Derivation::new(entropy.len());
        derivation.absorb(entropy);
        self.update(&derivation.finish());
    }

    /// Fills the buffer with random bytes.
    ///
    /// Each call steps the state, hence two short calls do not give what one long call does.
    pub fn fill(&mut self, out: &mut [u8]) {
        for request in out.chunks_mut(MAX_REQUEST) {
            self.keystream(request);
            self.update(&[0; SEED_SIZE]);
        }
    }

    fn instantiate(derivation: Derivation) -> Self {
        Self::from_material(&derivation.finish())
    }

    /// A generator whose seed material another derivation function made (SP 800-90A, 10.2.1.3.1).
    pub(crate) fn from_material(material: &[u8; SEED_SIZE]) -> Self {
        let mut drbg = Self {
            cipher: Aes256Enc::new(&Array::default()),
            value: 0,
        };
        drbg.update(material);
        drbg
    }

    /// CTR_DRBG_Update: a new key and counter from the old ones and the given data.
    pub(crate) fn update(&mut self, data: &[u8; SEED_SIZE]) {
        let mut next = Zeroizing::new([0; SEED_SIZE]);
        self.keystream(&mut *next);
        for (to, from) in next.iter_mut().zip(data) {
            *to ^= from;
        }
        self.set_state(&next);
    }

    fn set_state(&mut self, state: &[u8; SEED_SIZE]) {
        if let (Some(key), Some(value)) = (state.first_chunk(), state.last_chunk()) {
            self.cipher = Aes256Enc::new(<&Array<u8, _>>::from(key));
            self.value = u128::from_be_bytes(*value);
        }
    }

    /// Writes encryptions of the counter, which is incremented before each.
    fn keystream(&mut self, out: &mut [u8]) {
        let (blocks, tail) = Block::slice_as_chunks_mut(out);
        for block in &mut *blocks {
            *block = self.next_value();
        }
        self.cipher.encrypt_blocks(blocks);
        if !tail.is_empty() {
            let mut block = self.next_value();
            self.cipher.encrypt_block(&mut block);
            for (to, from) in tail.iter_mut().zip(block) {
                *to = from;
            }
            block.as_mut_slice().zeroize();
        }
    }

    fn next_value(&mut self) -> Block {
        self.value = self.value.wrapping_add(1);
        Array(self.value.to_be_bytes())
    }
}

impl Drop for Drbg {
    fn drop(&mut self) {
        // The key schedule wipes itself.
        self.value.zeroize();
    }
}

impl fmt::Debug for Drbg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drbg(..)")
    }
}

impl TryRng for Drbg {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = Zeroizing::new([0; 4]);
        self.fill(&mut *bytes);
        Ok(u32::from_be_bytes(*bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = Zeroizing::new([0; 8]);
        self.fill(&mut *bytes);
        Ok(u64::from_be_bytes(*bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Drbg {}

/// Block_Cipher_df (SP 800-90A, 10.3.2), fed piece by piece: three CBC-MACs that differ in their first block.
struct Derivation {
    cipher: Aes256Enc,
    chains: [Block; SEED_SIZE / BLOCK_SIZE],
    /// Bytes in the current block of each chain.
    filled: usize,
}

impl Derivation {
    /// Starts with the size of all that will be absorbed.
    fn new(size: usize) -> Self {
        let key: [u8; KEY_SIZE] = core::array::from_fn(|i| u8::try_from(i).unwrap_or_default());
        let mut chains: [Block; SEED_SIZE / BLOCK_SIZE] = Default::default();
        for (chain, number) in chains.iter_mut().zip(0u32..) {
            for (to, from) in chain.iter_mut().zip(number.to_be_bytes()) {
                *to = from;
            }
        }
        let mut derivation = Self {
            cipher: Aes256Enc::new(&key.into()),
            chains,
            filled: BLOCK_SIZE,
        };
        derivation.absorb(&length(size));
        derivation.absorb(&length(SEED_SIZE));
        derivation
    }

    fn absorb(&mut self, data: &[u8]) {
        for byte in data {
            if self.filled == BLOCK_SIZE {
                self.cipher.encrypt_blocks(&mut self.chains);
                self.filled = 0;
            }
            for chain in &mut self.chains {
                if let Some(to) = chain.get_mut(self.filled) {
                    *to ^= byte;
                }
            }
            self.filled += 1;
        }
    }

    fn finish(mut self) -> Zeroizing<[u8; SEED_SIZE]> {
        self.absorb(&[0x80]);
        self.cipher.encrypt_blocks(&mut self.chains);
        let mut out = Zeroizing::new([0; SEED_SIZE]);
        for (to, from) in out.iter_mut().zip(self.chains.iter().flatten()) {
            *to = *from;
        }
        if let Some((key, start)) = out.split_first_chunk::<KEY_SIZE>() {
            let cipher = Aes256Enc::new(key.into());
            let mut block = Block::default();
            block.copy_from_slice(start);
            for to in out.chunks_exact_mut(BLOCK_SIZE) {
                cipher.encrypt_block(&mut block);
                to.copy_from_slice(&block);
            }
            block.as_mut_slice().zeroize();
        }
        out
    }
}

impl Drop for Derivation {
    fn drop(&mut self) {
        wipe(&mut self.chains);
    }
}

/// A length as SP 800-90A writes it. Seeds and templates are far shorter than its limit.
fn length(size: usize) -> [u8; PART_HEADER] {
    u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes()
}

fn wipe(blocks: &mut [Block]) {
    for block in blocks {
        block.as_mut_slice().zeroize();
    }
}

pub(crate) const KEY_SIZE: usize = 32;
pub(crate) const BLOCK_SIZE: usize = 16;
/// Bytes of seed material: a key and a counter.
pub(crate) const SEED_SIZE: usize = KEY_SIZE + BLOCK_SIZE;
/// SP 800-90A allows at most 2^19 bits in one request.
const MAX_REQUEST: usize = 1 << 16;
/// Bytes before each personalization part.
const PART_HEADER: usize = 4;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use alloc::{format, vec};

    use rand_core::Rng;

    use super::*;
    use crate::hash::{HashAlgorithm, hash};

    fn counted(count: u8, first: u8) -> Vec<u8> {
        (0..count).map(|i| first + i).collect()
    }

    fn draw(drbg: &mut Drbg, size: usize) -> Vec<u8> {
        let mut out = vec![0; size];
        drbg.fill(&mut out);
        out
    }

    /// AES-256 with derivation function, no reseed, COUNT 0 of the CAVP vectors. `Drbg::new` without parts is the
    /// instantiation with entropy and nonce joined.
    #[test]
    fn matches_cavp() {
        let seed = "36401940fa8b1fba91a1661f211d78a0b9389a74e5bccfece8d766af1a6d3b14\
                    496f25b0f1301b4f501be30380a137eb";
        let mut drbg = Drbg::new(&hex::decode(seed).unwrap(), &[]);
        assert_eq!(
            format!("{:032x}", drbg.value),
            "9ee8d2e9c618ccbb8e66b5eb5333dce1"
        );
        draw(&mut drbg, 64);
        assert_eq!(
            format!("{:032x}", drbg.value),
            "69eec01b2dd4ff3aab5fac9467f54485"
        );
        assert_eq!(
            hex::encode(draw(&mut drbg, 64)),
            "5862eb38bd558dd978a696e6df164782ddd887e7e9a6c9f3f1fbafb78941b535\
             a64912dfd224c6dc7454e5250b3d97165e16260c2faf1cc7735cb75fb4f07e1d"
        );
        assert_eq!(
            format!("{:032x}", drbg.value),
            "f537c07f36573a26b3f55c8b9f7246d1"
        );
    }

    /// Computed with an independent implementation. If this fails, every primary key of every TPM in the field has changed:
    /// repair the generator, never the test.
    #[test]
    fn output_never_changes() {
        let parts: [&[u8]; 3] = [b"Primary Object Creation", b"", &counted(40, 0)];
        let mut drbg = Drbg::new(&counted(64, 0), &parts);
        assert_eq!(hex::encode(draw(&mut drbg, 50)), FIRST_50);
        assert_eq!(hex::encode(draw(&mut drbg, 300)), NEXT_300);
        drbg.reseed(&counted(33, 7));
        assert_eq!(hex::encode(draw(&mut drbg, 32)), AFTER_RESEED);
        assert_eq!(
            hex::encode(draw(&mut Drbg::new(b"", &[]), 32)),
            FROM_NOTHING
        );
    }

    #[test]
    fn large_requests_are_split() {
        let mut drbg = Drbg::new(&counted(32, 0), &[b"long"]);
        let out = hash(HashAlgorithm::Sha256, &[&draw(&mut drbg, 200_000)]);
        assert_eq!(hex::encode(out), HASH_OF_200_000);
        assert_eq!(hex::encode(draw(&mut drbg, 8)), THEN_8);
    }

    #[test]
    fn the_counter_wraps_round() {
        let mut drbg = Drbg::new(b"", &[]);
        drbg.value = u128::MAX;
        let mut first = [0; BLOCK_SIZE];
        drbg.keystream(&mut first);
        assert_eq!(drbg.value, 0);
        let mut expected = Block::default();
        drbg.cipher.encrypt_block(&mut expected);
        assert_eq!(first, expected.0);
    }

    #[test]
    fn other_cuts_of_the_parts_give_other_bytes() {
        let whole = draw(&mut Drbg::new(b"seed", &[b"ab"]), 32);
        assert_ne!(whole, draw(&mut Drbg::new(b"seed", &[b"a", b"b"]), 32));
        assert_ne!(whole, draw(&mut Drbg::new(b"seed", &[b"ab", b""]), 32));
        assert_ne!(whole, draw(&mut Drbg::new(b"sfed", &[b"ab"]), 32));
    }

    #[test]
    fn an_empty_request_changes_nothing() {
        let mut drbg = Drbg::new(b"seed", &[]);
        drbg.fill(&mut []);
        assert_eq!(draw(&mut drbg, 32), draw(&mut Drbg::new(b"seed", &[]), 32));
    }

    #[test]
    fn the_generator_traits_draw_from_fill() {
        let mut drbg = Drbg::new(b"seed", &[]);
        let mut same = Drbg::new(b"seed", &[]);
        assert_eq!(drbg.next_u32().to_be_bytes(), *draw(&mut same, 4));
        assert_eq!(drbg.next_u64().to_be_bytes(), *draw(&mut same, 8));
        let mut bytes = [0; 7];
        drbg.fill_bytes(&mut bytes);
        assert_eq!(bytes, *draw(&mut same, 7));
    }

    const FIRST_50: &str = "a90cee14888528cd5acb99f04851a2705eb09ed86ff9b7f78e0bb5920d41debd554c00bb91e4b32cdfd65c411669cbf27a83";
    const NEXT_300: &str = "e828d798b4571b5ddf9398939932b837b69d7f0ad4cb82830fe484f5bf332a52ab353d66225f8824fb9d8bf02d5524d88901ed29dfbfe92aaee72588359dcb7b9b4fff17fba92d5d73ec3f8092d378f31e5c102aeb1abb2459214606898deff3d1a6b8c270846f765a59ee0133cb57cedc020d6816109983f75257799f685ce497db3d751a4af88b3c4864695cbd192276f5327362d8aced099bcf3a5982cf8f5fede9201aa1dbf6b98e4f40431292c74d3becddb5876717f27c195c13f26e26c215cf26ffd293bd235464bf178020dff18f1d14f7414abb27ae655d646d0ac81de2bde34b8049894fb565fdfbb9d6d30e03be84ebfd4a63ca916f0b2b8da835634d7f0b0d40784e4453e540afac3e41006f35f7140439ba757eef9acc57ec6d588059f7e5d9e0a81cfed1dd";
    const AFTER_RESEED: &str = "ed2aae48f56e392fd03d81bdd7caef3bbdf6921a231445481cf7906e315f1962";
    const FROM_NOTHING: &str = "412d004507459240b44c31cb82ed97354b71d60358c014d7919853e9b9e442f3";
    const HASH_OF_200_000: &str =
        "82811a159c5cdbeabd0e4a3bd182bdf0c4f1cb7f1fde3903d61d4a4c85f98578";
    const THEN_8: &str = "fb1d14ed508a352f";
}
