# Names, policy digests, and the audit digest of a session, which covers cpHash and rpHash: from fixed inputs, so that they are the
# same for every TPM. swtpm_0_7_digests.txt is what Debian's swtpm 0.7.1 (libtpms 0.9.2) gives.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

: > digests
note() { printf '%s %s\n' "$1" "$(xxd -p -c 256 < "$2")" >> digests; }

# A key that anybody can make again: the generator of P-256.
x=6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296
y=4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5
printf 3059301306072a8648ce3d020106082a8648ce3d03010703420004$x$y | xxd -r -p | openssl ec -pubin -inform der -out p256.pem 2> /dev/null
openssl pkey -pubin -in p256.pem -noout
tpm2_loadexternal -C n -G ecc -u p256.pem -c p256.ctx -n p256.name > /dev/null
tpm2_loadexternal -C n -G ecc -u p256.pem -g sha384 -c p256.384.ctx -n p256.384.name > /dev/null
note name-p256-sha256 p256.name
note name-p256-sha384 p256.384.name
tpm2_nvdefine 0x1500080 -C o -s 8 -a 'authread|ownerwrite|ownerread' > /dev/null
named() { tpm2_nvreadpublic 0x1500080 | sed -n 's/^ *name: *//p' | xxd -r -p > nv.name; note "$1" nv.name; }
named name-nv
printf 12345678 | tpm2_nvwrite 0x1500080 -C o -i -
named name-nv-written

# policy NAME TOOL ARGUMENTS...: the digest of one assertion in a trial session.
policy() {
    local name=$1 tool=$2 hash
    shift 2
    for hash in sha256 sha384; do
        head -c $((${hash#sha} / 8)) /dev/zero | tr '\0' a > a
        tpm2_startauthsession -S session.ctx -g $hash
        "$tool" -S session.ctx -L policy "$@" > /dev/null
        tpm2_flushcontext session.ctx
        note "$name-$hash" policy
    done
}
{ printf '\x00\x0b'; head -c 32 /dev/zero | tr '\0' p; } > parent.name
policy policy-auth-value tpm2_policyauthvalue
policy policy-password tpm2_policypassword
policy policy-command-code tpm2_policycommandcode TPM2_CC_Unseal
policy policy-locality tpm2_policylocality three
policy policy-nv-written tpm2_policynvwritten s
policy policy-name-hash tpm2_policynamehash -n a
policy policy-template tpm2_policytemplate --template-hash a
policy policy-counter-timer tpm2_policycountertimer --ult clock=60000
policy policy-duplication tpm2_policyduplicationselect -N parent.name
policy policy-pcr tpm2_policypcr -l sha256:16,17
policy policy-secret tpm2_policysecret -c o -q a

# The session's digest is H(0... || cpHash || rpHash); it ends what is attested.
tpm2_createprimary -C e -G ecc -c primary.ctx > /dev/null
tpm2_create -C primary.ctx -G ecc256:ecdsa-sha256:null -c key.ctx > /dev/null
tpm2_startauthsession --audit-session -S session.ctx
tpm2_nvreadpublic -S session.ctx 0x1500080 > /dev/null
tpm2_getsessionauditdigest -P '' -c key.ctx -g sha256 -f plain -s signature -m attest -S session.ctx
tail -c 32 attest > session.digest
note session-audit session.digest
tpm2_flushcontext session.ctx
tpm2_nvundefine 0x1500080 -C o

diff "${FLOWS:-$(dirname "$0")}/../swtpm_0_7_digests.txt" digests
