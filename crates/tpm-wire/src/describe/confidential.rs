//! Parameters that are confidential although their type does not say so.
//!
//! Authorization values, sensitive areas, sealed data and the like have types that mark them. What stands here are values of
//! ordinary types: contents of NV Indices, plaintexts, shared secrets, keys that travel, random bytes that become keys.

use crate::commands::{
    AcSend, ActivateCredential, Duplicate, EccDecrypt, EccEncrypt, EcdhKeyGen, EcdhZGen,
    EncryptDecrypt, EncryptDecrypt2, GetRandom, Import, MakeCredential, NvExtend, NvRead,
    NvSetBits, NvWrite, PcrSetAuthValue, Rewrap, RsaDecrypt, RsaEncrypt, ZGen2Phase,
};
use crate::table::Command;

/// A parameter area: of which command, and in which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    /// Parameters of the command with this code.
    Command(u32),
    /// Parameters of its response.
    Response(u32),
}

const fn sent<C: Command>() -> Area {
    Area::Command(C::INFO.code)
}

const fn returned<C: Command>() -> Area {
    Area::Response(C::INFO.code)
}

static CONFIDENTIAL: &[(Area, &str)] = &[
    (sent::<AcSend>(), "ac_data_in"),
    (sent::<Duplicate>(), "encryption_key_in"),
    (sent::<EccEncrypt>(), "plain_text"),
    (sent::<EncryptDecrypt>(), "in_data"),
    (sent::<EncryptDecrypt2>(), "in_data"),
    (sent::<Import>(), "encryption_key"),
    // A duplicate may travel without any protection.
    (sent::<Import>(), "duplicate"),
    (sent::<Rewrap>(), "in_duplicate"),
    (sent::<MakeCredential>(), "credential"),
    (sent::<NvExtend>(), "data"),
    (sent::<NvSetBits>(), "bits"),
    (sent::<NvWrite>(), "data"),
    (sent::<PcrSetAuthValue>(), "auth"),
    (sent::<RsaEncrypt>(), "message"),
    (returned::<ActivateCredential>(), "cert_info"),
    (returned::<Duplicate>(), "duplicate"),
    (returned::<Duplicate>(), "encryption_key_out"),
    (returned::<EccDecrypt>(), "plain_text"),
    (returned::<EcdhKeyGen>(), "z_point"),
    (returned::<EcdhZGen>(), "out_point"),
    (returned::<EncryptDecrypt>(), "out_data"),
    (returned::<EncryptDecrypt2>(), "out_data"),
    (returned::<GetRandom>(), "random_bytes"),
    (returned::<NvRead>(), "data"),
    (returned::<Rewrap>(), "out_duplicate"),
    (returned::<RsaDecrypt>(), "message"),
    (returned::<ZGen2Phase>(), "out_z1"),
    (returned::<ZGen2Phase>(), "out_z2"),
];

pub(super) fn is_confidential(area: Area, name: &str) -> bool {
    CONFIDENTIAL.contains(&(area, name))
}

#[cfg(test)]
mod tests {
    use super::{Area, CONFIDENTIAL};
    use crate::describe::Walker;
    use crate::table::find;

    /// A renamed parameter would be shown to everybody.
    #[test]
    fn every_confidential_parameter_is_one_of_the_table() {
        for (area, name) in CONFIDENTIAL {
            match *area {
                Area::Command(code) => {
                    assert!(find(code).unwrap().parameters.contains(name), "{name}");
                }
                Area::Response(code) => {
                    let zeros = [0; 64];
                    let mut walker = Walker::new(&zeros, *area);
                    (find(code).unwrap().describe_response)(&mut walker).unwrap();
                    assert!(
                        walker
                            .fields
                            .iter()
                            .any(|field| alloc::format!("{}", field.name) == *name),
                        "{name}"
                    );
                }
            }
        }
    }
}
