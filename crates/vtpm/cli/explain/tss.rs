//! The layers of the TCG Software Stack: who made a code, and the codes that the software itself makes.

/// A layer: its number, how `tpm2_rc_decode` calls it, its name in C, what it is.
pub(super) struct Layer {
    pub(super) number: u8,
    pub(super) word: &'static str,
    pub(super) c_name: &'static str,
    pub(super) what: &'static str,
}

#[rustfmt::skip]
pub(super) const LAYERS: &[Layer] = &[
    Layer { number: 0, word: "tpm", c_name: "TPM2", what: "the TPM itself" },
    Layer { number: 6, word: "fapi", c_name: "FAPI", what: "the feature API (FAPI) of tpm2-tss" },
    Layer { number: 7, word: "esapi", c_name: "ESYS", what: "the enhanced system API (ESYS) of tpm2-tss" },
    Layer { number: 8, word: "sys", c_name: "SYS", what: "the system API (SAPI) of tpm2-tss" },
    Layer { number: 9, word: "mu", c_name: "MU", what: "the marshalling library of tpm2-tss" },
    Layer { number: 10, word: "tcti", c_name: "TCTI", what: "the transport between tpm2-tss and the TPM (TCTI)" },
    Layer { number: 11, word: "rmt", c_name: "RESMGR", what: "the resource manager" },
    Layer { number: 12, word: "rm", c_name: "RESMGR_TPM", what: "the resource manager, with a code as the TPM has" },
];

/// The layer with this number.
pub(super) fn layer(number: u8) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.number == number)
}

/// The codes that every layer of the software has: number, name, meaning.
#[rustfmt::skip]
pub(super) const BASE: &[(u16, &str, &str)] = &[
    (1, "GENERAL_FAILURE", "Something failed for which there is no code of its own."),
    (2, "NOT_IMPLEMENTED", "This function is not implemented."),
    (3, "BAD_CONTEXT", "The context structure is not one that the library made, or is damaged."),
    (4, "ABI_MISMATCH", "The caller was built for another version of the library."),
    (5, "BAD_REFERENCE", "A pointer is NULL where it must not be."),
    (6, "INSUFFICIENT_BUFFER", "The buffer is too small for the result."),
    (7, "BAD_SEQUENCE", "The functions were called in the wrong order."),
    (8, "NO_CONNECTION", "The next layer down, usually the TPM or its server, cannot be reached."),
    (9, "TRY_AGAIN", "It is not finished yet: call again."),
    (10, "IO_ERROR", "Reading or writing failed: the TPM's server may have gone."),
    (11, "BAD_VALUE", "An argument has a value that is not allowed."),
    (12, "NOT_PERMITTED", "The operation is not permitted."),
    (13, "INVALID_SESSIONS", "The command takes no sessions, or not that many."),
    (14, "NO_DECRYPT_PARAM", "A session is to decrypt, and the command has no parameter that can be encrypted."),
    (15, "NO_ENCRYPT_PARAM", "A session is to encrypt, and the response has no parameter that can be encrypted."),
    (16, "BAD_SIZE", "A parameter has the wrong size."),
    (17, "MALFORMED_RESPONSE", "The answer is not a TPM's response: the server may speak another protocol."),
    (18, "INSUFFICIENT_CONTEXT", "The context is too small for the command."),
    (19, "INSUFFICIENT_RESPONSE", "The response is shorter than it should be."),
    (20, "INCOMPATIBLE_TCTI", "The transport has a version that the library cannot use."),
    (21, "NOT_SUPPORTED", "The function is not supported here."),
    (22, "BAD_TCTI_STRUCTURE", "The transport's context is damaged."),
    (23, "MEMORY", "Memory could not be had."),
    (24, "BAD_TR", "The ESYS_TR handle names nothing."),
    (25, "MULTIPLE_DECRYPT_SESSIONS", "More than one session is to decrypt."),
    (26, "MULTIPLE_ENCRYPT_SESSIONS", "More than one session is to encrypt."),
    (27, "RSP_AUTH_FAILED", "The response's HMAC is wrong: it is not from this TPM, or the authorization value is not what the library believes."),
    (28, "NO_CONFIG", "The configuration is missing."),
    (29, "BAD_PATH", "The path is not valid."),
    (30, "NOT_DELETABLE", "The object cannot be deleted."),
    (31, "PATH_ALREADY_EXISTS", "There is something under that path already."),
    (32, "KEY_NOT_FOUND", "The key was not found."),
    (33, "SIGNATURE_VERIFICATION_FAILED", "The signature is not valid."),
    (34, "HASH_MISMATCH", "The hashes differ."),
    (35, "KEY_NOT_DUPLICABLE", "The key may not be duplicated."),
    (36, "PATH_NOT_FOUND", "There is nothing under that path."),
    (37, "NO_CERT", "There is no certificate."),
    (38, "NO_PCR", "There is no such PCR."),
    (39, "PCR_NOT_RESETTABLE", "The PCR cannot be reset."),
    (40, "BAD_TEMPLATE", "The template is not valid."),
    (41, "AUTHORIZATION_FAILED", "The authorization failed."),
    (42, "AUTHORIZATION_UNKNOWN", "The authorization is not known."),
    (43, "NV_NOT_READABLE", "The NV Index cannot be read."),
    (44, "NV_TOO_SMALL", "The NV Index is too small."),
    (45, "NV_NOT_WRITEABLE", "The NV Index cannot be written."),
    (46, "POLICY_UNKNOWN", "The policy is not known."),
    (47, "NV_WRONG_TYPE", "The NV Index is of another type."),
    (48, "NAME_ALREADY_EXISTS", "The name is taken."),
    (49, "NO_TPM", "There is no TPM."),
    (50, "BAD_KEY", "The key is not valid."),
    (51, "NO_HANDLE", "There is no free handle."),
    (52, "NOT_PROVISIONED", "FAPI was not provisioned: run tss2_provision."),
    (53, "ALREADY_PROVISIONED", "FAPI was provisioned already."),
    (54, "CALLBACK_NULL", "A callback that is needed was not set."),
];
