//! The page of the demonstration in a headless browser (Debian's chromium and chromium-driver): what it shows, light and dark, on a
//! desk and on a phone.

use std::fs;
use std::io::BufRead as _;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::support::{PortPair, Process, VTPM, finish, folder, only_for_vtpm, wait_for};

/// A browser, driven by the WebDriver protocol.
struct Browser {
    driver: Child,
    base: String,
    folder: std::path::PathBuf,
    _ports: PortPair,
}

impl Browser {
    fn start(folder: &Path) -> Self {
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
        let options = json!({"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            format!("--user-data-dir={}", folder.join("profile").display()),
        ]});
        let session = browser.post(
            "/session",
            &json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}),
        );
        let id = session["sessionId"].as_str().expect("a session").to_owned();
        browser.base = format!("{}/session/{id}", browser.base);
        browser
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask(path, body);
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].clone()
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let file = self.folder.join("browser.json");
        fs::write(&file, body.to_string()).expect("written");
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "120", "-X", "POST"])
            .args(["-H", "content-type: application/json", "--data-binary"])
            .arg(format!("@{}", file.display()))
            .arg(format!("{}{path}", self.base))
            .output()
            .expect("curl");
        let said = finish(path, output);
        serde_json::from_str(&said).expect("JSON")
    }

    /// Runs a script in the page and gives what it returns.
    fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text of an element that there is once; nothing while the page changes.
    fn try_text(&self, what: &str) -> Option<String> {
        let script = format!("return document.querySelector('{what}').textContent");
        let answer = self.ask("/execute/sync", &json!({"script": script, "args": []}));
        answer["value"].as_str().map(str::to_owned)
    }

    /// How wide the window is, and which colours its user likes.
    fn look(&self, width: u32, height: u32, scheme: &str) {
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

    /// A picture of the whole page.
    fn screenshot(&self, name: &str) {
        let answer = self.post(
            "/goog/cdp/execute",
            &json!({"cmd": "Page.captureScreenshot", "params": {"captureBeyondViewport": true}}),
        );
        let bytes = STANDARD
            .decode(answer["data"].as_str().expect("base64"))
            .expect("base64");
        assert!(bytes.starts_with(b"\x89PNG"), "{name}");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
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

/// Presses a key where the focus is.
fn press(browser: &Browser, key: char) {
    browser.post(
        "/actions",
        &json!({"actions": [{"type": "key", "id": "keys", "actions": [
            {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}
        ]}]}),
    );
}

/// The worst contrast of a text with what is behind it (WCAG 2.2, 1.4.3), of all texts that can be seen.
const WORST_CONTRAST: &str = r#"
const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
const part = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = c => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length && c[3] !== 0) return c; } return [255, 255, 255]; };
let worst = [99, ''];
for (const e of document.querySelectorAll('h1,h2,p,li,td,th,code,span,summary,label,figcaption,strong,button,select')) {
  if (!e.checkVisibility() || !e.textContent.trim()) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < worst[0]) worst = [contrast, e.outerHTML.slice(0, 80)];
}
return worst;
"#;

#[test]
fn the_page_tells_the_story_light_and_dark_and_on_a_phone() {
    if only_for_vtpm("it is our own story") {
        return;
    }
    let home = folder();
    let mut demo = Process::start(
        Command::new(VTPM)
            .args(["attest", "demo", "--serve", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped()),
    );
    let mut line = String::new();
    demo.stdout().read_line(&mut line).expect("a line");
    let address = line
        .trim()
        .rsplit(' ')
        .next()
        .expect("an address")
        .to_owned();
    let browser = Browser::start(home.path());
    let count = |what: &str| {
        let script = format!("return document.querySelectorAll('{what}').length");
        browser.run(&script).as_u64().expect("a number")
    };
    let text = |what: &str| {
        let script = format!(
            "return [...document.querySelectorAll('{what}')].map(e => e.textContent).join('|')"
        );
        browser.run(&script).as_str().expect("text").to_owned()
    };
    let open = |path: &str| browser.post("/url", &json!({"url": format!("{address}{path}")}));
    // The story is told from the start on, and the page follows it by itself until it ends.
    open("");
    wait_for("the end of the story", || browser.try_text(".ending"));
    let told = text(".lead");
    open("");
    assert_eq!(text(".lead"), told, "a look at it tells nothing anew");
    assert_eq!(text(".telling"), "1");
    for (telling, (profile, changed)) in [
        ("linux", "PCR 4|PCR 9"),
        ("windows", "PCR 4|PCR 11"),
        ("systemd-boot", "PCR 4|PCR 11"),
    ]
    .into_iter()
    .enumerate()
    {
        if telling > 0 {
            // Asked for, by the keyboard.
            browser.run(&format!(
                "document.querySelector('select').value = '{profile}'; document.querySelector('button').focus()"
            ));
            press(&browser, '\u{E007}');
            wait_for("another telling", || {
                browser
                    .try_text(".telling")
                    .filter(|shown| *shown == (telling + 1).to_string())
            });
        }
        assert_eq!(
            browser.run("return document.querySelector('select').value"),
            json!(profile)
        );
        assert_eq!(text("title"), "What a TPM proves - vtpm");
        assert_eq!(text(".ending"), "Every step ended as it must.");
        assert_eq!(
            count(".step"),
            count(".step.trusted") + count(".step.refused")
        );
        assert_eq!(count(".step.refused"), 7);
        // The pictures: from the root to the quote, the registers that changed, the changed line, the twins.
        assert_eq!(count(".chain li"), 5);
        let numbers = text(".pcr.changed .number");
        assert!(
            changed
                .split('|')
                .any(|pcr| numbers.split('|').any(|it| it == pcr)),
            "{profile}: {numbers}"
        );
        assert!(count(".pcr:not(.changed)") > 10);
        assert!(count(".log tr.is") >= 1 && count(".log tr.was") >= 1);
        assert_eq!(count(".twins circle.alarm"), 1);
        assert_eq!(text(".twins .lane"), "web01|web01-copy");
        // The style came, and nothing of the page was refused.
        assert_eq!(
            browser.run("return document.styleSheets[0].cssRules.length > 20"),
            json!(true)
        );
    }
    // What is folded opens, also by the keyboard.
    browser.run("document.querySelector('summary').focus()");
    press(&browser, '\u{E007}');
    assert_eq!(
        browser.run("return document.querySelector('details').open"),
        json!(true)
    );
    let mut papers = Vec::new();
    for (width, height, scheme, name) in [
        (1200, 900, "light", "desk-light.png"),
        (1200, 900, "dark", "desk-dark.png"),
        (360, 780, "light", "phone-light.png"),
        (360, 780, "dark", "phone-dark.png"),
    ] {
        browser.look(width, height, scheme);
        let wide = browser.run("return document.documentElement.scrollWidth");
        assert!(
            wide.as_u64().expect("a number") <= u64::from(width),
            "{name}: {wide}"
        );
        let worst = browser.run(WORST_CONTRAST);
        assert!(
            worst[0].as_f64().expect("a number") >= 4.5,
            "{name}: {worst}"
        );
        papers.push(browser.run("return getComputedStyle(document.body).backgroundColor"));
        browser.screenshot(name);
    }
    assert_eq!((&papers[0], &papers[1]), (&papers[2], &papers[3]));
    assert_ne!(papers[0], papers[1], "dark is another paper");
    // A profile that there is not is refused in words, and so is a form of another page.
    let form = |header: &str, profile: &str| {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "60", "-w", "\n%{http_code}"])
            .args(["-H", header, "-d", &format!("profile={profile}")])
            .arg(format!("{address}again"))
            .output()
            .expect("curl");
        finish("curl", output)
    };
    let refused = form("sec-fetch-site: same-origin", "os2");
    assert!(refused.contains("could not be told"), "{refused}");
    assert!(refused.ends_with("\n400"), "{refused}");
    let refused = form("sec-fetch-site: cross-site", "linux");
    assert!(refused.ends_with("\n403"), "{refused}");
    open("");
    assert_eq!(text(".telling"), "3");
    drop(browser);
    let ended = demo.terminate();
    assert!(ended.success(), "{ended}");
}
