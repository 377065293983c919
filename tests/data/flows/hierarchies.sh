# Hierarchies are switched off and on, their policies set, their seeds replaced.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

name() { tpm2_readpublic -c "$1" | sed -n 's/^name: //p'; }
tpm2_createprimary -C o -G ecc -c owner.ctx
tpm2_createprimary -C p -G ecc -c platform.ctx
tpm2_createprimary -C e -G ecc -c endorsement.ctx
platform=$(name platform.ctx) endorsement=$(name endorsement.ctx)
tpm2_hierarchycontrol -C p shEnable clear
refused 0x185 tpm2_createprimary -C o -G ecc -c never.ctx
tpm2_getcap properties-variable | has 'shEnable: *0'
tpm2_hierarchycontrol -C p shEnable set
tpm2_createprimary -C o -G ecc -c owner.ctx
# The owner may switch off its own hierarchy, and needs the platform to switch it on.
tpm2_hierarchycontrol -C o shEnable clear
fails tpm2_hierarchycontrol -C o shEnable set
tpm2_hierarchycontrol -C p shEnable set
# A policy for the owner.
tpm2_startauthsession -S session.ctx
tpm2_policycommandcode -S session.ctx -L policy TPM2_CC_CreatePrimary > /dev/null
tpm2_flushcontext session.ctx
tpm2_setprimarypolicy -C o -L policy -g sha256
tpm2_startauthsession --policy-session -S session.ctx
tpm2_policycommandcode -S session.ctx TPM2_CC_CreatePrimary > /dev/null
tpm2_createprimary -C o -P session:session.ctx -G ecc -c owner.ctx
tpm2_flushcontext session.ctx
# New seeds.
tpm2_changepps
tpm2_createprimary -C p -G ecc -c platform.ctx
test "$(name platform.ctx)" != "$platform"
tpm2_changeeps
tpm2_createprimary -C e -G ecc -c endorsement.ctx
test "$(name endorsement.ctx)" != "$endorsement"
