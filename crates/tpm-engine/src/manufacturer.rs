//! What the manufacturer of a TPM does with its keys and no command offers.

use crate::state::Tpm;
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgPublic, TpmsSchemeHash, TpmtSigScheme, TpmtSignature,
};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Tpm {
    /// Signs a digest with a loaded RSA (RSASSA) or ECC (ECDSA) key, whatever its attributes allow: an endorsement key cannot sign, but
    /// the request for its certificate has to carry a signature of it (RFC 2986, 4.2). Whoever runs the TPM has its seeds and could do
    /// the same; whoever only sends it commands cannot.
    ///
    /// # Errors
    /// `TPM_RC_KEY` if no such key is loaded, `TPM_RC_SIZE` if it is too short for the digest.
    pub fn sign_as_manufacturer(
        &mut self,
        key: TpmHandle,
        hash_alg: TpmiAlgHash,
        digest: &[u8],
    ) -> Result<TpmtSignature, Rc> {
        let scheme = TpmsSchemeHash { hash_alg };
        let object = self.objects.find(key).ok_or(Rc::KEY)?;
        let scheme = match object.public.object_type() {
            TpmiAlgPublic::Rsa => TpmtSigScheme::Rsassa(scheme),
            TpmiAlgPublic::Ecc => TpmtSigScheme::Ecdsa(scheme),
            TpmiAlgPublic::KeyedHash | TpmiAlgPublic::SymCipher => return Err(Rc::KEY),
        };
        self.compute_signature(key, &scheme, digest)
    }
}
