# HMAC keys: made, signed with, verified, and the HMAC command.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_createprimary -C o -G ecc -c primary.ctx
tpm2_create -C primary.ctx -G hmac:sha256 -c key.ctx
echo message > message
tpm2_sign -c key.ctx -g sha256 -o signature message
tpm2_verifysignature -c key.ctx -g sha256 -m message -s signature
echo other > other
refused 0x2db tpm2_verifysignature -c key.ctx -g sha256 -m other -s signature
tpm2_hmac -c key.ctx -g sha256 -o mac message
head -c 5000 /dev/urandom > long
tpm2_hmac -c key.ctx -g sha256 -o mac.long long
tpm2_hmac -c key.ctx -g sha256 -o mac.again long
same mac.long mac.again
# A key that openssl knows too.
printf 'sixteen byte key' > raw.key
tpm2_createprimary -C o -G rsa -c parent.ctx
tpm2_import -C parent.ctx -G hmac -i raw.key -u imported.pub -r imported.priv
tpm2_load -C parent.ctx -u imported.pub -r imported.priv -c imported.ctx
for file in message long /dev/null; do
    equal "$(tpm2_hmac -c imported.ctx -g sha256 --hex "$file")" \
        "$(openssl dgst -sha256 -mac HMAC -macopt key:'sixteen byte key' < "$file" | sed 's/.* //')"
done
