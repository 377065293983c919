//! What is refused, and in which words.

use super::Api;
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

#[tokio::test]
async fn every_rule_that_fails_is_a_member_of_the_problem() {
    let api = Api::ready().await;
    let request = json!({"name": "bsd", "tpm": true, "firmware": "bios", "hardware_version": 13, "guest": "freebsd14_64Guest"});
    let (status, problem) = api.send(Method::POST, "/v1/vms", Some(request)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(problem["type"], "urn:vtpm:problem:refused");
    let rules: Vec<&str> = problem["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| failure["rule"].as_str().unwrap())
        .collect();
    assert_eq!(rules, ["efi-firmware", "hardware-version", "guest-floor"]);
    assert_eq!(api.get("/v1/vms").await["items"], json!([]));
}

#[tokio::test]
async fn hostile_names_are_refused_everywhere() {
    let api = Api::ready().await;
    let entries = || -> std::collections::BTreeSet<_> {
        let entries = std::fs::read_dir(api.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = entries();
    let long = "x".repeat(300);
    for name in ["../x", "a/b", "a\0b", "", ".hidden", "-rf", long.as_str()] {
        for (path, body) in [
            ("/v1/vms", json!({"name": name, "tpm": true})),
            ("/v1/vcenters", json!({"name": name, "version": "8.0.3"})),
            ("/v1/providers", json!({"name": name})),
            (
                "/v1/datastores",
                json!({"name": name, "vcenters": ["vc01"]}),
            ),
        ] {
            let (status, problem) = api.send(Method::POST, path, Some(body)).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {name:?}");
            assert!(problem["detail"].as_str().unwrap().len() < 400);
        }
    }
    for path in [
        "/v1/vms/..%2Fx",
        "/v1/vms/a%00b",
        &format!("/v1/vms/{long}"),
        "/v1/vms/%2e%2e",
    ] {
        assert_eq!(
            api.send(Method::GET, path, None).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(
        api.send(Method::GET, "/v1/vms/%ff", None).await.0,
        StatusCode::BAD_REQUEST
    );
    // Nothing was made under any of these names.
    assert_eq!(entries(), before);
}

#[tokio::test]
async fn wrong_requests_get_problem_documents() {
    let api = Api::ready().await;
    let cases = [
        (Method::POST, "/v1/vms", "{", StatusCode::BAD_REQUEST),
        (Method::POST, "/v1/vms", "[]", StatusCode::BAD_REQUEST),
        (
            Method::POST,
            "/v1/vms",
            r#"{"name":"a","no_such_member":1}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/v1/vms/none/power",
            r#"{"action":"on"}"#,
            StatusCode::NOT_FOUND,
        ),
        (
            Method::POST,
            "/v1/vms/none/power",
            r#"{"action":"reset"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/v1/vcenters",
            r#"{"name":"v","version":"eight"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/v1/vcenters",
            r#"{"name":"vc01","version":"8.0.3"}"#,
            StatusCode::CONFLICT,
        ),
        (
            Method::POST,
            "/v1/providers/kp1/backup",
            r#"{"password":""}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/v1/providers/none/backup",
            r#"{"password":"x"}"#,
            StatusCode::NOT_FOUND,
        ),
        (
            Method::POST,
            "/v1/providers/restore",
            r#"{"name":"k","backup":"!","password":"x"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::POST,
            "/v1/providers/restore",
            r#"{"name":"k","backup":"AAAA","password":"x"}"#,
            StatusCode::BAD_REQUEST,
        ),
        (Method::GET, "/v1/tasks/7", "", StatusCode::BAD_REQUEST),
        (
            Method::GET,
            "/v1/tasks/00000000-0000-4000-8000-000000000000",
            "",
            StatusCode::NOT_FOUND,
        ),
        (Method::GET, "/v2", "", StatusCode::NOT_FOUND),
        (Method::PUT, "/v1/vms", "", StatusCode::METHOD_NOT_ALLOWED),
    ];
    for (method, path, body, expected) in cases {
        let (status, kind, problem) = api
            .send_bytes(method, path, body.into(), "application/json")
            .await;
        assert_eq!(
            (status, kind.as_str()),
            (expected, "application/problem+json"),
            "{path} {body} {problem}"
        );
    }
    let (status, kind, _) = api
        .send_bytes(Method::POST, "/v1/vms", b"name=a".to_vec(), "text/plain")
        .await;
    assert_eq!(
        (status, kind.as_str()),
        (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "application/problem+json"
        )
    );
}

#[tokio::test]
async fn requests_larger_than_the_limit_are_refused_before_they_are_read() {
    let api = Api::ready().await;
    let mut stream = UnixStream::connect(&api.socket).await.unwrap();
    let head = "POST /v1/vms HTTP/1.1\r\nhost: vtpm\r\ncontent-type: application/json\r\ncontent-length: 1073741824\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // A gigabyte is announced and nothing of it sent: the answer comes all the same.
    let mut answer = vec![0; 64];
    let count = stream.read(&mut answer).await.unwrap();
    assert!(
        String::from_utf8_lossy(&answer[..count]).starts_with("HTTP/1.1 413"),
        "{:?}",
        String::from_utf8_lossy(&answer[..count])
    );
}
