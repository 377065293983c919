//! Users log in, and nobody else gets anything.

use std::fs;
use std::process::Command;

use crate::description::operations;
use crate::support;
use crate::support::web::{ADMINISTRATOR, Web};

#[test]
fn users_log_in_over_tls_and_nobody_else_gets_anything() {
    let Some(mut web) = Web::new() else {
        return;
    };
    let description = web.description();
    for (method, path, _) in operations(&description) {
        let path = path.replace(['{', '}'], "");
        let answer = web.send(None, &method, &path, None, &[]).is(401, &path);
        assert!(
            answer.headers["www-authenticate"].starts_with("Bearer"),
            "{path}"
        );
        web.send(Some("x"), &method, &path, None, &[])
            .is(401, &path);
    }
    web.log_in(ADMINISTRATOR, "wrong")
        .is(401, "a wrong password");
    web.log_in("nobody@vsphere.local", &web.password)
        .is(401, "nobody");
    let token = web.token(ADMINISTRATOR, &web.password);
    assert_eq!(web.get(&token, "/v1/sessions")["name"], "administrator");
    assert_eq!(web.get(&token, "/v1/vms")["items"][0]["name"], "demo");
    let other = web.token("administrator@system", &web.password);
    assert_eq!(
        web.send(Some(&token), "DELETE", "/v1/sessions", None, &[])
            .status,
        204
    );
    web.send(Some(&token), "GET", "/v1/vms", None, &[])
        .is(401, "after the logout");
    web.get(&other, "/v1/vms");

    // The next start knows certificate and password, and prints no other.
    let before = fs::read(&web.certificate).expect("the certificate");
    web.daemon.stop();
    web.daemon.start_again_with(&["--listen", "127.0.0.1:0"]);
    web.find();
    assert_eq!(fs::read(&web.certificate).expect("the certificate"), before);
    assert_eq!(web.daemon.output().matches("shown this once: ").count(), 2);
    web.send(Some(&other), "GET", "/v1/vms", None, &[])
        .is(401, "sessions end with the daemon");
    web.token(ADMINISTRATOR, &web.password);

    let refused = Command::new(support::VTPM)
        .args(["serve", "--listen", "0.0.0.0:0", "--data"])
        .arg(web.home.path().join("other"))
        .output()
        .expect("vtpm");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--listen-anywhere"));
}
