//! A whole operation with keys alone, and a task whose page goes on by itself.

use serde_json::json;

use crate::looks::visit;
use crate::support::browser::{Browser, DOWN, ENTER, TAB};
use crate::support::web::{ADMINISTRATOR, Web};

/// Goes on with Tab until what has the focus fits; everything on the way shows that it has it.
fn tab_to(browser: &Browser, what: &str, script: &str) {
    for _ in 0..80 {
        browser.keys(TAB);
        let shown = browser.run(
            "const e = document.activeElement; if (e === document.body) return true;
             const style = getComputedStyle(e); return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;",
        );
        assert_eq!(
            shown,
            json!(true),
            "the focus cannot be seen on the way to {what}"
        );
        if browser.run(&format!(
            "const e = document.activeElement; return {script};"
        )) == json!(true)
        {
            return;
        }
    }
    panic!("no {what} by Tab");
}

#[test]
fn a_vm_is_cloned_with_keys_alone_and_its_task_is_followed() {
    let Some(web) = Web::new() else {
        return;
    };
    let token = web.token(ADMINISTRATOR, &web.password);
    let browser = visit(&web, ADMINISTRATOR, &web.password);
    // The first stop leads past the head of the page.
    browser.keys(TAB);
    assert_eq!(
        browser.run("return document.activeElement.className"),
        json!("skip")
    );
    browser.keys(ENTER);
    browser.wait_until(
        "the content",
        "return location.hash === '#content' && document.activeElement.id === 'content'",
    );
    tab_to(&browser, "the VM", "e.textContent === 'demo'");
    browser.keys(ENTER);
    browser.wait_until("the VM's page", "return document.title === 'demo - vtpm'");
    tab_to(&browser, "«Clone»", "e.textContent === 'Clone'");
    browser.keys(ENTER);
    browser.wait_until("the form", "return !!document.querySelector('#field-name')");
    tab_to(&browser, "the name", "e.id === 'field-name'");
    browser.keys("by-keys");
    tab_to(&browser, "the choice", "e.value === 'copy'");
    browser.keys(DOWN);
    assert_eq!(
        browser.run("return document.activeElement.value"),
        json!("replace")
    );
    tab_to(&browser, "«Preview»", "e.textContent === 'Preview'");
    browser.keys(ENTER);
    browser.wait_until("the preview", "return !!document.querySelector('#preview')");
    let lost = browser.run(
        "return [...document.querySelectorAll('td .badge')].map(e => e.textContent).join(' ')",
    );
    assert_eq!(lost, json!("replace lost lost lost lost"), "{lost}");
    // The button that does it has the focus already.
    browser.wait_until(
        "the focus",
        "return document.activeElement.textContent === 'Clone it'",
    );
    browser.keys(ENTER);
    browser.wait_until(
        "the task",
        "return location.pathname.startsWith('/ui/tasks/')",
    );
    browser.wait_until(
        "the end of the task",
        "return document.querySelector('#status .badge').textContent === 'success' && !document.querySelector('#live').dataset.live",
    );
    tab_to(&browser, "the clone", "e.textContent === 'Show by-keys'");
    browser.keys(ENTER);
    browser.wait_until(
        "the clone's page",
        "return document.title === 'by-keys - vtpm'",
    );
    assert_eq!(
        web.get(&token, "/v1/vms/by-keys")["tpm"]["origin"],
        "replace"
    );

    // A list of tasks goes on by itself: the page is the same, its contents are not.
    browser.open(&format!("{}/ui/tasks", web.url));
    browser.run("window.stays = true");
    web.done(
        &token,
        "POST",
        "/v1/vms/by-keys/snapshots",
        &json!({"name": "seen"}),
    );
    browser.wait_until(
        "the task in the list",
        "return window.stays === true && document.querySelector('#live td').textContent === 'take snapshot'",
    );
    // What goes on is told to whoever does not see it.
    let told = browser
        .run("const e = document.querySelector('#said'); return e.getAttribute('aria-live')");
    assert_eq!(told, json!("polite"));
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}
