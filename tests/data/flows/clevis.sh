# clevis binds a secret to the TPM, and opens it while the PCR are what they were.
. "${FLOWS:-$(dirname "$0")}/lib.sh"
echo "disk key" > key
clevis encrypt tpm2 '{"pcr_bank":"sha256","pcr_ids":"7,16"}' < key > bound
clevis decrypt < bound | cmp - key
clevis encrypt tpm2 '{"key":"rsa","hash":"sha256"}' < key > unbound
tpm2_pcrextend 16:sha256="$(printf x | sha256sum | cut -d' ' -f1)"
fails clevis decrypt < bound
clevis decrypt < unbound | cmp - key
tpm2_pcrreset 16
clevis decrypt < bound | cmp - key
