# systemd seals a credential to the TPM and opens it again.
. "${FLOWS:-$(dirname "$0")}/lib.sh"
printf 'disk key' > secret
systemd-creds encrypt --with-key=tpm2 --tpm2-device="$TPM2TOOLS_TCTI" --tpm2-pcrs=7+16 --name=disk secret sealed
systemd-creds decrypt --tpm2-device="$TPM2TOOLS_TCTI" --name=disk sealed opened
cmp secret opened
tpm2_pcrextend 16:sha256="$(printf x | sha256sum | cut -d' ' -f1)"
fails systemd-creds decrypt --tpm2-device="$TPM2TOOLS_TCTI" --name=disk sealed refused
tpm2_pcrreset 16
# Elsewhere a resource manager clears up behind a decryption that failed.
tpm2_flushcontext -l
flush
# The same for a disk: the key of a LUKS volume gets a slot that the TPM opens.
truncate -s 20M disk
printf passphrase | cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 disk -
PASSWORD=passphrase systemd-cryptenroll --tpm2-device="$TPM2TOOLS_TCTI" --tpm2-pcrs=7 disk
cryptsetup luksDump disk | has systemd-tpm2
