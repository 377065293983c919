# Quotes that the client itself checks.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_pcrextend "16:sha256=$(printf boot | sha256sum | cut -d' ' -f1)"
tpm2_createprimary -C e -G ecc -c primary.ctx
for kind in rsa2048:rsassa-sha256:null ecc256:ecdsa-sha256:null; do
    tpm2_create -C primary.ctx -G "$kind" -u key.pub -r key.priv \
        -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign'
    tpm2_load -C primary.ctx -u key.pub -r key.priv -c key.ctx
    tpm2_readpublic -c key.ctx -f pem -o key.pem
    scheme=${kind#*:} scheme=${scheme%%-*}
    tpm2_quote -c key.ctx --scheme "$scheme" -l sha1:0,1+sha256:0,1,16 -q abcdef01 -m quote -s signature -o pcrs -g sha256
    tpm2_checkquote -u key.pem -m quote -s signature -f pcrs -g sha256 -q abcdef01 > /dev/null
    fails tpm2_checkquote -u key.pem -m quote -s signature -f pcrs -g sha256 -q abcdef02
    tpm2_print -t TPMS_ATTEST quote > printed
    grep -q 'magic: ff544347' printed
    grep -q 'extraData: abcdef01' printed
    # Other PCR values than the quoted ones.
    tpm2_pcrextend "16:sha256=$(printf more | sha256sum | cut -d' ' -f1)"
    tpm2_quote -c key.ctx --scheme "$scheme" -l sha256:16 -q abcdef01 -m quote2 -s signature2 -o pcrs2 -g sha256
    fails tpm2_checkquote -u key.pem -m quote -s signature -f pcrs2 -g sha256 -q abcdef01
done
# tpm2_checkquote knows no RSA-PSS: openssl does.
tpm2_create -C primary.ctx -G rsa2048:rsapss-sha256:null -c pss.ctx \
    -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign'
tpm2_readpublic -c pss.ctx -f pem -o pss.pem
tpm2_quote -c pss.ctx --scheme rsapss -l sha256:16 -q abcdef01 -m quote -s signature -f plain -g sha256
openssl dgst -sha256 -verify pss.pem -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:auto -signature signature quote
# A restricted key signs no digest that could be an attestation made elsewhere.
{ printf '\xffTCG'; head -c 60 /dev/zero; } > forged
fails tpm2_sign -c key.ctx -g sha256 -o never forged
