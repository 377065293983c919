# What has been executed: command audit and session audit.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_createprimary -C e -G ecc -c primary.ctx
tpm2_create -C primary.ctx -G ecc256:ecdsa-sha256:null -c key.ctx
tpm2_readpublic -c key.ctx -f pem -o key.pem
tpm2_setcommandauditstatus TPM2_CC_GetRandom
tpm2_getrandom -o random 8
tpm2_getcommandauditdigest -P '' -c key.ctx -g sha256 -f plain -s signature -m attest
openssl dgst -sha256 -verify key.pem -signature signature attest
tpm2_setcommandauditstatus TPM2_CC_GetRandom --clear-list
tpm2_startauthsession --audit-session -S session.ctx
tpm2_getrandom -S session.ctx -o random 8
tpm2_getsessionauditdigest -P '' -c key.ctx -g sha256 -f plain -s signature -m attest -S session.ctx
openssl dgst -sha256 -verify key.pem -signature signature attest
tpm2_flushcontext session.ctx
