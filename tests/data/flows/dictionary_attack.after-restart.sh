# Counted failures outlive the server; settings do as well.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

printf secret > secret
tpm2_createprimary -C o -G ecc -c primary.ctx
tpm2_create -C primary.ctx -i secret -p hunter2 -u seal.pub -r seal.priv
tpm2_load -C primary.ctx -u seal.pub -r seal.priv -c seal.ctx
tpm2_unseal -c seal.ctx -p hunter2 -o opened
same secret opened
