# Policies that allow one very command: by its parameters, by the names of its objects, by a template.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

printf 'the sealed secret' > secret
tpm2_createprimary -C o -G ecc -c primary.ctx
trial() { tpm2_startauthsession -S session.ctx; }
real() { tpm2_startauthsession --policy-session -S session.ctx; }
over() { tpm2_flushcontext session.ctx; }

# A template: only this primary object may be made with the owner's policy.
tpm2_createprimary -C o -G ecc -c wanted.ctx --template-data template
sha256sum < template | cut -d' ' -f1 | xxd -r -p > template.hash
trial
tpm2_policytemplate -S session.ctx -L template.policy --template-hash template.hash > /dev/null
over
tpm2_setprimarypolicy -C o -L template.policy -g sha256
real
tpm2_policytemplate -S session.ctx --template-hash template.hash > /dev/null
tpm2_createprimary -C o -P session:session.ctx -G ecc -c made.ctx
over
real
tpm2_policytemplate -S session.ctx --template-hash template.hash > /dev/null
refused 0x99d tpm2_createprimary -C o -P session:session.ctx -G rsa -c never.ctx
over

# Names of objects, and a digest of a command's parameters.
head -c 32 /dev/urandom > digest
{ printf '\x00\x20'; cat digest; } > sized.digest
trial
tpm2_policynamehash -S session.ctx -L name.policy -n digest > /dev/null
# One of the two at most.
refused 0x151 tpm2_policycphash -S session.ctx -L never --cphash sized.digest
over
trial
tpm2_policycphash -S session.ctx -L cphash.policy --cphash sized.digest > /dev/null
over
differ name.policy cphash.policy
# One write to one index: these bytes and no others.
tpm2_nvdefine 0x1500080 -C o -s 8 -a 'authread|ownerwrite' > /dev/null
printf 12345678 > data
tpm2_nvwrite 0x1500080 -C o -i data --cphash write.cphash
trial
tpm2_policycphash -S session.ctx -L write.policy --cphash write.cphash > /dev/null
over
tpm2_setprimarypolicy -C o -L write.policy -g sha256
real
tpm2_policycphash -S session.ctx --cphash write.cphash > /dev/null
tpm2_nvwrite 0x1500080 -C o -P session:session.ctx -i data
over
real
tpm2_policycphash -S session.ctx --cphash write.cphash > /dev/null
printf 87654321 > data
refused 0x99d tpm2_nvwrite 0x1500080 -C o -P session:session.ctx -i data
over
