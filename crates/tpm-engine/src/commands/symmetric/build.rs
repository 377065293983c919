//! What the commands of this chapter and those that start a sequence refuse.

use crate::commands::signature::build::{DECRYPTS, SHA256, SIGNS, aes, hmac, rsa};
use crate::object::Object;
use alloc::vec::Vec;
use tpm_wire::algorithm::{
    TpmiAlgCipherMode, TpmiAlgMacScheme, TpmiAlgSymMode, TpmtKeyedhashScheme,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::Tpm2bIv;

/// Attributes of a key that encrypts and decrypts.
pub(crate) const BOTH: TpmaObject = TpmaObject(0x0006_0440);

/// What is wrong with a key, or which parameter does not fit it.
#[derive(Clone, Copy)]
pub(crate) enum Wrong {
    Kind,
    Attributes,
    ModeOfKey,
    Mode,
    Iv,
    Data,
}

/// Keys that do not encrypt, or not decrypt if it says so.
pub(crate) fn unfit_keys() -> [(Object, bool, Wrong); 5] {
    let restricted = BOTH | TpmaObject::RESTRICTED;
    let cmac = Some(TpmiAlgSymMode::Cmac);
    [
        (hmac(None, BOTH), false, Wrong::Kind),
        (aes(None, SIGNS), true, Wrong::Attributes),
        (aes(None, DECRYPTS), false, Wrong::Attributes),
        (aes(None, restricted), false, Wrong::Attributes),
        (aes(cmac, BOTH), false, Wrong::ModeOfKey),
    ]
}

/// The mode of the key, that of the command, the IV, the size of the data, and what is wrong first.
pub(crate) type Unfit = (
    Option<TpmiAlgSymMode>,
    Option<TpmiAlgCipherMode>,
    Tpm2bIv,
    usize,
    Wrong,
);

/// Parameters that do not fit a key.
pub(crate) fn unfit_parameters() -> [Unfit; 6] {
    let cfb = Some(TpmiAlgSymMode::Cfb);
    let cbc = Some(TpmiAlgCipherMode::Cbc);
    let ecb = Some(TpmiAlgCipherMode::Ecb);
    let iv = Tpm2bIv::zeros;
    [
        (None, None, iv(8), 17, Wrong::Mode),
        (cfb, cbc, iv(8), 17, Wrong::Mode),
        (None, cbc, iv(8), 17, Wrong::Iv),
        (None, ecb, iv(16), 17, Wrong::Iv),
        (None, cbc, iv(16), 17, Wrong::Data),
        (None, ecb, iv(0), 17, Wrong::Data),
    ]
}

/// Why key and scheme give no MAC, in the order in which it is noticed.
#[derive(Clone, Copy)]
pub(crate) enum NoMac {
    Kind,
    Disagreement,
    Scheme,
    Restricted,
    NoSigner,
}

/// Keys and schemes that give no MAC.
pub(crate) fn unfit_for_mac() -> Vec<(Object, Option<TpmiAlgMacScheme>, NoMac)> {
    let sha1 = Some(TpmiAlgMacScheme::Sha1);
    let cmac = Some(TpmiAlgMacScheme::Cmac);
    let restricted = SIGNS | TpmaObject::RESTRICTED;
    let cfb = Some(TpmiAlgSymMode::Cfb);
    let own = || Some(TpmtKeyedhashScheme::Hmac(SHA256));
    let stores = DECRYPTS | TpmaObject::RESTRICTED;
    [
        (rsa(None, SIGNS), sha1, NoMac::Kind),
        (hmac(None, SIGNS), None, NoMac::Disagreement),
        (hmac(own(), SIGNS), sha1, NoMac::Disagreement),
        (hmac(own(), restricted), sha1, NoMac::Disagreement),
        (aes(None, SIGNS), None, NoMac::Disagreement),
        (aes(cfb, SIGNS), cmac, NoMac::Disagreement),
        (hmac(None, SIGNS), cmac, NoMac::Scheme),
        (hmac(None, restricted), cmac, NoMac::Scheme),
        (aes(cfb, SIGNS), None, NoMac::Scheme),
        (aes(None, SIGNS), sha1, NoMac::Scheme),
        (hmac(own(), restricted), None, NoMac::Restricted),
        (hmac(own(), stores), None, NoMac::Restricted),
        (hmac(own(), DECRYPTS), None, NoMac::NoSigner),
    ]
    .into()
}
