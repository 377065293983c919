//! `swtpm_setup`: a TPM is made with its keys and certificates, and clients that nobody here wrote find them.
//!
//! With `VTPM_TESTS_AGAINST=swtpm` Debian's swtpm_setup is asked for the same.

#![cfg(test)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::{Client, Protocol, TpmServer, VTPM, against_swtpm, finish, folder, only_for_vtpm};
use tempfile::TempDir;

/// A folder with a user's configuration, an authority that comes with it, and a TPM.
struct Machine {
    home: TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { home: folder() };
        for part in ["state", "config", "certificates"] {
            fs::create_dir(machine.path(part)).expect("a folder");
        }
        machine.ok("--create-config-files root");
        machine
    }

    fn path(&self, part: &str) -> std::path::PathBuf {
        self.home.path().join(part)
    }

    /// Runs swtpm_setup with these words, by that name.
    fn run(&self, words: &str) -> Output {
        let program = if against_swtpm() {
            "/usr/bin/swtpm_setup".into()
        } else {
            let link = self.path("swtpm_setup");
            if !link.exists() {
                symlink(VTPM, &link).expect("a link");
            }
            link
        };
        Command::new(program)
            .args(words.split_whitespace())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .output()
            .expect("swtpm_setup starts")
    }

    fn ok(&self, words: &str) -> String {
        finish(words, self.run(words))
    }

    /// Runs it in vain, and gives what it says.
    fn refused(&self, words: &str) -> String {
        let output = self.run(words);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        said
    }

    fn make(&self, words: &str) -> String {
        self.ok(&format!(
            "--tpm2 --tpm-state state --write-ek-cert-files certificates {words}"
        ))
    }

    fn start(&self, options: &[&str]) -> (TpmServer, Client) {
        let server = TpmServer::start_with(Protocol::SwtpmUnix, self.home.path(), options);
        let client = Client::new(server.tcti(), &self.path("certificates"));
        (server, client)
    }

    /// Puts the chain of the user's authority where scripts find it.
    fn chain(&self) -> String {
        let folder = self.path("config/var/lib/swtpm-localca");
        format!(
            "-CAfile {0}/swtpm-localca-rootca-cert.pem -untrusted {0}/issuercert.pem",
            folder.display()
        )
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn the_certificate_of_the_rsa_key_is_read_from_the_tpm_and_verifies() {
    let machine = Machine::new();
    machine.make("--createek --create-ek-cert --create-platform-cert --lock-nvram --vmid vm:1");
    let (_server, client) = machine.start(&[]);
    client.sh(&format!(
        "tpm2_nvread -C o -o read.der 0x1c00002
         same read.der ek-rsa2048.crt
         openssl verify -x509_strict {chain} ek-rsa2048.crt
         openssl verify -x509_strict {chain} ek-secp384r1.crt
         openssl x509 -in ek-rsa2048.crt -noout -pubkey > certified.pem
         tpm2_createek -c ek.ctx -G rsa -f pem -u made.pem
         flush
         tpm2_readpublic -c 0x81010001 -f pem -o kept.pem
         for key in made kept; do openssl pkey -pubin -in $key.pem > $key; done
         same made certified.pem
         same kept certified.pem
         tpm2_readpublic -c 0x81010016 -f pem -o kept384.pem
         openssl x509 -in ek-secp384r1.crt -noout -pubkey > certified384.pem
         openssl pkey -pubin -in kept384.pem | cmp - certified384.pem
         openssl x509 -in ek-rsa2048.crt -noout -subject | has 'CN = vm:1'
         tpm2_nvread -C o 0x1c08000 | openssl x509 -inform der -noout -text | has 2.23.133.8.2
         for index in 0x1c00002 0x1c00016 0x1c08000; do
             tpm2_nvreadpublic $index | has 'friendly: ppwrite|writelocked|writedefine|ppread|ownerread|authread|no_da|written|platformcreate'
             fails tpm2_nvwrite -C p -i read.der $index
             fails tpm2_nvwrite -C o -i read.der $index
         done
         tpm2_getcap pcrs | has 'sha256: . 0, 1, 2'
         tpm2_getcap pcrs | has 'sha1: . .$'",
        chain = machine.chain(),
    ));
}

#[test]
fn both_usual_keys_are_those_of_tpm2_tools_and_open_credentials() {
    if only_for_vtpm("version 0.7.1 makes no key of P-256") {
        return;
    }
    let machine = Machine::new();
    machine.make("--create-ek-cert --ek2keyalgo ecc_nist_p256");
    let (_server, client) = machine.start(&[]);
    client.sh(&format!(
        "tpm2_getekcertificate -o rsa.der -o ecc.der
         same rsa.der ek-rsa2048.crt
         same ecc.der ek-secp256r1.crt
         echo -n 'the secret' > secret
         for key in rsa:rsa2048 ecc:secp256r1; do
             algorithm=${{key%:*}} certificate=ek-${{key#*:}}.crt
             openssl verify -x509_strict {} $certificate
             openssl x509 -in $certificate -noout -pubkey > certified.pem
             tpm2_createek -c ek.ctx -G $algorithm -f pem -u made.pem
             flush
             openssl pkey -pubin -in made.pem | cmp - certified.pem
             tpm2_createek -c ek.ctx -G $algorithm -u ek.pub
             tpm2_createak -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -n ak.name -u ak.pub
             tpm2_makecredential -T none -u ek.pub -s secret -n $(xxd -p -c 99 ak.name) -o blob
             tpm2_startauthsession --policy-session -S session.ctx
             tpm2_policysecret -S session.ctx -c e
             tpm2_activatecredential -c ak.ctx -C ek.ctx -i blob -o opened -P session:session.ctx
             tpm2_flushcontext session.ctx
             same opened secret
         done",
        machine.chain(),
    ));
}

#[test]
fn keys_that_sign_leave_their_template_and_device_keys_have_certificates() {
    if only_for_vtpm("version 0.7.1 knows no device keys") {
        return;
    }
    let machine = Machine::new();
    machine.make(
        "--create-ek-cert --allow-signing --ek1keyalgo secp256r1 --ek2keyalgo secp521r1 --create-spk --ecc
         --iakkeyalgo secp384r1 --idevidkeyalgo rsa2048 --vmid vm-1",
    );
    let (_server, client) = machine.start(&[]);
    client.sh(&format!(
        "openssl x509 -in ek-secp256r1.crt -noout -text | has 'Digital Signature'
         tpm2_nvread -C o 0x1c0000c > template
         openssl x509 -in ek-secp256r1.crt -noout -pubkey > certified.pem
         tpm2_nvread -C o 0x1c00019 > template521
         differ template template521
         tpm2_readpublic -c 0x8101000a -f pem -o kept.pem
         openssl pkey -pubin -in kept.pem | cmp - certified.pem
         tpm2_readpublic -c 0x81000001 | has 'value: NIST p384' || tpm2_readpublic -c 0x81000001 | has p384
         for key in 0x81020001:0x1c90100:iak-secp384r1 0x81020000:0x1c90200:idevid-rsa2048; do
             IFS=: read handle index name <<< $key
             tpm2_nvread -C o $index | cmp - $name.crt
             openssl verify -x509_strict {} $name.crt
             openssl x509 -in $name.crt -noout -subject | has 'serialNumber = vm-1'
             tpm2_readpublic -c $handle -f pem -o kept.pem
             openssl x509 -in $name.crt -noout -pubkey > certified.pem
             openssl pkey -pubin -in kept.pem | cmp - certified.pem
             serial=$(openssl x509 -in ek-secp256r1.crt -noout -serial | cut -d= -f2 | tr A-F a-f | sed 's/^0*//')
             grep -aq \"VTPM:.*:0*$serial\" $name.crt
         done
         echo message > message
         tpm2_sign -c 0x81020001 -g sha384 -s ecdsa -o signature message
         tpm2_verifysignature -c 0x81020001 -g sha384 -m message -s signature",
        machine.chain(),
    ));

    let machine = Machine::new();
    let settings = machine.path("config/swtpm_setup.conf");
    let text = fs::read_to_string(&settings).expect("the configuration");
    fs::write(&settings, text + "iakkeyalgo = secp256r1\n").expect("the configuration");
    for (words, made) in [("--no-iak", false), ("--overwrite", true)] {
        machine.make(&format!("--create-ek-cert {words}"));
        let certificate = machine.path("certificates/iak-secp256r1.crt");
        assert_eq!(certificate.exists(), made, "{words}");
    }
}

#[test]
fn a_tpm_that_is_there_is_lost_only_when_that_is_asked_for() {
    let machine = Machine::new();
    let first = |machine: &Machine| {
        fs::read(machine.path("certificates/ek-secp384r1.crt")).expect("a certificate")
    };
    machine.make("--create-ek-cert");
    let certificate = first(&machine);
    let said = machine.refused("--tpm2 --tpm-state state --createek");
    assert!(!said.contains("Successfully authored"), "{said}");
    machine.make("--create-ek-cert --not-overwrite");
    assert_eq!(first(&machine), certificate);
    // A TPM that swtpm has made is one too.
    fs::create_dir(machine.path("other")).expect("a folder");
    let file = machine.path("other/tpm2-00.permall");
    fs::write(&file, "state of swtpm").expect("a file");
    machine.refused("--tpm2 --tpm-state other --createek");
    machine.ok("--tpm2 --tpm-state other --createek --not-overwrite");
    assert_eq!(fs::read(&file).expect("the file"), b"state of swtpm");
    machine.ok("--tpm2 --tpm-state other --createek --overwrite");
    assert_ne!(fs::read(&file).unwrap_or_default(), b"state of swtpm");
    {
        let (_server, client) = machine.start(&[]);
        client.sh("tpm2_nvread -C o 0x1c00016 | cmp - ek-secp384r1.crt");
    }
    machine.make("--create-ek-cert --overwrite");
    assert_ne!(first(&machine), certificate);
    let (_server, client) = machine.start(&[]);
    client.sh("tpm2_nvread -C o 0x1c00016 | cmp - ek-secp384r1.crt");
}

#[test]
fn the_state_is_encrypted_with_the_key_that_is_given() {
    let machine = Machine::new();
    fs::write(machine.path("passphrase"), "open sesame").expect("a file");
    fs::write(machine.path("key"), "00112233445566778899aabbccddeeff").expect("a file");
    let path = |name: &str| machine.path(name).display().to_string();
    for (setup, server) in [
        (
            format!("--pwdfile {} --cipher aes-256-cbc", path("passphrase")),
            format!("pwdfile={},mode=aes-256-cbc", path("passphrase")),
        ),
        (
            format!("--keyfile {}", path("key")),
            format!("file={},mode=aes-128-cbc", path("key")),
        ),
    ] {
        machine.make(&format!("--create-ek-cert --overwrite {setup}"));
        let (_server, client) = machine.start(&["--key", &server]);
        client.sh("tpm2_nvread -C o 0x1c00016 | cmp - ek-secp384r1.crt");
    }
    if !against_swtpm() {
        let said = machine.refused("--tpm2 --tpm-state state --reconfigure --pcr-banks sha1");
        assert!(said.contains("key"), "{said}");
    }
}

#[test]
fn pcr_banks_are_chosen_at_first_and_changed_later() {
    let machine = Machine::new();
    machine.make("--create-ek-cert --pcr-banks sha1,sha384");
    let banks = |machine: &Machine, used: &str, unused: &str| {
        let (_server, client) = machine.start(&[]);
        client.sh(&format!(
            "tpm2_getcap pcrs > banks
             for bank in {used}; do grep -q \"$bank: . 0, 1\" banks; done
             for bank in {unused}; do grep -q \"$bank: . .$\" banks; done
             tpm2_nvread -C o 0x1c00016 | cmp - ek-secp384r1.crt"
        ));
    };
    banks(&machine, "sha1 sha384", "sha256 sha512");
    machine.ok("--tpm2 --tpm-state state --reconfigure --pcr-banks sha256,sha512");
    banks(&machine, "sha256 sha512", "sha1 sha384");
    machine.make("--create-ek-cert --overwrite --pcr-banks -");
    banks(&machine, "sha1 sha256 sha384 sha512", "");
    machine.refused("--tpm2 --tpm-state state --reconfigure --createek");
}

/// Debian's swtpm_localca, once for its files and once as a program that is called.
#[test]
fn an_authority_that_is_there_already_goes_on_signing() {
    let machine = Machine::new();
    if only_for_vtpm("it is about using the other's files") {
        return;
    }
    let settings = machine.path("config/swtpm_setup.conf");
    let text = fs::read_to_string(&settings).expect("the configuration");
    let tool = machine.path("certificate-tool");
    symlink("/usr/bin/swtpm_localca", &tool).expect("a link");
    let other = text.replace(
        "create_certs_tool = swtpm_localca",
        &format!("create_certs_tool = {}", tool.display()),
    );
    assert_ne!(other, text);
    let ek = "certificates/ek-rsa2048.crt";
    let issuer = |machine: &Machine| {
        let words = ["x509", "-in", ek, "-noout", "-serial", "-text"];
        let mut command = Command::new("openssl");
        command.args(words).current_dir(machine.home.path());
        finish("openssl", command.output().expect("openssl starts"))
    };
    let verify = |machine: &Machine| {
        let script = format!("openssl verify -x509_strict {} {ek}", machine.chain());
        let mut command = Command::new("bash");
        command
            .args(["-c", &script])
            .current_dir(machine.home.path());
        command.output().expect("openssl starts").status.success()
    };
    // The other program makes its authority in the files of the configuration, with RSA keys.
    fs::write(&settings, other).expect("the configuration");
    machine.make("--create-ek-cert --create-platform-cert --vmid one");
    let theirs = issuer(&machine);
    assert!(theirs.contains("sha256WithRSAEncryption"), "{theirs}");
    assert!(theirs.contains("CN = one"), "{theirs}");
    {
        let (_server, client) = machine.start(&[]);
        client.sh("tpm2_nvread -C o 0x1c00002 | cmp - ek-rsa2048.crt; tpm2_nvread -C o 0x1c08000 > /dev/null");
    }
    // From here on this program signs with the same files, and counts on.
    fs::write(&settings, text).expect("the configuration");
    machine.make("--create-ek-cert --overwrite --vmid two");
    let ours = issuer(&machine);
    assert!(ours.contains("sha256WithRSAEncryption"), "{ours}");
    assert!(
        ours.contains("CN = two") && ours.contains("CN = swtpm-localca"),
        "{ours}"
    );
    let serial = |text: &str| {
        let line = text.lines().next().unwrap_or_default();
        u64::from_str_radix(line.trim_start_matches("serial="), 16).expect("a serial number")
    };
    assert!(serial(&ours) > serial(&theirs), "{ours} {theirs}");
    assert!(verify(&machine));
}

/// What libvirt, mkosi, systemd-vmspawn and the test suites of TPM software call, by their sources and scripts.
#[test]
fn the_command_lines_of_other_programs_are_understood() {
    let machine = Machine::new();
    for (number, words) in [
        "--tpm2 --tpm-state STATE --vmid guest:8b5a2e9c-8d6b-4d8f-8d3c-5a0b8c0a0f11 --logfile STATE/setup.log --createek
         --create-ek-cert --create-platform-cert --lock-nvram --not-overwrite",
        "--tpm-state STATE --tpm2 --pcr-banks sha256 --config /dev/null",
        "--tpm-state STATE --tpm2 --pcr-banks sha256 --not-overwrite",
        "--tpm2 --tpm-state STATE --createek --allow-signing --decryption --overwrite --display",
        "--tpmstate STATE --tpm2 --createek --display --logfile /dev/tty-or-file --overwrite",
        "--tpm2 --tpmstate dir://STATE --createek --decryption --create-ek-cert --create-platform-cert --display",
        "--tpm-state STATE --tpm2 --tpm /usr/bin/swtpm --create-ek-cert --ecc --create-spk",
        "--tpm2 --tpm2 --tpm-state nowhere --tpm-state STATE --log STATE/log --createek --create-ek-cert",
        "--tpm2 --tpm-state STATE --runas USER --rsa-keysize 3072 --createek --create-ek-cert",
    ]
    .into_iter()
    .enumerate()
    {
        let state = machine.path(&format!("state{number}"));
        fs::create_dir(&state).expect("a folder");
        let log = machine.path("log").display().to_string();
        let words = words
            .replace("STATE", &state.display().to_string())
            .replace("/dev/tty-or-file", &log)
            .replace("USER", &rustix::process::getuid().as_raw().to_string());
        // The original would have to be told the way to itself.
        if against_swtpm() && words.contains("--tpm ") {
            continue;
        }
        machine.ok(&words);
        assert!(fs::read_dir(&state).expect("a folder").count() > 0, "{words}");
    }
}

#[test]
fn many_at_once_share_one_authority_and_no_serial_number() {
    let machine = Machine::new();
    let folders: Vec<String> = (0..6).map(|number| format!("vm{number}")).collect();
    std::thread::scope(|scope| {
        for name in &folders {
            fs::create_dir(machine.path(name)).expect("a folder");
            let machine = &machine;
            scope.spawn(move || {
                machine.ok(&format!(
                    "--tpm2 --tpm-state {name} --create-ek-cert --vmid {name} --write-ek-cert-files {name}"
                ))
            });
        }
    });
    let script = format!(
        "set -e
         for certificate in vm*/ek-*.crt; do
             openssl verify -x509_strict {} $certificate >&2
             openssl x509 -in $certificate -noout -serial
         done",
        machine.chain()
    );
    let mut command = Command::new("bash");
    command
        .args(["-c", &script])
        .current_dir(machine.home.path());
    let text = finish("openssl", command.output().expect("openssl starts"));
    let serials: std::collections::HashSet<&str> = text.lines().collect();
    assert_eq!((text.lines().count(), serials.len()), (12, 12), "{text}");
}

#[test]
fn keys_of_the_authority_are_private_and_a_failure_leaves_no_tpm() {
    let machine = Machine::new();
    machine.make("--create-ek-cert");
    let authority = machine.path("config/var/lib/swtpm-localca");
    for key in ["signkey.pem", "swtpm-localca-rootca-privkey.pem"] {
        assert_eq!(mode(&authority.join(key)) & 0o137, 0, "{key}");
    }
    if only_for_vtpm("it leaves an empty state behind") {
        return;
    }
    fs::write(authority.join("signkey.pem"), "no key").expect("the key");
    let log = machine.path("log");
    let said = machine.refused(
        "--tpm2 --tpm-state other --create-ek-cert --logfile log --write-ek-cert-files certificates",
    );
    assert!(said.contains("signkey.pem"), "{said}");
    let logged = fs::read_to_string(&log).expect("the log");
    assert!(logged.contains("signkey.pem"), "{logged}");
    assert!(
        logged.contains("Authoring the TPM state failed"),
        "{logged}"
    );
    // A TPM can still be made there, which is not possible where one is.
    machine.ok("--tpm2 --tpm-state other --createek");
}

#[test]
fn what_it_can_do_is_told_and_what_it_cannot_is_refused() {
    let machine = Machine::new();
    let text = machine.ok("--tpm2 --print-capabilities");
    let capabilities: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(capabilities["type"], "swtpm_setup");
    let features = capabilities["features"].as_array().expect("features");
    for feature in [
        "tpm-2.0",
        "cmdarg-keyfile-fd",
        "cmdarg-pwdfile-fd",
        "cmdarg-write-ek-cert-files",
        "cmdarg-create-config-files",
        "cmdarg-reconfigure-pcr-banks",
        "tpm2-rsa-keysize-2048",
        "tpm2-rsa-keysize-3072",
    ] {
        assert!(features.iter().any(|known| known == feature), "{feature}");
    }
    machine.refused("--create-config-files root");
    machine.ok("--create-config-files root,skip-if-exist");
    machine.ok("--create-config-files root,overwrite");
    machine.refused("--tpm2 --createek");
    machine.refused("--tpm2 --tpm-state state --no-such-option");
    machine.refused("--tpm2 --tpm-state state --take-ownership");
    machine.refused("--tpm2 --tpm-state state --rsa-keysize 1000");
    machine.refused("--tpm2 --tpm-state state --cipher rot13");
    machine.refused("--tpm2 --tpm-state state --config no-such-file");
    machine.refused("--tpm2 --tpm-state state --createek --pcr-banks md5");
    machine.refused("--tpm2 --tpm-state state --keyfile no-such-file");
    machine.refused("--tpm2 --tpm-state state --write-ek-cert-files no-such-folder");
    if only_for_vtpm("it has TPM 1.2, and other options than today's") {
        return;
    }
    for (words, reason) in [
        ("--tpm-state state --createek", "--tpm2"),
        ("--tpm2 --tpm-state ftp:///x", "dir://"),
        (
            "--tpm2 --tpm-state state --iakkeyalgo rsa2048",
            "--create-ek-cert",
        ),
        ("--tpm2 --tpm-state state --ek1keyalgo dsa", "rsa4096"),
        ("--tpm2 --tpm-state state --profile-name nope", "nope"),
        (
            "--tpm2 --tpm-state state --profile-remove-disabled fips-host",
            "not supported",
        ),
        (
            "--tpm2 --tpm-state state --reconfigure --pcr-banks sha1",
            "holds no TPM",
        ),
        (
            "--tpm2 --tpm-state state --runas no-such-user",
            "no-such-user",
        ),
        (
            "--tpm2 --tpm-state state --overwrite --not-overwrite",
            "exclude",
        ),
    ] {
        let said = machine.refused(words);
        assert!(said.contains(reason), "{words}: {said}");
    }
    // What a FIPS host would not allow is left out of profiles of one's own alone.
    machine.ok("--tpm2 --tpm-state state --profile-name default-v1 --profile-remove-disabled fips-host --overwrite");
    let profiles = machine.ok("--tpm2 --print-profiles");
    assert!(profiles.contains(r#"{"Name":"default"}"#), "{profiles}");
    machine.ok("--tpm2 --tpm-state state --createek --profile-name builtin:pc-client --display --overwrite");
}
