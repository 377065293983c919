//! The description of the API (OpenAPI 3.1): what the types and routes say of themselves, and what goes for all of them.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// Every kind of problem document, by status.
const PROBLEMS: [(&str, &str); 12] = [
    (
        "400",
        "`bad-request`: the request is wrong. `refused`: a rule for TPMs is not met; `failures` has each",
    ),
    (
        "401",
        "`unauthenticated`: nobody is logged in, or the session has ended",
    ),
    (
        "403",
        "`forbidden`: the user's role or privileges do not allow it",
    ),
    (
        "404",
        "`not-found`: there is no such thing, or none that the user may know of",
    ),
    ("408", "`timeout`: the body of the request took too long"),
    (
        "409",
        "`conflict`: it clashes with what there is. `unavailable`: the files or the key provider do not allow it. `key-required`: the key of the VM cannot be had",
    ),
    (
        "412",
        "`changed`: what If-Match names was changed meanwhile",
    ),
    ("413", "`too-large`: the request is too large"),
    ("415", "`bad-request`: the body is not JSON"),
    ("429", "`too-many`: too much of it at once; try again"),
    ("500", "`internal`: something failed that should not"),
    (
        "503",
        "`busy`: too much of it is under way; try again when some is done",
    ),
];

/// The document as it is served.
pub(crate) fn document(described: &OpenApi) -> Result<Value, serde_json::Error> {
    let mut document = serde_json::to_value(described)?;
    set(
        &mut document,
        "info",
        json!({
            "title": "vtpm",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "VMs with virtual TPMs: what becomes of each TPM when VMs, vApps and templates are created, copied, moved, captured and instantiated. Errors are problem documents (RFC 9457) whose type is urn:vtpm:problem:KIND.",
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        }),
    );
    set(&mut document, "security", json!([{"bearer": []}]));
    let components = member(&mut document, "components");
    set(
        components,
        "securitySchemes",
        json!({
            "bearer": {"type": "http", "scheme": "bearer", "description": "The token of a session"},
            "basic": {"type": "http", "scheme": "basic", "description": "USER@ORGANIZATION and the password"},
        }),
    );
    let responses = PROBLEMS.map(|(status, description)| {
        let content = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
        let response = json!({"description": description, "content": content});
        (format!("Problem{status}"), response)
    });
    set(
        components,
        "responses",
        Value::Object(Map::from_iter(responses)),
    );
    if let Some(Value::Object(paths)) = document.get_mut("paths") {
        for (path, item) in paths {
            for method in ["get", "post", "put", "delete"] {
                if let Some(operation) = item.get_mut(method) {
                    complete(operation, path, method);
                }
            }
        }
    }
    Ok(document)
}

/// What goes for an operation because of its path and method.
fn complete(operation: &mut Value, path: &str, method: &str) {
    let changes = method != "get";
    let is_accepted = operation.pointer("/responses/202").is_some();
    let is_json = operation
        .pointer("/responses/200/content/application~1json")
        .is_some();
    let has_body = operation.get("requestBody").is_some();
    let has_tag = path == "/v1/settings"
        || ["/v1/vms/{", "/v1/vapps/{", "/v1/templates/{"]
            .iter()
            .any(|prefix| path.starts_with(prefix));
    let mut headers = Vec::new();
    if !changes && is_json {
        headers.push((
            "If-None-Match",
            "Entity tags that the client has: 304 if one of them is the present one",
        ));
    }
    if changes && has_tag {
        headers.push((
            "If-Match",
            "The entity tag that the thing has if nobody changed it meanwhile: that of GET on the path up to its name",
        ));
    }
    if method == "post" && is_accepted {
        headers.push((
            "Idempotency-Key",
            "Chosen by the client: the same request with the same key gives the task of the first one",
        ));
    }
    for (name, description) in headers {
        let parameter = json!({
            "name": name, "in": "header", "required": false, "description": description, "schema": {"type": "string"},
        });
        if let Value::Array(parameters) = member_or(operation, "parameters", json!([])) {
            parameters.push(parameter);
        }
    }
    for (status, _) in PROBLEMS {
        let applies = match status {
            "408" | "413" | "415" => has_body,
            "409" => changes,
            "412" => changes && has_tag,
            "429" => path == "/v1/sessions" && method == "post" || path.ends_with("/events"),
            "404" => path.contains('{') || changes,
            "503" => {
                path.ends_with("/package")
                    || path == "/v1/packages"
                    || path.starts_with("/v1/attest/")
            }
            _ => true,
        };
        if applies {
            let reference = json!({"$ref": format!("#/components/responses/Problem{status}")});
            set(member(operation, "responses"), status, reference);
        }
    }
    if !changes && is_json {
        let reference = json!({"description": "The client has it already"});
        set(member(operation, "responses"), "304", reference);
    }
    if path == "/v1/sessions" && method == "post" {
        set(operation, "security", json!([{"basic": []}]));
    }
}

fn member<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    member_or(value, name, json!({}))
}

fn member_or<'a>(value: &'a mut Value, name: &str, otherwise: Value) -> &'a mut Value {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(members) => members.entry(name).or_insert(otherwise),
        other => other,
    }
}

fn set(value: &mut Value, name: &str, to: Value) {
    if let Value::Object(members) = value {
        members.insert(name.to_owned(), to);
    }
}
