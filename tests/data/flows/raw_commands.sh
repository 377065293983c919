# Bytes as they are: a command of the client's own making.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

printf '\x80\x01\x00\x00\x00\x0c\x00\x00\x01\x7b\x00\x08' | tpm2_send -o response
equal "$(xxd -p -l 10 response)" 80010000001400000000
# An unknown command and a known one with a bad tag.
printf '\x80\x01\x00\x00\x00\x0a\x00\x00\x0f\xff' | tpm2_send -o response
equal "$(xxd -p -c 99 response)" 80010000000a00000143
