# NV indices of every kind.
. "${FLOWS:-$(dirname "$0")}/lib.sh"

attributes='ownerread|ownerwrite|authread|authwrite'
tpm2_nvdefine 0x1500001 -C o -s 32 -a "$attributes" -p index > /dev/null
refused 0x14a tpm2_nvread 0x1500001 -C o
printf 'thirty-two bytes of ordinary data' | head -c 32 > data
tpm2_nvwrite 0x1500001 -C o -i data
tpm2_nvread 0x1500001 -C o -o read
same data read
tpm2_nvread 0x1500001 -C 0x1500001 -P index -o read
same data read
refused 0x98e tpm2_nvread 0x1500001 -C 0x1500001 -P wrong
printf 'XY' | tpm2_nvwrite 0x1500001 -C o --offset 7 -i -
equal "$(tpm2_nvread 0x1500001 -C o --offset 6 -s 4)" "$(head -c 7 data | tail -c 1)XY$(head -c 10 data | tail -c 1)"
refuse() { printf 'four' | command tpm2 nvwrite 0x1500001 -C o --offset 30 -i -; }
fails refuse
refused 0x14c tpm2_nvdefine 0x1500001 -C o -s 32 -a "$attributes"
# The name commits to the attributes, and WRITTEN is one of them.
tpm2_nvreadpublic 0x1500001 > public
grep -q 'size: 32' public
grep -q 'written' public
tpm2_getcap handles-nv-index | has -i 0x1500001
# Large enough for a certificate.
head -c 2000 /dev/urandom > certificate
tpm2_nvdefine 0x1500002 -C o -s 2000 -a "$attributes" > /dev/null
tpm2_nvwrite 0x1500002 -C o -i certificate
tpm2_nvread 0x1500002 -C o -o read
same certificate read
# Counter.
tpm2_nvdefine 0x1500003 -C o -a "$attributes|nt=counter" > /dev/null
refused 0x14a tpm2_nvread 0x1500003 -C o
tpm2_nvincrement 0x1500003 -C o
tpm2_nvread 0x1500003 -C o -o first
tpm2_nvincrement 0x1500003 -C o
tpm2_nvread 0x1500003 -C o -o second
equal $((0x$(xxd -p first) + 1)) $((0x$(xxd -p second)))
refuse() { head -c 8 /dev/zero | tpm2_nvwrite 0x1500003 -C o -i -; }
refused 0x82 refuse
# A counter that is defined again goes on above every count that the TPM has seen.
tpm2_nvundefine 0x1500003 -C o
tpm2_nvdefine 0x1500003 -C o -a "$attributes|nt=counter" > /dev/null
tpm2_nvincrement 0x1500003 -C o
tpm2_nvread 0x1500003 -C o -o third
test $((0x$(xxd -p third))) -gt $((0x$(xxd -p second)))
# Bits.
tpm2_nvdefine 0x1500004 -C o -a "$attributes|nt=bits" > /dev/null
tpm2_nvsetbits 0x1500004 -C o -i 0x5
tpm2_nvsetbits 0x1500004 -C o -i 0x80
tpm2_nvread 0x1500004 -C o -o bits
equal "$(xxd -p bits)" 0000000000000085
# Extend.
tpm2_nvdefine 0x1500005 -C o -a "$attributes|nt=extend" > /dev/null
printf falafel | tpm2_nvextend 0x1500005 -C o -i -
tpm2_nvread 0x1500005 -C o -o extended
{ head -c 32 /dev/zero; printf falafel; } | sha256sum | cut -d' ' -f1 > expected
equal "$(xxd -p -c 99 extended)" "$(cat expected)"
# Locks.
tpm2_nvdefine 0x1500006 -C o -s 4 -a "$attributes|read_stclear|write_stclear" > /dev/null
printf 'lock' | tpm2_nvwrite 0x1500006 -C o -i -
tpm2_nvwritelock 0x1500006 -C o
refuse() { printf 'lock' | tpm2_nvwrite 0x1500006 -C o -i -; }
refused 0x148 refuse
tpm2_nvreadlock 0x1500006 -C o
refused 0x148 tpm2_nvread 0x1500006 -C o
tpm2_nvdefine 0x1500007 -C o -s 4 -a "$attributes|globallock" > /dev/null
printf 'lock' | tpm2_nvwrite 0x1500007 -C o -i -
tpm2_nvwritelock --global -C o
refuse() { printf 'lock' | tpm2_nvwrite 0x1500007 -C o -i -; }
refused 0x148 refuse
# A policy of its own.
tpm2_startauthsession -S session.ctx
tpm2_policycommandcode -S session.ctx -L read.policy TPM2_CC_NV_Read > /dev/null
tpm2_flushcontext session.ctx
tpm2_nvdefine 0x1500008 -C o -s 4 -L read.policy -a 'policyread|ownerwrite' > /dev/null
printf 'lock' | tpm2_nvwrite 0x1500008 -C o -i -
tpm2_startauthsession --policy-session -S session.ctx
tpm2_policycommandcode -S session.ctx TPM2_CC_NV_Read > /dev/null
equal "$(tpm2_nvread 0x1500008 -C 0x1500008 -P session:session.ctx -s 4)" lock
tpm2_flushcontext session.ctx
refused 0x149 tpm2_nvread 0x1500008 -C o -s 4
# Indices that only their policy deletes are the platform's; ordinary ones go at once.
for index in 1 2 3 4 5 6 7 8; do
    tpm2_nvundefine 0x150000$index -C o
done
refused 0x18b tpm2_nvreadpublic 0x1500001
refused 0x9a2 tpm2_nvdefine 0x1500001 -C o -P wrong -s 8 -a "$attributes"
