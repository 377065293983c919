//! THE table: one row per command, in the order of Part 3.
//!
//! A row gives the names `Command / Response`, the command code, the section of Part 3, the attributes that the types do not
//! tell ([`crate::table::flag`]), and the three areas: handles (`as` the authorization role that they need), parameters, and
//! what is returned, a response handle in parentheses. Everything else is derived. [`command_table!`](crate::command_table)
//! hands the rows to a macro of another crate, as the engine's dispatch does.

use crate::algorithm::{
    Tpm2bEccPoint, TpmiAlgCipherMode, TpmiAlgHash, TpmiAlgMacScheme, TpmiEccCurve,
    TpmiEccKeyExchange, TpmsAlgorithmDetailEcc, TpmtKdfScheme, TpmtRsaDecrypt, TpmtSigScheme,
    TpmtSignature, TpmtSymDef, TpmtSymDefObject,
};
use crate::attest::TpmsTimeInfo;
use crate::attributes::TpmaLocality;
use crate::buffers::{
    Tpm2bAttest, Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bEccParameter, Tpm2bEncryptedSecret,
    Tpm2bEvent, Tpm2bIdObject, Tpm2bIv, Tpm2bMaxBuffer, Tpm2bMaxNvBuffer, Tpm2bName, Tpm2bNonce,
    Tpm2bOperand, Tpm2bPrivate, Tpm2bPublicKeyRsa, Tpm2bSensitiveData, Tpm2bSetCapabilityData,
    Tpm2bTemplate, Tpm2bTimeout,
};
use crate::capability::{TpmlAcCapabilities, TpmlAlg, TpmlCc, TpmsAcOutput, TpmsCapabilityData};
use crate::constants::{TpmAt, TpmCap, TpmClockAdjust, TpmEo, TpmSe, TpmSu};
use crate::context::TpmsContext;
use crate::handles::{
    TpmHandle, TpmiDhContext, TpmiDhEntity, TpmiDhObject, TpmiDhParent, TpmiDhPcr,
    TpmiDhPersistent, TpmiRhAc, TpmiRhAct, TpmiRhClear, TpmiRhEnables, TpmiRhEndorsement,
    TpmiRhHierarchy, TpmiRhHierarchyAuth, TpmiRhHierarchyPolicy, TpmiRhLockout, TpmiRhNvAuth,
    TpmiRhNvDefinedIndex, TpmiRhNvIndex, TpmiRhPlatform, TpmiRhProvision, TpmiShAuthSession,
    TpmiShHmac, TpmiShPolicy,
};
use crate::nv::{Tpm2bNvPublic, Tpm2bNvPublic2};
use crate::object::{
    Tpm2bCreationData, Tpm2bPublic, Tpm2bPublicPlus, Tpm2bSensitive, Tpm2bSensitiveCreate,
    TpmuPublicParms,
};
use crate::pcr::{TpmlDigest, TpmlDigestBranches, TpmlDigestValues, TpmlPcrSelection};
use crate::table::{CommandInfo, commands};
use crate::ticket::{TpmtTkAuth, TpmtTkCreation, TpmtTkHashcheck, TpmtTkVerified};

/// Puts rows into ascending order of their codes.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time; both indices are below the length"
)]
const fn sort<const N: usize>(rows: &mut [&'static CommandInfo; N]) {
    let mut sorted = 1;
    while sorted < N {
        let mut place = sorted;
        while place > 0 && rows[place - 1].code > rows[place].code {
            rows.swap(place - 1, place);
            place -= 1;
        }
        sorted += 1;
    }
}

/// Calls a macro with every row of the command table.
#[macro_export]
macro_rules! command_table {
    ($callback:ident) => {
        $callback! {
            /// Starts the TPM after `_TPM_Init`, with or without the state that a shutdown saved.
            Startup / StartupResponse = 0x0144, "9.3", [nv, no_sessions] {
                handles: {}
                params: { startup_type: TpmSu }
                returns: {}
            }
            /// Prepares the TPM for loss of power.
            Shutdown / ShutdownResponse = 0x0145, "9.4", [nv] {
                handles: {}
                params: { shutdown_type: TpmSu }
                returns: {}
            }
            /// Tests the TPM's capabilities.
            SelfTest / SelfTestResponse = 0x0143, "10.2", [nv] {
                handles: {}
                params: { full_test: bool }
                returns: {}
            }
            /// Tests the algorithms of a list.
            IncrementalSelfTest / IncrementalSelfTestResponse = 0x0142, "10.3", [nv] {
                handles: {}
                params: { to_test: TpmlAlg }
                returns: { to_do_list: TpmlAlg }
            }
            /// Returns the outcome of the self-test.
            GetTestResult / GetTestResultResponse = 0x017C, "10.4", [] {
                handles: {}
                params: {}
                returns: { out_data: Tpm2bMaxBuffer, test_result: u32 }
            }
            /// Starts an HMAC, policy or trial session.
            StartAuthSession / StartAuthSessionResponse = 0x0176, "11.1", [] {
                handles: { tpm_key: Option<TpmiDhObject>, bind: Option<TpmiDhEntity> }
                params: { nonce_caller: Tpm2bNonce, encrypted_salt: Tpm2bEncryptedSecret, session_type: TpmSe, symmetric: Option<TpmtSymDef>, auth_hash: TpmiAlgHash }
                returns: (session_handle: TpmiShAuthSession) { nonce_tpm: Tpm2bNonce }
            }
            /// Returns a policy session to its first state.
            PolicyRestart / PolicyRestartResponse = 0x0180, "11.2", [trial] {
                handles: { session_handle: TpmiShPolicy }
                params: {}
                returns: {}
            }
            /// Creates an object under a loaded parent.
            Create / CreateResponse = 0x0153, "12.1", [not_read_only] {
                handles: { parent_handle: TpmiDhObject as User }
                params: { in_sensitive: Tpm2bSensitiveCreate, in_public: Tpm2bPublic, outside_info: Tpm2bData, creation_pcr: TpmlPcrSelection }
                returns: { out_private: Tpm2bPrivate, out_public: Tpm2bPublicPlus, creation_data: Tpm2bCreationData, creation_hash: Tpm2bDigest, creation_ticket: TpmtTkCreation }
            }
            /// Loads an object under its parent.
            Load / LoadResponse = 0x0157, "12.2", [] {
                handles: { parent_handle: TpmiDhObject as User }
                params: { in_private: Tpm2bPrivate, in_public: Tpm2bPublic }
                returns: (object_handle: TpmHandle) { name: Tpm2bName }
            }
            /// Loads an object that is not protected by this TPM.
            LoadExternal / LoadExternalResponse = 0x0167, "12.3", [] {
                handles: {}
                params: { in_private: Tpm2bSensitive, in_public: Tpm2bPublicPlus, hierarchy: Option<TpmiRhHierarchy> }
                returns: (object_handle: TpmHandle) { name: Tpm2bName }
            }
            /// Returns the public area of an object.
            ReadPublic / ReadPublicResponse = 0x0173, "12.4", [] {
                handles: { object_handle: TpmiDhObject }
                params: {}
                returns: { out_public: Tpm2bPublicPlus, name: Tpm2bName, qualified_name: Tpm2bName }
            }
            /// Recovers a credential that was made for an object and a key of one TPM.
            ActivateCredential / ActivateCredentialResponse = 0x0147, "12.5", [] {
                handles: { activate_handle: TpmiDhObject as Admin, key_handle: TpmiDhObject as User }
                params: { credential_blob: Tpm2bIdObject, secret: Tpm2bEncryptedSecret }
                returns: { cert_info: Tpm2bDigest }
            }
            /// Makes a credential that only the holder of a key and an object can recover.
            MakeCredential / MakeCredentialResponse = 0x0168, "12.6", [] {
                handles: { handle: TpmiDhObject }
                params: { credential: Tpm2bDigest, object_name: Tpm2bName }
                returns: { credential_blob: Tpm2bIdObject, secret: Tpm2bEncryptedSecret }
            }
            /// Returns the data of a sealed object.
            Unseal / UnsealResponse = 0x015E, "12.7", [] {
                handles: { item_handle: TpmiDhObject as User }
                params: {}
                returns: { out_data: Tpm2bSensitiveData }
            }
            /// Returns an object with another authorization value.
            ObjectChangeAuth / ObjectChangeAuthResponse = 0x0150, "12.8", [not_read_only] {
                handles: { object_handle: TpmiDhObject as Admin, parent_handle: TpmiDhObject }
                params: { new_auth: Tpm2bAuth }
                returns: { out_private: Tpm2bPrivate }
            }
            /// Creates an object, primary, ordinary or derived, and loads it.
            CreateLoaded / CreateLoadedResponse = 0x0191, "12.9", [presence, not_read_only] {
                handles: { parent_handle: Option<TpmiDhParent> as User }
                params: { in_sensitive: Tpm2bSensitiveCreate, in_public: Tpm2bTemplate }
                returns: (object_handle: TpmHandle) { out_private: Tpm2bPrivate, out_public: Tpm2bPublicPlus, name: Tpm2bName }
            }
            /// Wraps an object for another parent.
            Duplicate / DuplicateResponse = 0x014B, "13.1", [] {
                handles: { object_handle: TpmiDhObject as Dup, new_parent_handle: Option<TpmiDhObject> }
                params: { encryption_key_in: Tpm2bData, symmetric_alg: Option<TpmtSymDefObject> }
                returns: { encryption_key_out: Tpm2bData, duplicate: Tpm2bPrivate, out_sym_seed: Tpm2bEncryptedSecret }
            }
            /// Moves a duplicate from one parent's protection to another's.
            Rewrap / RewrapResponse = 0x0152, "13.2", [] {
                handles: { old_parent: Option<TpmiDhObject> as User, new_parent: Option<TpmiDhObject> }
                params: { in_duplicate: Tpm2bPrivate, name: Tpm2bName, in_sym_seed: Tpm2bEncryptedSecret }
                returns: { out_duplicate: Tpm2bPrivate, out_sym_seed: Tpm2bEncryptedSecret }
            }
            /// Turns a duplicate into an object of its new parent.
            Import / ImportResponse = 0x0156, "13.3", [] {
                handles: { parent_handle: TpmiDhObject as User }
                params: { encryption_key: Tpm2bData, object_public: Tpm2bPublic, duplicate: Tpm2bPrivate, in_sym_seed: Tpm2bEncryptedSecret, symmetric_alg: Option<TpmtSymDefObject> }
                returns: { out_private: Tpm2bPrivate }
            }
            /// Encrypts with an RSA public key.
            RsaEncrypt / RsaEncryptResponse = 0x0174, "14.2", [] {
                handles: { key_handle: TpmiDhObject }
                params: { message: Tpm2bPublicKeyRsa, in_scheme: Option<TpmtRsaDecrypt>, label: Tpm2bData }
                returns: { out_data: Tpm2bPublicKeyRsa }
            }
            /// Decrypts with an RSA private key.
            RsaDecrypt / RsaDecryptResponse = 0x0159, "14.3", [] {
                handles: { key_handle: TpmiDhObject as User }
                params: { cipher_text: Tpm2bPublicKeyRsa, in_scheme: Option<TpmtRsaDecrypt>, label: Tpm2bData }
                returns: { message: Tpm2bPublicKeyRsa }
            }
            /// Makes an ephemeral key and its shared point with a public key.
            EcdhKeyGen / EcdhKeyGenResponse = 0x0163, "14.4", [] {
                handles: { key_handle: TpmiDhObject }
                params: {}
                returns: { z_point: Tpm2bEccPoint, pub_point: Tpm2bEccPoint }
            }
            /// Makes the shared point of a private key and a given point.
            EcdhZGen / EcdhZGenResponse = 0x0154, "14.5", [] {
                handles: { key_handle: TpmiDhObject as User }
                params: { in_point: Tpm2bEccPoint }
                returns: { out_point: Tpm2bEccPoint }
            }
            /// Returns the parameters of a curve.
            EccParameters / EccParametersResponse = 0x0178, "14.6", [] {
                handles: {}
                params: { curve_id: TpmiEccCurve }
                returns: { parameters: TpmsAlgorithmDetailEcc }
            }
            /// Makes the shared points of a key exchange of two phases.
            ZGen2Phase / ZGen2PhaseResponse = 0x018D, "14.7", [] {
                handles: { key_a: TpmiDhObject as User }
                params: { in_qs_b: Tpm2bEccPoint, in_qe_b: Tpm2bEccPoint, in_scheme: TpmiEccKeyExchange, counter: u16 }
                returns: { out_z1: Tpm2bEccPoint, out_z2: Tpm2bEccPoint }
            }
            /// Encrypts with an ECC public key.
            EccEncrypt / EccEncryptResponse = 0x0199, "14.8", [] {
                handles: { key_handle: TpmiDhObject }
                params: { plain_text: Tpm2bMaxBuffer, in_scheme: Option<TpmtKdfScheme> }
                returns: { c1: Tpm2bEccPoint, c2: Tpm2bMaxBuffer, c3: Tpm2bDigest }
            }
            /// Decrypts with an ECC private key.
            EccDecrypt / EccDecryptResponse = 0x019A, "14.9", [] {
                handles: { key_handle: TpmiDhObject as User }
                params: { c1: Tpm2bEccPoint, c2: Tpm2bMaxBuffer, c3: Tpm2bDigest, in_scheme: Option<TpmtKdfScheme> }
                returns: { plain_text: Tpm2bMaxBuffer }
            }
            /// Encrypts or decrypts with a symmetric key.
            EncryptDecrypt / EncryptDecryptResponse = 0x0164, "15.2", [] {
                handles: { key_handle: TpmiDhObject as User }
                params: { decrypt: bool, mode: Option<TpmiAlgCipherMode>, iv_in: Tpm2bIv, in_data: Tpm2bMaxBuffer }
                returns: { out_data: Tpm2bMaxBuffer, iv_out: Tpm2bIv }
            }
            /// Encrypts or decrypts with a symmetric key, the data in front so that a session can encrypt it.
            EncryptDecrypt2 / EncryptDecrypt2Response = 0x0193, "15.3", [] {
                handles: { key_handle: TpmiDhObject as User }
                params: { in_data: Tpm2bMaxBuffer, decrypt: bool, mode: Option<TpmiAlgCipherMode>, iv_in: Tpm2bIv }
                returns: { out_data: Tpm2bMaxBuffer, iv_out: Tpm2bIv }
            }
            /// Hashes data.
            Hash / HashResponse = 0x017D, "15.4", [] {
                handles: {}
                params: { data: Tpm2bMaxBuffer, hash_alg: TpmiAlgHash, hierarchy: Option<TpmiRhHierarchy> }
                returns: { out_hash: Tpm2bDigest, validation: TpmtTkHashcheck }
            }
            /// Computes an HMAC or a block cipher MAC; `TPM2_HMAC` has the same code.
            Mac / MacResponse = 0x0155, "15.6", [] {
                handles: { handle: TpmiDhObject as User }
                params: { buffer: Tpm2bMaxBuffer, in_scheme: Option<TpmiAlgMacScheme> }
                returns: { out_mac: Tpm2bDigest }
            }
            /// Returns random bytes.
            GetRandom / GetRandomResponse = 0x017B, "16.1", [] {
                handles: {}
                params: { bytes_requested: u16 }
                returns: { random_bytes: Tpm2bDigest }
            }
            /// Adds to the generator's state.
            StirRandom / StirRandomResponse = 0x0146, "16.2", [nv] {
                handles: {}
                params: { in_data: Tpm2bSensitiveData }
                returns: {}
            }
            /// Starts an HMAC or block cipher MAC sequence; `TPM2_HMAC_Start` has the same code.
            MacStart / MacStartResponse = 0x015B, "17.3", [] {
                handles: { handle: TpmiDhObject as User }
                params: { auth: Tpm2bAuth, in_scheme: Option<TpmiAlgMacScheme> }
                returns: (sequence_handle: TpmiDhObject) {}
            }
            /// Starts a hash or an event sequence.
            HashSequenceStart / HashSequenceStartResponse = 0x0186, "17.4", [] {
                handles: {}
                params: { auth: Tpm2bAuth, hash_alg: Option<TpmiAlgHash> }
                returns: (sequence_handle: TpmiDhObject) {}
            }
            /// Adds data to a sequence.
            SequenceUpdate / SequenceUpdateResponse = 0x015C, "17.5", [] {
                handles: { sequence_handle: TpmiDhObject as User }
                params: { buffer: Tpm2bMaxBuffer }
                returns: {}
            }
            /// Adds the last data to a sequence and returns its result.
            SequenceComplete / SequenceCompleteResponse = 0x013E, "17.6", [flushed] {
                handles: { sequence_handle: TpmiDhObject as User }
                params: { buffer: Tpm2bMaxBuffer, hierarchy: Option<TpmiRhHierarchy> }
                returns: { result: Tpm2bDigest, validation: TpmtTkHashcheck }
            }
            /// Adds the last data to an event sequence and extends a PCR.
            EventSequenceComplete / EventSequenceCompleteResponse = 0x0185, "17.7", [nv, flushed] {
                handles: { pcr_handle: Option<TpmiDhPcr> as User, sequence_handle: TpmiDhObject as User }
                params: { buffer: Tpm2bMaxBuffer }
                returns: { results: TpmlDigestValues }
            }
            /// Attests that an object is loaded.
            Certify / CertifyResponse = 0x0148, "18.2", [] {
                handles: { object_handle: TpmiDhObject as Admin, sign_handle: Option<TpmiDhObject> as User }
                params: { qualifying_data: Tpm2bData, in_scheme: Option<TpmtSigScheme> }
                returns: { certify_info: Tpm2bAttest, signature: Option<TpmtSignature> }
            }
            /// Attests how an object was created.
            CertifyCreation / CertifyCreationResponse = 0x014A, "18.3", [] {
                handles: { sign_handle: Option<TpmiDhObject> as User, object_handle: TpmiDhObject }
                params: { qualifying_data: Tpm2bData, creation_hash: Tpm2bDigest, in_scheme: Option<TpmtSigScheme>, creation_ticket: TpmtTkCreation }
                returns: { certify_info: Tpm2bAttest, signature: Option<TpmtSignature> }
            }
            /// Attests PCR values.
            Quote / QuoteResponse = 0x0158, "18.4", [] {
                handles: { sign_handle: Option<TpmiDhObject> as User }
                params: { qualifying_data: Tpm2bData, in_scheme: Option<TpmtSigScheme>, pcr_select: TpmlPcrSelection }
                returns: { quoted: Tpm2bAttest, signature: Option<TpmtSignature> }
            }
            /// Attests the audit digest of a session.
            GetSessionAuditDigest / GetSessionAuditDigestResponse = 0x014D, "18.5", [] {
                handles: { privacy_admin_handle: TpmiRhEndorsement as User, sign_handle: Option<TpmiDhObject> as User, session_handle: TpmiShHmac }
                params: { qualifying_data: Tpm2bData, in_scheme: Option<TpmtSigScheme> }
                returns: { audit_info: Tpm2bAttest, signature: Option<TpmtSignature> }
            }
            /// Attests the command audit digest.
            GetCommandAuditDigest / GetCommandAuditDigestResponse = 0x0133, "18.6", [nv] {
                handles: { privacy_handle: TpmiRhEndorsement as User, sign_handle: Option<TpmiDhObject> as User }
                params: { qualifying_data: Tpm2bData, in_scheme: Option<TpmtSigScheme> }
                returns: { audit_info: Tpm2bAttest, signature: Option<TpmtSignature> }
            }
            /// Attests time and clock.
            GetTime / GetTimeResponse = 0x014C, "18.7", [] {
                handles: { privacy_admin_handle: TpmiRhEndorsement as User, sign_handle: Option<TpmiDhObject> as User }
                params: { qualifying_data: Tpm2bData, in_scheme: Option<TpmtSigScheme> }
                returns: { time_info: Tpm2bAttest, signature: Option<TpmtSignature> }
            }
            /// Completes and signs an X.509 certificate of a loaded key.
            CertifyX509 / CertifyX509Response = 0x0197, "18.8", [] {
                handles: { object_handle: TpmiDhObject as Admin, sign_handle: Option<TpmiDhObject> as User }
                params: { reserved: Tpm2bData, in_scheme: Option<TpmtSigScheme>, partial_certificate: Tpm2bMaxBuffer }
                returns: { added_to_certificate: Tpm2bMaxBuffer, tbs_digest: Tpm2bDigest, signature: TpmtSignature }
            }
            /// Makes the first part of an anonymous signature.
            Commit / CommitResponse = 0x018B, "19.2", [] {
                handles: { sign_handle: TpmiDhObject as User }
                params: { p1: Tpm2bEccPoint, s2: Tpm2bSensitiveData, y2: Tpm2bEccParameter }
                returns: { k: Tpm2bEccPoint, l: Tpm2bEccPoint, e: Tpm2bEccPoint, counter: u16 }
            }
            /// Makes an ephemeral key for a key exchange of two phases.
            EcEphemeral / EcEphemeralResponse = 0x018E, "19.3", [] {
                handles: {}
                params: { curve_id: TpmiEccCurve }
                returns: { q: Tpm2bEccPoint, counter: u16 }
            }
            /// Verifies a signature.
            VerifySignature / VerifySignatureResponse = 0x0177, "20.1", [] {
                handles: { key_handle: TpmiDhObject }
                params: { digest: Tpm2bDigest, signature: TpmtSignature }
                returns: { validation: TpmtTkVerified }
            }
            /// Signs a digest.
            Sign / SignResponse = 0x015D, "20.2", [] {
                handles: { key_handle: TpmiDhObject as User }
                params: { digest: Tpm2bDigest, in_scheme: Option<TpmtSigScheme>, validation: TpmtTkHashcheck }
                returns: { signature: TpmtSignature }
            }
            /// Chooses the commands to audit, or the audit's hash.
            SetCommandCodeAuditStatus / SetCommandCodeAuditStatusResponse = 0x0140, "21.2", [nv, presence, not_read_only] {
                handles: { auth: TpmiRhProvision as User }
                params: { audit_alg: Option<TpmiAlgHash>, set_list: TpmlCc, clear_list: TpmlCc }
                returns: {}
            }
            /// Extends a PCR by digests.
            PcrExtend / PcrExtendResponse = 0x0182, "22.2", [nv] {
                handles: { pcr_handle: Option<TpmiDhPcr> as User }
                params: { digests: TpmlDigestValues }
                returns: {}
            }
            /// Extends a PCR by the digests of an event.
            PcrEvent / PcrEventResponse = 0x013C, "22.3", [nv] {
                handles: { pcr_handle: Option<TpmiDhPcr> as User }
                params: { event_data: Tpm2bEvent }
                returns: { digests: TpmlDigestValues }
            }
            /// Returns PCR values.
            PcrRead / PcrReadResponse = 0x017E, "22.4", [] {
                handles: {}
                params: { pcr_selection_in: TpmlPcrSelection }
                returns: { pcr_update_counter: u32, pcr_selection_out: TpmlPcrSelection, pcr_values: TpmlDigest }
            }
            /// Sets which PCR the banks have after the next reset.
            PcrAllocate / PcrAllocateResponse = 0x012B, "22.5", [nv, presence, not_read_only] {
                handles: { auth_handle: TpmiRhPlatform as User }
                params: { pcr_allocation: TpmlPcrSelection }
                returns: { allocation_success: bool, max_pcr: u32, size_needed: u32, size_available: u32 }
            }
            /// Sets the policy of a PCR.
            PcrSetAuthPolicy / PcrSetAuthPolicyResponse = 0x012C, "22.6", [nv, presence, not_read_only] {
                handles: { auth_handle: TpmiRhPlatform as User }
                params: { auth_policy: Tpm2bDigest, hash_alg: Option<TpmiAlgHash>, pcr_num: TpmiDhPcr }
                returns: {}
            }
            /// Sets the authorization value of a PCR.
            PcrSetAuthValue / PcrSetAuthValueResponse = 0x0183, "22.7", [not_read_only] {
                handles: { pcr_handle: TpmiDhPcr as User }
                params: { auth: Tpm2bDigest }
                returns: {}
            }
            /// Resets a PCR.
            PcrReset / PcrResetResponse = 0x013D, "22.8", [nv] {
                handles: { pcr_handle: TpmiDhPcr as User }
                params: {}
                returns: {}
            }
            /// Binds a policy to a signed authorization.
            PolicySigned / PolicySignedResponse = 0x0160, "23.3", [trial] {
                handles: { auth_object: TpmiDhObject, policy_session: TpmiShPolicy }
                params: { nonce_tpm: Tpm2bNonce, cp_hash_a: Tpm2bDigest, policy_ref: Tpm2bNonce, expiration: i32, auth: TpmtSignature }
                returns: { timeout: Tpm2bTimeout, policy_ticket: TpmtTkAuth }
            }
            /// Binds a policy to knowledge of a secret.
            PolicySecret / PolicySecretResponse = 0x0151, "23.4", [trial] {
                handles: { auth_handle: TpmiDhEntity as User, policy_session: TpmiShPolicy }
                params: { nonce_tpm: Tpm2bNonce, cp_hash_a: Tpm2bDigest, policy_ref: Tpm2bNonce, expiration: i32 }
                returns: { timeout: Tpm2bTimeout, policy_ticket: TpmtTkAuth }
            }
            /// Uses a ticket in place of a signed or secret authorization.
            PolicyTicket / PolicyTicketResponse = 0x0172, "23.5", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { timeout: Tpm2bTimeout, cp_hash_a: Tpm2bDigest, policy_ref: Tpm2bNonce, auth_name: Tpm2bName, ticket: TpmtTkAuth }
                returns: {}
            }
            /// Accepts any of several policies.
            PolicyOr / PolicyOrResponse = 0x0171, "23.6", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { p_hash_list: TpmlDigestBranches }
                returns: {}
            }
            /// Binds a policy to PCR values.
            PolicyPcr / PolicyPcrResponse = 0x017F, "23.7", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { pcr_digest: Tpm2bDigest, pcrs: TpmlPcrSelection }
                returns: {}
            }
            /// Binds a policy to localities.
            PolicyLocality / PolicyLocalityResponse = 0x016F, "23.8", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { locality: TpmaLocality }
                returns: {}
            }
            /// Binds a policy to the contents of an NV Index.
            PolicyNv / PolicyNvResponse = 0x0149, "23.9", [trial] {
                handles: { auth_handle: TpmiRhNvAuth as User, nv_index: TpmiRhNvIndex, policy_session: TpmiShPolicy }
                params: { operand_b: Tpm2bOperand, offset: u16, operation: TpmEo }
                returns: {}
            }
            /// Binds a policy to the clock.
            PolicyCounterTimer / PolicyCounterTimerResponse = 0x016D, "23.10", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { operand_b: Tpm2bOperand, offset: u16, operation: TpmEo }
                returns: {}
            }
            /// Binds a policy to a command.
            PolicyCommandCode / PolicyCommandCodeResponse = 0x016C, "23.11", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { code: u32 }
                returns: {}
            }
            /// Binds a policy to physical presence.
            PolicyPhysicalPresence / PolicyPhysicalPresenceResponse = 0x0187, "23.12", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: {}
                returns: {}
            }
            /// Binds a policy to a command and its parameters.
            PolicyCpHash / PolicyCpHashResponse = 0x016E, "23.13", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { cp_hash_a: Tpm2bDigest }
                returns: {}
            }
            /// Binds a policy to the entities of a command.
            PolicyNameHash / PolicyNameHashResponse = 0x0170, "23.14", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { name_hash: Tpm2bDigest }
                returns: {}
            }
            /// Binds a policy to a new parent.
            PolicyDuplicationSelect / PolicyDuplicationSelectResponse = 0x0188, "23.15", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { object_name: Tpm2bName, new_parent_name: Tpm2bName, include_object: bool }
                returns: {}
            }
            /// Accepts a policy that an authority signed.
            PolicyAuthorize / PolicyAuthorizeResponse = 0x016A, "23.16", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { approved_policy: Tpm2bDigest, policy_ref: Tpm2bNonce, key_sign: Tpm2bName, check_ticket: TpmtTkVerified }
                returns: {}
            }
            /// Binds a policy to the authorization value, by HMAC.
            PolicyAuthValue / PolicyAuthValueResponse = 0x016B, "23.17", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: {}
                returns: {}
            }
            /// Binds a policy to the authorization value, in plain.
            PolicyPassword / PolicyPasswordResponse = 0x018C, "23.18", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: {}
                returns: {}
            }
            /// Returns the digest of a policy session.
            PolicyGetDigest / PolicyGetDigestResponse = 0x0189, "23.19", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: {}
                returns: { policy_digest: Tpm2bDigest }
            }
            /// Binds a policy to whether an NV Index was written.
            PolicyNvWritten / PolicyNvWrittenResponse = 0x018F, "23.20", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { written_set: bool }
                returns: {}
            }
            /// Binds a policy to a template for creation.
            PolicyTemplate / PolicyTemplateResponse = 0x0190, "23.21", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { template_hash: Tpm2bDigest }
                returns: {}
            }
            /// Accepts the policy that an NV Index holds.
            PolicyAuthorizeNv / PolicyAuthorizeNvResponse = 0x0192, "23.22", [trial] {
                handles: { auth_handle: TpmiRhNvAuth as User, nv_index: TpmiRhNvIndex, policy_session: TpmiShPolicy }
                params: {}
                returns: {}
            }
            /// Binds a policy to a capability of the TPM.
            PolicyCapability / PolicyCapabilityResponse = 0x019B, "23.23", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { operand_b: Tpm2bOperand, offset: u16, operation: TpmEo, capability: TpmCap, property: u32 }
                returns: {}
            }
            /// Binds a policy to the parameters of a command.
            PolicyParameters / PolicyParametersResponse = 0x019C, "23.24", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { p_hash: Tpm2bDigest }
                returns: {}
            }
            /// Binds a policy to the keys of a secure channel.
            PolicyTransportSpdm / PolicyTransportSpdmResponse = 0x01A1, "23.25", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { req_key_name: Tpm2bName, tpm_key_name: Tpm2bName }
                returns: {}
            }
            /// Creates a primary object from a hierarchy's seed.
            CreatePrimary / CreatePrimaryResponse = 0x0131, "24.1", [presence, not_read_only] {
                handles: { primary_handle: Option<TpmiRhHierarchy> as User }
                params: { in_sensitive: Tpm2bSensitiveCreate, in_public: Tpm2bPublic, outside_info: Tpm2bData, creation_pcr: TpmlPcrSelection }
                returns: (object_handle: TpmHandle) { out_public: Tpm2bPublicPlus, creation_data: Tpm2bCreationData, creation_hash: Tpm2bDigest, creation_ticket: TpmtTkCreation, name: Tpm2bName }
            }
            /// Enables or disables a hierarchy.
            HierarchyControl / HierarchyControlResponse = 0x0121, "24.2", [nv, extensive, presence, not_read_only] {
                handles: { auth_handle: TpmiRhHierarchy as User }
                params: { enable: TpmiRhEnables, state: bool }
                returns: {}
            }
            /// Sets the policy of a hierarchy.
            SetPrimaryPolicy / SetPrimaryPolicyResponse = 0x012E, "24.3", [nv, presence, not_read_only] {
                handles: { auth_handle: TpmiRhHierarchyPolicy as User }
                params: { auth_policy: Tpm2bDigest, hash_alg: Option<TpmiAlgHash> }
                returns: {}
            }
            /// Replaces the platform seed.
            ChangePps / ChangePpsResponse = 0x0125, "24.4", [nv, extensive, presence, not_read_only] {
                handles: { auth_handle: TpmiRhPlatform as User }
                params: {}
                returns: {}
            }
            /// Replaces the endorsement seed.
            ChangeEps / ChangeEpsResponse = 0x0124, "24.5", [nv, extensive, presence, not_read_only] {
                handles: { auth_handle: TpmiRhPlatform as User }
                params: {}
                returns: {}
            }
            /// Removes what belongs to the owner.
            Clear / ClearResponse = 0x0126, "24.6", [nv, extensive, presence, not_read_only] {
                handles: { auth_handle: TpmiRhClear as User }
                params: {}
                returns: {}
            }
            /// Allows or forbids `TPM2_Clear`.
            ClearControl / ClearControlResponse = 0x0127, "24.7", [nv, presence, not_read_only] {
                handles: { auth: TpmiRhClear as User }
                params: { disable: bool }
                returns: {}
            }
            /// Changes the authorization value of a hierarchy.
            HierarchyChangeAuth / HierarchyChangeAuthResponse = 0x0129, "24.8", [nv, presence, not_read_only] {
                handles: { auth_handle: TpmiRhHierarchyAuth as User }
                params: { new_auth: Tpm2bAuth }
                returns: {}
            }
            /// Enters or leaves read-only mode.
            ReadOnlyControl / ReadOnlyControlResponse = 0x01A0, "24.9", [nv, presence] {
                handles: { auth_handle: TpmiRhPlatform as User }
                params: { state: bool }
                returns: {}
            }
            /// Ends a lockout.
            DictionaryAttackLockReset / DictionaryAttackLockResetResponse = 0x0139, "25.2", [nv] {
                handles: { lock_handle: TpmiRhLockout as User }
                params: {}
                returns: {}
            }
            /// Changes the dictionary-attack protection.
            DictionaryAttackParameters / DictionaryAttackParametersResponse = 0x013A, "25.3", [nv, not_read_only] {
                handles: { lock_handle: TpmiRhLockout as User }
                params: { new_max_tries: u32, new_recovery_time: u32, lockout_recovery: u32 }
                returns: {}
            }
            /// Chooses the commands that need physical presence.
            PpCommands / PpCommandsResponse = 0x012D, "26.2", [nv, presence_required, not_read_only] {
                handles: { auth: TpmiRhPlatform as User }
                params: { set_list: TpmlCc, clear_list: TpmlCc }
                returns: {}
            }
            /// Sets the algorithm set.
            SetAlgorithmSet / SetAlgorithmSetResponse = 0x013F, "26.3", [nv, not_read_only] {
                handles: { auth_handle: TpmiRhPlatform as User }
                params: { algorithm_set: u32 }
                returns: {}
            }
            /// Saves a session or an object.
            ContextSave / ContextSaveResponse = 0x0162, "28.2", [no_sessions] {
                handles: { save_handle: TpmiDhContext }
                params: {}
                returns: { context: TpmsContext }
            }
            /// Loads a saved context.
            ContextLoad / ContextLoadResponse = 0x0161, "28.3", [no_sessions] {
                handles: {}
                params: { context: TpmsContext }
                returns: (loaded_handle: TpmiDhContext) {}
            }
            /// Removes a session or an object from the TPM.
            FlushContext / FlushContextResponse = 0x0165, "28.4", [no_sessions] {
                handles: {}
                params: { flush_handle: TpmiDhContext }
                returns: {}
            }
            /// Makes an object persistent, or removes a persistent one.
            EvictControl / EvictControlResponse = 0x0120, "28.5", [nv, presence, not_read_only] {
                handles: { auth: TpmiRhProvision as User, object_handle: TpmiDhObject }
                params: { persistent_handle: TpmiDhPersistent }
                returns: {}
            }
            /// Returns time and clock.
            ReadClock / ReadClockResponse = 0x0181, "29.1", [] {
                handles: {}
                params: {}
                returns: { current_time: TpmsTimeInfo }
            }
            /// Advances the clock.
            ClockSet / ClockSetResponse = 0x0128, "29.2", [nv, presence, not_read_only] {
                handles: { auth: TpmiRhProvision as User }
                params: { new_time: u64 }
                returns: {}
            }
            /// Changes the rate of the clock.
            ClockRateAdjust / ClockRateAdjustResponse = 0x0130, "29.3", [presence, not_read_only] {
                handles: { auth: TpmiRhProvision as User }
                params: { rate_adjust: TpmClockAdjust }
                returns: {}
            }
            /// Returns what the TPM is and has.
            GetCapability / GetCapabilityResponse = 0x017A, "30.2", [] {
                handles: {}
                params: { capability: TpmCap, property: u32, property_count: u32 }
                returns: { more_data: bool, capability_data: TpmsCapabilityData }
            }
            /// Tells whether parameters of an object are supported.
            TestParms / TestParmsResponse = 0x018A, "30.3", [] {
                handles: {}
                params: { parameters: TpmuPublicParms }
                returns: {}
            }
            /// Changes what the TPM reports of itself.
            SetCapability / SetCapabilityResponse = 0x019F, "30.4", [nv, not_read_only] {
                handles: { auth_handle: TpmiRhHierarchy as User }
                params: { set_capability_data: Tpm2bSetCapabilityData }
                returns: {}
            }
            /// Defines an NV Index.
            NvDefineSpace / NvDefineSpaceResponse = 0x012A, "31.3", [nv, presence, not_read_only] {
                handles: { auth_handle: TpmiRhProvision as User }
                params: { auth: Tpm2bAuth, public_info: Tpm2bNvPublic }
                returns: {}
            }
            /// Removes an NV Index.
            NvUndefineSpace / NvUndefineSpaceResponse = 0x0122, "31.4", [nv, presence, not_read_only] {
                handles: { auth_handle: TpmiRhProvision as User, nv_index: TpmiRhNvDefinedIndex }
                params: {}
                returns: {}
            }
            /// Removes an NV Index that its policy protects from removal.
            NvUndefineSpaceSpecial / NvUndefineSpaceSpecialResponse = 0x011F, "31.5", [nv, presence, not_read_only] {
                handles: { nv_index: TpmiRhNvDefinedIndex as Admin, platform: TpmiRhPlatform as User }
                params: {}
                returns: {}
            }
            /// Returns the public area of an NV Index.
            NvReadPublic / NvReadPublicResponse = 0x0169, "31.6", [] {
                handles: { nv_index: TpmiRhNvIndex }
                params: {}
                returns: { nv_public: Tpm2bNvPublic, nv_name: Tpm2bName }
            }
            /// Writes data to an NV Index.
            NvWrite / NvWriteResponse = 0x0137, "31.7", [nv] {
                handles: { auth_handle: TpmiRhNvAuth as User, nv_index: TpmiRhNvIndex }
                params: { data: Tpm2bMaxNvBuffer, offset: u16 }
                returns: {}
            }
            /// Increments an NV counter.
            NvIncrement / NvIncrementResponse = 0x0134, "31.8", [nv, not_read_only] {
                handles: { auth_handle: TpmiRhNvAuth as User, nv_index: TpmiRhNvIndex }
                params: {}
                returns: {}
            }
            /// Extends an NV Index.
            NvExtend / NvExtendResponse = 0x0136, "31.9", [nv] {
                handles: { auth_handle: TpmiRhNvAuth as User, nv_index: TpmiRhNvIndex }
                params: { data: Tpm2bMaxNvBuffer }
                returns: {}
            }
            /// Sets bits of an NV bit field.
            NvSetBits / NvSetBitsResponse = 0x0135, "31.10", [nv] {
                handles: { auth_handle: TpmiRhNvAuth as User, nv_index: TpmiRhNvIndex }
                params: { bits: u64 }
                returns: {}
            }
            /// Locks an NV Index against writing.
            NvWriteLock / NvWriteLockResponse = 0x0138, "31.11", [nv] {
                handles: { auth_handle: TpmiRhNvAuth as User, nv_index: TpmiRhNvIndex }
                params: {}
                returns: {}
            }
            /// Locks every NV Index that takes part in the global lock.
            NvGlobalWriteLock / NvGlobalWriteLockResponse = 0x0132, "31.12", [nv, presence, not_read_only] {
                handles: { auth_handle: TpmiRhProvision as User }
                params: {}
                returns: {}
            }
            /// Reads data of an NV Index.
            NvRead / NvReadResponse = 0x014E, "31.13", [] {
                handles: { auth_handle: TpmiRhNvAuth as User, nv_index: TpmiRhNvIndex }
                params: { size: u16, offset: u16 }
                returns: { data: Tpm2bMaxNvBuffer }
            }
            /// Locks an NV Index against reading.
            NvReadLock / NvReadLockResponse = 0x014F, "31.14", [nv] {
                handles: { auth_handle: TpmiRhNvAuth as User, nv_index: TpmiRhNvIndex }
                params: {}
                returns: {}
            }
            /// Changes the authorization value of an NV Index.
            NvChangeAuth / NvChangeAuthResponse = 0x013B, "31.15", [nv, not_read_only] {
                handles: { nv_index: TpmiRhNvIndex as Admin }
                params: { new_auth: Tpm2bAuth }
                returns: {}
            }
            /// Attests the contents of an NV Index.
            NvCertify / NvCertifyResponse = 0x0184, "31.16", [] {
                handles: { sign_handle: Option<TpmiDhObject> as User, auth_handle: TpmiRhNvAuth as User, nv_index: TpmiRhNvIndex }
                params: { qualifying_data: Tpm2bData, in_scheme: Option<TpmtSigScheme>, size: u16, offset: u16 }
                returns: { certify_info: Tpm2bAttest, signature: Option<TpmtSignature> }
            }
            /// Defines an NV Index of any handle type.
            NvDefineSpace2 / NvDefineSpace2Response = 0x019D, "31.17", [nv, presence, not_read_only] {
                handles: { auth_handle: TpmiRhProvision as User }
                params: { auth: Tpm2bAuth, public_info: Tpm2bNvPublic2 }
                returns: {}
            }
            /// Returns the public area of an NV Index of any handle type.
            NvReadPublic2 / NvReadPublic2Response = 0x019E, "31.18", [] {
                handles: { nv_index: TpmiRhNvIndex }
                params: {}
                returns: { nv_public: Tpm2bNvPublic2, nv_name: Tpm2bName }
            }
            /// Returns what an attached component reports.
            AcGetCapability / AcGetCapabilityResponse = 0x0194, "32.2", [] {
                handles: { ac: TpmiRhAc }
                params: { capability: TpmAt, count: u32 }
                returns: { more_data: bool, capabilities_data: TpmlAcCapabilities }
            }
            /// Sends an object to an attached component.
            AcSend / AcSendResponse = 0x0195, "32.3", [] {
                handles: { send_object: TpmiDhObject as Dup, auth_handle: TpmiRhNvAuth as User, ac: TpmiRhAc }
                params: { ac_data_in: Tpm2bMaxBuffer }
                returns: { ac_data_out: TpmsAcOutput }
            }
            /// Binds a policy to sending an object to an attached component.
            PolicyAcSendSelect / PolicyAcSendSelectResponse = 0x0196, "32.4", [trial] {
                handles: { policy_session: TpmiShPolicy }
                params: { object_name: Tpm2bName, auth_handle_name: Tpm2bName, ac_name: Tpm2bName, include_object: bool }
                returns: {}
            }
            /// Starts an authenticated countdown timer.
            ActSetTimeout / ActSetTimeoutResponse = 0x0198, "33.2", [] {
                handles: { act_handle: TpmiRhAct as User }
                params: { start_timeout: u32 }
                returns: {}
            }
        }
    };
}

crate::command_table!(commands);
