# tpm2-pkcs11 keeps a token in the TPM; OpenSC, which knows nothing of TPMs, makes a key in it and signs.
. "${FLOWS:-$(dirname "$0")}/lib.sh"
export TPM2_PKCS11_TCTI=$TPM2TOOLS_TCTI TPM2_PKCS11_STORE=$PWD/store
# With no resource manager it needs more than the three slots that some TPMs have.
slots=$(tpm2_getcap properties-fixed | sed -n '/TPM2_PT_HR_TRANSIENT_MIN:/,/raw/s/.*raw: *//p')
if [ $((slots)) -le 3 ]; then
    echo "not for a TPM with $slots slots"
    exit 0
fi
mkdir store
tpm2_ptool init > /dev/null
tpm2_ptool addtoken --pid=1 --label=vm --sopin=so --userpin=user > /dev/null
module=$(find /usr/lib -name 'libtpm2_pkcs11.so*' -print -quit)
token() { pkcs11-tool --module "$module" --login --pin user "$@"; }
token --keypairgen --key-type EC:prime256v1 --label ec --id 01
echo message > message
token --sign --mechanism ECDSA-SHA256 --id 01 --signature-format openssl --input-file message --output-file signature
token --read-object --type pubkey --id 01 --output-file ec.der
openssl dgst -sha256 -verify <(openssl pkey -pubin -inform DER -in ec.der) -signature signature message
fails pkcs11-tool --module "$module" --login --pin wrong --list-objects --type privkey
token --generate-random 16 | wc -c | grep -qx 16
