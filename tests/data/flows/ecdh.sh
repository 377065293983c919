# Diffie-Hellman on curves, one phase and two.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_createprimary -C o -G ecc -c primary.ctx
for curve in ecc256 ecc384; do
    tpm2_create -C primary.ctx -G $curve:ecdh -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt' -c key.ctx
    tpm2_ecdhkeygen -c key.ctx -u ephemeral -o shared
    tpm2_ecdhzgen -c key.ctx -u ephemeral -o again
    same shared again
done
# With openssl as the other side.
tpm2_create -C primary.ctx -G ecc256:ecdh -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt' -c key.ctx
tpm2_readpublic -c key.ctx -f pem -o key.pem
openssl ecparam -name prime256v1 -genkey -noout -out peer.pem
openssl pkeyutl -derive -inkey peer.pem -peerkey key.pem -out expected
point=$(openssl ec -in peer.pem -pubout -outform der 2> /dev/null | tail -c 64 | xxd -p -c 999)
printf '\x00\x44\x00\x20%b\x00\x20%b' "$(sed 's/../\\x&/g' <<< "${point:0:64}")" "$(sed 's/../\\x&/g' <<< "${point:64}")" > peer
tpm2_ecdhzgen -c key.ctx -u peer -o shared
{ printf '\x00\x20'; cat expected; } > wanted
tail -c +3 shared | head -c 34 > got
same wanted got
# A point that is not on the curve.
printf '\x00\x44\x00\x20%b\x00\x20%b' "$(sed 's/../\\x&/g' <<< "${point:0:64}")" "$(sed 's/../\\x&/g' <<< "${point:0:64}")" > bad
# The tools leave sessions behind.
tpm2_flushcontext -l
refused 0x1e7 tpm2_ecdhzgen -c key.ctx -u bad -o never
tpm2_geteccparameters ecc256 -o parameters
test -s parameters
tpm2_ecephemeral -u q -t counter ecc256
test -s q
