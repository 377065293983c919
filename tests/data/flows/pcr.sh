# PCR banks: read, extend, event, reset.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

zeros=$(printf '0%.0s' {1..64})
digest=$(printf measured | sha256sum | cut -d' ' -f1)
tpm2_pcrread sha256:16 -o before
tpm2_pcrextend "16:sha256=$digest"
tpm2_pcrread sha256:16 -o after
equal "$(printf '%s%s' "$zeros" "$digest" | xxd -r -p | sha256sum | cut -d' ' -f1)" "$(xxd -p -c 99 after)"
# An event goes to every bank, each with its own hash.
tpm2_pcrreset 16
printf 'an event' > event
tpm2_pcrevent 16 event > digests
for bank in 1 256 384 512; do
    grep -qi "sha$bank: $(sha${bank}sum < event | cut -d' ' -f1)" digests
    tpm2_pcrread "sha$bank:16" -o bank
    size=$(stat -c %s bank)
    equal "$({ head -c "$size" /dev/zero; sha${bank}sum < event | cut -d' ' -f1 | xxd -r -p; } | sha${bank}sum | cut -d' ' -f1)" \
        "$(xxd -p -c 99 bank)"
done
tpm2_pcrreset 16 23
tpm2_pcrread sha256:16 -o reset
same before reset
# Two banks in one command.
tpm2_pcrextend "23:sha1=$(printf x | sha1sum | cut -d' ' -f1),sha256=$digest"
# The DRTM registers start as ones, the others as zeros, and the boot registers cannot be reset from here.
tpm2_pcrread sha256:0,17 -o two
equal "$(xxd -p -c 999 two)" "$zeros$(printf 'f%.0s' {1..64})"
refused 0x907 tpm2_pcrreset 0
