//! Every page in a browser: whole on a desk and on a phone, light and dark, readable, named, and quiet.

use serde_json::{Value, json};

use crate::support::browser::{BARRIERS, Browser, WORST_CONTRAST};
use crate::support::web::{ADMINISTRATOR, PASSWORD, Web};

/// Logs in by the page itself, and gives the browser.
pub(crate) fn visit(web: &Web, user: &str, password: &str) -> Browser {
    let browser = Browser::start(web.home.path());
    browser.open(&format!("{}/", web.url));
    browser.wait_until("the login", "return !!document.querySelector('#user')");
    let fill = json!([user, password]);
    browser.run(&format!(
        "const [user, password] = {fill}; document.querySelector('#user').value = user; document.querySelector('#password').value = password;
         document.querySelector('form').requestSubmit();"
    ));
    browser.wait_until("the inventory", "return location.pathname === '/ui/'");
    browser
}

/// Ids of what the test looks at: VMs by name, and one of each other thing.
fn ids(web: &Web, token: &str, list: &str) -> Vec<(String, String)> {
    let all = web.get(token, &format!("/v1/{list}"));
    let all = all["items"].as_array().expect("a list").clone();
    let pair = |it: &Value| {
        let text = |member: &str| it[member].as_str().expect(member).to_owned();
        (text("name"), text("id"))
    };
    all.iter().map(pair).collect()
}

#[test]
fn every_page_is_readable_on_a_desk_and_on_a_phone() {
    let Some(web) = Web::new() else {
        return;
    };
    let token = web.token(ADMINISTRATOR, &web.password);
    let [acme, _] = web.two_organizations();
    // A long life: copies, twins that run, snapshots, names that are long and names that are markup.
    let long = "a-name-that-is-as-long-as-a-name-may-be-without-one-blank-to-break-it-at-12345";
    let done = |token: &str, path: &str, body: Value| web.done(token, "POST", path, &body);
    done(
        &acme,
        "/v1/vapps/acme-shop/copy",
        json!({"name": "shop-copy"}),
    );
    done(
        &token,
        "/v1/vms/acme-shop%2Facme-web/power",
        json!({"action": "on"}),
    );
    done(
        &token,
        "/v1/vms/shop-copy%2Facme-web/power",
        json!({"action": "on"}),
    );
    done(
        &token,
        "/v1/vms/demo/snapshots",
        json!({"name": "before the update"}),
    );
    done(
        &token,
        "/v1/vms/demo/snapshots",
        json!({"name": "after the update", "description": "all is well"}),
    );
    done(
        &token,
        "/v1/vms/demo/clone",
        json!({"name": long, "tpm": "replace"}),
    );
    done(
        &token,
        &format!("/v1/vms/{long}/clone"),
        json!({"name": "<b onmouseover=alert(1)>bold"}),
    );
    web.daemon.client("demo", web.home.path()).sh(
        "for pcr in 0 4 7; do tpm2_pcrextend $pcr:sha256=$(printf %064d $pcr); done
         tpm2_createprimary -C o -c p.ctx -Q && tpm2_evictcontrol -C o -c p.ctx 0x81000001 -Q",
    );
    let vms = ids(&web, &token, "vms");
    let vm = |name: &str| {
        let found = vms.iter().find(|(known, _)| known == name);
        format!("/ui/vms/{}", found.expect(name).1)
    };
    let vapp = format!(
        "/ui/vapps/{}",
        ids(&web, &token, "vapps")
            .iter()
            .find(|it| it.0 == "acme-shop")
            .expect("the vApp")
            .1
    );
    let template = format!("/ui/templates/{}", ids(&web, &acme, "templates")[0].1);
    let task = web.get(&token, "/v1/tasks")["items"][0]["id"]
        .as_str()
        .expect("a task")
        .to_owned();
    let snapshot = web.get(&token, "/v1/vms/demo/snapshots")["snapshots"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let demo = vm("demo");
    let pages = [
        ("inventory", "/ui/".to_owned()),
        ("vm", demo.clone()),
        ("vm-off", vm(long)),
        ("lineage", format!("{demo}/lineage")),
        ("vapp", vapp.clone()),
        ("catalog", "/ui/catalogs/acme/acme-shelf".to_owned()),
        ("template", template.clone()),
        ("tasks", "/ui/tasks".to_owned()),
        ("task", format!("/ui/tasks/{task}")),
        ("events", "/ui/events".to_owned()),
        ("providers", "/ui/providers".to_owned()),
        ("provider", "/ui/providers/vc01/vc01-nkp".to_owned()),
        ("backup", "/ui/providers/vc01/vc01-nkp/do/backup".to_owned()),
        ("audit", "/ui/audit?check=true".to_owned()),
        ("new-vm", "/ui/new/vm".to_owned()),
        ("new-vapp", "/ui/new/vapp".to_owned()),
        ("new-package", "/ui/new/package".to_owned()),
        ("setup", "/ui/setup".to_owned()),
        ("add-user", "/ui/setup/do/user".to_owned()),
        ("token", "/ui/setup/do/token".to_owned()),
        (
            "publish",
            "/ui/catalogs/acme/acme-shelf/do/publish".to_owned(),
        ),
        ("upload", "/ui/catalogs/acme/acme-shelf/upload".to_owned()),
        ("clone", format!("{demo}/do/clone")),
        ("rekey", format!("{demo}/do/rekey")),
        ("revert", format!("{demo}/do/revert?snapshot={snapshot}")),
        ("remove-tpm", format!("{}/do/remove-tpm", vm(long))),
        ("delete-vm", format!("{}/do/delete", vm(long))),
        ("copy-vapp", format!("{vapp}/do/copy")),
        ("add-to-vapp", format!("{vapp}/do/add")),
        ("instantiate", format!("{template}/do/instantiate")),
        ("not-found", "/ui/vms/nothing".to_owned()),
    ];
    let browser = visit(&web, ADMINISTRATOR, &web.password);
    browser.complaints();
    for (name, path) in &pages {
        browser.open(&format!("{}{path}", web.url));
        examine(&browser, name);
    }
    // The login, too; and what an organization sees.
    browser.open(&format!("{}/ui/", web.url));
    browser.run("document.querySelector('.who').requestSubmit()");
    browser.wait_until("the login", "return !!document.querySelector('#user')");
    examine(&browser, "login");
    drop(browser);
    let browser = visit(&web, "boss@acme", PASSWORD);
    examine(&browser, "inventory-of-an-organization");
}

/// Looks at the page that is open, in every light, and keeps pictures of it.
fn examine(browser: &Browser, name: &str) {
    for (width, height, scheme) in [
        (1280, 900, "light"),
        (1280, 900, "dark"),
        (360, 780, "light"),
        (360, 780, "dark"),
    ] {
        browser.look(width, height, scheme);
        let barriers = browser.run(BARRIERS);
        assert_eq!(barriers, json!([]), "{name}, {width}");
        let worst = browser.run(WORST_CONTRAST);
        assert!(
            worst[0].as_f64().expect("a number") >= 4.5,
            "{name}, {scheme}: {worst}"
        );
        browser.screenshot("pages", &format!("{name}-{width}-{scheme}.png"));
    }
    // Neither a script that failed nor anything that the policy refused; a page that is not there says so itself.
    let complaints = browser.complaints();
    let unexpected: Vec<_> = complaints
        .iter()
        .filter(|it| !it.contains("status of 404"))
        .collect();
    assert!(unexpected.is_empty(), "{name}: {unexpected:?}");
}
