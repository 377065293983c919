//! Domain parameters of the curves (TCG Algorithm Registry), as big-endian octets.

use super::Curve;

/// Domain parameters of a curve, big-endian; every value but the cofactor has the size of a field element.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    /// Prime of the field.
    pub p: &'static [u8],
    /// Linear coefficient of the curve equation.
    pub a: &'static [u8],
    /// Constant of the curve equation.
    pub b: &'static [u8],
    /// x of the base point.
    pub gx: &'static [u8],
    /// y of the base point.
    pub gy: &'static [u8],
    /// Order of the base point.
    pub n: &'static [u8],
    /// Cofactor; 1 for every curve here.
    pub h: &'static [u8],
}

impl Curve {
    /// Domain parameters, as `TPM2_ECC_Parameters` reports them (Part 3, 14.7).
    #[must_use]
    pub const fn parameters(self) -> &'static Parameters {
        match self {
            Self::NistP192 => &NIST_P192,
            Self::NistP224 => &NIST_P224,
            Self::NistP256 => &NIST_P256,
            Self::NistP384 => &NIST_P384,
            Self::NistP521 => &NIST_P521,
            Self::BnP256 => &BN_P256,
            Self::BnP638 => &BN_P638,
            Self::Sm2P256 => &SM2_P256,
        }
    }
}

/// Right-aligned octets of hexadecimal digits; evaluated by the compiler only, which reports a wrong digit.
#[expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "runs at compile time, where both are build errors"
)]
const fn octets<const N: usize>(digits: &str) -> [u8; N] {
    let digits = digits.as_bytes();
    let mut value = [0; N];
    let mut index = 0;
    while index < digits.len() {
        let digit = match digits[digits.len() - 1 - index] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("not a hexadecimal digit"),
        };
        // Leading zeros may exceed the size, as those of the constants that `primefield` wants at the size of its type.
        if index < 2 * N {
            value[N - 1 - index / 2] |= digit << (4 * (index % 2));
        } else {
            assert!(digit == 0);
        }
        index += 1;
    }
    value
}

/// One table row per curve: its name, the size of a field element, and p, a, b, gx, gy, n in hexadecimal.
///
/// A macro, because the size is a type's parameter.
macro_rules! curves {
    ($($name:ident, $size:literal: $p:expr, $a:expr, $b:expr, $gx:expr, $gy:expr, $n:expr;)+) => { $(
        const $name: Parameters = Parameters {
            p: &octets::<$size>($p),
            a: &octets::<$size>($a),
            b: &octets::<$size>($b),
            gx: &octets::<$size>($gx),
            gy: &octets::<$size>($gy),
            n: &octets::<$size>($n),
            h: &[1],
        };
    )+ };
}

/// Prime of the BN-P256 field.
pub(super) const BN_P256_P: &str =
    "fffffffffffcf0cd46e5f25eee71a49f0cdc65fb12980a82d3292ddbaed33013";
/// Order of BN-P256.
pub(super) const BN_P256_N: &str =
    "fffffffffffcf0cd46e5f25eee71a49e0cdc65fb1299921af62d536cd10b500d";
/// Prime of the BN-P638 field, as 768 bits.
pub(super) const BN_P638_P: &str = concat!(
    "00000000000000000000000000000000",
    "23fffffdc000000d7fffffb8000001d3fffff942d000165e3fff94870000d52f",
    "fffdd0e00008de55c00086520021e55bfffff51ffff4eb800000004c80015acd",
    "ffffffffffffece00000000000000067"
);
/// x of the BN-P638 base point: -1.
pub(super) const BN_P638_GX: &str = concat!(
    "23fffffdc000000d7fffffb8000001d3fffff942d000165e3fff94870000d52f",
    "fffdd0e00008de55c00086520021e55bfffff51ffff4eb800000004c80015acd",
    "ffffffffffffece00000000000000066"
);
/// Order of BN-P638, as 768 bits.
pub(super) const BN_P638_N: &str = concat!(
    "00000000000000000000000000000000",
    "23fffffdc000000d7fffffb8000001d3fffff942d000165e3fff94870000d52f",
    "fffdd0e00008de55600086550021e555fffff54ffff4eac000000049800154d9",
    "ffffffffffffeda00000000000000061"
);

curves! {
    NIST_P192, 24:
        "fffffffffffffffffffffffffffffffeffffffffffffffff",
        "fffffffffffffffffffffffffffffffefffffffffffffffc",
        "64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1",
        "188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012",
        "07192b95ffc8da78631011ed6b24cdd573f977a11e794811",
        "ffffffffffffffffffffffff99def836146bc9b1b4d22831";
    NIST_P224, 28:
        "ffffffffffffffffffffffffffffffff000000000000000000000001",
        "fffffffffffffffffffffffffffffffefffffffffffffffffffffffe",
        "b4050a850c04b3abf54132565044b0b7d7bfd8ba270b39432355ffb4",
        "b70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21",
        "bd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34",
        "ffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3d";
    NIST_P256, 32:
        "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc",
        "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
        "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    NIST_P384, 48:
        concat!("fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe", "ffffffff0000000000000000ffffffff"),
        concat!("fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe", "ffffffff0000000000000000fffffffc"),
        concat!("b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875a", "c656398d8a2ed19d2a85c8edd3ec2aef"),
        concat!("aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a38", "5502f25dbf55296c3a545e3872760ab7"),
        concat!("3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c0", "0a60b1ce1d7e819d7a431d7c90ea0e5f"),
        concat!("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf", "581a0db248b0a77aecec196accc52973");
    NIST_P521, 66:
        concat!("01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "ffff"),
        concat!("01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "fffc"),
        concat!("51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109", "e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f", "00"),
        concat!("c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3d", "baa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd", "66"),
        concat!("011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e", "662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd1", "6650"),
        concat!("01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "fffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e9138", "6409");
    SM2_P256, 32:
        "fffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffff",
        "fffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffc",
        "28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93",
        "32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7",
        "bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0",
        "fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123";
    BN_P256, 32: BN_P256_P, "0", "3", "1", "2", BN_P256_N;
    BN_P638, 80: BN_P638_P, "0", "0101", BN_P638_GX, "10", BN_P638_N;
}
