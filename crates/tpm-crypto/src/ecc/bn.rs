//! The two Barreto-Naehrig curves, y² = x³ + b, which no crate offers.
//!
//! Field and scalars are the generic Montgomery arithmetic of `primefield`, the point formulas the complete ones of
//! `primeorder`: constant time throughout.

use super::parameters;
use primeorder::elliptic_curve::{
    array::typenum,
    bigint::{U256, U768},
};

/// Defines the field, the scalars and the curve in a module of its own; a macro, because both curves need all of it.
///
/// The library names the integer type by its bits: 638 bits take 768, the next size that it can encode. `non_residue`
/// only serves square roots, of which signatures and exchanges need none.
macro_rules! bn_curve {
    (
        $module:ident, $name:ident, $doc:literal, $uint:ident, $size:ty, recoding: $recoding:ty,
        p: $p:expr, non_residue: $p_root:literal, n: $n:expr, non_residue: $n_root:literal,
        b: $b:literal, g: ($gx:expr, $gy:literal)
    ) => {
        mod $module {
            use self::field::FieldElement;
            use super::{parameters, typenum, $uint};
            use crate::ecc::arithmetic::reduce_into;
            use primeorder::{
                PrimeCurveParams,
                elliptic_curve::{
                    Curve, CurveArithmetic, FieldBytes, PrimeCurve, PrimeCurveArithmetic,
                    bigint::Odd,
                    ff::PrimeField,
                    hazmat::FieldArithmetic,
                    ops::{BatchInvert, Reduce},
                    scalar::{FromUintUnchecked, IsHigh},
                    scalar_impls,
                    subtle::{Choice, ConstantTimeEq, ConstantTimeGreater, CtOption},
                },
                mul_backend, point_arithmetic, wnaf,
            };

            /// The field in a module of its own: the macros for both would import a name twice.
            mod field {
                use super::super::{parameters, $uint};
                use primeorder::elliptic_curve::{
                    ff::PrimeField,
                    subtle::{Choice, ConstantTimeEq, CtOption},
                };

                primefield::monty_field_params! {
                    name: FieldParams,
                    modulus: $p,
                    uint: $uint,
                    byte_order: primefield::ByteOrder::BigEndian,
                    multiplicative_generator: $p_root,
                    doc: "Montgomery parameters of the field."
                }
                primefield::monty_field_element! {
                    name: FieldElement,
                    params: FieldParams,
                    uint: $uint,
                    doc: "Element of the field."
                }
                primefield::monty_field_arithmetic! {
                    name: FieldElement,
                    params: FieldParams,
                    uint: $uint
                }
            }
            impl BatchInvert for FieldElement {}

            primefield::monty_field_params! {
                name: ScalarParams,
                modulus: $n,
                uint: $uint,
                byte_order: primefield::ByteOrder::BigEndian,
                multiplicative_generator: $n_root,
                doc: "Montgomery parameters of the scalars."
            }
            primefield::monty_field_element! {
                name: Scalar,
                params: ScalarParams,
                uint: $uint,
                doc: "Integer modulo the order."
            }
            primefield::monty_field_arithmetic! {
                name: Scalar,
                params: ScalarParams,
                uint: $uint
            }
            scalar_impls!($name, Scalar);

            impl Reduce<$uint> for Scalar {
                fn reduce(value: &$uint) -> Self {
                    Self::from_uint_unchecked(*value)
                }
            }

            impl Reduce<FieldBytes<$name>> for Scalar {
                fn reduce(value: &FieldBytes<$name>) -> Self {
                    reduce_into(value)
                }
            }

            impl wnaf::WnafSize for Scalar {
                type StorageSize = $recoding;
            }

            impl AsRef<Scalar> for Scalar {
                fn as_ref(&self) -> &Scalar {
                    self
                }
            }

            impl FromUintUnchecked for Scalar {
                type Uint = $uint;

                fn from_uint_unchecked(uint: Self::Uint) -> Self {
                    Self::from_uint_unchecked(uint)
                }
            }

            impl IsHigh for Scalar {
                fn is_high(&self) -> Choice {
                    let half = $name::ORDER.as_ref().shr_vartime(1);
                    ConstantTimeGreater::ct_gt(&self.to_canonical(), &half)
                }
            }

            #[doc = $doc]
            #[derive(Copy, Clone, Debug, Default, Eq, PartialEq, PartialOrd, Ord)]
            pub struct $name;

            impl Curve for $name {
                type FieldBytesSize = $size;
                type Uint = $uint;
                const ORDER: Odd<$uint> =
                    *<ScalarParams as ConstMontyParams<{ $uint::LIMBS }>>::PARAMS.modulus();
            }

            impl PrimeCurve for $name {}

            impl CurveArithmetic for $name {
                type AffinePoint = primeorder::AffinePoint<Self>;
                type ProjectivePoint = primeorder::ProjectivePoint<Self>;
                type Scalar = Scalar;
            }

            impl FieldArithmetic for $name {
                type FieldElement = FieldElement;
            }

            impl PrimeCurveArithmetic for $name {
                type CurveGroup = primeorder::ProjectivePoint<Self>;
            }

            impl PrimeCurveParams for $name {
                type PointArithmetic = point_arithmetic::EquationAIsZero;
                type Backend = mul_backend::VariableOnly;
                const EQUATION_A: FieldElement = FieldElement::ZERO;
                const EQUATION_B: FieldElement = FieldElement::from_u64($b);
                const GENERATOR: (FieldElement, FieldElement) = ($gx, FieldElement::from_u64($gy));
            }
        }
        pub(super) use $module::$name;
    };
}

bn_curve! {
    bn_p256, BnP256, "BN-P256.", U256, typenum::U32, recoding: typenum::U257,
    p: parameters::BN_P256_P, non_residue: 2, n: parameters::BN_P256_N, non_residue: 2,
    b: 3, g: (FieldElement::ONE, 2)
}

bn_curve! {
    bn_p638, BnP638, "BN-P638.", U768, typenum::U80, recoding: typenum::U640,
    p: parameters::BN_P638_P, non_residue: 5, n: parameters::BN_P638_N, non_residue: 7,
    b: 0x0101, g: (FieldElement::from_hex_vartime(parameters::BN_P638_GX), 16)
}
