# RSA signatures: RSASSA.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_createprimary -C o -G ecc -c primary.ctx
tpm2_create -C primary.ctx -G rsa2048:rsassa-sha256:null -u key.pub -r key.priv
tpm2_load -C primary.ctx -u key.pub -r key.priv -c key.ctx
echo message > message
tpm2_sign -c key.ctx -g sha256 -s rsassa -o signature message
tpm2_verifysignature -c key.ctx -g sha256 -m message -s signature -t ticket
test -s ticket
tpm2_readpublic -c key.ctx -f pem -o key.pem
tpm2_sign -c key.ctx -g sha256 -s rsassa -f plain -o plain message
openssl dgst -sha256 -verify key.pem -signature plain message
echo other > other
refused 0x2db tpm2_verifysignature -c key.ctx -g sha256 -m other -s signature
# A signature by somebody else, and a digest that was made elsewhere.
sha256sum < message | cut -d' ' -f1 | xxd -r -p > digest
tpm2_sign -c key.ctx -g sha256 -s rsassa -d -f plain -o plain2 digest
openssl dgst -sha256 -verify key.pem -signature plain2 message
