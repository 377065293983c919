//! Somebody with a browser that runs no scripts: curl and a cookie.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::web::{Answer, Web};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A session of the pages.
pub(crate) struct Visitor<'a> {
    web: &'a Web,
    pub(crate) cookie: String,
}

/// A request of a page, with what a browser says of it in `headers`; `fields` make it a form that is posted.
pub(crate) fn request(
    web: &Web,
    path: &str,
    headers: &[&str],
    fields: Option<&[(&str, &str)]>,
) -> Answer {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let file = |kind: &str| web.home.path().join(format!("page-{number}.{kind}"));
    let mut curl = web.curl();
    curl.args(["--write-out", "%{http_code}", "--output"])
        .arg(file("body"))
        .arg("--dump-header")
        .arg(file("head"));
    for header in headers {
        curl.args(["--header", header]);
    }
    for (name, value) in fields.unwrap_or_default() {
        curl.args(["--data-urlencode", &format!("{name}={value}")]);
    }
    if fields.is_some_and(<[_]>::is_empty) {
        curl.args(["--data", ""]);
    }
    let output = curl
        .arg(format!("{}{path}", web.url))
        .output()
        .expect("curl");
    let status = String::from_utf8_lossy(&output.stdout).trim().parse();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let head = fs::read_to_string(file("head")).unwrap_or_default();
    let mut all = BTreeMap::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        all.insert(name.to_lowercase(), value.trim().to_owned());
    }
    Answer {
        status: status.unwrap_or_else(|error| panic!("{path}: {error}: {said}")),
        headers: all,
        text: fs::read_to_string(file("body")).unwrap_or_default(),
    }
}

impl<'a> Visitor<'a> {
    /// Logs in by the form.
    pub(crate) fn log_in(web: &'a Web, user: &str, password: &str) -> Self {
        let answer = request(
            web,
            "/ui/login",
            &[],
            Some(&[("user", user), ("password", password)]),
        );
        assert_eq!(answer.status, 303, "{}", answer.text);
        let cookie = &answer.headers["set-cookie"];
        let (cookie, attributes) = cookie.split_once("; ").expect("attributes");
        assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Strict");
        assert!(cookie.starts_with("__Host-"), "{cookie}");
        Self {
            web,
            cookie: format!("Cookie: {cookie}"),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        request(self.web, path, &[&self.cookie], None)
    }

    /// A page that there is.
    pub(crate) fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.text
    }

    /// The token that forms of this session carry, as a page has it.
    pub(crate) fn form_token(&self) -> String {
        let page = self.page("/ui/events");
        let (_, rest) = page
            .split_once("name=\"form_token\" value=\"")
            .expect("a form");
        rest.split('"').next().expect("a token").to_owned()
    }

    /// Posts a form of this session.
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.form_token();
        let mut all = vec![("form_token", token.as_str())];
        all.extend(fields);
        request(self.web, path, &[&self.cookie], Some(&all))
    }

    /// Posts the last step of an operation, and waits for the end of its task, as the page tells of it.
    pub(crate) fn done(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let mut all = vec![("step", "start")];
        all.extend(fields);
        let answer = self.post(path, &all);
        assert_eq!(answer.status, 303, "{path}: {}", answer.text);
        let task = answer.headers["location"].clone();
        assert!(task.starts_with("/ui/tasks/"), "{task}");
        let page = crate::support::wait_for("the end of a task", || {
            let page = self.page(&task);
            // A page that is to change loads itself again where no scripts run.
            let ended = !page.contains("http-equiv=\"refresh\"");
            ended.then_some(page)
        });
        assert!(
            page.contains("<span class=\"badge good\">success</span>"),
            "{path}: {page}"
        );
        page
    }
}
