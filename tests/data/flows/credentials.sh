# Credentials: only the TPM with this EK opens them, and only for this key.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

printf 'twelve bytes' > secret
for kind in ecc rsa; do
    tpm2_createek -c ek.ctx -G $kind -u ek.pub
    tpm2_createak -C ek.ctx -c ak.ctx -G $kind -g sha256 -s "$([ $kind = ecc ] && echo ecdsa || echo rsassa)" -u ak.pub -n ak.name
    name=$(xxd -p -c 99 ak.name)
    activate() {
        tpm2_startauthsession --policy-session -S session.ctx
        tpm2_policysecret -S session.ctx -c e > /dev/null
        local status=0
        tpm2_activatecredential -c ak.ctx -C ek.ctx -i "$1" -o opened -P session:session.ctx || status=$?
        tpm2_flushcontext session.ctx
        return $status
    }
    # Made without a TPM, and by one that knows only the public part.
    tpm2_makecredential -T none -u ek.pub -s secret -n "$name" -o blob
    activate blob
    same secret opened
    tpm2_makecredential -u ek.pub -s secret -n "$name" -o blob
    activate blob
    same secret opened
    # For another key: the last digit of its name is another one.
    other=${name%?}$(printf %x $((0x${name: -1} ^ 1)))
    tpm2_makecredential -T none -u ek.pub -s secret -n "$other" -o blob
    fails activate blob
    # Damaged: its last byte.
    tpm2_makecredential -T none -u ek.pub -s secret -n "$name" -o blob
    size=$(stat -c %s blob)
    last=$(tail -c 1 blob | xxd -p)
    printf "\\x$(printf %02x $((0x$last ^ 1)))" | dd of=blob bs=1 seek=$((size - 1)) conv=notrunc status=none
    fails activate blob
done
