# Digests.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

{ printf m; head -c 99 /dev/urandom; } > short
head -c 100000 /dev/urandom > long
for bits in 1 256 384 512; do
    for file in short long /dev/null; do
        equal "$(tpm2_hash -C n -g "sha$bits" --hex "$file")" "$(sha${bits}sum < "$file" | cut -d' ' -f1)"
    done
done
# A ticket for data that may be signed; none for data that imitates what the TPM itself attests.
tpm2_hash -C o -g sha256 -o digest -t ticket short
test "$(stat -c %s ticket)" -gt 10
{ printf '\xffTCG'; cat short; } > imitation
tpm2_hash -C o -g sha256 -o digest -t null-ticket imitation
