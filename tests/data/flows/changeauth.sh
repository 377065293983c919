# Authorization values change: objects, hierarchies, NV indices.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

printf secret > secret
tpm2_createprimary -C o -G ecc -c primary.ctx
tpm2_create -C primary.ctx -i secret -p old -u seal.pub -r seal.priv
tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
tpm2_changeauth -c seal.ctx -C primary.ctx -p old -r new.priv new
tpm2_load -C primary.ctx -u seal.pub -r new.priv -c new.ctx
tpm2_unseal -c new.ctx -p new -o opened
same secret opened
refused 0x98e tpm2_unseal -c new.ctx -p old
# The old private part goes on working with the old value.
tpm2_unseal -c seal.ctx -p old -o opened
refused 0x98e tpm2_changeauth -c seal.ctx -C primary.ctx -p wrong -r never.priv new
forgive
for hierarchy in o e l; do
    tpm2_changeauth -c $hierarchy first
    tpm2_changeauth -c $hierarchy -p first second
    # A failed lockoutAuth is not tried again for a day: that is for another flow.
    [ $hierarchy = l ] || refused 0x9a2 tpm2_changeauth -c $hierarchy -p first third
    tpm2_changeauth -c $hierarchy -p second
done
tpm2_changeauth -c o ownerauth
refused 0x9a2 tpm2_createprimary -C o -G ecc -c never.ctx
tpm2_createprimary -C o -P ownerauth -G ecc -c primary.ctx
tpm2_changeauth -c o -p ownerauth
# An index changes its own value under a policy that names the command.
tpm2_startauthsession -S session.ctx
tpm2_policycommandcode -S session.ctx -L policy TPM2_CC_NV_ChangeAuth > /dev/null
tpm2_flushcontext session.ctx
tpm2_nvdefine 0x1500050 -C o -s 4 -p old -L policy -a 'authread|authwrite' > /dev/null
printf data | tpm2_nvwrite 0x1500050 -C 0x1500050 -P old -i -
tpm2_startauthsession --policy-session -S session.ctx
tpm2_policycommandcode -S session.ctx TPM2_CC_NV_ChangeAuth > /dev/null
tpm2_changeauth -c 0x1500050 -p session:session.ctx new
tpm2_flushcontext session.ctx
equal "$(tpm2_nvread 0x1500050 -C 0x1500050 -P new -s 4)" data
refused 0x98e tpm2_nvread 0x1500050 -C 0x1500050 -P old -s 4
