# Policies: command code, OR, secret, NV, locality, name hash, counter timer, restart.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

printf 'the sealed secret' > secret
tpm2_createprimary -C o -G ecc -c primary.ctx

# sealed POLICY: seals the secret under a policy digest; opened SESSION: that session unseals it.
sealed() {
    tpm2_create -C primary.ctx -L "$1" -i secret -u seal.pub -r seal.priv -a 'fixedtpm|fixedparent' > /dev/null
    tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx > /dev/null
}
opened() {
    tpm2_unseal -c seal.ctx -p "session:$1" -o clear
    same secret clear
}
trial() { tpm2_startauthsession -S session.ctx; }
real() { tpm2_startauthsession --policy-session -S session.ctx; }
over() { tpm2_flushcontext session.ctx; }

# Command code.
trial
tpm2_policycommandcode -S session.ctx -L code.policy TPM2_CC_Unseal > /dev/null
over
sealed code.policy
real
tpm2_policycommandcode -S session.ctx TPM2_CC_Unseal > /dev/null
opened session.ctx
tpm2_policycommandcode -S session.ctx TPM2_CC_NV_Read > /dev/null
refused 0x99d tpm2_unseal -c seal.ctx -p session:session.ctx
over
# A second, contradicting command code.
real
tpm2_policycommandcode -S session.ctx TPM2_CC_Unseal > /dev/null
refused 0x1c4 tpm2_policycommandcode -S session.ctx TPM2_CC_NV_Read
over

# Secret of the owner.
tpm2_changeauth -c o ownerauth
trial
tpm2_policysecret -S session.ctx -c o -L secret.policy ownerauth > /dev/null
over
sealed secret.policy
real
tpm2_policysecret -S session.ctx -c o ownerauth > /dev/null
opened session.ctx
refused 0x9a2 tpm2_policysecret -S session.ctx -c o wrong
over
tpm2_changeauth -c o -p ownerauth

# OR of the two.
trial
tpm2_policyor -S session.ctx -L or.policy sha256:code.policy,secret.policy > /dev/null
over
sealed or.policy
for branch in code secret; do
    real
    case $branch in
        code) tpm2_policycommandcode -S session.ctx TPM2_CC_Unseal > /dev/null ;;
        secret) tpm2_policysecret -S session.ctx -c o > /dev/null ;;
    esac
    tpm2_policyor -S session.ctx sha256:code.policy,secret.policy > /dev/null
    opened session.ctx
    over
done
real
tpm2_policypassword -S session.ctx > /dev/null
refused 0x1c4 tpm2_policyor -S session.ctx sha256:code.policy,secret.policy
over

# What an NV index holds.
tpm2_nvdefine 0x1500010 -C o -s 2 -a 'ownerread|ownerwrite|authread|authwrite' > /dev/null
printf 'bb' | tpm2_nvwrite 0x1500010 -C o -i -
trial
printf 'aa' | tpm2_policynv -S session.ctx -C o -i - -L nv.policy 0x1500010 ugt > /dev/null
over
sealed nv.policy
real
printf 'aa' | tpm2_policynv -S session.ctx -C o -i - 0x1500010 ugt > /dev/null
opened session.ctx
over
printf 'aa' | tpm2_nvwrite 0x1500010 -C o -i -
real
refuse() { printf 'aa' | tpm2_policynv -S session.ctx -C o -i - 0x1500010 ugt; }
refused 0x126 refuse
over
# An index that has been written, or not.
trial
tpm2_policynvwritten -S session.ctx -L written.policy s > /dev/null
over
test -s written.policy

# Locality.
trial
tpm2_policylocality -S session.ctx -L locality.policy zero > /dev/null
over
sealed locality.policy
real
tpm2_policylocality -S session.ctx zero > /dev/null
opened session.ctx
over
real
tpm2_policylocality -S session.ctx three > /dev/null
refused 0x99d tpm2_unseal -c seal.ctx -p session:session.ctx
over

# The TPM's counters: reset count below a number.
trial
tpm2_policycountertimer -S session.ctx -L timer.policy --ult resets=10000 > /dev/null
over
sealed timer.policy
real
tpm2_policycountertimer -S session.ctx --ult resets=10000 > /dev/null
opened session.ctx
refused 0x126 tpm2_policycountertimer -S session.ctx --ugt resets=10000
over

# Restart empties a session's digest.
real
tpm2_policypassword -S session.ctx > /dev/null
tpm2_policyrestart -S session.ctx
tpm2_policycommandcode -S session.ctx TPM2_CC_Unseal > /dev/null
sealed code.policy
opened session.ctx
over
