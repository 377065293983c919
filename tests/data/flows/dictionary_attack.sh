# Wrong guesses are counted, lock, and are forgiven.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

counter() { tpm2_getcap properties-variable | sed -n 's/TPM2_PT_LOCKOUT_COUNTER: *//p'; }
printf secret > secret
tpm2_createprimary -C o -G ecc -c primary.ctx
tpm2_create -C primary.ctx -i secret -p hunter2 -u seal.pub -r seal.priv
tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
tpm2_create -C primary.ctx -i secret -p hunter2 -u noda.pub -r noda.priv -a 'fixedtpm|fixedparent|userwithauth|noda'
tpm2_load -C primary.ctx -u noda.pub -r noda.priv -c noda.ctx
tpm2_dictionarylockout -s -n 4 -t 3600 -l 3600
tpm2_getcap properties-variable | has 'TPM2_PT_MAX_AUTH_FAIL: 0x4$'
for guess in 1 2 3 4; do
    equal "$(($(counter)))" $((guess - 1))
    refused 0x98e tpm2_unseal -c seal.ctx -p "guess$guess"
done
# Locked: even the right value is not looked at.
refused 0x921 tpm2_unseal -c seal.ctx -p hunter2
tpm2_getcap properties-variable | has 'inLockout: *1'
# What has noDA goes on, and its wrong guesses do not count.
tpm2_unseal -c noda.ctx -p hunter2 -o opened
refused 0x9a2 tpm2_unseal -c noda.ctx -p wrong
tpm2_dictionarylockout -c
equal "$(($(counter)))" 0
tpm2_unseal -c seal.ctx -p hunter2 -o opened
same secret opened
# A wrong lockout value locks the lockout hierarchy itself.
tpm2_changeauth -c l lockoutauth
refused 0x98e tpm2_dictionarylockout -c -p wrong
refused 0x921 tpm2_dictionarylockout -c -p lockoutauth
tpm2_unseal -c seal.ctx -p hunter2 -o opened
tpm2_clear -c p
tpm2_dictionarylockout -c
