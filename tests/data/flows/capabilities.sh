# What a TPM says about itself.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_startup -c
tpm2_getcap properties-fixed > fixed
grep -A2 TPM2_PT_FAMILY_INDICATOR fixed | has '"2.0"'
test $(($(grep -A1 TPM2_PT_HR_TRANSIENT_MIN fixed | sed -n 's/.*raw: //p'))) -ge 3
grep -A1 'TPM2_PT_PCR_COUNT' fixed | has -i 'raw: 0x18'
tpm2_getcap properties-variable > variable
grep -q 'phEnable: *1' variable
grep -q 'inLockout: *0' variable
# The number of commands is told twice.
listed=$(tpm2_getcap commands | grep -c 'value:')
told=$(grep -A1 TPM2_PT_TOTAL_COMMANDS fixed | sed -n 's/.*raw: //p')
equal "$listed" "$((told))"
tpm2_getcap algorithms > algorithms
for name in rsa sha1 hmac aes mgf1 keyedhash xor sha256 sha384 sha512 rsassa rsaes rsapss oaep ecdsa ecdh kdf1_sp800_108 ecc symcipher cfb; do
    grep -q "^$name:" algorithms
done
tpm2_getcap ecc-curves > curves
grep -q TPM2_ECC_NIST_P256 curves
grep -q TPM2_ECC_NIST_P384 curves
tpm2_getcap pcrs > pcrs
for bank in sha1 sha256 sha384 sha512; do
    grep -qE "$bank: \[ 0, 1, 2, .* 23 \]" pcrs
done
for handles in transient persistent permanent pcr nv-index loaded-session saved-session; do
    tpm2_getcap "handles-$handles" > /dev/null
done
tpm2_getcap handles-permanent | has 0x4000000C
