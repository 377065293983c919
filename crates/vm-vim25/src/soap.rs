//! SOAP 1.1: envelopes in and out.

use crate::fault::{Fault, Outcome};
use crate::methods::{self, Asked, LOGIN};
use crate::schema::{Field, TypeRef, Version, schema};
use crate::server::Call;
use crate::value::{MoRef, Value};
use crate::xml::{Element, Limits, Writer, read};
use crate::{arguments::Read as _, collector};

const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// The namespace of the API.
const VIM: &str = "urn:vim25";

/// What is sent back: a document, and whether it is a fault.
pub(crate) struct Reply {
    pub(crate) document: String,
    pub(crate) is_fault: bool,
    /// The token of a session that has just begun.
    pub(crate) token: Option<vm_web::Token>,
}

/// The body of a request: the one element in it.
pub(crate) fn body(bytes: &[u8]) -> Outcome<Element> {
    let envelope = read(bytes, Limits::default()).map_err(|malformed| {
        Fault::invalid_request(format!("Error parsing SOAP: {}", malformed.0))
    })?;
    let wrong =
        || Fault::invalid_request("Error parsing SOAP: it is no SOAP 1.1 envelope with one call");
    if envelope.name != "Envelope" || envelope.namespace != ENVELOPE {
        return Err(wrong());
    }
    let mut bodies = envelope
        .children
        .into_iter()
        .filter(|child| child.name == "Body" && child.namespace == ENVELOPE);
    let (Some(mut body), None) = (bodies.next(), bodies.next()) else {
        return Err(wrong());
    };
    match (body.children.pop(), body.children.is_empty()) {
        (Some(call), true) if call.namespace == VIM => Ok(call),
        (Some(_), true) => Err(Fault::invalid_request(
            "Error parsing SOAP: the call is of another namespace than urn:vim25",
        )),
        _ => Err(wrong()),
    }
}

/// The version that a client speaks: what its SOAPAction says, or else the vCenter's; never a later one.
pub(crate) fn version(action: Option<&str>, own: Version) -> Outcome<Version> {
    let Some(action) = action else {
        return Ok(own);
    };
    let action = action.trim().trim_matches('"');
    if action.is_empty() || action == "urn:vim25" {
        return Ok(own);
    }
    let spoken = action
        .strip_prefix("urn:vim25/")
        .and_then(Version::parse)
        .ok_or_else(|| unknown_version(action))?;
    if spoken > own {
        return Err(unknown_version(action));
    }
    Ok(spoken)
}

fn unknown_version(action: &str) -> Box<Fault> {
    let shown: String = action.chars().take(80).collect();
    Fault::invalid_request(format!(
        "Unsupported version URI \"{shown}\"; vimServiceVersions.xml lists those that this vCenter speaks"
    ))
}

/// Answers a call.
pub(crate) async fn answer(call: &Call, body: Element) -> Reply {
    let name = body.name.clone();
    let mut token = None;
    let outcome = take(call, body, &mut token).await;
    match outcome {
        Ok((value, result)) => Reply {
            document: response(&name, value.as_ref(), result.as_ref(), call.version),
            is_fault: false,
            token,
        },
        Err(fault) => Reply {
            document: fault_document(&fault, call.version),
            is_fault: true,
            token: None,
        },
    }
}

/// What a call answers, and of which type that is.
type Answered = (Option<Value>, Option<TypeRef>);

async fn take(call: &Call, body: Element, token: &mut Option<vm_web::Token>) -> Outcome<Answered> {
    let (this, asked) = methods::asked(call, &body)?;
    let result = result_of(&this, &asked);
    if let Asked::Method(method) = &asked
        && (this.kind, method.name) == LOGIN
    {
        let (made, login) = call
            .server
            .logins
            .log_in(
                &call.vcenter.name,
                body.text_of("userName").unwrap_or_default(),
                body.text_of("password").unwrap_or_default(),
                &call.address,
            )
            .await?;
        *token = Some(made);
        return Ok((Some(login.session().into()), result));
    }
    if let Some(waiting) = methods::waiting(&this, &asked, &body) {
        return Ok((collector::wait(call, waiting).await?, result));
    }
    let call = call.clone();
    let answered = tokio::task::spawn_blocking(move || methods::answer(&call, this, &asked, &body));
    match answered.await {
        Ok(outcome) => Ok((outcome?, result)),
        Err(_panicked) => {
            let message = "an internal error stopped the request; please report it";
            Err(Fault::new("SystemError", message).with("reason", message))
        }
    }
}

/// The type of the answer.
fn result_of(this: &MoRef, asked: &Asked) -> Option<TypeRef> {
    match asked {
        Asked::Method(method) => method.result,
        Asked::Fetch(property) => {
            let field: Option<&Field> = schema().field(this.kind, property);
            field.map(|field| field.of)
        }
    }
}

fn envelope(inside: impl FnOnce(&mut Writer)) -> String {
    let mut writer = Writer::default();
    writer.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    writer.open(
        "soapenv:Envelope",
        &[
            ("xmlns:soapenv", ENVELOPE),
            ("xmlns:soapenc", "http://schemas.xmlsoap.org/soap/encoding/"),
            ("xmlns:xsd", "http://www.w3.org/2001/XMLSchema"),
            ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance"),
        ],
    );
    writer.open("soapenv:Body", &[]);
    inside(&mut writer);
    writer.close("soapenv:Body");
    writer.close("soapenv:Envelope");
    writer.finish()
}

fn response(
    method: &str,
    value: Option<&Value>,
    result: Option<&TypeRef>,
    version: Version,
) -> String {
    let name = format!("{method}Response");
    envelope(|writer| {
        writer.open(&name, &[("xmlns", VIM)]);
        if let Some(value) = value {
            value.write(writer, "returnval", result, version);
        }
        writer.close(&name);
    })
}

/// A fault as a document.
pub(crate) fn fault_document(fault: &Fault, version: Version) -> String {
    let name = format!("{}Fault", fault.kind());
    envelope(|writer| {
        writer.open("soapenv:Fault", &[]);
        writer.leaf("faultcode", &[], "ServerFaultCode");
        writer.leaf("faultstring", &[], &fault.message);
        writer.open("detail", &[]);
        writer.open(&name, &[("xmlns", VIM), ("xsi:type", fault.kind())]);
        fault.detail.write_fields(writer, version);
        writer.close(&name);
        writer.close("detail");
        writer.close("soapenv:Fault");
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_is_what_is_in_the_body() {
        let envelope = |inside: &str| {
            format!(
                "<e:Envelope xmlns:e='{ENVELOPE}'><e:Header/><e:Body>{inside}</e:Body></e:Envelope>"
            )
        };
        let call = body(envelope("<Logout xmlns='urn:vim25'/>").as_bytes()).unwrap();
        assert_eq!(call.name, "Logout");
        for bad in [
            envelope("<Logout/>"),
            envelope("<Logout xmlns='urn:vim25'/><Logout xmlns='urn:vim25'/>"),
            envelope(""),
            "<Envelope/>".to_owned(),
            String::new(),
        ] {
            assert_eq!(body(bad.as_bytes()).unwrap_err().kind(), "InvalidRequest");
        }
    }

    #[test]
    fn nobody_speaks_a_later_version_than_the_vcenter() {
        let own = Version::parse("7.0.3.0").unwrap();
        assert_eq!(version(None, own).unwrap(), own);
        assert_eq!(version(Some("\"urn:vim25\""), own).unwrap(), own);
        let older = version(Some("\"urn:vim25/6.7\""), own).unwrap();
        assert!(older < own);
        for bad in ["urn:vim25/8.0.3.0", "urn:vim25/x", "urn:vim26/6.7"] {
            assert_eq!(
                version(Some(bad), own).unwrap_err().kind(),
                "InvalidRequest"
            );
        }
    }

    #[test]
    fn a_fault_names_its_type_twice() {
        let fault = Fault::invalid_argument("spec", "no <good>");
        let text = fault_document(&fault, Version::default());
        assert!(text.contains("<InvalidArgumentFault xmlns=\"urn:vim25\" xsi:type=\"InvalidArgument\"><invalidProperty>spec</invalidProperty></InvalidArgumentFault>"));
        assert!(text.contains("<faultstring>no &lt;good&gt;</faultstring>"));
    }
}
