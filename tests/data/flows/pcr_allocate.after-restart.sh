# The allocation holds now.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_getcap pcrs > pcrs
grep -q 'sha256: \[ 0, 1,' pcrs
grep -q 'sha1: \[ \]' pcrs
tpm2_pcrallocate sha1:all+sha256:all+sha384:all+sha512:all > /dev/null
