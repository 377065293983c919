//! Two organizations that attack each other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::description::operations;
use crate::support::web::{ADMINISTRATOR, PASSWORD, Web};

/// A body that makes sense for an operation that names something in its path.
fn body_for(method: &str, path: &str) -> Option<Value> {
    let name = json!({"name": "loot"});
    Some(match (method, path) {
        ("GET" | "DELETE", _) => return None,
        (_, "/v1/vms/{vm}/power" | "/v1/vapps/{vapp}/power") => json!({"action": "on"}),
        (_, "/v1/vms/{vm}/clone" | "/v1/vms/{vm}/snapshots") => name,
        (_, "/v1/vms/{vm}/move") => json!({"vapp": "acme-shop"}),
        (_, "/v1/vms/{vm}/import") => json!({"name": "loot", "vdc": "vdc1"}),
        (_, "/v1/vms/{vm}/tpm") => json!({"present": false, "confirm": true}),
        (_, "/v1/vms/{vm}/device-keys") => json!({"keys": [{"kind": "ak"}]}),
        (_, "/v1/vapps/{vapp}/vms") => json!({"items": [{"name": "loot", "new": {}}]}),
        (_, "/v1/vapps/{vapp}/copy" | "/v1/templates/{template}/instantiate") => name,
        (_, "/v1/vapps/{vapp}/move") => json!({"vdc": "vdc1"}),
        (_, "/v1/catalogs/{catalog}/publish") => json!({"published": true}),
        (_, "/v1/providers/{name}/backup") => json!({"password": PASSWORD}),
        (
            _,
            "/v1/providers/{name}/certificate"
            | "/v1/vcenters/{name}/ca/certificate"
            | "/v1/vms/{vm}/ek/certificate"
            | "/v1/vms/{vm}/device-keys/certificate",
        ) => json!({"certificate": "x"}),
        (_, "/v1/vcenters/{vcenter}/trust" | "/v1/datastores/{datastore}/share") => {
            json!({"vcenter": "vc01"})
        }
        _ => json!({}),
    })
}

#[test]
fn organizations_that_attack_each_other_find_nothing_and_change_nothing() {
    let Some(web) = Web::new() else {
        return;
    };
    let [acme, rival] = web.two_organizations();
    let system = web.token(ADMINISTRATOR, &web.password);
    let id = |path: &str, pointer: &str| {
        let found = web.get(&rival, path);
        found
            .pointer(pointer)
            .and_then(Value::as_str)
            .expect("an id")
            .to_owned()
    };
    let vm = id("/v1/vapps/rival-shop", "/vms/0/id");
    let vapp = id("/v1/vapps/rival-shop", "/id");
    let template = id("/v1/templates/rival-gold", "/id");
    let task = id("/v1/tasks", "/items/0/id");
    let foreign: BTreeMap<&str, Vec<String>> = [
        (
            "vm",
            vec![
                vm.clone(),
                format!("urn:vcloud:vm:{vm}"),
                "rival-web".to_owned(),
                "rival-shop%2Frival-web".to_owned(),
                "rival%2Frival-shop%2Frival-web".to_owned(),
                // Outside vApps, the system's.
                "demo".to_owned(),
            ],
        ),
        (
            "vapp",
            vec![
                vapp.clone(),
                "rival-shop".to_owned(),
                "rival%2Frival-shop".to_owned(),
            ],
        ),
        (
            "template",
            vec![
                template.clone(),
                "rival-gold".to_owned(),
                "rival%2Frival-shelf%2Frival-gold".to_owned(),
            ],
        ),
        (
            "catalog",
            vec!["rival-shelf".to_owned(), "rival%2Frival-shelf".to_owned()],
        ),
        ("id", vec![task]),
        ("name", vec!["vc01-nkp".to_owned()]),
        ("vcenter", vec!["vc01".to_owned()]),
        ("datastore", vec!["datastore1".to_owned()]),
    ]
    .into();
    let before = web.everything(&system);
    let mut attacks = 0;
    for (method, path, operation) in operations(&web.description()) {
        let Some((start, rest)) = path.split_once('{') else {
            continue;
        };
        let (parameter, rest) = rest.split_once('}').expect("a closing brace");
        // What belongs to no organization is no secret, but not theirs to use.
        let refusal = match parameter {
            // Whoever judges a TPM may look at authorities, of which none has this name.
            "name" if method == "GET" && path.starts_with("/v1/vcenters/") => 404,
            "name" | "vcenter" | "datastore" => 403,
            _ => 404,
        };
        let has_preview = operation["parameters"]
            .as_array()
            .is_some_and(|all| all.iter().any(|it| it["name"] == "preview"));
        for name in &foreign[parameter] {
            let mut target = format!("{start}{name}{}", rest.replace("{snapshot}", "s"));
            let body = body_for(&method, &path);
            let what = format!("{method} {target}");
            let answer = web.send(Some(&acme), &method, &target, body.as_ref(), &[]);
            let text = answer.is(refusal, &what).text;
            assert!(
                !text.contains("rival-") || name.contains("rival-"),
                "{what}: {text}"
            );
            attacks += 1;
            if has_preview {
                target.push_str("?preview=true");
                web.send(Some(&acme), &method, &target, body.as_ref(), &[])
                    .is(refusal, &target);
                attacks += 1;
            }
        }
    }
    // What is named in bodies.
    for (path, body) in [
        ("/v1/vapps", json!({"name": "loot", "vms": [{"vm": vm}]})),
        (
            "/v1/vapps",
            json!({"name": "loot", "vms": [{"template": template}]}),
        ),
        (
            "/v1/vapps",
            json!({"name": "loot", "organization": "rival"}),
        ),
        ("/v1/vapps", json!({"name": "loot", "vdc": "rival/vdc1"})),
        (
            "/v1/vapps/acme-shop/vms",
            json!({"items": [{"vm": "rival/rival-shop/rival-web"}]}),
        ),
        (
            "/v1/vapps/acme-shop/copy",
            json!({"name": "loot", "vdc": "rival/vdc1"}),
        ),
        ("/v1/vapps/acme-shop/move", json!({"vdc": "rival/vdc1"})),
        ("/v1/vms/acme-web/move", json!({"vapp": vapp})),
        (
            "/v1/templates",
            json!({"name": "loot", "vapp": vapp, "catalog": "acme-shelf"}),
        ),
        (
            "/v1/templates",
            json!({"name": "loot", "vm": vm, "catalog": "acme-shelf"}),
        ),
        (
            "/v1/templates",
            json!({"name": "loot", "vapp": "acme-shop", "catalog": "rival/rival-shelf"}),
        ),
        (
            "/v1/templates/acme-gold/instantiate",
            json!({"name": "loot", "organization": "rival"}),
        ),
        (
            "/v1/templates/acme-gold/instantiate",
            json!({"name": "loot", "vdc": "rival/vdc1"}),
        ),
        (
            "/v1/catalogs",
            json!({"name": "loot", "subscribe": "rival/rival-shelf"}),
        ),
        (
            "/v1/catalogs",
            json!({"name": "loot", "organization": "rival"}),
        ),
        (
            "/v1/users",
            json!({"organization": "rival", "name": "eve", "role": "administrator", "password": PASSWORD}),
        ),
    ] {
        web.send(Some(&acme), "POST", path, Some(&body), &[])
            .is(404, &body.to_string());
        attacks += 1;
    }
    for (path, body) in [
        ("/v1/vms", json!({"name": "loot", "tpm": true})),
        ("/v1/vcenters", json!({"name": "loot", "version": "8.0.3"})),
        ("/v1/organizations", json!({"name": "loot"})),
        ("/v1/vdcs", json!({"name": "loot"})),
        ("/v1/providers", json!({"name": "loot"})),
        (
            "/v1/datastores",
            json!({"name": "loot", "vcenters": ["vc01"]}),
        ),
    ] {
        web.send(Some(&acme), "POST", path, Some(&body), &[])
            .is(403, path);
        attacks += 1;
    }
    // Lists show nobody else's, in no member.
    for list in
        "vms vapps templates catalogs published organizations users vdcs tasks audit".split(' ')
    {
        let text = web.get(&acme, &format!("/v1/{list}")).to_string();
        for secret in ["rival", vm.as_str(), vapp.as_str(), template.as_str()] {
            assert!(!text.contains(secret), "{list} shows {secret}: {text}");
        }
        assert!(
            list == "published" || text.contains("acme"),
            "{list}: {text}"
        );
    }
    assert_eq!(web.everything(&system), before);
    assert!(attacks > 100, "{attacks}");
    // The same is there for whom it belongs to.
    web.get(&rival, &format!("/v1/vms/{vm}"));
    let shown = web.daemon.vm(&format!("urn:vcloud:vm:{vm}"));
    assert_eq!(shown["vapp"]["name"], "rival-shop");
    assert_eq!(
        (&shown["tpm"]["present"], &shown["tpm"]["origin"]),
        (&json!(true), &json!("new"))
    );
}
