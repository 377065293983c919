//! What can go wrong with RSA.

/// Why an RSA operation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaError {
    /// The key size is not one that keys are made in.
    KeySize,
    /// The public exponent is even, below 3, or not fit for a new key.
    Exponent,
    /// The modulus is even, too short or too long, or its top bit is clear.
    Modulus,
    /// The prime does not divide the modulus, is not of half its length, or cannot have a private exponent.
    Binding,
    /// The number is not below the modulus.
    InputTooLarge,
    /// The digest has not the length that its algorithm gives.
    DigestSize,
    /// The key is too short for this padding and hash.
    KeyTooSmall,
    /// The message is too long for this key and padding.
    MessageTooLong,
    /// The ciphertext did not decrypt to a padded message. One error for every fault in a padding.
    Padding,
    /// The signature is not one of this digest by this key.
    Signature,
    /// The caller asked to stop.
    Cancelled,
    /// The result of a private operation did not verify; it was withheld.
    Fault,
}

impl core::fmt::Display for RsaError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::KeySize => "RSA keys are made with 1024, 2048, 3072 or 4096 bits",
            Self::Exponent => "the public exponent is not allowed",
            Self::Modulus => "the public modulus is not valid",
            Self::Binding => "the prime does not belong to the public key",
            Self::InputTooLarge => "the input is not below the modulus",
            Self::DigestSize => "the digest has the wrong size for its algorithm",
            Self::KeyTooSmall => "the key is too short for this padding",
            Self::MessageTooLong => "the message is too long for this key",
            Self::Padding => "decryption failed",
            Self::Signature => "the signature is not valid",
            Self::Cancelled => "cancelled",
            Self::Fault => "the private operation failed its check",
        })
    }
}

impl core::error::Error for RsaError {}
