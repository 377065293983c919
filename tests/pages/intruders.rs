//! Without scripts, and with bad intentions.

use serde_json::json;

use crate::support::web::{ADMINISTRATOR, PASSWORD, Web};
use crate::visitor::{Visitor, request};

/// A name that is text, wherever it stands.
const HOSTILE: &str = "x\"'><img src=x onerror=alert(1)>&";

fn id(web: &Web, token: &str, list: &str, name: &str) -> String {
    let all = web.get(token, &format!("/v1/{list}"));
    let all = all["items"].as_array().expect("a list").clone();
    let found = all.iter().find(|it| it["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {list}"));
    found["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_vm_lives_through_pages_without_scripts() {
    let Some(web) = Web::new() else {
        return;
    };
    let token = web.token(ADMINISTRATOR, &web.password);
    let visitor = Visitor::log_in(&web, ADMINISTRATOR, &web.password);
    let tree = visitor.page("/ui/");
    assert!(
        tree.contains("vc01") && tree.contains(">demo</a>"),
        "{tree}"
    );
    let demo = format!("/ui/vms/{}", id(&web, &token, "vms", "demo"));

    // The TPM as tpm2-tools see it.
    let client = web.daemon.client("demo", web.home.path());
    client.sh("tpm2_pcrextend 9:sha256=$(printf %064d 9)
        tpm2_nvdefine 0x1500777 -C o -s 24 -Q
        tpm2_createprimary -C o -c primary.ctx -Q && tpm2_evictcontrol -C o -c primary.ctx 0x81000042 -Q");
    let before = client.sh(
        "tpm2_getcap properties-variable; tpm2_pcrread; tpm2_readclock | grep -v -e time -e clock",
    );
    let pcr = client
        .sh("tpm2_pcrread sha256:9 | tr -d ' \n' | tail -c 64")
        .trim()
        .to_lowercase();
    let page = visitor.page(&demo);
    for seen in [
        &pcr,
        "0x01500777",
        "0x81000042",
        "0x01c00002",
        "TPM2TOOLS_TCTI=",
        "revision 1.84",
        "0 of 3 failures",
    ] {
        assert!(page.contains(seen), "no {seen}: {page}");
    }
    let vm = web.get(&token, "/v1/vms/demo");
    for member in [
        "/key_id",
        "/tpm/ek_name",
        "/tpm/tcti",
        "/provider",
        "/instance_id",
        "/tpm/certificates/0/issuer",
    ] {
        let value = vm.pointer(member).and_then(|it| it.as_str()).expect(member);
        assert!(page.contains(value), "no {member}: {page}");
    }
    // Whoever looks changes nothing.
    let after = client.sh(
        "tpm2_getcap properties-variable; tpm2_pcrread; tpm2_readclock | grep -v -e time -e clock",
    );
    assert_eq!(before, after);
    let certificate = visitor.page(&format!("{demo}/certificates/rsa2048"));
    assert!(
        certificate.starts_with("-----BEGIN CERTIFICATE-----"),
        "{certificate}"
    );

    // Preview first: nothing is done by it.
    let clone = format!("{demo}/do/clone");
    let fields = [("name", HOSTILE), ("tpm", "replace")];
    let preview = visitor.post(&clone, &fields);
    assert_eq!(preview.status, 200);
    assert!(
        preview.text.contains("lost") && preview.text.contains("What it will do"),
        "{}",
        preview.text
    );
    assert_eq!(
        web.get(&token, "/v1/vms")["items"].as_array().map(Vec::len),
        Some(1)
    );
    let ended = visitor.done(&clone, &fields);
    assert!(ended.contains("has a new TPM"), "{ended}");
    let copy = format!("/ui/vms/{}", id(&web, &token, "vms", HOSTILE));

    visitor.done(
        &format!("{demo}/do/snapshot"),
        &[("name", "one"), ("description", HOSTILE)],
    );
    let snapshot = web.get(&token, "/v1/vms/demo/snapshots")["snapshots"][0]["id"].clone();
    let snapshot = snapshot.as_str().expect("an id");
    let asked = visitor.page(&format!("{demo}/do/revert?snapshot={snapshot}"));
    assert!(asked.contains("name=\"confirm\""), "{asked}");
    let unsure = visitor.post(
        &format!("{demo}/do/revert"),
        &[("step", "start"), ("snapshot", snapshot)],
    );
    assert_eq!(unsure.status, 400, "{}", unsure.text);
    visitor.done(
        &format!("{demo}/do/revert"),
        &[("snapshot", snapshot), ("confirm", "yes")],
    );
    visitor.done(&format!("{demo}/do/forget"), &[("snapshot", snapshot)]);
    visitor.done(&format!("{demo}/do/rekey"), &[]);
    visitor.done(&format!("{copy}/do/rekey"), &[("deep", "yes")]);
    visitor.done(&format!("{copy}/do/power-on"), &[]);
    visitor.done(&format!("{copy}/do/power-off"), &[]);

    // A TPM goes only with the box ticked, and a warning before.
    let warned = visitor.page(&format!("{copy}/do/remove-tpm"));
    assert!(warned.contains("recovery key"), "{warned}");
    let refused = visitor.post(&format!("{copy}/do/remove-tpm"), &[("step", "start")]);
    assert_eq!(refused.status, 400, "{}", refused.text);
    visitor.done(&format!("{copy}/do/remove-tpm"), &[("confirm", "yes")]);
    visitor.done(&format!("{copy}/do/add-tpm"), &[]);
    let deleted = visitor.done(&format!("{copy}/do/delete"), &[("confirm", "yes")]);
    assert!(deleted.contains("is destroyed"), "{deleted}");
    assert_eq!(visitor.get(&copy).status, 404);
    visitor.done(
        "/ui/new/vm",
        &[
            ("name", "fresh"),
            ("vcenter", "vc01"),
            ("with_tpm", "yes"),
            ("firmware", "efi"),
        ],
    );
    // A rule that is not met is named, and the form is there again as it was filled in.
    let bios = visitor.post(
        "/ui/new/vm",
        &[
            ("step", "start"),
            ("name", "old"),
            ("vcenter", "vc01"),
            ("with_tpm", "yes"),
            ("firmware", "bios"),
        ],
    );
    assert_eq!(bios.status, 400);
    assert!(
        bios.text.contains("rule 1.1") && bios.text.contains("value=\"old\""),
        "{}",
        bios.text
    );

    // Key providers, and the log.
    let provider = visitor.page("/ui/providers/vc01/vc01-nkp");
    assert!(
        provider.contains(vm["key_id"].as_str().expect("a key")) || provider.contains(">demo</a>"),
        "{provider}"
    );
    visitor.done("/ui/providers/vc01/vc01-nkp/do/rekey", &[]);
    let backup = "/ui/providers/vc01/vc01-nkp/do/backup";
    assert!(
        visitor
            .post(backup, &[("password", "one"), ("again", "two")])
            .text
            .contains("differ")
    );
    let taken = visitor.post(backup, &[("password", PASSWORD), ("again", PASSWORD)]);
    assert_eq!(taken.headers["content-type"], "application/x-pkcs12");
    let log = visitor.page("/ui/audit?check=true");
    assert!(
        log.contains("The chain is whole") && log.contains("vsphere clone"),
        "{log}"
    );

    // Logged out is logged out.
    assert_eq!(visitor.post("/ui/logout", &[]).status, 303);
    assert_eq!(
        visitor.get("/ui/").headers["location"],
        "/ui/login?next=%2Fui%2F"
    );
}

#[test]
fn names_stay_text_and_other_sites_and_organizations_get_nothing() {
    let Some(web) = Web::new() else {
        return;
    };
    let [acme, _rival] = web.two_organizations();
    let system = web.token(ADMINISTRATOR, &web.password);
    web.with_password(
        &[
            "user",
            "add",
            "eve",
            "--org",
            "rival",
            "--role",
            "vapp-user",
            "--password-stdin",
        ],
        PASSWORD,
    );
    let items = json!({"items": [{"name": HOSTILE, "new": {"tpm": true}}]});
    web.done(&acme, "POST", "/v1/vapps/acme-shop/vms", &items);
    let vm = id(&web, &acme, "vms", HOSTILE);
    let vapp = id(&web, &acme, "vapps", "acme-shop");
    let template = id(&web, &acme, "templates", "acme-gold");
    let task = web.get(&acme, "/v1/tasks")["items"][0]["id"]
        .as_str()
        .expect("a task")
        .to_owned();

    // Nobody is logged in: a page leads to the login, and comes back after it; everything else is refused.
    let outside = request(&web, &format!("/ui/vms/{vm}"), &[], None);
    assert_eq!(outside.status, 303);
    assert_eq!(
        outside.headers["location"],
        format!("/ui/login?next=%2Fui%2Fvms%2F{}", vm.replace('-', "%2D"))
    );
    assert_eq!(request(&web, "/ui/tasks/events", &[], None).status, 303);
    assert_eq!(
        request(
            &web,
            &format!("/ui/vms/{vm}/do/delete"),
            &[],
            Some(&[("step", "start"), ("confirm", "yes")])
        )
        .status,
        401
    );
    let wrong = request(
        &web,
        "/ui/login",
        &[],
        Some(&[("user", "boss@acme"), ("password", HOSTILE)]),
    );
    assert_eq!(wrong.status, 401);
    assert!(
        !wrong.text.contains("onerror") && !wrong.headers.contains_key("set-cookie"),
        "{}",
        wrong.text
    );
    let elsewhere = request(
        &web,
        "/ui/login",
        &[],
        Some(&[
            ("user", "boss@acme"),
            ("password", PASSWORD),
            ("next", "https://evil.example/"),
        ]),
    );
    assert_eq!(elsewhere.headers["location"], "/ui/");

    let boss = Visitor::log_in(&web, "boss@acme", PASSWORD);
    let rival = Visitor::log_in(&web, "boss@rival", PASSWORD);
    let eve = Visitor::log_in(&web, "eve@rival", PASSWORD);

    // The policy stands on every answer, and names are text everywhere.
    let pages = [
        "/ui/".to_owned(),
        format!("/ui/vms/{vm}"),
        format!("/ui/vms/{vm}/lineage"),
        format!("/ui/vms/{vm}/do/delete"),
        format!("/ui/vms/{vm}/do/rekey"),
        format!("/ui/vapps/{vapp}"),
        format!("/ui/vapps/{vapp}/do/copy"),
        format!("/ui/vapps/{vapp}/do/add"),
        format!("/ui/templates/{template}"),
        "/ui/catalogs/acme/acme-shelf".to_owned(),
        "/ui/tasks".to_owned(),
        format!("/ui/tasks/{task}"),
        "/ui/events".to_owned(),
        "/ui/audit".to_owned(),
    ];
    for path in &pages {
        let answer = boss.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert!(
            !answer.text.contains("<img") && !answer.text.contains("'><"),
            "{path}: {}",
            answer.text
        );
        let policy = &answer.headers["content-security-policy"];
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        // Nothing of the style or the scripts stands in the page itself.
        for inline in [" style=", " onclick=", "<style", "javascript:"] {
            assert!(!answer.text.contains(inline), "{path}: {inline}");
        }
    }
    assert!(
        boss.page(&pages[1]).contains("x&quot;'&gt;&lt;img"),
        "{}",
        boss.page(&pages[1])
    );

    // Another organization: not found, in the words for what nobody has, whatever is tried; nothing is changed by it.
    let before = web.everything(&system);
    for visitor in [&rival, &eve] {
        for path in pages
            .iter()
            .filter(|path| path.matches('/').count() > 2 || path.contains(&task))
        {
            let answer = visitor.get(path);
            assert_eq!(answer.status, 404, "{path}: {}", answer.text);
            assert!(
                !answer.text.replace("acme-shelf", "").contains("acme-"),
                "{path}: {}",
                answer.text.replace("acme-shelf", "")
            );
        }
        for (path, fields) in [
            (format!("/ui/vms/{vm}/do/delete"), vec![("confirm", "yes")]),
            (format!("/ui/vms/{vm}/do/power-on"), vec![]),
            (
                format!("/ui/vms/{vm}/do/move"),
                vec![("vapp", vapp.as_str())],
            ),
            (format!("/ui/vapps/{vapp}/do/copy"), vec![("name", "loot")]),
            (
                format!("/ui/templates/{template}/do/instantiate"),
                vec![("name", "loot")],
            ),
            ("/ui/catalogs/acme/acme-shelf/do/publish".to_owned(), vec![]),
            (format!("/ui/tasks/{task}/cancel"), vec![]),
        ] {
            for step in ["preview", "start"] {
                let mut fields = fields.clone();
                fields.push(("step", step));
                let answer = visitor.post(&path, &fields);
                assert_eq!(answer.status, 404, "{path}: {}", answer.text);
            }
        }
        for path in ["/ui/", "/ui/tasks", "/ui/events", "/ui/new/vapp"] {
            let page = visitor.page(path);
            assert!(!page.contains("acme"), "{path}: {page}");
        }
        for path in ["/ui/providers", "/ui/providers/vc01/vc01-nkp", "/ui/new/vm"] {
            assert_eq!(visitor.get(path).status, 403, "{path}");
        }
    }
    // A role that may not does not, and is not offered it.
    let own = id(&web, &system, "vms", "rival-web");
    assert_eq!(
        eve.post(
            &format!("/ui/vms/{own}/do/delete"),
            &[("step", "start"), ("confirm", "yes")]
        )
        .status,
        403
    );
    assert_eq!(eve.get("/ui/audit").status, 403);
    let offered = eve.page(&format!("/ui/vms/{own}"));
    assert!(
        offered.contains("Power on")
            && !offered.contains("do/delete")
            && !offered.contains("Key providers"),
        "{offered}"
    );

    // Another site: without the token, with that of another session, and with a browser that says where it comes from.
    let stolen = rival.form_token();
    let real = boss.form_token();
    let delete = format!("/ui/vms/{vm}/do/delete");
    let all = [("step", "start"), ("confirm", "yes")];
    for token in [None, Some(""), Some("x"), Some(stolen.as_str())] {
        let mut fields = all.to_vec();
        fields.extend(token.map(|token| ("form_token", token)));
        let answer = request(&web, &delete, &[&boss.cookie], Some(&fields));
        assert_eq!(answer.status, 403, "{token:?}: {}", answer.text);
    }
    let mut fields = all.to_vec();
    fields.push(("form_token", &real));
    for said in [
        "Origin: https://evil.example",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Origin: null",
    ] {
        let answer = request(&web, &delete, &[&boss.cookie, said], Some(&fields));
        assert_eq!(answer.status, 403, "{said}");
        let login = request(
            &web,
            "/ui/login",
            &[said],
            Some(&[("user", "boss@acme"), ("password", PASSWORD)]),
        );
        assert!(
            login.status == 403 && !login.headers.contains_key("set-cookie"),
            "{said}"
        );
    }
    // A cookie opens no other face, and a token of the API is no form's.
    let cookie = boss.cookie.as_str();
    assert_eq!(request(&web, "/v1/vms", &[cookie], None).status, 401);
    assert_eq!(web.everything(&system), before);
    // Too much, and nonsense.
    let large = "x".repeat(70 * 1024);
    assert_eq!(
        request(&web, &delete, &[cookie], Some(&[("form_token", &large)])).status,
        413
    );
    assert_eq!(boss.get("/ui/nothing").status, 404);
    assert_eq!(boss.get("/ui/tasks/../../etc").status, 404);
    assert_eq!(boss.get(&format!("/ui/vms/{vm}/do/explode")).status, 404);
    assert_eq!(boss.get("/ui/vms/%00%ff").status, 400);
    assert_eq!(web.everything(&system), before);
}
