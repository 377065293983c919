//! A headless browser (Debian's chromium and chromium-driver), and what is looked at in every page.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use super::{PATIENCE, PATIENCE_IN_SECONDS, PortPair, finish, wait_for};

/// Keys as WebDriver has them.
pub(crate) const TAB: &str = "\u{E004}";
pub(crate) const ENTER: &str = "\u{E007}";
pub(crate) const DOWN: &str = "\u{E015}";

/// A browser, driven by the WebDriver protocol.
pub(crate) struct Browser {
    driver: Child,
    base: String,
    folder: PathBuf,
    _ports: PortPair,
}

impl Browser {
    /// Starts one whose files are in `folder`. It takes the certificates that daemons make for themselves.
    pub(crate) fn start(folder: &Path) -> Self {
        let ports = PortPair::claim();
        let port = ports.first;
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .env("HOME", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver (Debian: chromium-driver)");
        let mut browser = Self {
            driver,
            base: format!("http://127.0.0.1:{port}"),
            folder: folder.to_owned(),
            _ports: ports,
        };
        wait_for("chromedriver", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        // The driver's own limits are a minute for the browser's start and half of that for a script.
        let patience = PATIENCE.as_millis();
        let options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                format!("--user-data-dir={}", folder.join("profile").display()),
            ],
            "browserStartupTimeout": patience,
        });
        let logged = json!({"browser": "ALL"});
        let limits = json!({"script": patience, "pageLoad": patience});
        let wanted = json!({
            "goog:chromeOptions": options, "goog:loggingPrefs": logged, "acceptInsecureCerts": true, "timeouts": limits,
        });
        let session = browser.post(
            "/session",
            &json!({"capabilities": {"alwaysMatch": wanted}}),
        );
        let id = session["sessionId"].as_str().expect("a session").to_owned();
        browser.base = format!("{}/session/{id}", browser.base);
        browser
    }

    /// A command of the protocol.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.try_post(path, body);
        assert!(answer["error"].is_null(), "{path}: {answer}");
        answer
    }

    fn try_post(&self, path: &str, body: &Value) -> Value {
        let file = self.folder.join("browser.json");
        fs::write(&file, body.to_string()).expect("written");
        let output = Command::new("curl")
            .args(["-sS", "--max-time", PATIENCE_IN_SECONDS, "-X", "POST"])
            .args(["-H", "content-type: application/json", "--data-binary"])
            .arg(format!("@{}", file.display()))
            .arg(format!("{}{path}", self.base))
            .output()
            .expect("curl");
        let said = finish(path, output);
        let answer: Value = serde_json::from_str(&said).expect("JSON");
        answer["value"].clone()
    }

    /// Opens an address.
    pub(crate) fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    /// Runs a script in the page and gives what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until a script returns something that is true. The page may go away under it.
    pub(crate) fn wait_until(&self, what: &str, script: &str) {
        wait_for(what, || {
            let answer = self.try_post("/execute/sync", &json!({"script": script, "args": []}));
            (answer == json!(true)).then_some(())
        });
    }

    /// Types keys, wherever the focus is.
    pub(crate) fn keys(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()}))
            })
            .collect();
        let keyboard = json!({"type": "key", "id": "keys", "actions": actions});
        self.post("/actions", &json!({"actions": [keyboard]}));
    }

    /// What the browser complained of since the last time: scripts that failed, and what the policy of a page refused.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    /// How wide the window is, and which colours its user likes.
    pub(crate) fn look(&self, width: u32, height: u32, scheme: &str) {
        let command = |cmd: &str, params: Value| {
            self.post("/goog/cdp/execute", &json!({"cmd": cmd, "params": params}));
        };
        command(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}),
        );
        command(
            "Emulation.setEmulatedMedia",
            json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
        );
    }

    /// A picture of the whole page, kept in a folder of the build's.
    pub(crate) fn screenshot(&self, folder: &str, name: &str) {
        let answer = self.post(
            "/goog/cdp/execute",
            &json!({"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": true}}),
        );
        let bytes = STANDARD
            .decode(answer["data"].as_str().expect("base64"))
            .expect("base64");
        assert!(bytes.starts_with(b"\x89PNG"), "{name}");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(name), bytes).expect("written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.driver), Signal::KILL);
        let _ = self.driver.wait();
    }
}

/// The worst contrast of a text with what is behind it (WCAG 2.2, 1.4.3), of all texts that can be seen.
pub(crate) const WORST_CONTRAST: &str = r#"
const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
const part = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = c => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length && c[3] !== 0) return c; } return [255, 255, 255]; };
let worst = [99, ''];
for (const e of document.querySelectorAll('a,h1,h2,h3,p,li,td,th,dt,dd,code,span,summary,label,legend,figcaption,strong,button,select,input,time')) {
  if (!e.checkVisibility() || !(e.textContent.trim() || e.value) || e.closest('.unseen, svg')) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < worst[0]) worst = [contrast, e.outerHTML.slice(0, 80)];
}
return worst;
"#;

/// What keeps people from using a page: fields, links and pictures without a name, headings out of order, more or less than one main
/// heading and region, ids that are there twice, what comes from elsewhere, and what is wider than the window.
pub(crate) const BARRIERS: &str = r##"
const found = [];
const note = (what, e) => found.push(what + ': ' + (e.outerHTML || e).slice(0, 120));
const named = e => (e.getAttribute('aria-label') || '').trim() || e.textContent.trim()
  || (e.getAttribute('aria-labelledby') || '').split(' ').some(id => document.getElementById(id)?.textContent.trim());
for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea, progress'))
  if (!named(e) && !(e.labels && [...e.labels].some(label => label.textContent.trim()))) note('a field without a label', e);
for (const e of document.querySelectorAll('a, button, summary, [role=region], nav')) if (!named(e)) note('without a name', e);
for (const e of document.querySelectorAll('svg')) if (e.getAttribute('aria-hidden') !== 'true' && !e.getAttribute('aria-label')) note('a picture without a name', e);
for (const e of document.querySelectorAll('[aria-labelledby], [aria-describedby]'))
  for (const id of ((e.getAttribute('aria-labelledby') || '') + ' ' + (e.getAttribute('aria-describedby') || '')).split(' '))
    if (id && !document.getElementById(id)) note('names an id that is not there', e);
for (const e of document.querySelectorAll('fieldset')) if (!e.querySelector('legend')) note('a group without a legend', e);
let level = 0;
for (const e of document.querySelectorAll('h1,h2,h3,h4')) {
  const own = Number(e.tagName[1]);
  if (own > level + 1) note('a heading out of order', e);
  level = own;
}
for (const what of ['h1', 'main', 'header', 'title', 'html[lang]']) if (document.querySelectorAll(what).length !== 1) note('not one', what);
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) note('an id twice', id);
for (const e of document.querySelectorAll('[tabindex]')) if (Number(e.getAttribute('tabindex')) > 0) note('out of the order of focus', e);
if (!document.querySelector('a.skip[href="#content"]')) note('nothing to skip with', document.body);
for (const entry of performance.getEntriesByType('resource')) if (new URL(entry.name).origin !== location.origin) note('from elsewhere', entry.name);
if (document.documentElement.scrollWidth > innerWidth) note('wider than the window', String(document.documentElement.scrollWidth));
return found;
"##;
