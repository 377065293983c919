# Clear gives the owner a new TPM and leaves the platform's.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

name() { tpm2_readpublic -c "$1" | sed -n 's/^name: //p'; }
tpm2_createprimary -C o -G ecc -c owner.ctx
tpm2_createprimary -C e -G ecc -c endorsement.ctx
tpm2_createprimary -C p -G ecc -c platform.ctx
tpm2_createprimary -C n -G ecc -c null.ctx
owner=$(name owner.ctx) endorsement=$(name endorsement.ctx) platform=$(name platform.ctx)
tpm2_create -C owner.ctx -G ecc -u key.pub -r key.priv
tpm2_evictcontrol -C o -c owner.ctx 0x81000001
tpm2_nvdefine 0x1500060 -C o -s 4 -a 'ownerread|ownerwrite' > /dev/null
tpm2_nvdefine 0x1c00060 -C p -s 4 -a 'ppread|ppwrite|platformcreate' > /dev/null
tpm2_changeauth -c o ownerauth
tpm2_changeauth -c l lockoutauth
tpm2_clear -c p
# The authorization values are empty again.
tpm2_createprimary -C o -G ecc -c new.ctx
test "$(name new.ctx)" != "$owner"
refused 0x1df tpm2_load -C new.ctx -u key.pub -r key.priv -c never.ctx
tpm2_createprimary -C e -G ecc -c new.ctx
equal "$(name new.ctx)" "$endorsement"
tpm2_createprimary -C p -G ecc -c new.ctx
equal "$(name new.ctx)" "$platform"
fails tpm2_readpublic -c owner.ctx
refused 0x18b tpm2_readpublic -c 0x81000001
refused 0x18b tpm2_nvreadpublic 0x1500060
tpm2_nvreadpublic 0x1c00060 > /dev/null
# By the lockout authorization, and not when that is disabled.
tpm2_changeauth -c l lockoutauth
tpm2_clear -c l lockoutauth
tpm2_clearcontrol -C l s
refused 0x120 tpm2_clear -c l
refused 0x120 tpm2_clear -c p
tpm2_clearcontrol -C p c
tpm2_clear -c p
