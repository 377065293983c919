# Self-tests and algorithm parameters.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_selftest -f
tpm2_selftest
tpm2_gettestresult | has 'status: *success'
tpm2_incrementalselftest sha256 rsa > /dev/null
for parameters in rsa2048 ecc256 ecc384 aes128cfb hmac xor:sha256 rsa2048:rsassa-sha256:null ecc256:ecdsa-sha256; do
    tpm2_testparms "$parameters"
done
