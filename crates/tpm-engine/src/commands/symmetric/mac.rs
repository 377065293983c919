//! `TPM2_MAC` and `TPM2_HMAC`, which share a code (Part 3, 15.5 and 15.6).

use super::start_mac;
use crate::algorithms::small;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Mac, MacResponse};
use tpm_wire::rc::Rc;

impl Execute for Mac {
    fn execute(self, tpm: &mut Tpm) -> Result<MacResponse, Rc> {
        let mut mac = start_mac(
            tpm,
            self.handle.0,
            self.in_scheme,
            Self::handle,
            Self::in_scheme,
        )?;
        mac.update(&self.buffer);
        Ok(MacResponse {
            out_mac: small(&mac.finish()),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::signature::build::*;
    use crate::commands::symmetric::build::{NoMac, unfit_for_mac};
    use crate::testing;
    use tpm_wire::algorithm::*;
    use tpm_wire::buffers::*;
    use tpm_wire::commands::Mac;
    use tpm_wire::handles::TpmiDhObject;
    use tpm_wire::rc::Rc;

    fn mac(handle: TpmiDhObject, in_scheme: Option<TpmiAlgMacScheme>) -> Mac {
        Mac {
            handle,
            buffer: Tpm2bMaxBuffer::new(b"message".to_vec()).unwrap(),
            in_scheme,
        }
    }

    fn own() -> Option<TpmtKeyedhashScheme> {
        Some(TpmtKeyedhashScheme::Hmac(SHA256))
    }

    const CMAC: Option<TpmiAlgSymMode> = Some(TpmiAlgSymMode::Cmac);

    #[test]
    fn gives_what_openssl_gives() {
        let mut tpm = testing::started();
        let hmac_key = load(&mut tpm, hmac(None, SIGNS));
        let answer = tpm.run(mac(hmac_key, Some(TpmiAlgMacScheme::Sha256)));
        assert_eq!(
            &*answer.unwrap().out_mac,
            bytes("323d71a8f9874ca083cf989755a6b2b2cf341eb091cae798037fbcc72ba2ec9c")
        );
        let hmac_key = load(&mut tpm, hmac(own(), SIGNS));
        let answer = tpm.run(mac(hmac_key, None));
        assert_eq!(
            &*answer.unwrap().out_mac,
            bytes("323d71a8f9874ca083cf989755a6b2b2cf341eb091cae798037fbcc72ba2ec9c")
        );
        let aes_key = load(&mut tpm, aes(CMAC, SIGNS));
        let answer = tpm.run(mac(aes_key, None));
        assert_eq!(
            &*answer.unwrap().out_mac,
            bytes("3174124e6635c01f9ce575a78f70aa83")
        );
        let aes_key = load(&mut tpm, aes(None, SIGNS));
        let answer = tpm.run(mac(aes_key, Some(TpmiAlgMacScheme::Cmac)));
        assert_eq!(
            &*answer.unwrap().out_mac,
            bytes("3174124e6635c01f9ce575a78f70aa83")
        );
    }

    #[test]
    fn keys_and_schemes_that_do_not_fit_are_refused() {
        for (key, in_scheme, why) in unfit_for_mac() {
            let mut tpm = testing::started();
            let handle = load(&mut tpm, key);
            let rc = match why {
                NoMac::Kind => Rc::TYPE.at(Mac::handle),
                NoMac::Disagreement => Rc::VALUE.at(Mac::in_scheme),
                NoMac::Scheme => Rc::SCHEME.at(Mac::in_scheme),
                NoMac::Restricted => Rc::ATTRIBUTES.at(Mac::handle),
                NoMac::NoSigner => Rc::KEY.at(Mac::handle),
            };
            assert_eq!(tpm.run(mac(handle, in_scheme)), Err(rc));
        }
    }
}
