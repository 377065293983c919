# What the flows share. Source it first: . "${FLOWS:-$(dirname "$0")}/lib.sh"
set -euo pipefail

# The trace of `bash -x` begins with the flow itself.
trace=$-
{ set +x; } 2> /dev/null

# Without a resource manager every object that a tool loads stays in one of the few transient slots: each of these tools
# is followed by a flush. `command tpm2_load ...` leaves its object loaded.
for tool in activatecredential certify certifycreation certifyX509certutil changeauth commit create createak createek \
    createprimary duplicate ecdhkeygen ecdhzgen encryptdecrypt evictcontrol getcommandauditdigest getsessionauditdigest \
    gettime hmac import load loadexternal makecredential nvcertify policyauthorize policysecret policysigned quote \
    readpublic rsadecrypt rsaencrypt sign startauthsession unseal verifysignature zgen2phase; do
    eval "tpm2_$tool() { local status=0; command tpm2_$tool \"\$@\" || status=\$?; tpm2_flushcontext -t || return; return \$status; }"
done

# refused CODE COMMAND...: the command must fail with exactly this response code.
refused() {
    # Without the trace of `bash -x`, which would land in what the command said.
    { local -; set +x; } 2>/dev/null
    local code=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "not refused: $*" >&2
        return 1
    fi
    # The layers above add their number in the upper half: compare the TPM's part.
    if ! grep -qiE "\(?0x0*${code#0x}\b" <<<"$said"; then
        echo "refused, but not with $code: $*: $said" >&2
        return 1
    fi
}

# Unloads every object.
flush() { tpm2_flushcontext -t; }

# forgive: forgets the failed authorizations, which would soon lock the objects under dictionary-attack protection.
forgive() { tpm2_dictionarylockout -c; }

# fails COMMAND...: the command must fail, by the client's own judgement.
fails() {
    { local -; set +x; } 2>/dev/null
    if "$@" >/dev/null 2>&1; then
        echo "did not fail: $*" >&2
        return 1
    fi
}

# ... | has [-i] [-E] PATTERN: reads all of its input first, since `grep -q` would break the pipe at the first match.
has() { local text; text=$(cat); grep -q "$@" <<< "$text"; }

# same A B / differ A B: two files.
same() { cmp "$1" "$2"; }
differ() {
    if cmp -s "$1" "$2"; then
        echo "$1 and $2 are equal" >&2
        return 1
    fi
}

# equal A B: two words.
equal() {
    if [ "$1" != "$2" ]; then
        echo "'$1' is not '$2'" >&2
        return 1
    fi
}

case $trace in *x*) set -x ;; esac

# Every flow begins with a TPM that has been started; a second Startup is what many clients send.
tpm2_startup -c
