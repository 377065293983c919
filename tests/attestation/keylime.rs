//! Keylime as an outside judge: its verifier comes to the same verdict as ours, its registrar enrols our TPMs, and its check of
//! endorsement certificates takes those of our authority. `tests/keylime/prepare` installs it.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use sha2::Sha384;

use crate::certificates::save_authority;
use crate::support::{
    Client, Daemon, PATIENCE_IN_SECONDS, PortPair, Protocol, TpmServer, VTPM, finish, folder,
    only_for_vtpm, wait_for,
};
use crate::{attest_ok, nonce, verdict};

const TEMPLATES: [(&str, &str); 4] = [
    ("verifier", include_str!("../keylime/verifier.conf")),
    ("registrar", include_str!("../keylime/registrar.conf")),
    ("ca", include_str!("../keylime/ca.conf")),
    ("logging", include_str!("../keylime/logging.conf")),
];

/// Keylime's verifier and registrar, on ports of their own.
struct Keylime {
    home: PathBuf,
    ports: [PortPair; 2],
    children: Vec<Child>,
}

impl Keylime {
    fn start(home: &Path) -> Self {
        let home = home.join("keylime");
        fs::create_dir_all(home.join("work")).expect("a folder");
        let ports = [PortPair::claim(), PortPair::claim()];
        let [verifier, registrar] = &ports;
        for (name, template) in TEMPLATES {
            let text = template
                .replace("@VERIFIER@", &verifier.first.to_string())
                .replace("@REGISTRAR@", &registrar.first.to_string())
                .replace("@REGISTRAR_TLS@", &(registrar.first + 1).to_string());
            fs::write(home.join(format!("{name}.conf")), text).expect("written");
        }
        let mut keylime = Self {
            home,
            ports,
            children: Vec::new(),
        };
        // The verifier makes the certificates that the registrar uses.
        keylime.run("verifier", keylime.ports[0].first);
        keylime.run("registrar", keylime.ports[1].first);
        keylime
    }

    fn python(&self) -> Command {
        let mut command = Command::new(environment().join("venv/bin/python"));
        command
            .env("KEYLIME_DIR", self.home.join("work"))
            .stdin(Stdio::null());
        for (name, _) in TEMPLATES {
            let file = self.home.join(format!("{name}.conf"));
            command.env(format!("KEYLIME_{}_CONFIG", name.to_uppercase()), file);
        }
        command
    }

    fn run(&mut self, what: &str, port: u16) {
        let log = self.home.join(format!("{what}.log"));
        let output = fs::File::create(&log).expect("a log");
        let child = self
            .python()
            .args(["-m", &format!("keylime.cmd.{what}")])
            .stdout(output.try_clone().expect("the log"))
            .stderr(output)
            .process_group(0)
            .spawn()
            .expect("keylime starts");
        self.children.push(child);
        wait_for(what, || {
            let child = self.children.last_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("wait") {
                let said = fs::read_to_string(&log).unwrap_or_default();
                panic!("keylime's {what} ended ({status}):\n{said}");
            }
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
    }

    /// Sends a request with keylime's own client certificate and gives the answer.
    fn send(&self, method: &str, port: u16, path: &str, body: &Value) -> Value {
        let file = self.home.join("request.json");
        fs::write(&file, body.to_string()).expect("written");
        let scheme = if port == self.ports[1].first {
            "http"
        } else {
            "https"
        };
        let output = Command::new("curl")
            .args(["-sS", "-k", "--max-time", PATIENCE_IN_SECONDS, "-X", method])
            .args(["-H", "content-type: application/json"])
            .args(["--cert", "work/cv_ca/client-cert.crt"])
            .args(["--key", "work/cv_ca/client-private.pem"])
            .arg("--data")
            .arg(format!("@{}", file.display()))
            .arg(format!("{scheme}://127.0.0.1:{port}{path}"))
            .current_dir(&self.home)
            .output()
            .expect("curl");
        let said = finish(path, output);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// What keylime's verifier says of evidence: whether it is valid, and why not.
    fn judge(&self, request: &Value) -> (bool, String) {
        let answer = self.send(
            "POST",
            self.ports[0].first,
            "/v2.4/verify/evidence",
            request,
        );
        let valid = answer["results"]["valid"].as_bool();
        let why = answer["results"]["failures"].to_string();
        (valid.unwrap_or_else(|| panic!("{answer}")), why)
    }
}

impl Drop for Keylime {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Each has workers of its own.
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

/// The folder with the virtual environment, made at first use.
fn environment() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../keylime");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keylime/prepare");
        let status = Command::new(script).arg(&folder).status().expect("bash");
        assert!(status.success(), "tests/keylime/prepare failed");
        folder
    })
}

const PCRS: &str = "sha256:0,1,2,3,4,5,6,7,8,9,14";

/// A machine that was booted, and the papers about it.
struct Place {
    home: PathBuf,
    server: TpmServer,
    kernel: PathBuf,
}

impl Place {
    fn new(home: &Path) -> Self {
        let kernel = home.join("kernel");
        fs::write(&kernel, b"a kernel of one's own").expect("a kernel");
        let place = Self {
            home: home.to_owned(),
            server: TpmServer::start(Protocol::Swtpm, &home.join("machine")),
            kernel,
        };
        place.boot();
        place
    }

    fn boot(&self) {
        let mut command = Command::new(VTPM);
        command
            .args(["boot", "--tcti", &self.server.tcti(), "--kernel"])
            .arg(&self.kernel)
            .arg("--log")
            .arg(self.home.join("log"));
        finish("vtpm boot", command.output().expect("vtpm starts"));
    }

    /// Quotes, and gives the question.
    fn quote(&self, ak: &str, file: &str) -> String {
        let nonce = nonce(&self.home);
        let tcti = self.server.tcti();
        attest_ok(
            &self.home,
            &format!(
                "quote --tcti {tcti} --ak {ak} --nonce {nonce} --pcrs {PCRS} --event-log log -o {file}"
            ),
        );
        nonce
    }

    fn read(&self, file: &str) -> Value {
        let bytes = fs::read(self.home.join(file)).expect("a document");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    fn write(&self, file: &str, document: &Value) {
        fs::write(self.home.join(file), document.to_string()).expect("written");
    }

    /// Judges evidence twice. Both must say the same; ours must name this check.
    fn both(&self, keylime: &Keylime, evidence: &str, policy: &str, nonce: &str, by: Option<&str>) {
        let words = format!("{evidence} --nonce {nonce} --policy {policy}");
        let (failed, _) = verdict(&self.home, &words);
        match by {
            None => assert!(failed.is_empty(), "{words}: {failed:?}"),
            Some(by) => assert!(failed.iter().any(|it| it == by), "{words}: {failed:?}"),
        }
        attest_ok(
            &self.home,
            &format!("keylime {evidence} --policy {policy} -o request.json"),
        );
        let mut request = self.read("request.json");
        // Whoever asks knows the question; what the evidence says of it counts for nothing.
        request["data"]["nonce"] = json!(STANDARD.encode(hex::decode(nonce).expect("digits")));
        let (valid, why) = keylime.judge(&request);
        assert_eq!(valid, by.is_none(), "keylime on {words}: {why}");
    }
}

/// Changes a byte of base64 text.
fn flip(text: &mut Value, at: usize) {
    let mut bytes = STANDARD
        .decode(text.as_str().expect("base64"))
        .expect("base64");
    bytes[at] ^= 1;
    *text = json!(STANDARD.encode(bytes));
}

#[test]
fn keylime_comes_to_the_same_verdict() {
    if only_for_vtpm("evidence is made by our boot") {
        return;
    }
    let home = folder();
    let keylime = Keylime::start(home.path());
    let mut place = Place::new(home.path());
    attest_ok(
        home.path(),
        &format!("enroll --tcti {} -o record.json", place.server.tcti()),
    );
    for ak in ["ecdsa", "rsassa"] {
        let asked = place.quote(ak, "good.json");
        attest_ok(home.path(), "policy good.json --name golden -o policy.json");
        let both = |evidence: &str, policy: &str, nonce: &str, by: Option<&str>| {
            place.both(&keylime, evidence, policy, nonce, by);
        };
        both("good.json", "policy.json", &asked, None);
        // Replayed: the same answer to another question.
        let other = nonce(home.path());
        both("good.json", "policy.json", &other, Some("quote.nonce"));
        // Tampered: what was signed, the signature, a PCR, the key.
        let good = place.read("good.json");
        for (pointer, at, by) in [
            ("/quote/message", 60, "quote.signature"),
            ("/quote/message", 0, "quote.magic"),
            ("/quote/signature", 30, "quote.signature"),
        ] {
            let mut altered = good.clone();
            flip(altered.pointer_mut(pointer).expect("a member"), at);
            place.write("altered.json", &altered);
            if by == "quote.magic" {
                // What is no quote is not sent to keylime.
                let words = format!("altered.json --nonce {asked} --policy policy.json");
                assert!(verdict(home.path(), &words).0.iter().any(|it| it == by));
                continue;
            }
            both("altered.json", "policy.json", &asked, Some(by));
        }
        let mut altered = good.clone();
        altered["pcrs"]["sha256"]["4"] = json!("ab".repeat(32));
        place.write("altered.json", &altered);
        both("altered.json", "policy.json", &asked, Some("quote.digest"));
        // A golden value that is another one.
        let mut policy = place.read("policy.json");
        policy["pcrs"]["sha256"]["4"] = json!(["cd".repeat(32)]);
        place.write("wrong.json", &policy);
        both("good.json", "wrong.json", &asked, Some("policy.pcr"));
    }
    // The key of another TPM.
    let stranger = folder();
    let second = Place::new(stranger.path());
    second.quote("ecdsa", "good.json");
    let asked = place.quote("ecdsa", "good.json");
    attest_ok(home.path(), "policy good.json --name golden -o policy.json");
    let mut altered = place.read("good.json");
    altered["attestation_key"] = second.read("good.json")["attestation_key"].clone();
    place.write("altered.json", &altered);
    let by = Some("quote.signature");
    place.both(&keylime, "altered.json", "policy.json", &asked, by);
    // Another kernel after a restart.
    fs::write(&place.kernel, b"a kernel with a back door").expect("a kernel");
    place.server.restart();
    place.boot();
    let asked = place.quote("ecdsa", "tampered.json");
    let by = Some("policy.pcr");
    place.both(&keylime, "tampered.json", "policy.json", &asked, by);
}

#[test]
fn keylime_enrols_a_vm_and_trusts_its_endorsement_certificate() {
    if only_for_vtpm("swtpm has no VMs") {
        return;
    }
    let home = folder();
    let here = home.path();
    let keylime = Keylime::start(here);
    let daemon = Daemon::start(&here.join("data"));
    daemon.ok(["vm", "create", "web01", "--tpm", "--start"]);
    save_authority(&daemon, here);
    let client: Client = daemon.client("web01", here);
    client.sh("tpm2_getekcertificate -o rsa.der -o ecc.der");
    // Its check of endorsement certificates, with our authority in its store, and with another one.
    let check = |store: &str, certificate: &str| {
        let words = "import sys, keylime.cert_utils as c; print(c.verify_ek(open(sys.argv[1], 'rb').read(), sys.argv[2]))";
        let mut python = keylime.python();
        python
            .args(["-c", words, certificate, store])
            .current_dir(here);
        let said = finish(certificate, python.output().expect("python"));
        said.lines().last() == Some("True")
    };
    fs::create_dir_all(here.join("store")).expect("a folder");
    fs::create_dir_all(here.join("strangers")).expect("a folder");
    fs::copy(here.join("issuer.pem"), here.join("store/issuer.pem")).expect("copied");
    fs::copy(
        here.join("keylime/work/cv_ca/cacert.crt"),
        here.join("strangers/ca.pem"),
    )
    .expect("copied");
    for certificate in ["rsa.der", "ecc.der"] {
        assert!(check("store", certificate), "{certificate}");
        assert!(!check("strangers", certificate), "{certificate}");
    }
    // Its registrar: it makes a credential that only this TPM opens.
    client.sh("tpm2_createek -G rsa -c ek.ctx -u ek.pub; \
         tpm2_createak -C ek.ctx -G rsa -g sha256 -s rsassa -c ak.ctx -u ak.pub");
    let base64 = |file: &str| STANDARD.encode(fs::read(here.join(file)).expect("a file"));
    let uuid = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000";
    let port = keylime.ports[1].first;
    let registration = json!({
        "ekcert": base64("rsa.der"),
        "ek_tpm": base64("ek.pub"),
        "aik_tpm": base64("ak.pub"),
    });
    let path = format!("/v2.2/agents/{uuid}");
    let register = || {
        let answer = keylime.send("POST", port, &path, &registration);
        let blob = answer["results"]["blob"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"));
        fs::write(here.join("blob"), STANDARD.decode(blob).expect("base64")).expect("written");
    };
    let tag = |key: &str| {
        let mut mac = Hmac::<Sha384>::new_from_slice(key.as_bytes()).expect("any length");
        mac.update(uuid.as_bytes());
        json!({"auth_tag": hex::encode(mac.finalize().into_bytes())})
    };
    let activate = |key: &str| keylime.send("PUT", port, &format!("{path}/activate"), &tag(key));
    register();
    let refused = activate("a guess");
    assert_eq!(refused["code"], 400, "{refused}");
    register();
    client.sh(
        "tpm2_startauthsession --policy-session -S s.ctx; tpm2_policysecret -S s.ctx -c e; \
         tpm2_activatecredential -c ak.ctx -C ek.ctx -i blob -o secret -P session:s.ctx; tpm2_flushcontext s.ctx",
    );
    let accepted = activate(&base64("secret"));
    assert_eq!(accepted["code"], 200, "{accepted}");
}
