# Policies that somebody else's signature satisfies: signed, authorize, ticket, authorize NV.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

printf 'the sealed secret' > secret
tpm2_createprimary -C o -G ecc -c primary.ctx
openssl genrsa -out signer.pem 2048 2>/dev/null
openssl rsa -in signer.pem -out signer.pub.pem -pubout 2>/dev/null
tpm2_loadexternal -C o -G rsa -u signer.pub.pem -c signer.ctx -n signer.name > /dev/null

trial() { tpm2_startauthsession -S session.ctx; }
real() { tpm2_startauthsession --policy-session -S session.ctx; }
over() { tpm2_flushcontext session.ctx; }
sealed() {
    tpm2_create -C primary.ctx -L "$1" -i secret -u seal.pub -r seal.priv -a 'fixedtpm|fixedparent' > /dev/null
    tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx > /dev/null
}
opened() {
    tpm2_unseal -c seal.ctx -p session:session.ctx -o clear
    same secret clear
}

# Signed: the signer signs this session's nonce.
trial
printf '\0\0\0\0' > unlimited
openssl dgst -sha256 -sign signer.pem -out unlimited.sig unlimited
tpm2_policysigned -S session.ctx -g sha256 -s unlimited.sig -f rsassa -c signer.ctx -L signed.policy > /dev/null
over
sealed signed.policy
real
tpm2_policysigned -S session.ctx -g sha256 -s unlimited.sig -f rsassa -c signer.ctx > /dev/null
opened
over
real
tpm2_policysigned -S session.ctx -c signer.ctx -g sha256 -x --raw-data tosign -t -1000 > /dev/null
openssl dgst -sha256 -sign signer.pem -out tosign.sig tosign
tpm2_policysigned -S session.ctx -g sha256 -s tosign.sig -f rsassa -c signer.ctx -x -t -1000 --ticket ticket --timeout timeout > /dev/null
opened
over
# A signature for another session.
real
refused 0x5db tpm2_policysigned -S session.ctx -g sha256 -s tosign.sig -f rsassa -c signer.ctx -x -t -1000
over
# The ticket stands for the signature.
real
tpm2_policyticket -S session.ctx -n signer.name --ticket ticket --timeout timeout > /dev/null
opened
over

# Authorize: the policy is whatever the signer has approved.
trial
tpm2_policycommandcode -S session.ctx -L approved.policy TPM2_CC_Unseal > /dev/null
over
trial
tpm2_policyauthorize -S session.ctx -L authorize.policy -n signer.name -i approved.policy > /dev/null
over
sealed authorize.policy
openssl dgst -sha256 -sign signer.pem -out approved.sig approved.policy
tpm2_verifysignature -c signer.ctx -g sha256 -m approved.policy -s approved.sig -f rsassa -t approved.ticket
real
tpm2_policycommandcode -S session.ctx TPM2_CC_Unseal > /dev/null
tpm2_policyauthorize -S session.ctx -n signer.name -i approved.policy -t approved.ticket > /dev/null
opened
over
# Another policy than the approved one.
real
tpm2_policypassword -S session.ctx > /dev/null
refused 0x1c4 tpm2_policyauthorize -S session.ctx -n signer.name -i approved.policy -t approved.ticket
over

# Authorize NV: the approved policy stands in an NV index.
tpm2_nvdefine 0x1500020 -C o -s 34 -a 'ownerread|ownerwrite' > /dev/null
{ printf '\x00\x0b'; cat approved.policy; } | tpm2_nvwrite 0x1500020 -C o -i -
trial
tpm2_policyauthorizenv -S session.ctx -C o -L nv.policy 0x1500020 > /dev/null
over
sealed nv.policy
real
tpm2_policycommandcode -S session.ctx TPM2_CC_Unseal > /dev/null
tpm2_policyauthorizenv -S session.ctx -C o 0x1500020 > /dev/null
opened
over
