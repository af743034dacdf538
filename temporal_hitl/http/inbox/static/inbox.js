// Makes the pages live: nothing here decides, and nothing here is needed to decide.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

function span(seconds) {
  let left = Math.floor(Math.abs(seconds));
  const parts = [];
  for (const [unit, size] of UNITS) {
    const count = Math.floor(left / size);
    left %= size;
    if (count || (unit === "s" && !parts.length)) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, 2).join(" ");
}

function tick() {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[data-age], time[data-due]")) {
    const seconds = (Date.parse(time.dateTime) - now) / 1000;
    const form = seconds < 0 ? document.body.dataset.overdue : document.body.dataset.in;
    const text = "due" in time.dataset ? form.replace("{span}", span(seconds)) : span(Math.min(seconds, 0));
    if (time.textContent !== text) time.textContent = text;
    if ("due" in time.dataset && seconds < 0) time.closest("tr, dd")?.classList.add("late");
  }
}

// The page that is shown, as it is now; nothing where that cannot be had.
async function again() {
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok || response.redirected) return null;
    return new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    return null; // The next event comes with the connection.
  }
}

// The list: what changes is shown at once, and what is selected stays so.

let coming = null;

async function renew() {
  coming = null;
  const shown = document.getElementById("live");
  const page = await again();
  const fresh = page?.getElementById("live");
  if (!fresh) return;
  for (const box of shown.querySelectorAll("input[name=row]:checked")) {
    const same = find(fresh, "input[name=row]", (each) => each.value === box.value);
    if (same) same.checked = true;
  }
  const written = new Map([...shown.querySelectorAll("fieldset.bulk input")].map((each) => [each.name, each.value]));
  for (const each of fresh.querySelectorAll("fieldset.bulk input")) each.value = written.get(each.name) ?? "";
  const at = document.activeElement;
  const same = shown.contains(at) && place(at);
  shown.dataset.events = fresh.dataset.events;
  document.querySelector(".counts").replaceChildren(...page.querySelector(".counts").childNodes);
  shown.replaceChildren(...fresh.childNodes);
  document.title = page.title;
  if (same) find(shown, "a, input, button", (each) => place(each) === same)?.focus();
  picked();
  tick();
}

function place(element) {
  return element.id || element.getAttribute("href") || `${element.name} ${element.value}`;
}

function find(within, selector, fits) {
  return [...within.querySelectorAll(selector)].find(fits);
}

// Several at once: how many are selected, and all of a page.

function boxes() {
  return [...document.querySelectorAll("input[name=row]")];
}

function picked() {
  const all = document.getElementById("all");
  if (!all) return;
  const count = boxes().filter((each) => each.checked).length;
  all.hidden = false;
  all.checked = count > 0 && count === boxes().length;
  all.indeterminate = count > 0 && count < boxes().length;
  document.getElementById("picked").textContent = count ? `(${count})` : "";
}

document.addEventListener("change", (event) => {
  if (event.target.id === "all") for (const each of boxes()) each.checked = event.target.checked;
  if (event.target.matches("#all, input[name=row]")) picked();
});

function soon() {
  coming ??= setTimeout(renew, 100);
}

// A question: where somebody else decides meanwhile, the page says who and what.

async function decided(event) {
  const answers = document.getElementById("answers");
  const told = JSON.parse(event.data);
  if (told.run_id !== answers.dataset.run || told.id !== answers.dataset.requirement) return;
  const verdict = (await again())?.querySelector(".verdict");
  if (!verdict || document.querySelector(".verdict")) return;
  const notice = document.createElement("div");
  notice.className = "notice";
  notice.setAttribute("role", "alert");
  notice.append(document.adoptNode(verdict));
  answers.prepend(notice);
  for (const button of answers.querySelectorAll("button")) button.disabled = true;
}

// A browser has few connections to one server: pages that nobody sees keep none.

const live = document.querySelector("[data-events]");
let events = null;

function listen() {
  if (document.hidden) {
    events?.close();
    events = null;
  } else if (!events) {
    events = new EventSource(live.dataset.events);
    if (live.id === "answers") events.addEventListener("closed", decided);
    else for (const name of ["opened", "closed", "lost", "unavailable", "available"]) events.addEventListener(name, soon);
  }
}

// The keyboard.

function rows() {
  return [...document.querySelectorAll(".rows .message a")];
}

function move(step) {
  const all = rows();
  const at = all.findIndex((each) => each.closest("tr").contains(document.activeElement));
  all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1)]?.focus();
}

function box() {
  return document.activeElement?.closest("tr")?.querySelector("input[name=row]");
}

function go(...ids) {
  const here = box();
  if (here) here.checked = true;
  picked();
  ids.map((id) => document.getElementById(id)).find(Boolean)?.focus();
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  x: () => box()?.click(),
  c: () => go("confirm"),
  r: () => go("reject-feedback", "feedback"),
  n: () => document.querySelector("a[rel=next]")?.click(),
  u: () => document.querySelector("a.home").click(),
  "/": () => document.getElementById("search")?.focus(),
  "?": () => document.getElementById("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input:not([type=checkbox], [type=radio]), textarea, select")) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

if (live) {
  document.addEventListener("visibilitychange", listen);
  listen();
}
setInterval(tick, 1000);
tick();
picked();
