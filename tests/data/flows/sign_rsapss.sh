# RSA signatures: RSAPSS.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_createprimary -C o -G ecc -c primary.ctx
tpm2_create -C primary.ctx -G rsa2048:rsapss-sha256:null -u key.pub -r key.priv
tpm2_load -C primary.ctx -u key.pub -r key.priv -c key.ctx
echo message > message
tpm2_sign -c key.ctx -g sha256 -s rsapss -o signature message
tpm2_verifysignature -c key.ctx -g sha256 -m message -s signature -t ticket
test -s ticket
tpm2_readpublic -c key.ctx -f pem -o key.pem
tpm2_sign -c key.ctx -g sha256 -s rsapss -f plain -o plain message
options=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:auto)
openssl dgst -sha256 -verify key.pem "${options[@]}" -signature plain message
echo other > other
refused 0x2db tpm2_verifysignature -c key.ctx -g sha256 -m other -s signature
# A signature by somebody else, and a digest that was made elsewhere.
sha256sum < message | cut -d' ' -f1 | xxd -r -p > digest
tpm2_sign -c key.ctx -g sha256 -s rsapss -d -f plain -o plain2 digest
openssl dgst -sha256 -verify key.pem "${options[@]}" -signature plain2 message
