//! Every rule of the module, over all curves; long because the schemes share the curves, the keys and the helpers below.

use super::*;
use crate::hash::{HashAlgorithm, hash};
use alloc::vec::Vec;
use core::convert::Infallible;
use rand_core::{TryCryptoRng, TryRng};

mod vectors;

const ENTROPY: [u8; 32] = {
    let mut entropy = [0; 32];
    let mut index = 0;
    while index < 32 {
        entropy[index as usize] = index;
        index += 1;
    }
    entropy
};

/// Octets 1, 8, 15, ...; counts requests and octets, for the contract of key generation.
#[derive(Default)]
struct Steps {
    octets: usize,
    requests: usize,
}

impl TryRng for Steps {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("keys are drawn as octets")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("keys are drawn as octets")
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), Infallible> {
        self.requests += 1;
        for octet in octets {
            *octet = u8::try_from((7 * self.octets + 1) % 256).unwrap();
            self.octets += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for Steps {}

fn bytes(digits: &str) -> Vec<u8> {
    hex::decode(digits).unwrap()
}

fn key(curve: Curve, digits: &str) -> PrivateKey {
    PrivateKey::new(curve, &bytes(digits)).unwrap()
}

fn base(curve: Curve) -> Point {
    let parameters = curve.parameters();
    on_curve(curve, parameters.gx, parameters.gy).unwrap()
}

/// The order less or more a small number.
fn order_plus(curve: Curve, difference: i8) -> Vec<u8> {
    let mut order = curve.parameters().n.to_vec();
    let last = order.last_mut().unwrap();
    *last = last.checked_add_signed(difference).unwrap();
    order
}

#[test]
fn multiples_are_known() {
    for (curve, k, px, py, l, qx, qy, rx, ry) in vectors::MULTIPLES {
        let p = multiply_base(*curve, &bytes(k)).unwrap();
        assert_eq!((p.x(), p.y()), (&*bytes(px), &*bytes(py)), "{curve:?}");
        assert_eq!(key(*curve, k).public(), p);
        assert_eq!(multiply(*curve, &bytes(k), &base(*curve)), Ok(p));
        let q = multiply(*curve, &bytes(l), &p).unwrap();
        assert_eq!((q.x(), q.y()), (&*bytes(qx), &*bytes(qy)), "{curve:?}");
        let r = multiply_add(*curve, &bytes(l), &p, &bytes(k), &q).unwrap();
        assert_eq!((r.x(), r.y()), (&*bytes(rx), &*bytes(ry)), "{curve:?}");
    }
}

#[test]
fn parameters_describe_the_curve() {
    for curve in Curve::ALL {
        let parameters = curve.parameters();
        let base = base(curve);
        assert_eq!(multiply_base(curve, &[1]), Ok(base));
        assert_eq!(
            multiply_base(curve, &[0, 0, 0, 2]),
            multiply(curve, &[2], &base)
        );
        assert_eq!(parameters.n.len(), curve.order_bytes());
        assert_eq!(curve.field_bytes(), usize::from(curve.bits()).div_ceil(8));
        assert_eq!(parameters.a.len(), parameters.p.len());
        assert_eq!(parameters.b.len(), parameters.p.len());
        let bits =
            |octets: &[u8]| 8 * u32::try_from(octets.len()).unwrap() - octets[0].leading_zeros();
        assert_eq!(bits(parameters.p), u32::from(curve.bits()));
        assert_eq!(bits(parameters.n), u32::from(curve.bits()));
    }
}

#[test]
fn zero_and_the_order_give_infinity() {
    for curve in Curve::ALL {
        let base = base(curve);
        let order = curve.parameters().n;
        for zero in [&[][..], &[0], order] {
            assert_eq!(multiply_base(curve, zero), Err(EccError::Infinity));
            assert_eq!(multiply(curve, zero, &base), Err(EccError::Infinity));
        }
        let minus = multiply_base(curve, &order_plus(curve, -1)).unwrap();
        assert_eq!(minus.x(), base.x());
        assert_ne!(minus.y(), base.y());
        assert_eq!(
            multiply_add(curve, &[5], &base, &[5], &minus),
            Err(EccError::Infinity)
        );
        assert_eq!(multiply_base(curve, &order_plus(curve, 1)), Ok(base));
    }
}

#[test]
fn private_keys_are_above_zero_and_below_the_order() {
    for curve in Curve::ALL {
        for refused in [
            &[][..],
            &[0; 80],
            curve.parameters().n,
            &order_plus(curve, 1),
            &[0xff; 80],
        ] {
            assert!(!valid_private(curve, refused), "{curve:?}");
        }
        for accepted in [&[1][..], &order_plus(curve, -1)] {
            assert!(valid_private(curve, accepted), "{curve:?}");
        }
        let mut long = alloc::vec![0; 100];
        long.push(7);
        let seven = PrivateKey::new(curve, &long).unwrap();
        assert_eq!(seven.as_bytes().len(), curve.order_bytes());
        assert!(bool::from(
            seven.ct_eq(&PrivateKey::new(curve, &[7]).unwrap())
        ));
        long[0] = 1;
        assert!(!valid_private(curve, &long));
    }
}

#[test]
fn points_off_the_curve_are_refused() {
    for curve in Curve::ALL {
        let base = base(curve);
        let mut y = base.y().to_vec();
        *y.last_mut().unwrap() ^= 1;
        assert_eq!(on_curve(curve, base.x(), &y), None);
        assert_eq!(on_curve(curve, &[], &[]), None);
        assert_eq!(on_curve(curve, &[0; 80], &[0; 80]), None);
        assert_eq!(on_curve(curve, &[0xff; 80], base.y()), None);
    }
}

#[test]
fn coordinates_may_be_short_or_padded_but_not_above_the_prime() {
    let point = on_curve(Curve::BnP256, &[1], &[0, 2]).unwrap();
    assert_eq!(point, base(Curve::BnP256));
    assert_eq!(point.x().len(), 32);
    let mut padded = alloc::vec![0; 90];
    padded.extend_from_slice(point.y());
    assert_eq!(on_curve(Curve::BnP256, &[1], &padded), Some(point));
    // The same x, unreduced: 1 + p.
    let mut x = Curve::BnP256.parameters().p.to_vec();
    *x.last_mut().unwrap() += 1;
    assert_eq!(on_curve(Curve::BnP256, &x, &[2]), None);
    padded[0] = 1;
    assert_eq!(on_curve(Curve::BnP256, &[1], &padded), None);
}

#[test]
fn points_and_keys_of_another_curve_are_refused() {
    let foreign = base(Curve::Sm2P256);
    assert_eq!(
        multiply(Curve::NistP256, &[2], &foreign),
        Err(EccError::Curve)
    );
    let key = PrivateKey::new(Curve::NistP256, &[2]).unwrap();
    let other = PrivateKey::new(Curve::Sm2P256, &[2]).unwrap();
    assert_eq!(
        exchange::mqv(&key, &other, &key.public(), &key.public()),
        Err(EccError::Curve)
    );
    assert_eq!(
        ecdaa::commit(&key, &other, None, None),
        Err(EccError::Curve)
    );
}

#[test]
fn generation_draws_the_order_and_eight_octets_once() {
    for (curve, octets, private, x) in vectors::GENERATED {
        let mut rng = Steps::default();
        let (key, public) = generate(*curve, &mut rng);
        assert_eq!((rng.requests, rng.octets), (1, *octets), "{curve:?}");
        assert_eq!(key.as_bytes(), bytes(private), "{curve:?}");
        assert_eq!(public.x(), bytes(x), "{curve:?}");
        assert!(valid_private(*curve, key.as_bytes()));
    }
}

#[test]
fn ecdsa_without_entropy_is_rfc_6979() {
    for (curve, alg, private, r, s) in vectors::RFC_6979 {
        let key = key(*curve, private);
        let digest = hash(*alg, &[b"sample"]);
        let signature = dispatch!(*curve, C => {
            let d = arithmetic::secret::<C>(&key).unwrap();
            let nonces = nonce::Nonces::new::<C>(*alg, &d, &digest, &[]);
            ecdsa::sign_with::<C>(&d, &digest, nonces).unwrap()
        });
        assert_eq!(
            (&*signature.r, &*signature.s),
            (&*bytes(r), &*bytes(s)),
            "{curve:?} {alg:?}"
        );
        assert_eq!(
            ecdsa::verify(&key.public(), &digest, &signature.r, &signature.s),
            Ok(())
        );
    }
}

#[test]
fn signatures_are_known_and_verify() {
    let digest = hash(HashAlgorithm::Sha384, &[b"message"]);
    let other = hash(HashAlgorithm::Sha384, &[b"another message"]);
    let schnorr_hash = HashAlgorithm::Sha256;
    type Verify<'a> = &'a dyn Fn(&Point, &[u8], &[u8], &[u8]) -> Result<(), EccError>;
    for (curve, private, er, es, cr, cs, sr, ss) in vectors::HEDGED {
        let key = key(*curve, private);
        let public = key.public();
        let schemes: [(&str, Signature, &str, &str, Verify<'_>); 3] = [
            (
                "ecdsa",
                ecdsa::sign(&key, &digest, &ENTROPY).unwrap(),
                er,
                es,
                &ecdsa::verify,
            ),
            (
                "schnorr",
                schnorr::sign(&key, schnorr_hash, &digest, &ENTROPY).unwrap(),
                cr,
                cs,
                &|public, digest, r, s| schnorr::verify(public, schnorr_hash, digest, r, s),
            ),
            (
                "sm2",
                sm2::sign(&key, &digest, &ENTROPY).unwrap(),
                sr,
                ss,
                &sm2::verify,
            ),
        ];
        for (scheme, Signature { r, s }, known_r, known_s, verify) in schemes {
            assert_eq!(
                (&*r, &*s),
                (&*bytes(known_r), &*bytes(known_s)),
                "{scheme} {curve:?}"
            );
            assert_eq!(
                verify(&public, &digest, &r, &s),
                Ok(()),
                "{scheme} {curve:?}"
            );
            let no = Err(EccError::Signature);
            assert_eq!(verify(&public, &other, &r, &s), no, "{scheme} {curve:?}");
            assert_eq!(
                verify(&base(*curve), &digest, &r, &s),
                no,
                "{scheme} {curve:?}"
            );
            assert_eq!(verify(&public, &digest, &s, &r), no, "{scheme} {curve:?}");
            for out_of_range in [&[][..], &[0], curve.parameters().n, &[0xff; 80]] {
                assert_eq!(
                    verify(&public, &digest, out_of_range, &s),
                    no,
                    "{scheme} {curve:?}"
                );
                assert_eq!(
                    verify(&public, &digest, &r, out_of_range),
                    no,
                    "{scheme} {curve:?}"
                );
            }
        }
    }
}

#[test]
fn fresh_entropy_gives_another_signature() {
    for curve in Curve::ALL {
        let key = PrivateKey::new(curve, &[3]).unwrap();
        let digest = [7; 32];
        let first = ecdsa::sign(&key, &digest, &[0; 32]).unwrap();
        assert_eq!(ecdsa::sign(&key, &digest, &[0; 32]).unwrap(), first);
        let second = ecdsa::sign(&key, &digest, &[1; 32]).unwrap();
        assert_ne!(first.r, second.r);
        assert_eq!(
            ecdsa::verify(&key.public(), &digest, &second.r, &second.s),
            Ok(())
        );
    }
}

#[test]
fn digests_that_agree_in_the_bits_signed_have_different_nonces() {
    // Only the first 24 octets count for ECDSA on P-192, so equal signatures there would be harmless, but the nonce of
    // Schnorr and SM2 would meet two different challenges.
    let key = PrivateKey::new(Curve::NistP192, &[3]).unwrap();
    let (mut one, mut two) = ([7; 32], [7; 32]);
    (one[31], two[31]) = (1, 2);
    let first = ecdsa::sign(&key, &one, &ENTROPY).unwrap();
    let second = ecdsa::sign(&key, &two, &ENTROPY).unwrap();
    assert_ne!(first.r, second.r);
    assert_eq!(
        ecdsa::verify(&key.public(), &two, &first.r, &first.s),
        Ok(())
    );
}

#[test]
fn empty_and_oversized_digests_sign() {
    for curve in Curve::ALL {
        let key = PrivateKey::new(curve, &[3]).unwrap();
        for digest in [&[][..], &[0xff; 100]] {
            let Signature { r, s } = ecdsa::sign(&key, digest, &ENTROPY).unwrap();
            assert_eq!(
                ecdsa::verify(&key.public(), digest, &r, &s),
                Ok(()),
                "{curve:?}"
            );
            let Signature { r, s } = sm2::sign(&key, digest, &ENTROPY).unwrap();
            assert_eq!(
                sm2::verify(&key.public(), digest, &r, &s),
                Ok(()),
                "{curve:?}"
            );
        }
    }
}

#[test]
fn leftmost_bits_are_those_of_the_order() {
    let octets: Vec<u8> = (1..=100).collect();
    assert_eq!(
        &*arithmetic::leftmost::<p256::NistP256>(&octets),
        &octets[..32]
    );
    assert_eq!(
        &*arithmetic::leftmost::<p256::NistP256>(&octets[..20]),
        &octets[..20]
    );
    let cut = arithmetic::leftmost::<p521::NistP521>(&octets);
    // 0x0102...4142 shifted by 7 bits, then 0x0102...4f50 by 2.
    assert_eq!((cut.len(), cut[0], cut[1], cut[65]), (66, 0, 2, 0x82));
    let cut = arithmetic::leftmost::<bn::BnP638>(&octets);
    assert_eq!((cut.len(), cut[0], cut[1], cut[79]), (80, 0, 0x40, 0xd4));
}

#[test]
fn sm2_signs_as_in_the_standard() {
    let key = key(
        Curve::Sm2P256,
        "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8",
    );
    let digest = bytes("f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640");
    assert_eq!(
        key.public().x(),
        bytes("09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020")
    );
    let d = arithmetic::secret::<::sm2::Sm2>(&key).unwrap();
    let k = arithmetic::reduce::<::sm2::Sm2>(&bytes(
        "59276e27d506861a16680f3ad9c02dccef3cc1fa3cdbe4ce6d54b80deac1bc21",
    ));
    let signature = sm2::sign_once::<::sm2::Sm2>(&d, &digest, &k)
        .unwrap()
        .unwrap();
    assert_eq!(
        (&*signature.r, &*signature.s),
        (
            &*bytes("f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"),
            &*bytes("b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa")
        )
    );
    assert_eq!(
        sm2::verify(&key.public(), &digest, &signature.r, &signature.s),
        Ok(())
    );
}

#[test]
fn sm2_refuses_the_key_that_cannot_sign() {
    for curve in Curve::ALL {
        let key = PrivateKey::new(curve, &order_plus(curve, -1)).unwrap();
        assert_eq!(sm2::sign(&key, &[1; 32], &ENTROPY), Err(EccError::Scalar));
    }
}

#[test]
fn sm2_exchanges_as_in_the_standard() {
    let key = |digits| key(Curve::Sm2P256, digits);
    let (a, ra) = (
        key("81eb26e941bb5af16df116495f90695272ae2cd63d6c4ae1678418be48230029"),
        key("d4de15474db74d06491c440d305e012400990f3e390c7e87153c12db2ea60bb3"),
    );
    let (b, rb) = (
        key("785129917d45a9ea5437a59356b82338eaadda6ceb199088f14ae10defa229b5"),
        key("7e07124814b309489125eaed101113164ebf0f3458c5bd88335c1f9d596243d6"),
    );
    let shared = exchange::sm2(&a, &ra, &b.public(), &rb.public()).unwrap();
    assert_eq!(
        (shared.x(), shared.y()),
        (
            &*bytes("c558b44bee5301d9f52b44d939bb59584d75b9034dd6a9fc826872109a65739f"),
            &*bytes("3252b35b191d8ae01cd122c025204334c5eacf68a0cb4854c6a7d367ecad4de7")
        )
    );
    assert_eq!(
        exchange::sm2(&b, &rb, &a.public(), &ra.public()),
        Ok(shared)
    );
}

#[test]
fn exchanges_are_known_and_agree() {
    for (curve, a, ra, b, rb, mx, my, sx, sy) in vectors::EXCHANGES {
        let [a, ra, b, rb] = [a, ra, b, rb].map(|digits| key(*curve, digits));
        let shared = exchange::mqv(&a, &ra, &b.public(), &rb.public()).unwrap();
        assert_eq!(
            (shared.x(), shared.y()),
            (&*bytes(mx), &*bytes(my)),
            "{curve:?}"
        );
        assert_eq!(
            exchange::mqv(&b, &rb, &a.public(), &ra.public()),
            Ok(shared)
        );
        let shared = exchange::sm2(&a, &ra, &b.public(), &rb.public()).unwrap();
        assert_eq!(
            (shared.x(), shared.y()),
            (&*bytes(sx), &*bytes(sy)),
            "{curve:?}"
        );
        assert_eq!(
            exchange::sm2(&b, &rb, &a.public(), &ra.public()),
            Ok(shared)
        );
        let shared = exchange::ecdh(&a, &ra, &b.public(), &rb.public()).unwrap();
        assert_eq!(
            exchange::ecdh(&b, &rb, &a.public(), &ra.public()),
            Ok(shared)
        );
        assert_ne!(shared.0, shared.1);
    }
}

#[test]
fn commitments_are_known() {
    let alg = HashAlgorithm::Sha256;
    for (curve, counter, r, s2, y2, k, l, e) in vectors::COMMITMENTS {
        let nonce = b"noncenoncenoncenonce";
        let secret = ecdaa::commit_nonce(*curve, alg, nonce, b"\0\x0bname", *counter);
        assert_eq!(secret.as_bytes(), bytes(r), "{curve:?}");
        let other = ecdaa::commit_nonce(*curve, alg, nonce, b"\0\x0bname", counter + 1);
        assert!(!bool::from(secret.ct_eq(&other)));

        let (_, d, ..) = vectors::HEDGED.iter().find(|row| row.0 == *curve).unwrap();
        let key = key(*curve, d);
        let p2 = ecdaa::hashed_point(*curve, alg, s2.as_bytes(), &bytes(y2)).unwrap();
        assert_eq!(
            ecdaa::hashed_point(*curve, alg, b"elsewhere", &bytes(y2)),
            None
        );
        let p1 = multiply_base(*curve, &[5]).unwrap();

        let plain = ecdaa::commit(&key, &secret, None, None).unwrap();
        assert_eq!((plain.k, plain.l), (None, None));
        assert_eq!(plain.e.unwrap().x(), bytes(e), "{curve:?}");
        let second = ecdaa::commit(&key, &secret, None, Some(&p2)).unwrap();
        assert_eq!(second.k.unwrap().x(), bytes(k), "{curve:?}");
        assert_eq!(second.l.unwrap().x(), bytes(l), "{curve:?}");
        assert_eq!(second.e, None);
        let both = ecdaa::commit(&key, &secret, Some(&p1), Some(&p2)).unwrap();
        assert_eq!((both.k, both.l), (second.k, second.l));
        assert_eq!(both.e, Some(multiply(*curve, &bytes(r), &p1).unwrap()));
    }
}

#[test]
fn anonymous_signatures_open_their_commitment() {
    let alg = HashAlgorithm::Sha256;
    for (curve, counter, r, s2, y2, ..) in vectors::COMMITMENTS {
        let (key, public) = generate(*curve, &mut Steps::default());
        let r = self::key(*curve, r);
        let p2 = ecdaa::hashed_point(*curve, alg, s2.as_bytes(), &bytes(y2)).unwrap();
        let e = ecdaa::commit(&key, &r, None, None).unwrap().e.unwrap();
        let both = ecdaa::commit(&key, &r, None, Some(&p2)).unwrap();

        let mut rng = Steps {
            octets: 3,
            requests: 0,
        };
        let digest = hash(alg, &[&counter.to_be_bytes()]);
        let Signature { r: nonce, s } = ecdaa::sign(&key, alg, &r, &digest, &mut rng).unwrap();
        assert_eq!(
            ecdaa::verify(&public, alg, &e, &digest, &nonce, &s),
            Ok(()),
            "{curve:?}"
        );
        assert_eq!(
            ecdaa::recover(alg, &p2, &both.k.unwrap(), &digest, &nonce, &s),
            Ok(both.l.unwrap())
        );
        let other = hash(alg, &[b"other"]);
        assert_eq!(
            ecdaa::verify(&public, alg, &e, &other, &nonce, &s),
            Err(EccError::Signature)
        );
    }
}

#[test]
fn decryption_is_that_of_the_sm2_standard() {
    let key = key(
        Curve::Sm2P256,
        "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8",
    );
    let c1 = multiply_base(
        Curve::Sm2P256,
        &bytes("59276e27d506861a16680f3ad9c02dccef3cc1fa3cdbe4ce6d54b80deac1bc21"),
    )
    .unwrap();
    let c2 = bytes("21886ca989ca9c7d58087307ca93092d651efa");
    let c3 = bytes("59983c18f809e262923c53aec295d30383b54e39d609d160afcb1908d0bd8766");
    let text = encryption::decrypt(&key, HashAlgorithm::Sm3_256, &c1, &c2, &c3).unwrap();
    assert_eq!(&**text, b"encryption standard");
}

#[test]
fn encryption_round_trips_and_refuses_what_was_changed() {
    let alg = HashAlgorithm::Sha256;
    for curve in Curve::ALL {
        let (key, public) = generate(curve, &mut Steps::default());
        let mut rng = Steps {
            octets: 5,
            requests: 0,
        };
        for text in [&[][..], &[7; 100]] {
            let mut sealed = encryption::encrypt(&public, alg, text, &mut rng).unwrap();
            let open = |sealed: &encryption::Ciphertext, c3: &[u8]| {
                encryption::decrypt(&key, alg, &sealed.c1, &sealed.c2, c3)
            };
            assert_eq!(**open(&sealed, &sealed.c3).unwrap(), *text, "{curve:?}");
            let refused = Err(EccError::Ciphertext);
            assert_eq!(open(&sealed, &sealed.c3[1..]), refused, "{curve:?}");
            assert_eq!(open(&sealed, &[0; 32]), refused, "{curve:?}");
            if let Some(octet) = sealed.c2.first_mut() {
                *octet ^= 1;
                assert_eq!(open(&sealed, &sealed.c3), refused, "{curve:?}");
            }
        }
    }
}

#[test]
fn a_private_key_is_not_printed() {
    let key = PrivateKey::new(Curve::NistP256, &[0x5a; 32]).unwrap();
    assert_eq!(
        alloc::format!("{key:?}"),
        "PrivateKey { curve: NistP256, .. }"
    );
}
