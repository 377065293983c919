# RSAES and OAEP, both ways.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_createprimary -C o -G ecc -c primary.ctx
tpm2_create -C primary.ctx -G rsa2048 -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt' -c key.ctx
tpm2_readpublic -c key.ctx -f pem -o key.pem
echo secret > secret
for scheme in rsaes oaep; do
    tpm2_rsaencrypt -c key.ctx -s $scheme -o cipher secret
    tpm2_rsadecrypt -c key.ctx -s $scheme -o clear cipher
    same secret clear
done
openssl pkeyutl -encrypt -pubin -inkey key.pem -pkeyopt rsa_padding_mode:pkcs1 -in secret -out cipher
tpm2_rsadecrypt -c key.ctx -s rsaes -o clear cipher
same secret clear
for bits in 1 256; do
    openssl pkeyutl -encrypt -pubin -inkey key.pem -pkeyopt rsa_padding_mode:oaep -pkeyopt "rsa_oaep_md:sha$bits" -in secret -out cipher
    tpm2_rsadecrypt -c key.ctx -s "oaep-sha$bits" -o clear cipher
    same secret clear
done
head -c 256 /dev/urandom | tr '\377' '\0' > garbage
printf '\0' | dd of=garbage conv=notrunc status=none
fails tpm2_rsadecrypt -c key.ctx -s oaep -o never garbage
# More than fits under the padding.
head -c 246 /dev/zero > long
fails tpm2_rsaencrypt -c key.ctx -s rsaes -o never long
