# OpenSSL signs, decrypts and agrees on keys with keys of the TPM, through the provider of tpm2-openssl.
. "${FLOWS:-$(dirname "$0")}/lib.sh"
export TPM2OPENSSL_TCTI=$TPM2TOOLS_TCTI
tpm() { local verb=$1; shift; openssl "$verb" -provider tpm2 -provider base "$@"; }
echo message > message
tpm rand -hex 16 > random
[ "$(wc -c < random)" -eq 33 ]
tpm genpkey -algorithm RSA -pkeyopt bits:2048 -out rsa.pem
grep -q 'TSS2 PRIVATE KEY' rsa.pem
tpm pkey -in rsa.pem -pubout -out rsa.pub
tpm pkeyutl -sign -inkey rsa.pem -rawin -digest sha256 -in message -out signature
openssl dgst -sha256 -verify rsa.pub -signature signature message
openssl pkeyutl -encrypt -pubin -inkey rsa.pub -in message -out encrypted
tpm pkeyutl -decrypt -inkey rsa.pem -in encrypted | cmp - message
tpm genpkey -algorithm EC -pkeyopt group:P-256 -out ec.pem
tpm pkey -in ec.pem -pubout -out ec.pub
tpm pkeyutl -sign -inkey ec.pem -rawin -digest sha256 -in message -out ec.signature
openssl pkeyutl -verify -pubin -inkey ec.pub -rawin -digest sha256 -in message -sigfile ec.signature
tpm req -new -x509 -key ec.pem -subj /CN=tpm -days 2 -out certificate.pem
openssl verify -CAfile certificate.pem certificate.pem
