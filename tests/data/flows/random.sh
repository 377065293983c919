# Random bytes.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

tpm2_getrandom -o one 32
tpm2_getrandom -o two 32
differ one two
equal "$(stat -c %s one)" 32
# One command gives at most as many bytes as the largest digest has.
tpm2_getrandom -o many 64
equal "$(stat -c %s many)" 64
fails tpm2_getrandom -o never 65
echo entropy > seed
tpm2_stirrandom seed
tpm2_getrandom --hex 8 | has -E '^[0-9a-f]{16}$'
