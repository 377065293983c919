//! RSA keys and the raw operations.

use alloc::vec;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::engine::{Engine, MAX_LIMBS, Modexp, Portable};
use super::error::RsaError;
use super::limbs::{self, Limbs};
use super::montgomery::{Modulus, with_tiles};

/// Shortest modulus, in bytes.
const MIN_MODULUS: usize = 64;

/// An RSA public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    n: Vec<u8>,
    e: u32,
}

/// An RSA private key, as primes. Wiped when dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub struct PrivateKey {
    #[zeroize(skip)]
    public: PublicKey,
    #[zeroize(skip)]
    engine: &'static dyn Engine,
    p: Limbs,
    q: Limbs,
    dp: Limbs,
    dq: Limbs,
    /// `1 / q mod p`; made at first use.
    q_inverse: Option<Limbs>,
}

impl PublicKey {
    /// A key from its modulus, big-endian with its top bit set, and exponent.
    ///
    /// # Errors
    /// `Modulus` or `Exponent`.
    pub fn new(n: &[u8], e: u32) -> Result<Self, RsaError> {
        if e < 3 || e.is_multiple_of(2) {
            return Err(RsaError::Exponent);
        }
        let odd = n.last().is_some_and(|byte| byte % 2 == 1);
        let full = n.first().is_some_and(|byte| byte & 0x80 != 0);
        if !odd || !full || n.len() < MIN_MODULUS || n.len() > MAX_LIMBS * 8 {
            return Err(RsaError::Modulus);
        }
        Ok(Self { n: n.to_vec(), e })
    }

    /// The modulus, big-endian.
    #[must_use]
    pub fn modulus(&self) -> &[u8] {
        &self.n
    }

    /// The public exponent.
    #[must_use]
    pub const fn exponent(&self) -> u32 {
        self.e
    }

    /// Bytes in the modulus, in a ciphertext and in a signature.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no key is empty")]
    pub fn len(&self) -> usize {
        self.n.len()
    }

    pub(super) fn raw(&self, input: &[u8]) -> Result<Vec<u8>, RsaError> {
        let n = limbs::from_bytes(&self.n);
        let input = self.number_below(input, &n)?;
        let mut result = Zeroizing::new(vec![0; n.len()]);
        with_tiles!(n.len(), K => {
            let modulus = Modulus::<K>::new_public(&n);
            let power = modulus.power_public(&modulus.enter(&input), self.e);
            modulus.leave(&power, &mut result);
        }, else return Err(RsaError::Modulus));
        Ok(limbs::to_bytes(&result, self.n.len()))
    }

    /// The input as limbs, as many as the modulus has, if it is below the modulus.
    fn number_below(&self, input: &[u8], n: &[u64]) -> Result<Limbs, RsaError> {
        let excess = input.len().saturating_sub(self.n.len());
        let (zeros, input) = input
            .split_at_checked(excess)
            .ok_or(RsaError::InputTooLarge)?;
        let mut number = limbs::from_bytes(input);
        number.resize(n.len(), 0);
        if zeros.iter().any(|&byte| byte != 0) || !limbs::less(&number, n) {
            return Err(RsaError::InputTooLarge);
        }
        Ok(number)
    }
}

impl PrivateKey {
    /// A key from its public part and one prime, big-endian, of half the modulus' length. Cheap: nothing is computed that only
    /// private operations need but two short divisions.
    ///
    /// # Errors
    /// `Modulus` or `Exponent` of the public part; `Binding` if the prime does not divide the modulus, or if either
    /// factor less one is not prime to the exponent. Primality is not tested.
    pub fn from_prime(n: &[u8], e: u32, p: &[u8]) -> Result<Self, RsaError> {
        let public = PublicKey::new(n, e)?;
        if !n.len().is_multiple_of(16) || p.len() != n.len() / 2 {
            return Err(RsaError::Binding);
        }
        let p = limbs::from_bytes(p);
        if p.first().is_none_or(|low| low.is_multiple_of(2)) {
            return Err(RsaError::Binding);
        }
        let q = limbs::divide_exactly(&limbs::from_bytes(n), &p).ok_or(RsaError::Binding)?;
        Self::assemble(public, p, q)
    }

    /// A key from two primes whose product has its top bit set.
    pub(super) fn from_primes(e: u32, p: Limbs, q: Limbs) -> Result<Self, RsaError> {
        let n = limbs::to_bytes(&limbs::multiply(&p, &q), p.len() * 16);
        Self::assemble(PublicKey::new(&n, e)?, p, q)
    }

    fn assemble(public: PublicKey, p: Limbs, q: Limbs) -> Result<Self, RsaError> {
        let dp = inverse_of_exponent(public.e, &p).ok_or(RsaError::Binding)?;
        let dq = inverse_of_exponent(public.e, &q).ok_or(RsaError::Binding)?;
        Ok(Self {
            public,
            engine: &Portable,
            p,
            q,
            dp,
            dq,
            q_inverse: None,
        })
    }

    /// The same key with its private operations on another engine.
    #[must_use]
    pub fn with_engine(mut self, engine: &'static dyn Engine) -> Self {
        self.engine = engine;
        self
    }

    /// The same key with all that its private operations need, so that copies of it need not compute that again.
    ///
    /// # Errors
    /// `Binding` if the factors are not prime to each other.
    pub fn prepared(mut self) -> Result<Self, RsaError> {
        self.prepare()?;
        Ok(self)
    }

    fn prepare(&mut self) -> Result<(), RsaError> {
        if self.q_inverse.is_none() {
            self.q_inverse = Some(limbs::invert(&self.q, &self.p).ok_or(RsaError::Binding)?);
        }
        Ok(())
    }

    /// The public part.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The first prime, big-endian, half as long as the modulus: what a TPM stores.
    #[must_use]
    pub fn prime(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(limbs::to_bytes(&self.p, self.p.len() * 8))
    }

    /// The second prime, big-endian.
    #[must_use]
    pub fn other_prime(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(limbs::to_bytes(&self.q, self.q.len() * 8))
    }

    pub(super) fn raw<R: CryptoRng + ?Sized>(
        &mut self,
        input: &[u8],
        rng: &mut R,
    ) -> Result<Zeroizing<Vec<u8>>, RsaError> {
        self.prepare()?;
        let n = limbs::from_bytes(&self.public.n);
        let input = self.public.number_below(input, &n)?;
        let blind = Blind::new(&n, rng).ok_or(RsaError::Binding)?;
        let result = with_tiles!(self.p.len(), K => self.crt::<K>(&n, &input, &blind), else Err(RsaError::Modulus))?;
        Ok(Zeroizing::new(limbs::to_bytes(
            &result,
            self.public.n.len(),
        )))
    }

    /// `input^d mod n` by the Chinese remainder theorem.
    fn crt<const K: usize>(
        &self,
        n: &[u64],
        input: &[u64],
        blind: &Blind,
    ) -> Result<Limbs, RsaError> {
        let q_inverse = self.q_inverse.as_ref().ok_or(RsaError::Binding)?;
        let half = self.p.len();
        let mod_p = Modulus::<K>::new(&self.p);
        let mod_q = Modulus::<K>::new(&self.q);
        let c_p = Zeroizing::new(mod_p.enter_wide(input));
        let c_q = Zeroizing::new(mod_q.enter_wide(input));

        let mut bases = [Zeroizing::new(vec![0; half]), Zeroizing::new(vec![0; half])];
        let mut powers = bases.clone();
        let [base_p, base_q] = &mut bases;
        let [m_p, m_q] = &mut powers;
        let r_p = mod_p.power_public(&mod_p.enter(&[blind.factor]), self.public.e);
        mod_p.leave(&mod_p.multiply(&c_p, &r_p), base_p);
        let r_q = mod_q.power_public(&mod_q.enter(&[blind.factor]), self.public.e);
        mod_q.leave(&mod_q.multiply(&c_q, &r_q), base_q);
        let mut jobs = [
            Modexp {
                base: base_p,
                exponent: &self.dp,
                modulus: &self.p,
                result: m_p,
            },
            Modexp {
                base: base_q,
                exponent: &self.dq,
                modulus: &self.q,
                result: m_q,
            },
        ];
        for jobs in jobs.chunks_mut(self.engine.lanes()) {
            self.engine.modexp_batch(jobs);
        }

        // m_q + q * ((m_p - m_q) / q mod p)
        let difference = Zeroizing::new(mod_p.difference(&mod_p.enter(m_p), &mod_p.enter(m_q)));
        let mut h = Zeroizing::new(vec![0; half]);
        mod_p.leave(
            &mod_p.multiply(&difference, &mod_p.enter(q_inverse)),
            &mut h,
        );
        let mut result = limbs::multiply(&h, &self.q);
        let carry = limbs::add(&mut result, m_q);
        blind.remove(&mut result, n);

        // A wrong result, from a flipped bit or from factors that are not prime, would give a factor of n away.
        let check_p = mod_p.power_public(&mod_p.enter_wide(&result), self.public.e);
        let check_q = mod_q.power_public(&mod_q.enter_wide(&result), self.public.e);
        let same = mod_p.same(&check_p, &c_p) & mod_q.same(&check_q, &c_q) & carry.ct_eq(&0);
        if bool::from(same) {
            Ok(result)
        } else {
            Err(RsaError::Fault)
        }
    }
}

impl core::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PrivateKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// A blinding factor of one word: the base is multiplied by `factor^e`, the result divided by `factor`. One word is enough
/// to hide which numbers the exponentiation works on, and makes the division modulo n as cheap as one by a word.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Blind {
    factor: u64,
    /// `-1 / n` modulo the factor.
    inverse: u64,
}

impl Blind {
    fn new<R: CryptoRng + ?Sized>(n: &[u64], rng: &mut R) -> Option<Self> {
        // Only a modulus with a small factor, which no prime of half its length leaves, could refuse many of these.
        (0..256).find_map(|_| {
            let factor = rng.next_u64() | 1;
            let rest = limbs::remainder_by_word(n, factor);
            let inverse = limbs::invert_word(factor.checked_sub(rest)?, factor)?;
            Some(Self { factor, inverse })
        })
    }

    /// `x / factor mod n`, for `x` below `n`: the multiple of `n` is added that makes `x` divisible.
    fn remove(&self, x: &mut Limbs, n: &[u64]) {
        let factor = u128::from(self.factor);
        let rest = u128::from(limbs::remainder_by_word(x, self.factor));
        let multiple = limbs::word(rest * u128::from(self.inverse) % factor);
        x.push(0);
        limbs::add_multiple(x, n, multiple);
        limbs::divide_by_word(x, self.factor);
        x.truncate(n.len());
    }
}

/// `1 / e mod (prime - 1)`: `(1 + k * (prime - 1)) / e` with the `k` that makes it whole.
fn inverse_of_exponent(e: u32, prime: &[u64]) -> Option<Limbs> {
    let e = u64::from(e);
    let mut order = Zeroizing::new(prime.to_vec());
    let low = order.first_mut()?;
    *low = low.checked_sub(1)?;
    let rest = limbs::remainder_by_word(&order, e);
    let k = limbs::invert_word(e.checked_sub(rest)?, e)?;
    let mut whole = limbs::multiply(&order, &[k]);
    limbs::add_small(&mut whole, 1);
    limbs::divide_by_word(&mut whole, e);
    whole.truncate(prime.len());
    Some(whole)
}
