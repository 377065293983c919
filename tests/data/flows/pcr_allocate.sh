# Banks are switched off and on with the next reset.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_pcrallocate sha1:none+sha256:all+sha384:none+sha512:none > allocated
grep -q 'sha1: \[ \]' allocated
tpm2_getcap pcrs > before
