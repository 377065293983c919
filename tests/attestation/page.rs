//! The page of the demonstration in a headless browser (Debian's chromium and chromium-driver): what it shows, light and dark, on a
//! desk and on a phone.

use std::io::BufRead as _;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::browser::{Browser, WORST_CONTRAST};
use crate::support::{PATIENCE_IN_SECONDS, Process, VTPM, finish, folder, only_for_vtpm};

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
    let open = || browser.open(&address);
    // The story is told from the start on, and the page follows it by itself until it ends.
    open();
    browser.wait_until(
        "the end of the story",
        "return document.querySelector('.ending') !== null",
    );
    let told = text(".lead");
    open();
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
            browser.keys("\u{E007}");
            browser.wait_until(
                "another telling",
                &format!(
                    "return document.querySelector('.telling').textContent === '{}'",
                    telling + 1
                ),
            );
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
    browser.keys("\u{E007}");
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
        browser.screenshot("screenshots", name);
    }
    assert_eq!((&papers[0], &papers[1]), (&papers[2], &papers[3]));
    assert_ne!(papers[0], papers[1], "dark is another paper");
    // A profile that there is not is refused in words, and so is a form of another page.
    let form = |header: &str, profile: &str| {
        let output = Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                PATIENCE_IN_SECONDS,
                "-w",
                "\n%{http_code}",
            ])
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
    open();
    assert_eq!(text(".telling"), "3");
    drop(browser);
    let ended = demo.terminate();
    assert!(ended.success(), "{ended}");
}
