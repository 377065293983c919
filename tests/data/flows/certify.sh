# One key vouches for another, for its creation, for NV contents and for the time.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_createprimary -C e -G ecc -c primary.ctx
tpm2_create -C primary.ctx -G ecc256:ecdsa-sha256:null -u key.pub -r key.priv -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign'
tpm2_load -C primary.ctx -u key.pub -r key.priv -c key.ctx
tpm2_readpublic -c key.ctx -f pem -o key.pem
tpm2_create -C primary.ctx -G rsa2048 -u subject.pub -r subject.priv --creation-data data -d hash -t ticket
# Two objects in one command.
tpm2_load -C primary.ctx -u subject.pub -r subject.priv -c subject.ctx -n subject.name
tpm2_certify -c subject.ctx -C key.ctx -g sha256 -o attest -s signature -f plain
openssl dgst -sha256 -verify key.pem -signature signature attest
xxd -p -c 999 attest | has "$(xxd -p -c 99 subject.name)"
tpm2_certifycreation -C key.ctx -c subject.ctx -d hash -t ticket -g sha256 -o signature -f plain --attestation attest
openssl dgst -sha256 -verify key.pem -signature signature attest
{ printf "\x00\x20"; head -c 32 /dev/urandom; } > wrong
refused 0x4e0 tpm2_certifycreation -C key.ctx -c subject.ctx -d wrong -t ticket -g sha256 -o never --attestation never2
tpm2_nvdefine 0x1500030 -C o -s 8 -a 'ownerread|ownerwrite|authread|authwrite' > /dev/null
printf '12345678' | tpm2_nvwrite 0x1500030 -C o -i -
tpm2_nvcertify -C key.ctx -g sha256 -f plain -o signature --attestation attest -c o --size 8 0x1500030
openssl dgst -sha256 -verify key.pem -signature signature attest
grep -aq 12345678 attest
tpm2_gettime -c key.ctx -g sha256 -q cafe -f plain -o signature --attestation attest > /dev/null
openssl dgst -sha256 -verify key.pem -signature signature attest
# A storage key signs nothing.
fails tpm2_certify -c subject.ctx -C primary.ctx -g sha256 -o never -s never2
