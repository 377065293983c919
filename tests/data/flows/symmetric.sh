# AES with a key that openssl knows, in every mode.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_createprimary -C o -G rsa -c parent.ctx
head -c 48 /dev/urandom > blocks
head -c 1000 /dev/urandom > long
head -c 16 /dev/urandom > iv
for bits in 128 256; do
    head -c $((bits / 8)) /dev/urandom > aes.key
    tpm2_import -C parent.ctx -G aes -i aes.key -u imported.pub -r imported.priv
    tpm2_load -C parent.ctx -u imported.pub -r imported.priv -c aes.ctx
    for mode in cfb; do
        for file in blocks long; do
            tpm2_encryptdecrypt -c aes.ctx -G $mode --iv iv -o cipher $file
            openssl enc "-aes-$bits-$mode" -K "$(xxd -p -c 99 aes.key)" -iv "$(xxd -p -c 99 iv)" -nopad -in $file -out expected
            same cipher expected
            tpm2_encryptdecrypt -c aes.ctx -d -G $mode --iv iv -o clear cipher
            same clear $file
        done
    done
done
# Keys made by the TPM, one mode each.
for mode in ctr cbc ofb cfb; do
    tpm2_create -C parent.ctx -G aes128$mode -c aes.ctx
    tpm2_encryptdecrypt -c aes.ctx --iv iv -o cipher blocks
    differ cipher blocks
    tpm2_encryptdecrypt -c aes.ctx -d --iv iv -o clear cipher
    same clear blocks
done
