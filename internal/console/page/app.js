// The console: signs in, keeps the stream of live numbers, and shows one page at a time.
import { follow, hello, onSignedOut, signIn, signOut } from "./api.js";
import { dialog, errorBox, h, note, num, put, setClass, span } from "./ui.js";
import { live, remember } from "./live.js";
import { players } from "./players.js";
import { forget, methods } from "./methods.js";
import { tasks } from "./tasks.js";
import { warnings } from "./warnings.js";

const $ = (id) => document.getElementById(id);
const pages = { live, players, api: methods, tasks, warnings };
const model = { columns: [], points: [], tick: null };
let page = null, shown = "", stream = null, who = null, started = null, warned = null, drainAt = 0;

// ---- theme ----
const themes = ["auto", "light", "dark"];
function theme() { return document.documentElement.dataset.theme || "auto"; }
function setTheme(next) {
  if (next === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = next;
  try { if (next === "auto") localStorage.removeItem("theme"); else localStorage.setItem("theme", next); } catch { /* storage is off */ }
  showTheme();
}
function showTheme() {
  const names = { auto: "Auto", light: "Light", dark: "Dark" };
  put($("theme"), names[theme()]);
  $("theme").setAttribute("aria-label", "Theme: " + (theme() === "auto" ? "as the system" : theme()));
  if (page && page.theme) page.theme();
}
$("theme").onclick = () => setTheme(themes[(themes.indexOf(theme()) + 1) % 3]);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);

// ---- keyboard ----
function useKeys() { try { return localStorage.getItem("keys") !== "off"; } catch { return true; } }
async function showKeys() {
  const row = (keys, text) => [h("dt", {}, keys.map((k) => h("kbd", {}, k))), h("dd", {}, text)];
  const on = h("input", { type: "checkbox", checked: useKeys() });
  on.addEventListener("change", () => { try { localStorage.setItem("keys", on.checked ? "on" : "off"); } catch { /* storage is off */ } });
  await dialog("Keyboard", h("div", { class: "form" }, h("dl", { class: "facts" },
    row(["1"], "live numbers"), row(["2"], "players"), row(["3"], "API"), row(["4"], "tasks"), row(["5"], "warnings"),
    row(["/"], "search on this page"), row(["t"], "light, dark, or as the system"), row(["?"], "this list"), row(["Esc"], "close a dialog")),
  h("p", { class: "muted" }, "Tables sort by the buttons in their heads; everything can be reached with Tab."), h("label", {}, on, "Use these keys")));
}
$("keys").onclick = showKeys;
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || !useKeys() || document.querySelector("dialog[open]")) return;
  if (e.target.closest("input:not([type=checkbox]), textarea, select")) { if (e.key === "Escape") e.target.blur(); return; }
  const links = [...document.querySelectorAll("#nav a")];
  if (/^[1-5]$/.test(e.key) && !$("nav").hidden && !links[e.key - 1].hidden) { location.hash = links[e.key - 1].hash; e.preventDefault(); }
  if (e.key === "t") $("theme").click();
  if (e.key === "?") showKeys();
  if (e.key === "/" && page && page.search) { const s = page.search(); (s.focus ? s : s.el).focus(); e.preventDefault(); }
});
document.querySelector(".skip").addEventListener("click", (e) => { e.preventDefault(); $("main").focus(); });

// ---- pages ----
function go() {
  if (!who || !who.signed_in) return;
  const hash = location.hash.replace(/^#/, "") || "live";
  const [path, query] = hash.split("?");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  const make = pages[name] || live;
  if (shown === hash && page) return;
  const same = shown.split("/")[0] === name;
  if (page && page.close) page.close();
  shown = hash;
  for (const a of document.querySelectorAll("#nav a")) {
    if (a.hash === "#" + (pages[name] ? name : "live")) a.setAttribute("aria-current", "page"); else a.removeAttribute("aria-current");
  }
  page = make($("main"), model, [rest[0], query]);
  if (model.tick && page.tick) page.tick(model.tick);
  if (!same) window.scrollTo(0, 0);
}
window.addEventListener("hashchange", go);

// ---- state of the daemon ----
function badge(text, kind) {
  const b = $("state");
  put(b, text);
  for (const k of ["good", "warn", "bad"]) setClass(b, k, k === kind);
}
function banner(...parts) {
  const b = $("banner");
  b.hidden = parts.length === 0;
  return b;
}
function say(text, bad) {
  const b = banner(text);
  if (b.dataset.text !== text) { b.dataset.text = text; b.replaceChildren(text); }
  setClass(b, "bad", !!bad);
}
function quiet() { const b = banner(); b.dataset.text = ""; }

// drain shows how far the end has come; it counts down between the events.
function drain(d) {
  const b = banner("drain");
  if (b.dataset.text !== "drain") {
    b.dataset.text = "drain";
    b.replaceChildren(h("span", { class: "text" }), h("progress", { max: 1, value: 0, "aria-label": "Drain" }));
  }
  const left = Math.max(0, d.deadline_ms - d.took_ms);
  setClass(b, "bad", d.ended && !d.clean);
  put(b.firstChild, d.ended ? (d.clean ? `Drained: everything was answered, in ${span(d.took_ms)}.` : `The drain was cut: ${num(d.abandoned)} calls were not answered.`)
    : `Draining (${d.why}): ${num(d.connections)} connections, ${num(d.underway)} calls under way, cut in ${span(left)}.`);
  b.lastChild.value = d.ended ? 1 : Math.min(1, d.took_ms / d.deadline_ms);
}

function status(tick) {
  const s = tick.status;
  put($("version"), s.version);
  document.title = (s.state === "serving" ? "" : s.state + " · ") + "gameserverd " + (s.admin || "");
  const id = s.pid + " " + s.started;
  if (started && started !== id) {
    note("The daemon was restarted: process " + s.pid + ".");
    model.points = [];
    forget();
  }
  started = id;
  for (const a of document.querySelectorAll("#nav a[data-role]")) a.hidden = s.role === "worker";
  if (s.drain) {
    drainAt = Date.now() - s.drain.took_ms;
    model.drain = s.drain;
    drain(s.drain);
    badge(s.state, "warn");
  } else {
    model.drain = null;
    if (s.ready) { badge(s.role === "worker" ? "working" : "serving", "good"); quiet(); }
    else { badge(s.state === "serving" ? "not ready" : s.state, "warn"); say(`Not ready: ${s.reason}.`); }
  }
  if (warned === null || location.hash === "#warnings") warned = tick.warnings;
  const fresh = tick.warnings - warned;
  $("warning-count").hidden = fresh <= 0;
  put($("warning-count"), num(fresh));
  $("warning-count").setAttribute("aria-label", fresh + " new");
}
setInterval(() => { if (model.drain && !model.drain.ended) drain({ ...model.drain, took_ms: Date.now() - drainAt }); }, 250);

function listen() {
  if (stream) stream.close();
  stream = follow("/console/live", {
    history: (e) => { model.columns = e.columns; model.points = e.points; },
    tick: (tick) => {
      model.tick = tick;
      model.points.push(tick.p);
      if (model.points.length > 620) model.points.splice(0, model.points.length - 620);
      remember(tick);
      status(tick);
      if (page && page.tick && !document.hidden) page.tick(tick);
    },
    end: () => { model.drain = null; },
    signedout: () => signedOutNow(),
  }, (lost) => {
    if (!lost) return;
    badge("no answer", "bad");
    say("The daemon does not answer. Trying again…", true);
  });
}

// ---- sign-in ----
function signedOutNow() {
  if (!who || !who.signed_in) return;
  note("You were signed out.");
  begin();
}
onSignedOut(signedOutNow);

function askToken() {
  const input = h("input", { type: "password", name: "token", required: true, autocomplete: "current-password", "aria-describedby": "token-problem" });
  const problem = h("p", { class: "problem", id: "token-problem", role: "alert", hidden: true });
  const button = h("button", { class: "primary" }, "Sign in");
  const form = h("form", { class: "form", onsubmit: async (e) => {
    e.preventDefault();
    button.disabled = true;
    problem.hidden = true;
    try {
      await signIn(input.value.trim());
      await begin();
    } catch (err) {
      put(problem, err.message);
      problem.hidden = false;
      input.select();
      input.focus();
    }
    button.disabled = false;
  } }, h("label", { class: "field" }, "Token", input), problem, button,
  h("p", { class: "muted" }, "It is in the file that admin.token_file names, on the machine of the daemon."));
  $("main").replaceChildren(h("section", { class: "card stage form" }, h("h1", {}, "Sign in"), form));
  input.focus();
}

async function begin() {
  if (stream) { stream.close(); stream = null; }
  if (page && page.close) page.close();
  page = null;
  shown = "";
  try {
    who = await hello();
  } catch (e) {
    badge("no answer", "bad");
    $("main").replaceChildren(h("section", { class: "card stage form" }, errorBox(e.message), h("button", { class: "primary", onclick: begin }, "Try again")));
    return;
  }
  $("nav").hidden = !who.signed_in;
  $("signout").hidden = !(who.signed_in && who.mode === "token");
  if (!who.signed_in) {
    badge(who.mode === "closed" ? "closed" : "signed out", "warn");
    quiet();
    if (who.mode === "closed") $("main").replaceChildren(h("section", { class: "card stage form" }, h("h1", {}, "The console is closed"), h("p", {}, "Nobody can sign in: " + who.how + ".")));
    else askToken();
    return;
  }
  go();
  listen();
}
$("signout").onclick = async () => {
  try { await signOut(); } catch (e) { note(e.message, true); return; }
  who = null;
  begin();
};

showTheme();
begin();
