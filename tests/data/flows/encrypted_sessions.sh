# Salted and bound sessions that authorize and encrypt parameters both ways.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

printf 'the sealed secret' > secret
for kind in ecc rsa; do
    tpm2_createprimary -C o -G $kind -c primary.ctx
    tpm2_readpublic -c primary.ctx -n primary.name
    # Salted with the primary key.
    tpm2_startauthsession --hmac-session -S session.ctx --tpmkey-context primary.ctx
    tpm2_sessionconfig session.ctx --enable-decrypt
    tpm2_sessionconfig session.ctx --enable-encrypt
    tpm2_sessionconfig session.ctx > config
    grep -q 'Session-Attributes: continuesession|decrypt|encrypt' config
    tpm2_create -C primary.ctx -P session:session.ctx -i secret -p hunter2 -u seal.pub -r seal.priv
    command tpm2_load -C primary.ctx -P session:session.ctx -u seal.pub -r seal.priv -c seal.ctx
    flush
    tpm2_unseal -c seal.ctx -p session:session.ctx+hunter2 -o opened
    same secret opened
    refused 0x98e tpm2_unseal -c seal.ctx -p session:session.ctx+wrong
    forgive
    tpm2_unseal -c seal.ctx -p session:session.ctx+hunter2 -o opened
    same secret opened
    tpm2_getrandom -S session.ctx --hex 16 | has -E '^[0-9a-f]{32}$'
    tpm2_flushcontext session.ctx
    # Bound to an entity whose authorization value is then part of the session key.
    tpm2_startauthsession --hmac-session -S session.ctx --tpmkey-context primary.ctx --bind-context seal.ctx --bind-auth hunter2
    tpm2_sessionconfig session.ctx --enable-encrypt
    tpm2_unseal -c seal.ctx -p session:session.ctx+hunter2 -o opened
    same secret opened
    tpm2_flushcontext session.ctx
    # Policy sessions encrypt too.
    tpm2_startauthsession -S session.ctx
    tpm2_policypassword -S session.ctx -L policy > /dev/null
    tpm2_flushcontext session.ctx
    tpm2_create -C primary.ctx -i secret -L policy -p hunter2 -u seal.pub -r seal.priv
    tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
    tpm2_startauthsession --policy-session -S session.ctx --tpmkey-context primary.ctx
    tpm2_sessionconfig session.ctx --enable-encrypt
    tpm2_policyauthvalue -S session.ctx > /dev/null
    tpm2_unseal -c seal.ctx -p session:session.ctx+hunter2 -o opened
    same secret opened
    tpm2_flushcontext session.ctx
done
# NV through an encrypted session.
tpm2_nvdefine 0x1500070 -C o -s 17 -p index -a 'authread|authwrite' > /dev/null
tpm2_startauthsession --hmac-session -S session.ctx --tpmkey-context primary.ctx
tpm2_sessionconfig session.ctx --enable-decrypt --enable-encrypt
tpm2_nvwrite 0x1500070 -C 0x1500070 -P session:session.ctx+index -i secret
tpm2_nvread 0x1500070 -C 0x1500070 -P session:session.ctx+index -o opened
same secret opened
tpm2_flushcontext session.ctx
# Other session hashes.
for hash in sha1 sha384 sha512; do
    tpm2_startauthsession --hmac-session -S session.ctx -g $hash --tpmkey-context primary.ctx
    tpm2_nvread 0x1500070 -C 0x1500070 -P session:session.ctx+index -o opened
    same secret opened
    tpm2_flushcontext session.ctx
done
