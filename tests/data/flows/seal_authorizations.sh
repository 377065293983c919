# A sealed secret behind a password, and behind policies that ask for it.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

printf 'the sealed secret' > secret
tpm2_createprimary -C o -G ecc -c primary.ctx
# A password.
tpm2_create -C primary.ctx -i secret -p hunter2 -u seal.pub -r seal.priv
tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
tpm2_unseal -c seal.ctx -p hunter2 -o clear
same secret clear
refused 0x98e tpm2_unseal -c seal.ctx -p wrong
refused 0x98e tpm2_unseal -c seal.ctx
forgive
# The same through an HMAC session, in which the password never crosses the wire.
tpm2_startauthsession --hmac-session -S session.ctx
tpm2_unseal -c seal.ctx -p session:session.ctx+hunter2 -o clear
same secret clear
tpm2_unseal -c seal.ctx -p session:session.ctx+hunter2 -o clear
refused 0x98e tpm2_unseal -c seal.ctx -p session:session.ctx+wrong
tpm2_flushcontext session.ctx
forgive
# PolicyPassword and PolicyAuthValue: the same digest, and a password all the same.
for kind in password authvalue; do
    tpm2_startauthsession -S trial.ctx
    "tpm2_policy$kind" -S trial.ctx -L "policy.$kind" > /dev/null
    tpm2_flushcontext trial.ctx
    tpm2_create -C primary.ctx -L "policy.$kind" -i secret -p hunter2 -u seal.pub -r seal.priv \
        -a 'fixedtpm|fixedparent|noda'
    tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
    tpm2_startauthsession --policy-session -S session.ctx
    "tpm2_policy$kind" -S session.ctx > /dev/null
    tpm2_unseal -c seal.ctx -p session:session.ctx+hunter2 -o clear
    same secret clear
    "tpm2_policy$kind" -S session.ctx > /dev/null
    refused 0x9a2 tpm2_unseal -c seal.ctx -p session:session.ctx+wrong
    tpm2_flushcontext session.ctx
    # userWithAuth is clear: the password alone opens nothing.
    refused 0x12f tpm2_unseal -c seal.ctx -p hunter2
done
same policy.password policy.authvalue
