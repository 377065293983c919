# Persistent handles live through a restart of the server.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

echo message > message
tpm2_createprimary -C o -G ecc -c primary.ctx
tpm2_create -C primary.ctx -G ecc256:ecdsa-sha256:null -p keyauth -u key.pub -r key.priv
tpm2_load -C primary.ctx -u key.pub -r key.priv -c key.ctx
tpm2_evictcontrol -C o -c primary.ctx 0x81000001
tpm2_evictcontrol -C o -c key.ctx 0x81000002
refused 0x14c tpm2_evictcontrol -C o -c key.ctx 0x81000002
tpm2_getcap handles-persistent > handles
grep -q 0x81000001 handles
grep -q 0x81000002 handles
tpm2_readpublic -c 0x81000002 -f pem -o key.pem -n key.name
tpm2_sign -c 0x81000002 -p keyauth -g sha256 -f plain -o signature message
openssl dgst -sha256 -verify key.pem -signature signature message
tpm2_create -C 0x81000001 -i message -u seal.pub -r seal.priv
tpm2_nvdefine 0x1500040 -C o -s 8 -a 'ownerread|ownerwrite' > /dev/null
printf 12345678 | tpm2_nvwrite 0x1500040 -C o -i -
tpm2_changeauth -c e endorsed
tpm2_readclock > clock
tpm2_pcrextend "16:sha256=$(printf boot | sha256sum | cut -d' ' -f1)"
tpm2_createprimary -C n -G ecc -c null.ctx
tpm2_readpublic -c null.ctx -n null.name

# Clear, so that the restart is a TPM Reset: after a saved state the null hierarchy would live on.
tpm2_shutdown --clear
