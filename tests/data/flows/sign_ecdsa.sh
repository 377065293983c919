# ECDSA on P-256 and P-384.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_createprimary -C o -G ecc -c primary.ctx
echo message > message
for curve in ecc256:sha256 ecc384:sha384; do
    hash=${curve#*:} curve=${curve%:*}
    tpm2_create -C primary.ctx -G "$curve:ecdsa-$hash:null" -u key.pub -r key.priv
    tpm2_load -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm2_sign -c key.ctx -g "$hash" -o signature message
    tpm2_verifysignature -c key.ctx -g "$hash" -m message -s signature
    tpm2_sign -c key.ctx -g "$hash" -f plain -o plain message
    tpm2_sign -c key.ctx -g "$hash" -f plain -o again message
    differ plain again
    tpm2_readpublic -c key.ctx -f pem -o key.pem
    openssl dgst "-$hash" -verify key.pem -signature plain message
    echo other > other
    refused 0x2db tpm2_verifysignature -c key.ctx -g "$hash" -m other -s signature
done
# A key that only decrypts does not sign.
refused 0x19c tpm2_sign -c primary.ctx -g sha256 -o never message
