# Primary objects come from the seeds: the same template gives the same key.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

name() { tpm2_readpublic -c "$1" | sed -n 's/^name: //p'; }
for template in ecc ecc384 rsa rsa2048; do
    tpm2_createprimary -C o -g sha256 -G "$template" -c one.ctx
    tpm2_createprimary -C o -g sha256 -G "$template" -c two.ctx
    equal "$(name one.ctx)" "$(name two.ctx)"
done
tpm2_createprimary -C o -G ecc -c owner.ctx
tpm2_createprimary -C e -G ecc -c endorsement.ctx
tpm2_createprimary -C p -G ecc -c platform.ctx
tpm2_createprimary -C n -G ecc -c null.ctx
equal "$(for c in owner endorsement platform null; do name $c.ctx; done | sort -u | wc -l)" 4
# Data in the unique field makes another key.
head -c 64 /dev/zero | tr '\0' u > unique
{ printf '\x20\x00'; head -c 32 unique; printf '\x20\x00'; head -c 32 unique; } > unique.ecc
tpm2_createprimary -C o -G ecc -c unique.ctx -u unique.ecc
test "$(name unique.ctx)" != "$(name owner.ctx)"
# What the creation says of itself.
tpm2_createprimary -C o -G ecc -c made.ctx --creation-data data -d hash -t ticket -o sha256:0,1
equal "$(tail -c +3 data | sha256sum | cut -d' ' -f1)" "$(tail -c +3 hash | xxd -p -c 99)"
# Wrong hierarchy authorization.
refused 0x9a2 tpm2_createprimary -C o -P wrong -G ecc -c never.ctx
