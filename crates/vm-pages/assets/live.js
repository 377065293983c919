// Makes pages live. Everything works without it: links, forms, and pages that load themselves again while a task runs.
"use strict";

const said = document.getElementById("said");

/** Lets a screen reader say something, without moving anybody. */
function say(text) {
  if (said && said.textContent !== text) said.textContent = text;
}

/** A button beside each line that people copy. */
for (const line of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy " + line.dataset.copy);
  button.addEventListener("click", async () => {
    const text = line.querySelector("code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      say("Copied " + line.dataset.copy);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(line.querySelector("code"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected: copy it";
    }
  });
  line.append(button);
}

const ENDED = ["success", "error", "canceled"];

/** Takes the part of the page that changes from a fresh copy of it, and leaves the focus where it is. */
async function renew() {
  const live = document.getElementById("live");
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok || new URL(answer.url).pathname !== location.pathname) return location.reload();
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
  if (!fresh) return location.reload();
  const focused = live.contains(document.activeElement);
  const address = focused ? document.activeElement.getAttribute("href") : null;
  live.replaceWith(document.importNode(fresh, true));
  if (!focused) return;
  const now = document.getElementById("live");
  const same = address && now.querySelector('a[href="' + CSS.escape(address) + '"]');
  (same || now.querySelector("a, button") || document.getElementById("content")).focus();
}

/** One task: its bar moves; what came of it replaces the whole. */
function show(task) {
  document.getElementById("progress").value = task.progress;
  document.getElementById("step").textContent = task.step;
  const badge = document.querySelector("#status .badge");
  if (badge) badge.textContent = task.status;
  say(task.operation.replaceAll("_", " ") + ": " + task.status + ", " + task.progress + " per cent, " + task.step);
}

const live = document.getElementById("live");
if (live && live.dataset.live) {
  const one = live.dataset.live === "task" ? live.dataset.task : null;
  const source = new EventSource("/ui/tasks/events");
  let waiting = null;
  const soon = () => {
    if (waiting === null) waiting = setTimeout(() => { waiting = null; renew(); }, 250);
  };
  // It may have ended between the page and the first event.
  source.addEventListener("open", soon);
  source.addEventListener("task", (event) => {
    const task = JSON.parse(event.data);
    if (one === null) return soon();
    if (task.id !== one) return;
    show(task);
    if (ENDED.includes(task.status)) {
      source.close();
      soon();
    }
  });
  addEventListener("pagehide", () => source.close());
}
