// The page of the log's last warnings and errors.
import { ask } from "./api.js";
import { empty, errorBox, h, num, put, when } from "./ui.js";

export function warnings(main, model) {
  let seen = -1, closed = false, all = [];
  const search = h("input", { type: "search", placeholder: "Search", "aria-label": "Search warnings", "aria-keyshortcuts": "/", oninput: show });
  const errors = h("input", { type: "checkbox", onchange: show });
  const count = h("span", { class: "muted", role: "status" });
  const list = h("div", {}, empty("Loading…"));
  main.replaceChildren(h("h1", { class: "visually-hidden" }, "Warnings"), h("section", { class: "card" },
    h("header", {}, h("h2", {}, "The log's last warnings and errors"), count, h("span", { class: "spacer" }), h("label", {}, errors, "errors only"), search), list));

  async function load() {
    try {
      const a = await ask("/console/warnings");
      if (closed) return;
      seen = a.seq;
      all = a.warnings;
      put(count, a.seq > all.length ? `the last ${all.length} of ${num(a.seq)}` : "");
      show();
    } catch (e) {
      if (!closed) list.replaceChildren(errorBox(e.message));
    }
  }
  function show() {
    const find = search.value.trim().toLowerCase();
    const shown = all.filter((w) => (!errors.checked || w.level !== "warn") && (!find || JSON.stringify(w).toLowerCase().includes(find)));
    list.replaceChildren(...(shown.length ? shown.map(one) : [empty(all.length ? "Nothing fits." : "Nothing was wrong since the start.")]));
  }
  load();
  return { search: () => search, tick(tick) { if (tick.warnings !== seen) { seen = tick.warnings; load(); } }, close() { closed = true; } };
}

function one(w) {
  const fields = { ...(w.fields || {}) };
  const stack = fields.stack;
  delete fields.stack;
  return h("article", { class: "warning" },
    h("div", { class: "row" }, h("span", { class: w.level === "warn" ? "badge warn" : "badge bad" }, w.level), h("strong", {}, w.message), h("span", { class: "muted num" }, when(w.at))),
    h("div", {}, Object.entries(fields).filter(([, v]) => v !== "").map(([k, v]) => h("span", { class: "chip" }, k + ": " + (typeof v === "string" ? v : JSON.stringify(v))))),
    stack ? h("details", {}, h("summary", {}, "Stack"), h("pre", { tabindex: "0" }, String(stack))) : null);
}
