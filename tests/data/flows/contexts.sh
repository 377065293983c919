# Objects leave the TPM as contexts and come back; three slots are enough for any number of keys.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

echo message > message
command tpm2_createprimary -C o -G ecc -c primary.ctx
for key in 1 2 3 4 5; do
    tpm2_create -C primary.ctx -G ecc256:ecdsa-sha256:null -c key$key.ctx
done
for key in 1 2 3 4 5; do
    tpm2_sign -c key$key.ctx -g sha256 -o signature$key message
done
for key in 1 2 3 4 5; do
    tpm2_verifysignature -c key$key.ctx -g sha256 -m message -s signature$key
done
refused 0x2db tpm2_verifysignature -c key1.ctx -g sha256 -m message -s signature2
# The slots fill up, and what is in them is listed.
flush
for slot in 1 2 3; do command tpm2_readpublic -c key$slot.ctx > /dev/null; done
tpm2_getcap handles-transient > loaded
grep -q 0x80000000 loaded
grep -q 0x80000002 loaded
flush
equal "$(tpm2_getcap handles-transient)" ''
# A context that was changed.
cp key1.ctx broken.ctx
byte=$(xxd -p -s 60 -l 1 broken.ctx)
printf "\\x$(printf %02x $((0x$byte ^ 1)))" | dd of=broken.ctx bs=1 seek=60 conv=notrunc status=none
refused 0x1df tpm2_sign -c broken.ctx -g sha256 -o never message
# A session's context works once: each save makes the one before it stale.
tpm2_startauthsession --policy-session -S session.ctx
cp session.ctx stale.ctx
tpm2_policypassword -S session.ctx > /dev/null
fails tpm2_policypassword -S stale.ctx
tpm2_flushcontext session.ctx
equal "$(tpm2_getcap handles-saved-session)$(tpm2_getcap handles-loaded-session)" ''
# Many sessions, saved one after the other.
for session in 1 2 3 4 5 6 7 8; do tpm2_startauthsession --policy-session -S session$session.ctx; done
for session in 1 2 3 4 5 6 7 8; do
    tpm2_policypassword -S session$session.ctx > /dev/null
    tpm2_flushcontext session$session.ctx
done
