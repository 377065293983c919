//! VMs: their lives, snapshots, adoption and backups.

use super::Api;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn a_vm_lives_through_the_api() {
    let api = Api::ready().await;
    api.done(
        Method::POST,
        "/v1/vms",
        Some(json!({"name": "web 01", "tpm": true})),
    )
    .await;
    let vm = api.get("/v1/vms/web%2001").await;
    assert_eq!(vm["tpm"]["origin"], "new");
    assert_eq!(vm["tpm"]["tcti"], Value::Null);
    let id = vm["id"].as_str().unwrap();
    api.done(
        Method::POST,
        &format!("/v1/vms/{id}/power"),
        Some(json!({"action": "on"})),
    )
    .await;
    assert_eq!(
        api.get(&format!("/v1/vms/{id}")).await["tpm"]["tcti"],
        "swtpm:path=/x"
    );

    api.done(
        Method::POST,
        &format!("/v1/vms/{id}/clone"),
        Some(json!({"name": "copy"})),
    )
    .await;
    let task = json!({"name": "fresh", "tpm": "replace"});
    let task = api
        .done(Method::POST, &format!("/v1/vms/{id}/clone"), Some(task))
        .await;
    assert!(task["notes"][0].as_str().unwrap().starts_with("replace:"));
    assert_eq!(
        api.get("/v1/vms/copy").await["tpm"]["ek_name"],
        vm["tpm"]["ek_name"]
    );
    assert_ne!(
        api.get("/v1/vms/fresh").await["tpm"]["ek_name"],
        vm["tpm"]["ek_name"]
    );
    assert_eq!(
        api.get("/v1/vms").await["items"].as_array().unwrap().len(),
        3
    );

    let (status, problem) = api
        .send(Method::DELETE, &format!("/v1/vms/{id}"), None)
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("vtpm vm stop"));
    api.done(
        Method::POST,
        &format!("/v1/vms/{id}/power"),
        Some(json!({"action": "off"})),
    )
    .await;
    api.done(Method::DELETE, &format!("/v1/vms/{id}"), None)
        .await;
    assert_eq!(
        api.send(Method::GET, &format!("/v1/vms/{id}"), None)
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        api.get("/v1/tasks").await["items"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
}

#[tokio::test]
async fn snapshots_are_taken_gone_back_to_and_forgotten_through_the_api() {
    let api = Api::ready().await;
    let vm = json!({"name": "vm 1", "tpm": true});
    api.done(Method::POST, "/v1/vms", Some(vm)).await;
    let snapshots = "/v1/vms/vm%201/snapshots";
    let on = json!({"action": "on"});
    let off = json!({"action": "off"});
    let clean = json!({"name": "clean / 1"});
    let (status, problem) = api.send(Method::POST, snapshots, Some(clean)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let clean = json!({"name": "clean 1", "description": "as made"});
    api.done(Method::POST, snapshots, Some(clean)).await;
    api.done(Method::POST, "/v1/vms/vm%201/power", Some(on))
        .await;
    let running = json!({"name": "running"});
    api.done(Method::POST, snapshots, Some(running)).await;
    api.done(Method::POST, "/v1/vms/vm%201/power", Some(off))
        .await;
    let tree = api.get(snapshots).await;
    assert_eq!(tree["snapshots"][0]["description"], "as made");
    assert_eq!(tree["snapshots"][1]["parent"], tree["snapshots"][0]["id"]);
    assert_eq!(tree["current"], tree["snapshots"][1]["id"]);
    let revert = |name: &str| format!("{snapshots}/{name}/revert");
    api.done(Method::POST, &revert("running"), None).await;
    assert_eq!(api.get("/v1/vms/vm%201").await["power"], "on");
    api.done(Method::POST, &revert("clean%201"), None).await;
    let vm = api.get("/v1/vms/vm%201").await;
    assert_eq!(vm["power"], "off");
    assert_eq!(vm["reverts"][1]["name"], "clean 1");
    let (status, problem) = api.send(Method::POST, &revert("none"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    let forgotten = format!("{snapshots}/running");
    api.done(Method::DELETE, &forgotten, None).await;
    let (status, _) = api.send(Method::DELETE, &forgotten, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        api.get(snapshots).await["snapshots"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_tpm_that_was_elsewhere_is_adopted() {
    let api = Api::ready().await;
    let path = "/v1/adoptions";
    let request = |state: &str| Some(json!({"vm": {"name": "web01"}, "state": state}));
    let (status, problem) = api.send(Method::POST, path, request("not base64")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    api.done(Method::POST, path, request("AAAAAAAAAAAAAAAAAAAAAA=="))
        .await;
    let vm = api.get("/v1/vms/web01").await;
    assert_eq!(vm["tpm"]["ek_name"], format!("000b{}", "00".repeat(16)));
}

#[tokio::test]
async fn a_backup_is_restored_on_another_vcenter() {
    let api = Api::ready().await;
    let password = "correct horse";
    let (_, backup) = api
        .send(
            Method::POST,
            "/v1/providers/kp1/backup",
            Some(json!({"password": password})),
        )
        .await;
    api.send(
        Method::POST,
        "/v1/vcenters",
        Some(json!({"name": "vc02", "version": "7.0.3"})),
    )
    .await;
    let restore = |password: &str| json!({"name": "kp1", "vcenter": "vc02", "backup": backup["backup"], "password": password});
    let (status, problem) = api
        .send(
            Method::POST,
            "/v1/providers/restore",
            Some(restore("wrong")),
        )
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let (status, made) = api
        .send(
            Method::POST,
            "/v1/providers/restore",
            Some(restore(password)),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(made["status"], "active");
    assert_eq!(
        api.get("/v1/providers").await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}
