# A key moves to another parent, in the clear, wrapped inside, and to a parent known only by name.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

echo message > message
tpm2_createprimary -C o -G ecc -c old.ctx
tpm2_createprimary -C p -G rsa -c new.ctx
tpm2_readpublic -c new.ctx -o new.pub -n new.name
tpm2_startauthsession -S session.ctx
tpm2_policycommandcode -S session.ctx -L policy TPM2_CC_Duplicate > /dev/null
tpm2_flushcontext session.ctx
tpm2_create -C old.ctx -G ecc256:ecdsa-sha256:null -p keyauth -L policy -u key.pub -r key.priv -a 'sensitivedataorigin|userwithauth|sign'
tpm2_load -C old.ctx -u key.pub -r key.priv -c key.ctx
tpm2_readpublic -c key.ctx -f pem -o key.pem
head -c 16 /dev/urandom > inner
for wrap in none inner; do
    tpm2_startauthsession --policy-session -S session.ctx
    tpm2_policycommandcode -S session.ctx TPM2_CC_Duplicate > /dev/null
    case $wrap in
        none) tpm2_duplicate -C new.ctx -c key.ctx -G null -p session:session.ctx -r duplicate -s seed ;;
        inner) tpm2_duplicate -C new.ctx -c key.ctx -G aes -i inner -p session:session.ctx -r duplicate -s seed ;;
    esac
    tpm2_flushcontext session.ctx
    case $wrap in
        none) tpm2_import -C new.ctx -u key.pub -i duplicate -r imported -s seed ;;
        inner) tpm2_import -C new.ctx -u key.pub -i duplicate -r imported -s seed -k inner ;;
    esac
    tpm2_load -C new.ctx -u key.pub -r imported -c imported.ctx
    tpm2_sign -c imported.ctx -p keyauth -g sha256 -f plain -o signature message
    openssl dgst -sha256 -verify key.pem -signature signature message
done
# To the selected parent and no other.
tpm2_readpublic -c key.ctx -n key.name
tpm2_startauthsession -S session.ctx
tpm2_policyduplicationselect -S session.ctx -N new.name -L policy > /dev/null
tpm2_flushcontext session.ctx
tpm2_create -C old.ctx -G ecc -L policy -u key.pub -r key.priv -a 'sensitivedataorigin|userwithauth|sign'
tpm2_load -C old.ctx -u key.pub -r key.priv -c key.ctx
tpm2_readpublic -c key.ctx -n key.name
tpm2_startauthsession --policy-session -S session.ctx
tpm2_policyduplicationselect -S session.ctx -n key.name -N new.name > /dev/null
tpm2_duplicate -C new.ctx -c key.ctx -G null -p session:session.ctx -r duplicate -s seed
tpm2_flushcontext session.ctx
tpm2_startauthsession --policy-session -S session.ctx
tpm2_policyduplicationselect -S session.ctx -n key.name -N new.name > /dev/null
fails tpm2_duplicate -C old.ctx -c key.ctx -G null -p session:session.ctx -r never -s never.seed
tpm2_flushcontext session.ctx
# What is fixed stays.
tpm2_create -C old.ctx -G ecc -u fixed.pub -r fixed.priv
tpm2_load -C old.ctx -u fixed.pub -r fixed.priv -c fixed.ctx
fails tpm2_duplicate -C new.ctx -c fixed.ctx -G null -r never -s never.seed
