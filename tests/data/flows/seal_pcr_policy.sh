# A secret that opens only while PCRs hold what they held.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

printf 'the sealed secret' > secret
tpm2_pcrreset 16
tpm2_pcrextend "16:sha256=$(printf boot | sha256sum | cut -d' ' -f1)"
tpm2_createprimary -C o -G ecc -c primary.ctx
tpm2_startauthsession -S trial.ctx
tpm2_policypcr -S trial.ctx -l sha256:0,16 -L policy
tpm2_flushcontext trial.ctx
tpm2_create -C primary.ctx -L policy -i secret -u seal.pub -r seal.priv
tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
tpm2_unseal -c seal.ctx -p pcr:sha256:0,16 -o clear
same secret clear
# By a session made by hand as well.
tpm2_startauthsession --policy-session -S session.ctx
tpm2_policypcr -S session.ctx -l sha256:0,16 > /dev/null
tpm2_unseal -c seal.ctx -p session:session.ctx -o clear
same secret clear
tpm2_flushcontext session.ctx
# Not by its (empty) password.
refused 0x12f tpm2_unseal -c seal.ctx
tpm2_pcrextend "16:sha256=$(printf evil | sha256sum | cut -d' ' -f1)"
refused 0x99d tpm2_unseal -c seal.ctx -p pcr:sha256:0,16
# A session that checked the PCRs before they changed.
tpm2_pcrreset 16
tpm2_pcrextend "16:sha256=$(printf boot | sha256sum | cut -d' ' -f1)"
tpm2_startauthsession --policy-session -S session.ctx
tpm2_policypcr -S session.ctx -l sha256:0,16 > /dev/null
tpm2_pcrextend "10:sha256=$(printf other | sha256sum | cut -d' ' -f1)"
refused 0x128 tpm2_unseal -c seal.ctx -p session:session.ctx
tpm2_flushcontext session.ctx
tpm2_unseal -c seal.ctx -p pcr:sha256:0,16 -o clear
same secret clear
