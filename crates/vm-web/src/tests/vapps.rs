//! vApps, catalogs and templates.

use super::Api;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn a_vapp_lives_through_the_api() {
    let api = Api::ready().await;
    let made = |path: &'static str, body: Value| api.send(Method::POST, path, Some(body));
    for (path, body) in [
        ("/v1/organizations", json!({"name": "acme"})),
        ("/v1/vdcs", json!({"name": "vdc1", "vcenter": "vc01"})),
        ("/v1/catalogs", json!({"name": "shelf"})),
        (
            "/v1/users",
            json!({"name": "eve", "role": "vapp-author", "password": "a long password"}),
        ),
    ] {
        let (status, answer) = made(path, body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        assert!(!answer.to_string().contains("argon2"), "{answer}");
    }
    let shop = json!({"name": "shop", "vms": [{"name": "web", "new": {"tpm": true}}, {"name": "log", "new": {}}]});
    let task = api.done(Method::POST, "/v1/vapps", Some(shop)).await;
    assert_eq!(
        (&task["target"], &task["organization"]),
        (&json!("vapp"), &json!("acme"))
    );

    // A preview answers at once and changes nothing.
    let copy = json!({"name": "twin", "tpm": "replace"});
    let path = "/v1/vapps/shop/copy?preview=true";
    let (status, preview) = api.send(Method::POST, path, Some(copy.clone())).await;
    assert_eq!(
        (status, &preview["possible"]),
        (StatusCode::OK, &json!(true))
    );
    let web = &preview["vms"][1];
    assert_eq!(
        (&web["vm"], &web["effects"]["ek_identity"]),
        (&json!("web"), &json!("lost"))
    );
    assert_eq!(
        api.get("/v1/vapps").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    api.done(Method::POST, "/v1/vapps/acme%2Fshop/copy", Some(copy))
        .await;
    let capture = json!({"vapp": "twin", "catalog": "shelf", "name": "gold", "tpm": "replace"});
    api.done(Method::POST, "/v1/templates", Some(capture)).await;
    let refused = json!({"name": "x", "tpm": "copy"});
    let (status, problem) = api
        .send(
            Method::POST,
            "/v1/templates/gold/instantiate",
            Some(refused),
        )
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(problem["failures"][0]["rule"], "template-decides");
    assert_eq!(problem["failures"][0]["number"], "1.5");
    assert_eq!(problem["failures"][0]["vm"], "web");
    let many = json!({"name": "many", "count": 3});
    api.done(Method::POST, "/v1/templates/gold/instantiate", Some(many))
        .await;
    assert_eq!(
        api.get("/v1/vapps/many").await["vms"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
    let tree = api.get("/v1/vms/many%2Fweb-1/lineage").await;
    assert_eq!(tree["items"][0]["operation"], "build_vapp");

    // A running VM keeps its vApp from going; that is a conflict, not a refusal of the rules.
    api.done(
        Method::POST,
        "/v1/vms/shop%2Fweb/power",
        Some(json!({"action": "on"})),
    )
    .await;
    let (status, problem) = api.send(Method::DELETE, "/v1/vapps/shop", None).await;
    assert_eq!(
        (status, &problem["failures"][0]["rule"]),
        (StatusCode::CONFLICT, &json!("power-state"))
    );
    api.done(
        Method::POST,
        "/v1/vms/shop%2Fweb/power",
        Some(json!({"action": "off"})),
    )
    .await;
    api.done(Method::DELETE, "/v1/vapps/shop", None).await;

    let check = api.get("/v1/audit/check").await;
    assert_eq!(check["damage"], Value::Null);
    let audit = api.get("/v1/audit?after=3").await;
    assert_eq!(audit["items"][0]["number"], 4);
    assert!(!audit.to_string().contains("argon2"));
}

#[tokio::test]
async fn wrong_requests_about_vapps_get_problem_documents() {
    let api = Api::ready().await;
    let (status, _) = api
        .send(
            Method::POST,
            "/v1/organizations",
            Some(json!({"name": "acme"})),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED);
    for (path, body, expected) in [
        (
            "/v1/organizations",
            json!({"name": "../x"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/organizations",
            json!({"name": "acme"}),
            StatusCode::CONFLICT,
        ),
        (
            "/v1/vapps",
            json!({"name": "x", "vdc": "none"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/vapps",
            json!({"name": "x", "vms": 5}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vapps?preview=perhaps",
            json!({"name": "x"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vapps?prevew=true",
            json!({"name": "x"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vapps/none/copy",
            json!({"name": "x"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/vapps/none/copy",
            json!({"name": "x", "tpm": "new"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vapps/..%2F..%2Fetc/copy",
            json!({"name": "x"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/templates/none/instantiate",
            json!({"name": "x"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/templates",
            json!({"catalog": "c", "name": "x"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vms/none/tpm",
            json!({"present": true}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/vms/none/move",
            json!({"vapp": "x"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/vcenters/vc01/trust",
            json!({"vcenter": "vc01"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/vcenters/vc01/trust",
            json!({"vcenter": "none"}),
            StatusCode::NOT_FOUND,
        ),
        (
            "/v1/users",
            json!({"name": "u", "role": "root", "password": "a long password"}),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/v1/users",
            json!({"name": "u", "role": "vapp-user", "password": "short"}),
            StatusCode::BAD_REQUEST,
        ),
        ("/v1/tasks/none/cancel", json!({}), StatusCode::BAD_REQUEST),
        (
            "/v1/tasks/5b1f2a86-78f0-4404-ba23-d3591e0eb117/cancel",
            json!({}),
            StatusCode::NOT_FOUND,
        ),
    ] {
        let (status, problem) = api.send(Method::POST, path, Some(body.clone())).await;
        assert_eq!(status, expected, "{path} {body}: {problem}");
        assert!(
            problem["type"]
                .as_str()
                .unwrap()
                .starts_with("urn:vtpm:problem:"),
            "{problem}"
        );
    }
    assert_eq!(api.get("/v1/vapps").await["items"], json!([]));
}
