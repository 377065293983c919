//! Every route with every role: who may, and who is refused.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::description::operations;
use crate::support::PATIENCE;
use crate::support::web::{PASSWORD, Web};

/// The roles in the order of the columns, and their letters.
const ROLES: [(&str, char); 5] = [
    ("administrator", 'a'),
    ("no-cryptography-administrator", 'n'),
    ("vapp-author", 'v'),
    ("catalog-author", 'c'),
    ("vapp-user", 'u'),
];

/// Each route, and which roles may use it on what an organization has: users of the organization, and users of the system. A letter is
/// a role that may, a dot one that is refused.
const RULES: &str = "
POST   /v1/adoptions                                ..... a....
POST   /v1/attest/enroll                            ..... an...
POST   /v1/attest/enroll/finish                     ..... an...
POST   /v1/attest/nonce                             ..... an...
POST   /v1/attest/verify                            ..... an...
GET    /v1/audit                                    an... an...
GET    /v1/audit/check                              ..... an...
GET    /v1/catalogs                                 anvcu anvcu
POST   /v1/catalogs                                 an.c. an.c.
POST   /v1/catalogs/{catalog}/publish               an.c. an.c.
POST   /v1/catalogs/{catalog}/sync                  an.c. an.c.
GET    /v1/datastores                               ..... anvcu
POST   /v1/datastores                               ..... an...
POST   /v1/datastores/{datastore}/share             ..... an...
GET    /v1/organizations                            anvcu anvcu
POST   /v1/organizations                            ..... an...
POST   /v1/packages                                 anv.. anv..
GET    /v1/providers                                ..... a....
POST   /v1/providers                                ..... a....
POST   /v1/providers/restore                        ..... a....
DELETE /v1/providers/{name}                         ..... a....
GET    /v1/providers/{name}                         ..... a....
POST   /v1/providers/{name}/backup                  ..... a....
POST   /v1/providers/{name}/certificate             ..... a....
POST   /v1/providers/{name}/csr                     ..... a....
POST   /v1/providers/{name}/default                 ..... a....
POST   /v1/providers/{name}/forget-keys             ..... a....
GET    /v1/providers/{name}/keys                    ..... a....
POST   /v1/providers/{name}/rekey                   ..... a....
GET    /v1/providers/{name}/status                  ..... a....
GET    /v1/published                                anvcu anvcu
GET    /v1/settings                                 ..... anvcu
PUT    /v1/settings                                 ..... an...
GET    /v1/tasks                                    anvcu anvcu
GET    /v1/tasks/events                             anvcu anvcu
GET    /v1/tasks/{id}                               anvcu anvcu
POST   /v1/tasks/{id}/cancel                        anv.. anv..
GET    /v1/templates                                anvcu anvcu
POST   /v1/templates                                a..c. a..c.
DELETE /v1/templates/{template}                     an.c. an.c.
GET    /v1/templates/{template}                     anvcu anvcu
POST   /v1/templates/{template}/instantiate         a.v.. a.v..
GET    /v1/templates/{template}/package             an.c. an.c.
GET    /v1/users                                    an... an...
POST   /v1/users                                    an... an...
GET    /v1/vapps                                    anvcu anvcu
POST   /v1/vapps                                    a.v.. a.v..
DELETE /v1/vapps/{vapp}                             anv.. anv..
GET    /v1/vapps/{vapp}                             anvcu anvcu
POST   /v1/vapps/{vapp}/copy                        a.v.. a.v..
POST   /v1/vapps/{vapp}/move                        a.v.. a.v..
GET    /v1/vapps/{vapp}/package                     anv.. anv..
POST   /v1/vapps/{vapp}/power                       anv.u anv.u
POST   /v1/vapps/{vapp}/vms                         a.v.. a.v..
GET    /v1/vcenters                                 ..... anvcu
POST   /v1/vcenters                                 ..... an...
GET    /v1/vcenters/{name}/ca                       anvcu anvcu
POST   /v1/vcenters/{name}/ca                       ..... an...
POST   /v1/vcenters/{name}/ca/certificate           ..... an...
GET    /v1/vcenters/{name}/ca/crl                   anvcu anvcu
POST   /v1/vcenters/{name}/ca/csr                   ..... an...
POST   /v1/vcenters/{name}/ca/revoke                ..... an...
POST   /v1/vcenters/{vcenter}/trust                 ..... an...
GET    /v1/vdcs                                     anvcu anvcu
POST   /v1/vdcs                                     ..... an...
GET    /v1/vms                                      anvcu anvcu
POST   /v1/vms                                      ..... a....
DELETE /v1/vms/{vm}                                 anv.. anv..
GET    /v1/vms/{vm}                                 anvcu anvcu
POST   /v1/vms/{vm}/clone                           ..... a....
POST   /v1/vms/{vm}/decrypt                         a.v.. a.v..
GET    /v1/vms/{vm}/device-keys                     anvcu anvcu
POST   /v1/vms/{vm}/device-keys                     a.v.. a.v..
POST   /v1/vms/{vm}/device-keys/certificate         a.v.. a.v..
GET    /v1/vms/{vm}/ek                              anvcu anvcu
POST   /v1/vms/{vm}/ek/certificate                  a.v.. a.v..
POST   /v1/vms/{vm}/ek/issue                        a.v.. a.v..
POST   /v1/vms/{vm}/encrypt                         a.v.. a.v..
POST   /v1/vms/{vm}/import                          ..... a....
GET    /v1/vms/{vm}/lineage                         anvcu anvcu
POST   /v1/vms/{vm}/move                            a.v.. a.v..
GET    /v1/vms/{vm}/package                         anv.. anv..
POST   /v1/vms/{vm}/power                           anv.u anv.u
POST   /v1/vms/{vm}/rekey                           a.... a....
GET    /v1/vms/{vm}/snapshots                       anvcu anvcu
POST   /v1/vms/{vm}/snapshots                       anv.. anv..
DELETE /v1/vms/{vm}/snapshots/{snapshot}            anv.. anv..
POST   /v1/vms/{vm}/snapshots/{snapshot}/revert     anv.. anv..
POST   /v1/vms/{vm}/tpm                             a.v.. a.v..
GET    /v1/vms/{vm}/trace                           a.v.. a.v..
POST   /v1/vms/{vm}/unlock                          a.... a....
";

/// What the table leaves out, since it is about whoever asks: sessions.
const OWN: &str = "/v1/sessions";

/// A request that whoever may make it changes nothing with: a look ahead, or something that is refused for what it asks.
fn body_for(method: &str, path: &str) -> Option<Value> {
    let name = json!({"name": "loot"});
    let new = json!({"name": "loot", "new": {"tpm": true}});
    if matches!(method, "GET" | "DELETE") {
        return None;
    }
    Some(match path {
        "/v1/adoptions" => json!({"vm": name, "state": "AAAA"}),
        "/v1/vms/{vm}/power" | "/v1/vapps/{vapp}/power" => json!({"action": "on"}),
        "/v1/vms/{vm}/clone" | "/v1/vms/{vm}/snapshots" | "/v1/vapps/{vapp}/copy" => name,
        "/v1/vms/{vm}/move" => json!({"vapp": "acme-other"}),
        "/v1/vms/{vm}/import" => json!({"name": "loot", "vdc": "acme/vdc1"}),
        "/v1/vms/{vm}/tpm" => json!({"present": false, "confirm": true}),
        "/v1/vms/{vm}/device-keys" => json!({"keys": []}),
        "/v1/vapps/{vapp}/vms" => json!({"items": [new]}),
        "/v1/vapps/{vapp}/move" => json!({"vdc": "vdc1"}),
        "/v1/templates/{template}/instantiate" => json!({"name": "loot", "vdc": "vdc1"}),
        "/v1/catalogs/{catalog}/publish" => json!({"published": true}),
        // Too short, so that nothing is written.
        "/v1/providers/{name}/backup" => json!({"password": ""}),
        "/v1/vcenters/{vcenter}/trust" | "/v1/datastores/{datastore}/share" => {
            json!({"vcenter": "vc01"})
        }
        // What there is already.
        "/v1/vcenters" => json!({"name": "vc01", "version": "8.0.3"}),
        "/v1/datastores" => json!({"name": "datastore1", "vcenters": ["vc01"]}),
        "/v1/organizations" => json!({"name": "acme"}),
        "/v1/providers" => json!({"name": "vc01-nkp", "vcenter": "vc01"}),
        "/v1/catalogs" => json!({"name": "acme-shelf", "organization": "acme", "vdc": "vdc1"}),
        "/v1/vdcs" => json!({"name": "vdc1", "organization": "acme", "vcenter": "vc01"}),
        "/v1/users" => {
            json!({"name": "boss", "organization": "acme", "role": "vapp-user", "password": PASSWORD})
        }
        "/v1/providers/restore" => json!({"name": "x", "backup": "AAAA", "password": PASSWORD}),
        "/v1/vapps" => json!({"name": "loot", "vdc": "acme/vdc1", "vms": [new]}),
        "/v1/vms" => json!({"name": "loot", "tpm": true}),
        "/v1/templates" => json!({"name": "loot", "vapp": "acme-shop", "catalog": "acme-shelf"}),
        "/v1/vcenters/{name}/ca/revoke" => json!({"serial": "no number"}),
        "/v1/settings" => json!({"fast_cross_vcenter_instantiation": false}),
        _ if path.ends_with("/certificate") => json!({"certificate": "none"}),
        _ => json!({}),
    })
}

/// The status that a request with a token is answered with, on the daemon's own socket; what comes after it may never end.
fn status(web: &Web, token: &str, method: &str, path: &str, body: Option<Value>) -> u16 {
    let socket = web.daemon.folder().join("vtpm.sock");
    let mut stream = UnixStream::connect(socket).expect("the daemon's socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: vtpm\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("the request");
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        line.push(byte[0]);
    }
    let line = String::from_utf8(line).expect("text");
    let code = line.split(' ').nth(1).expect("a status");
    code.parse().expect("a number")
}

/// Which roles get through, written as in the table.
fn who_may(web: &Web, tokens: &[String], method: &str, path: &str, target: &str) -> String {
    let mut found = String::new();
    for ((role, letter), token) in ROLES.iter().zip(tokens) {
        let got = status(web, token, method, target, body_for(method, path));
        match got {
            403 => found.push('.'),
            401 | 404 | 500.. => panic!("{method} {target} as {role}: {got}"),
            _ => found.push(*letter),
        }
    }
    found
}

#[test]
fn every_route_is_for_the_roles_that_may_use_it_and_for_nobody_else() {
    let Some(web) = Web::new() else {
        return;
    };
    let [acme, _rival] = web.two_organizations();
    web.done(&acme, "POST", "/v1/vapps", &json!({"name": "acme-other"}));
    web.daemon
        .ok(["vdc", "add", "vdc2", "--org", "acme", "--vcenter", "vc01"]);
    let snapshot = json!({"name": "before"});
    web.done(&acme, "POST", "/v1/vms/acme-web/snapshots", &snapshot);
    let [of_acme, of_system] = ["acme", "system"].map(|organization| {
        ROLES.map(|(role, _)| {
            let user = format!("user-{role}");
            let arguments = [
                "user",
                "add",
                &user,
                "--org",
                organization,
                "--role",
                role,
                "--password-stdin",
            ];
            web.with_password(&arguments, PASSWORD);
            web.token(&format!("{user}@{organization}"), PASSWORD)
        })
    });
    let task = web.get(&acme, "/v1/tasks")["items"][0]["id"].clone();
    let named = [
        ("{vm}", "acme-web"),
        ("{vapp}", "acme-shop"),
        ("{template}", "acme-gold"),
        ("{catalog}", "acme-shelf"),
        ("{vcenter}", "vc01"),
        ("{datastore}", "datastore1"),
        ("{snapshot}", "before"),
        ("{id}", task.as_str().expect("an id")),
    ];
    let mut wrong = Vec::new();
    for (method, path, operation) in operations(&web.description()) {
        if path == OWN {
            continue;
        }
        let mut target = path.clone();
        for (parameter, name) in named {
            target = target.replace(parameter, name);
        }
        let place = if path.starts_with("/v1/vcenters") {
            "vc01"
        } else {
            "vc01-nkp"
        };
        target = target.replace("{name}", place);
        let parameters = operation["parameters"].as_array();
        if parameters.is_some_and(|all| all.iter().any(|it| it["name"] == "preview")) {
            target.push_str("?preview=true");
        }
        let may = [&of_acme, &of_system].map(|who| who_may(&web, who, &method, &path, &target));
        let row = format!("{method} {path} {} {}", may[0], may[1]);
        // A route that is new has no row yet: whoever adds it says who may use it.
        let rule = RULES
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .find(|rule| rule.starts_with(&format!("{method} {path} ")));
        if rule.as_ref() != Some(&row) {
            wrong.push(format!("{row}, and the table says {rule:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
