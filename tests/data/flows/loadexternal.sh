# Keys made by openssl: public parts verify, whole keys sign.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

echo message > message
openssl genrsa -out rsa.pem 2048 2> /dev/null
openssl rsa -in rsa.pem -pubout -out rsa.pub.pem 2> /dev/null
for curve in prime256v1 secp384r1; do
    openssl ecparam -name $curve -genkey -noout -out $curve.pem
    openssl ec -in $curve.pem -pubout -out $curve.pub.pem 2> /dev/null
done
check() {
    local kind=$1 key=$2 format=$3 hash=$4
    openssl dgst "-$hash" -sign "$key.pem" -out signature message
    tpm2_loadexternal -C o -G "$kind" -u "$key.pub.pem" -c public.ctx
    tpm2_verifysignature -c public.ctx -g "$hash" -m message -s signature -f "$format"
    tpm2_loadexternal -G "$kind" -r "$key.pem" -c private.ctx
    tpm2_sign -c private.ctx -g "$hash" -f plain -o signed message
    openssl dgst "-$hash" -verify "$key.pub.pem" -signature signed message
    # A whole key belongs to no hierarchy but the null one.
    fails tpm2_loadexternal -C o -G "$kind" -r "$key.pem" -c never.ctx
}
check rsa rsa rsassa sha256
check ecc prime256v1 ecdsa sha256
check ecc secp384r1 ecdsa sha384
# AES.
head -c 16 /dev/urandom > aes.key
tpm2_loadexternal -C n -G aes -r aes.key -c aes.ctx
# A public part of the TPM's own.
tpm2_createprimary -C o -G ecc -c primary.ctx
tpm2_create -C primary.ctx -G ecc -u key.pub -r key.priv
tpm2_loadexternal -C o -u key.pub -c loaded.ctx -n name
tpm2_load -C primary.ctx -u key.pub -r key.priv -c key.ctx -n name2
same name name2
