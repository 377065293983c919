# The clock runs, is signed for, can be advanced and never turned back.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

milliseconds() { sed -n 's/^ *clock: *//p' "$1"; }
tpm2_readclock > first
tpm2_pcrread > /dev/null
tpm2_readclock > second
test "$(milliseconds second)" -ge "$(milliseconds first)"
grep -q 'safe: yes' second
grep -q 'reset_count' second
ahead=$(($(milliseconds second) + 100000000))
tpm2_setclock -c o $ahead
tpm2_readclock > third
test "$(milliseconds third)" -ge $ahead
refused 0x1c4 tpm2_setclock -c o 1
tpm2_clockrateadjust -c o fff
tpm2_clockrateadjust -c p sss
tpm2_createprimary -C e -G ecc -c primary.ctx
tpm2_create -C primary.ctx -G ecc256:ecdsa-sha256:null -c key.ctx
tpm2_gettime -c key.ctx -g sha256 -q 1234 -o signature --attestation attest -f plain > time
tpm2_readpublic -c key.ctx -f pem -o key.pem
openssl dgst -sha256 -verify key.pem -signature signature attest
# A restart is counted, a resume as well.
tpm2_shutdown
tpm2_shutdown -c
