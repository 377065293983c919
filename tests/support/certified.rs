//! TPMs that Debian's swtpm_setup makes, with certificates of an authority that its swtpm_localca keeps.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::finish;

/// Makes such a TPM in the folder `state`; the authority has `signkey.pem` and `issuercert.pem` in the folder `ca` of `home`.
pub(crate) fn certified(home: &Path, state: &Path, options: &[&str]) {
    fs::create_dir_all(state).expect("a state folder");
    let path = |name: &str| home.join(name).display().to_string();
    let authority = path("ca");
    let settings = format!(
        "statedir = {authority}\nsigningkey = {authority}/signkey.pem\nissuercert = {authority}/issuercert.pem\ncertserial = {authority}/certserial\n"
    );
    fs::write(path("localca.conf"), settings).expect("the settings");
    fs::write(path("localca.options"), "").expect("the options");
    let setup = format!(
        "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n",
        path("localca.conf"),
        path("localca.options")
    );
    fs::write(path("setup.conf"), setup).expect("the settings");
    let user = Command::new("id").arg("-un").output().expect("id");
    let user = finish("id", user);
    let output = Command::new("/usr/bin/swtpm_setup")
        .args(["--tpm2", "--create-ek-cert", "--tpmstate"])
        .arg(state)
        .args(["--runas", user.trim(), "--config", &path("setup.conf")])
        .args(options)
        .output()
        .expect("swtpm_setup");
    finish("swtpm_setup", output);
}
