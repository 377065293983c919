# The second half: the same handles, keys, passwords and data.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_readpublic -c 0x81000002 -n again.name
same key.name again.name
tpm2_sign -c 0x81000002 -p keyauth -g sha256 -f plain -o signature message
openssl dgst -sha256 -verify key.pem -signature signature message
refused 0x98e tpm2_sign -c 0x81000002 -p wrong -g sha256 -o never message
tpm2_load -C 0x81000001 -u seal.pub -r seal.priv -c seal.ctx
tpm2_unseal -c seal.ctx -o opened
same message opened
equal "$(tpm2_nvread 0x1500040 -C o -s 8)" 12345678
tpm2_changeauth -c e -p endorsed
# What does not live through it: PCRs, the null hierarchy, saved contexts of a session before the reset.
equal "$(tpm2_pcrread sha256:16 | grep -c "0x$(printf '0%.0s' {1..64})")" 1
tpm2_createprimary -C n -G ecc -c null.ctx
tpm2_readpublic -c null.ctx -n null.again
differ null.name null.again
fails tpm2_readpublic -c primary.ctx
count() { sed -n 's/.*reset_count: *//p' "$1"; }
tpm2_readclock > clock.again
test "$(count clock.again)" -gt "$(count clock)"
tpm2_evictcontrol -C o -c 0x81000002
refused 0x18b tpm2_readpublic -c 0x81000002
tpm2_evictcontrol -C o -c 0x81000001
