//! What is set up and sent by pages: vCenters, organizations, users, tokens, packages; previews that refuse.

use std::fs;

use serde_json::json;

use crate::support::web::{ADMINISTRATOR, PASSWORD, Web};
use crate::visitor::{Visitor, request};

/// The id of a thing, by its name.
fn id(web: &Web, token: &str, list: &str, name: &str) -> String {
    let all = web.get(token, &format!("/v1/{list}"));
    let items = all["items"].as_array().expect("a list");
    let found = items.iter().find(|it| it["name"] == name);
    let id = found.and_then(|it| it["id"].as_str());
    id.unwrap_or_else(|| panic!("no {name}: {all}")).to_owned()
}

#[test]
fn an_installation_is_set_up_by_pages_alone_and_each_role_its_own_part_of_it() {
    let Some(web) = Web::new() else {
        return;
    };
    let admin = Visitor::log_in(&web, ADMINISTRATOR, &web.password);
    let done = |visitor: &Visitor<'_>, what: &str, fields: &[(&str, &str)]| {
        let answer = visitor.post(&format!("/ui/setup/do/{what}"), fields);
        assert_eq!(answer.status, 303, "{what}: {}", answer.text);
        assert_eq!(answer.headers["location"], "/ui/setup");
    };
    done(&admin, "vcenter", &[("name", "vc09"), ("version", "7.0.3")]);
    done(&admin, "trust", &[("one", "vc01"), ("other", "vc09")]);
    done(&admin, "datastore", &[("name", "ds9"), ("vcenter", "vc09")]);
    done(
        &admin,
        "share",
        &[("datastore", "ds9"), ("vcenter", "vc01")],
    );
    done(&admin, "settings", &[("fast", "on")]);
    done(&admin, "organization", &[("name", "acme")]);
    done(&admin, "organization", &[("name", "rival")]);
    let vdc = [
        ("name", "vdc1"),
        ("organization", "acme"),
        ("vcenter", "vc01"),
    ];
    done(&admin, "vdc", &vdc);
    let user = |name: &'static str, organization: &'static str, role: &'static str| {
        let same = [("password", PASSWORD), ("again", PASSWORD)];
        [
            vec![
                ("name", name),
                ("organization", organization),
                ("role", role),
            ],
            same.to_vec(),
        ]
        .concat()
    };
    done(&admin, "user", &user("boss", "acme", "administrator"));
    done(&admin, "user", &user("chief", "rival", "administrator"));
    let page = admin.page("/ui/setup");
    for words in [
        "vc09",
        "7.0.3",
        "ds9",
        "boss@acme",
        "Cryptographer.Clone",
        "vdc1",
    ] {
        assert!(page.contains(words), "no {words}: {page}");
    }
    let token = web.token(ADMINISTRATOR, &web.password);
    assert_eq!(
        web.get(&token, "/v1/settings")["fast_cross_vcenter_instantiation"],
        true
    );
    let stores = web.get(&token, "/v1/datastores");
    let stores = stores["items"].as_array().expect("a list");
    let shared = stores.iter().find(|it| it["name"] == "ds9").expect("ds9");
    let seen_by = shared["vcenters"].to_string();
    assert!(
        seen_by.contains("vc01") && seen_by.contains("vc09"),
        "{seen_by}"
    );

    // The organization's administrator: users and catalogs of their own, and nothing of the system.
    let boss = Visitor::log_in(&web, "boss@acme", PASSWORD);
    done(&boss, "catalog", &[("name", "shelf"), ("vdc", "acme/vdc1")]);
    done(&boss, "user", &user("eve", "acme", "vapp-user"));
    let own = boss.page("/ui/setup");
    assert!(
        own.contains("eve@acme") && !own.contains("vc09") && !own.contains("rival"),
        "{own}"
    );
    let before = web.everything(&token);
    let chief = Visitor::log_in(&web, "chief@rival", PASSWORD);
    let eve = Visitor::log_in(&web, "eve@acme", PASSWORD);
    for what in [
        "vcenter",
        "trust",
        "datastore",
        "share",
        "settings",
        "organization",
        "vdc",
    ] {
        for visitor in [&boss, &chief, &eve] {
            assert_eq!(
                visitor.get(&format!("/ui/setup/do/{what}")).status,
                403,
                "{what}"
            );
            let answer = visitor.post(&format!("/ui/setup/do/{what}"), &[("name", "loot")]);
            assert_eq!(answer.status, 403, "{what}: {}", answer.text);
        }
    }
    assert_eq!(eve.get("/ui/setup/do/user").status, 403);
    assert_eq!(eve.get("/ui/setup/do/catalog").status, 403);
    // Into another organization: it does not exist.
    let loot = chief.post("/ui/setup/do/user", &user("spy", "acme", "administrator"));
    assert_eq!(loot.status, 404, "{}", loot.text);
    let loot = chief.post(
        "/ui/setup/do/catalog",
        &[("name", "loot"), ("vdc", "acme/vdc1")],
    );
    assert_eq!(loot.status, 404, "{}", loot.text);
    // What is not filled in right says so, and the password is not sent back.
    let mut typed_wrong = user("third", "acme", "vapp-user");
    typed_wrong[4].1 = "another horse";
    let answer = boss.post("/ui/setup/do/user", &typed_wrong);
    assert!(
        answer.status == 400 && answer.text.contains("differ"),
        "{}",
        answer.text
    );
    assert!(!answer.text.contains(PASSWORD), "{}", answer.text);
    let answer = admin.post(
        "/ui/setup/do/vcenter",
        &[("name", "vc10"), ("version", "new")],
    );
    assert_eq!(answer.status, 400, "{}", answer.text);
    let answer = admin.post(
        "/ui/setup/do/vcenter",
        &[("name", "vc09"), ("version", "8.0.3")],
    );
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert_eq!(admin.get("/ui/setup/do/explode").status, 404);
    assert_eq!(web.everything(&token), before);

    // A token of one's own: with the password only.
    let refused = eve.post("/ui/setup/do/token", &[("password", "a guess of it")]);
    assert_eq!(refused.status, 401, "{}", refused.text);
    let made = eve.post("/ui/setup/do/token", &[("password", PASSWORD)]);
    assert_eq!(made.status, 200, "{}", made.text);
    let (_, rest) = made
        .text
        .split_once("<code tabindex=\"0\">")
        .expect("a token");
    let of_eve = rest.split('<').next().expect("a token");
    assert_eq!(web.get(of_eve, "/v1/sessions")["name"], "eve");
}

#[test]
fn packages_go_up_and_down_by_forms_and_previews_refuse_what_would_be_refused() {
    let Some(web) = Web::new() else {
        return;
    };
    let system = web.token(ADMINISTRATOR, &web.password);
    let [acme, _] = web.two_organizations();
    let boss = Visitor::log_in(&web, "boss@acme", PASSWORD);
    let rival = Visitor::log_in(&web, "boss@rival", PASSWORD);
    let vapp = id(&web, &acme, "vapps", "acme-shop");
    // Down: as the API gives it, to those who see it.
    let file = web.home.path().join("shop.ova");
    let get = |cookie: &str, path: &str| {
        let output = web
            .curl()
            .args([
                "--header",
                cookie,
                "--write-out",
                "%{http_code}",
                "--output",
            ])
            .arg(&file)
            .arg(format!("{}{path}", web.url))
            .output()
            .expect("curl");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let package = format!("/ui/vapps/{vapp}/package");
    assert_eq!(get(&rival.cookie, &package), "404");
    assert_eq!(get(&boss.cookie, &package), "200");
    let ova = fs::read(&file).expect("a package");
    assert!(ova.windows(11).any(|part| part == b"vmware.vtpm"));
    // Up: with the session's own form, to where the visitor may.
    let send = |visitor: &Visitor<'_>, token: &str, path: &str, fields: &[&str]| {
        let mut curl = web.curl();
        curl.args([
            "--header",
            &visitor.cookie,
            "--write-out",
            "%{http_code} %header{location}",
        ]);
        curl.args([
            "--output",
            "/dev/null",
            "--form",
            &format!("form_token={token}"),
        ]);
        for field in fields {
            curl.args(["--form", field]);
        }
        curl.args(["--form", &format!("file=@{}", file.display())]);
        let output = curl
            .arg(format!("{}{path}", web.url))
            .output()
            .expect("curl");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let shelf = "/ui/catalogs/acme/acme-shelf/upload";
    let before = web.everything(&system);
    for token in ["", "x", &rival.form_token()] {
        assert_eq!(send(&boss, token, shelf, &["name=mine"]), "403");
    }
    assert_eq!(
        send(&rival, &rival.form_token(), shelf, &["name=mine"]),
        "404"
    );
    let into = ["name=loot", "vdc=acme/vdc1"];
    assert_eq!(
        send(&rival, &rival.form_token(), "/ui/new/package", &into),
        "404"
    );
    assert_eq!(web.everything(&system), before);
    let own = boss.form_token();
    for (path, fields) in [
        (shelf, vec!["name=mine"]),
        ("/ui/new/package", vec!["name=back", "vdc=acme/vdc1"]),
    ] {
        let answer = send(&boss, &own, path, &fields);
        let task = answer
            .strip_prefix("303 ")
            .unwrap_or_else(|| panic!("{path}: {answer}"));
        crate::support::wait_for("the upload", || {
            let page = boss.page(task);
            page.contains("<span class=\"badge good\">success</span>")
                .then_some(())
        });
    }
    assert_eq!(web.get(&acme, "/v1/templates/mine")["origin"], "ovf");
    let back = web.get(&acme, "/v1/vapps/back");
    assert_eq!(back["vms"][0]["tpm"]["origin"], "new", "{back}");
    fs::write(&file, &ova[..ova.len() / 2]).expect("half a package");
    assert!(send(&boss, &own, shelf, &["name=half"]).starts_with("400"));

    // Previews say what the operation itself would say.
    let vm = id(&web, &acme, "vms", "acme-web");
    let power = |action: &str| {
        let path = format!("/v1/vms/{vm}/power");
        web.done(&acme, "POST", &path, &json!({ "action": action }));
    };
    power("on");
    let look = boss.page(&format!("/ui/vms/{vm}/do/delete"));
    assert!(
        look.contains("1 rule is not met") && !look.contains("name=\"confirm\""),
        "{look}"
    );
    power("off");
    let look = boss.page(&format!("/ui/vms/{vm}/do/delete"));
    assert!(
        look.contains("name=\"confirm\"") && look.contains("lost"),
        "{look}"
    );
    let publish = boss.page("/ui/catalogs/acme/acme-shelf/do/publish");
    assert!(
        publish.contains("withheld") && publish.contains("acme-gold"),
        "{publish}"
    );
    let admin = Visitor::log_in(&web, ADMINISTRATOR, &web.password);
    let demo = id(&web, &system, "vms", "demo");
    let taken = admin.post(&format!("/ui/vms/{demo}/do/clone"), &[("name", "demo")]);
    assert!(
        taken.text.contains("already has a VM called demo"),
        "{}",
        taken.text
    );
    let away = [("name", "x"), ("vcenter", "vc09")];
    let away = admin.post(&format!("/ui/vms/{demo}/do/clone"), &away);
    assert_eq!(away.status, 404, "{}", away.text);
    // A page of the log, and the one before it.
    let audit = request(&web, "/ui/audit?before=3", &[&admin.cookie], None);
    assert!(
        audit.status == 200 && audit.text.contains("Newest"),
        "{}",
        audit.text
    );
}
