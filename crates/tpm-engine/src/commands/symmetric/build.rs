//! What the commands of this chapter and those that start a sequence refuse.

use crate::commands::signature::build::{DECRYPTS, SHA256, SIGNS, aes, hmac, rsa};
use crate::object::Object;
use alloc::vec::Vec;
use tpm_wire::algorithm::{
    TpmiAlgCipherMode, TpmiAlgMacScheme, TpmiAlgSymMode, TpmtKeyedhashScheme,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::Tpm2bIv;
use tpm_wire::rc::{Position, Rc};

/// Attributes of a key that encrypts and decrypts.
pub(crate) const BOTH: TpmaObject = TpmaObject(0x0006_0440);

/// Keys that do not encrypt, or not decrypt, and what is said of them.
pub(crate) fn unfit_keys() -> [(Object, bool, Rc); 5] {
    let restricted = BOTH | TpmaObject::RESTRICTED;
    [
        (hmac(None, BOTH), false, Rc::KEY),
        (aes(None, SIGNS), true, Rc::ATTRIBUTES),
        (aes(None, DECRYPTS), false, Rc::ATTRIBUTES),
        (aes(None, restricted), false, Rc::ATTRIBUTES),
        (aes(Some(TpmiAlgSymMode::Cmac), BOTH), false, Rc::MODE),
    ]
}

/// Which parameter is wrong.
#[derive(Clone, Copy)]
pub(crate) enum Wrong {
    Mode,
    Iv,
    Data,
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

/// Keys and schemes that give no MAC. The scheme is looked at before the attributes.
pub(crate) fn unfit_for_mac(
    handle: Position,
    in_scheme: Position,
) -> Vec<(Object, Option<TpmiAlgMacScheme>, Rc)> {
    let sha1 = Some(TpmiAlgMacScheme::Sha1);
    let cmac = Some(TpmiAlgMacScheme::Cmac);
    let restricted = SIGNS | TpmaObject::RESTRICTED;
    let cfb = Some(TpmiAlgSymMode::Cfb);
    let own = || Some(TpmtKeyedhashScheme::Hmac(SHA256));
    [
        (rsa(None, SIGNS), sha1, Rc::TYPE.at(handle)),
        (hmac(None, SIGNS), None, Rc::VALUE.at(in_scheme)),
        (hmac(own(), SIGNS), sha1, Rc::VALUE.at(in_scheme)),
        (aes(None, SIGNS), None, Rc::VALUE.at(in_scheme)),
        (aes(cfb, SIGNS), cmac, Rc::VALUE.at(in_scheme)),
        (hmac(None, SIGNS), cmac, Rc::SCHEME.at(in_scheme)),
        (aes(cfb, SIGNS), None, Rc::SCHEME.at(in_scheme)),
        (aes(None, SIGNS), sha1, Rc::SCHEME.at(in_scheme)),
        (hmac(own(), restricted), sha1, Rc::VALUE.at(in_scheme)),
        (hmac(own(), restricted), None, Rc::ATTRIBUTES.at(handle)),
        (
            hmac(own(), DECRYPTS | TpmaObject::RESTRICTED),
            None,
            Rc::ATTRIBUTES.at(handle),
        ),
        (hmac(own(), DECRYPTS), None, Rc::KEY.at(handle)),
    ]
    .into()
}
