# Keys made by openssl move into the TPM's storage.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

echo message > message
for parent in rsa ecc; do
    tpm2_createprimary -C o -G $parent -c parent.ctx
    openssl genrsa -out rsa.pem 2048 2> /dev/null
    openssl rsa -in rsa.pem -pubout -out rsa.pub.pem 2> /dev/null
    openssl ecparam -name prime256v1 -genkey -noout -out ecc.pem
    openssl ec -in ecc.pem -pubout -out ecc.pub.pem 2> /dev/null
    for key in rsa ecc; do
        tpm2_import -C parent.ctx -G $key -i $key.pem -u imported.pub -r imported.priv -p keyauth
        tpm2_load -C parent.ctx -u imported.pub -r imported.priv -c imported.ctx
        tpm2_sign -c imported.ctx -p keyauth -g sha256 -f plain -o signature message
        openssl dgst -sha256 -verify $key.pub.pem -signature signature message
        refused 0x98e tpm2_sign -c imported.ctx -p wrong -g sha256 -f plain -o never message
        forgive
    done
    # AES, checked against openssl where the TPM offers the command.
    head -c 16 /dev/urandom > aes.key
    tpm2_import -C parent.ctx -G aes -i aes.key -u imported.pub -r imported.priv
    tpm2_load -C parent.ctx -u imported.pub -r imported.priv -c imported.ctx
done
