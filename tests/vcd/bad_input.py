"""What is wrong is answered with the right word, and changes nothing."""

from world import *

organization("acme", "vdc1=vc01")
vtpm("catalog", "add", "shelf", "--org", "acme", "--vdc", "vdc1")
client = log_in(version=NEW)
here = vdc(client)
shop = compose(client, here, "shop", "web")
web = children(shop)["web"]
token = client.get_access_token()
before = everything()


def answered(status, code, response):
    assert response.status_code == status, (response.status_code, response.text[:500])
    kind = response.headers["Content-Type"]
    if "json" in kind:
        body = response.json()
        found = body["minorErrorCode"]
        major = body.get("majorErrorCode", status)
    else:
        root = etree.fromstring(response.content)
        assert root.tag == f"{{{NAMESPACE}}}Error", root.tag
        found, major = root.get("minorErrorCode"), int(root.get("majorErrorCode"))
    assert (found, major) == (code, status), (found, major)
    assert "X-VMWARE-VCLOUD-REQUEST-ID" in response.headers
    return response.text


# Versions and formats.
answered(406, "NOT_ACCEPTABLE", raw("GET", "/api/session", token, version="5.5"))
answered(406, "NOT_ACCEPTABLE", raw("GET", "/api/session", token, version="40.0"))
answered(406, "NOT_ACCEPTABLE", raw("GET", "/api/session", token, headers={"Accept": "image/png"}))
for version in ("36.0", "36.3", "37.0", "37.1", "37.2", "37.3", "38.0", "38.1", "39.0"):
    assert raw("GET", "/api/session", token, version=version).status_code == 200
assert raw("GET", "/api/session", token, headers={"Accept": "*/*"}).status_code == 200
versions = etree.fromstring(raw("GET", "/api/versions", headers={"Accept": "*/*"}).content)
listed = [it.text for it in versions.iter(f"{{{NAMESPACE}}}Version")]
assert listed[0] == "36.0" and listed[-1] == "39.0", listed
said("versions and formats")

# Sessions.
answered(401, "UNAUTHORIZED", raw("GET", "/api/session"))
answered(401, "UNAUTHORIZED", raw("GET", "/api/session", "nonsense"))
answered(401, "UNAUTHORIZED", raw("GET", shop.href, "x" * 5000))
answered(401, "UNAUTHORIZED", raw("POST", "/api/sessions"))
answered(401, "UNAUTHORIZED", raw("POST", "/api/sessions", auth=("ann@acme", "wrong password")))
answered(401, "UNAUTHORIZED", raw("POST", "/api/sessions", auth=("ann@nobody", PASSWORD)))
answered(401, "UNAUTHORIZED", raw("POST", "/api/sessions", auth=("ann", PASSWORD)))
answered(401, "UNAUTHORIZED", raw("POST", "/cloudapi/1.0.0/sessions", kind="json", auth=("ann@acme", "wrong password")))
answered(401, "UNAUTHORIZED", raw("POST", "/cloudapi/1.0.0/sessions/provider", kind="json", auth=("ann@acme", PASSWORD)))
answered(401, "UNAUTHORIZED", raw("POST", "/api/sessions", headers={"Authorization": "Basic !!!"}))
opened = raw("POST", "/api/sessions", auth=("ann@acme", PASSWORD))
assert opened.status_code == 200 and b'org="acme"' in opened.content
old = opened.headers["x-vcloud-authorization"]
assert raw("GET", "/api/session", headers={"x-vcloud-authorization": old}).status_code == 200
shown = raw("GET", "/cloudapi/1.0.0/sessions/current", old, kind="json").json()
assert shown["user"]["name"] == "ann" and shown["org"]["name"] == "acme"
assert raw("DELETE", "/api/session", headers={"x-vcloud-authorization": old}).status_code == 204
answered(401, "UNAUTHORIZED", raw("GET", "/api/session", old))
said("sessions: none, wrong, ended")

# Paths and methods.
answered(404, "NOT_FOUND", raw("GET", "/api/nothing", token))
answered(404, "NOT_FOUND", raw("GET", "/api/vApp/vm-../../../etc/passwd", token))
answered(404, "NOT_FOUND", raw("GET", "/api/vApp/vm-1", token))
answered(404, "NOT_FOUND", raw("GET", "/cloudapi/1.0.0/nothing", token, kind="json"))
answered(405, "METHOD_NOT_ALLOWED", raw("PUT", shop.href + "/action/recomposeVApp", token, data="<a/>"))
answered(405, "METHOD_NOT_ALLOWED", raw("PATCH", "/api/org", token))
answered(405, "METHOD_NOT_ALLOWED", raw("DELETE", here.href, token))
said("paths and methods that there are not")

# Bodies.
CLONE = "application/vnd.vmware.vcloud.cloneVAppParams+xml"
href = here.href + "/action/cloneVApp"


def send(body, kind=CLONE, to=href, **more):
    return raw("POST", to, token, data=body, headers={"Content-Type": kind}, **more)


bomb = "<!DOCTYPE a [<!ENTITY a0 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12)
) + f"]><CloneVAppParams xmlns='{NAMESPACE}' name='x'><Description>&a11;</Description></CloneVAppParams>"
text = answered(400, "BAD_REQUEST", send(bomb))
assert "document type" in text
for outside in ("file:///etc/passwd", "http://127.0.0.1:1/"):
    text = answered(400, "BAD_REQUEST", send(
        f"<!DOCTYPE a [<!ENTITY x SYSTEM '{outside}'>]><CloneVAppParams xmlns='{NAMESPACE}' name='x'><Description>&x;</Description></CloneVAppParams>"))
    assert "root:" not in text
answered(400, "BAD_REQUEST", send(f"<CloneVAppParams xmlns='{NAMESPACE}'>" + "<InstantiationParams>" + "<a>" * 10000 + "</a>" * 10000 + "</InstantiationParams></CloneVAppParams>"))
answered(400, "BAD_REQUEST", send(f"<CloneVAppParams xmlns='{NAMESPACE}'>" + f"<SourcedItem><Source href='{web.get('href')}'/></SourcedItem>" * 60000 + "</CloneVAppParams>"))
answered(413, "BAD_REQUEST", send(b"<" + b"a" * (9 * 1024 * 1024)))
for body in (b"", b"<", b"{}", b"\xff\xfe", b"<CloneVAppParams>", f"<CloneVAppParams xmlns='{NAMESPACE}' name='x'/>".encode(),
             f"<CloneVAppParams xmlns='{NAMESPACE}' name='x'><Nonsense/></CloneVAppParams>".encode(),
             f"<CloneVAppParams xmlns='{NAMESPACE}' replaceTpm='true'/>".encode(), b"<ComposeVAppParams/>"):
    answered(400, "BAD_REQUEST", send(body))
source = f"<Source href='{shop.href}'/>"
for replace in ("yes", "", "TRUE", "2"):
    answered(400, "BAD_REQUEST", send(f"<CloneVAppParams xmlns='{NAMESPACE}' name='x'>{source}<SourcedItem><Source href='{web.get('href')}'/><ReplaceTpm>{replace}</ReplaceTpm></SourcedItem></CloneVAppParams>"))
answered(400, "INVALID_REFERENCE", send(f"<CloneVAppParams xmlns='{NAMESPACE}' name='x'><Source href='nowhere'/></CloneVAppParams>"))
answered(400, "INVALID_REFERENCE", send(f"<CloneVAppParams xmlns='{NAMESPACE}' name='x'><Source href='{here.href}'/></CloneVAppParams>"))
answered(400, "BAD_REQUEST", send(f"<CloneVAppParams xmlns='{NAMESPACE}' name='../x'>{source}</CloneVAppParams>"))
answered(400, "BAD_REQUEST", send(f"<CloneVAppParams xmlns='{NAMESPACE}'>{source}</CloneVAppParams>"))
answered(400, "DUPLICATE_NAME", send(f"<CloneVAppParams xmlns='{NAMESPACE}' name='shop'>{source}</CloneVAppParams>"))
answered(415, "UNSUPPORTED_MEDIA_TYPE", send("<a/>", "application/vnd.vmware.vcloud.moveVAppParams+xml"))
answered(415, "UNSUPPORTED_MEDIA_TYPE", send("<a/>", "text/plain"))
answered(400, "BAD_REQUEST", send("[" * 100000, "application/vnd.vmware.vcloud.cloneVAppParams+json"))
answered(400, "BAD_REQUEST", send('{"name":"x","nonsense":1}', "application/vnd.vmware.vcloud.cloneVAppParams+json"))
said("bombs, external entities, depth, size, nonsense")

# Queries.
query = "/api/query?type=vm&"
for bad in ("filter=nothing==1", "filter=name", "filter=" + "(" * 100, "filter=" + ",".join(["name==a"] * 200), "filter=name==" + "a" * 20000,
            "page=0", "page=x", "pageSize=100000", "sortAsc=nothing", "fields=nothing", "format=pictures", "filter=name==%ff"):
    answered(400, "BAD_REQUEST", raw("GET", query + bad, token))
answered(400, "BAD_REQUEST", raw("GET", "/api/query?type=nothing", token))
found = raw("GET", query + "page=99999999999&pageSize=128", token)
assert found.status_code == 200 and b'total="1"' in found.content
said("queries that are none, or too much")

# A host name that is none does not come back in documents.
text = answered(400, "BAD_REQUEST", raw("GET", "/api/session", token, headers={"Host": "a\"><b"}))
assert everything() == before
said("nothing has changed")

# The same request in JSON.
body = {"name": "by-json", "source": {"href": shop.href}, "sourcedItem": [{"source": {"href": web.get("href")}, "replaceTpm": True}]}
answer = raw("POST", href, token, kind="json", json=body, headers={"Content-Type": "application/vnd.vmware.vcloud.cloneVAppParams+json"})
assert answer.status_code == 201, answer.text
task = answer.json()["tasks"]["task"][0]
assert answer.json()["name"] == "by-json" and task["status"] in ("queued", "running", "success")
client.get_task_monitor().wait_for_success(client.get_resource(task["href"]), poll_frequency=0.1)
made = raw("GET", answer.json()["href"], token, kind="json").json()
assert made["children"]["vm"][0]["trustedPlatformModule"]["tpmPresent"] is True
assert made["type"] == "application/vnd.vmware.vcloud.vApp+json" and isinstance(made["status"], int)
sections = {section["_type"] for section in made["children"]["vm"][0]["section"]}
assert "VmSpecSectionType" in sections
found = raw("GET", "/api/query?type=vApp&filter=name==by-json", token, kind="json").json()
assert found["total"] == 1 and found["record"][0]["name"] == "by-json"
answer = raw("POST", made["children"]["vm"][0]["href"] + "/action/editTrustedPlatformModule", token, kind="json", json={"tpmPresent": False},
             headers={"Content-Type": "application/vnd.vmware.vcloud.TpmSection+json"})
assert answer.status_code == 202, answer.text
client.get_task_monitor().wait_for_success(client.get_resource(answer.json()["href"]), poll_frequency=0.1)
assert raw("GET", made["children"]["vm"][0]["href"] + "/trustedPlatformModule", token, kind="json").json()["tpmPresent"] is False
said("bodies in JSON")
