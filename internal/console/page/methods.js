// The API page: every method as the registry has it, and a form that tries it.
import { ask } from "./api.js";
import { dialog, empty, errorBox, h, ms, pretty, put } from "./ui.js";

let known = null; // the registry does not change while a daemon runs

export function forget() { known = null; }

export function methods(main, model, [name, query]) {
  let closed = false;
  const search = h("input", { type: "search", placeholder: "Search methods", "aria-label": "Search methods", "aria-keyshortcuts": "/", oninput: () => list() });
  const nav = h("nav", { class: "methods", "aria-label": "Methods" });
  const side = h("section", { class: "card" }, h("div", { class: "form" }, search, nav));
  const detail = h("div", { class: "form" }, empty("Loading…"));
  main.replaceChildren(h("h1", { class: "visually-hidden" }, "API"), h("div", { class: "two nav" }, side, detail));

  function list() {
    const find = search.value.trim().toLowerCase();
    const shown = known.filter((m) => m.name.toLowerCase().includes(find) || m.doc.toLowerCase().includes(find));
    let area = null;
    nav.replaceChildren(...shown.flatMap((m) => {
      const its = m.name.includes(".") ? m.name.split(".")[0] : "";
      const head = its !== area ? [h("p", { class: "area" }, its || "without an area")] : [];
      area = its;
      return [...head, h("a", { href: "#api/" + encodeURIComponent(m.name), "aria-current": m.name === name ? "true" : null }, m.name)];
    }));
    if (!shown.length) nav.replaceChildren(empty("No method fits."));
  }
  async function load() {
    try {
      if (!known) known = (await ask("/console/methods")).methods.sort((a, b) => a.name.includes(".") - b.name.includes(".") || (a.name < b.name ? -1 : 1));
      if (closed) return;
      list();
      const m = known.find((one) => one.name === name);
      if (m) method(detail, m, new URLSearchParams(query || "").get("uid") || "");
      else detail.replaceChildren(h("section", { class: "card" }, name ? errorBox("There is no method " + name + ".") : empty(known.length + " methods. Choose one to read about it and to try it.")));
    } catch (e) {
      if (!closed) detail.replaceChildren(errorBox(e.message));
    }
  }
  load();
  return { search: () => search, close() { closed = true; } };
}

const flags = [["public", "public", "answers before a login"], ["durable", "durable", "answers when its effect is stored"], ["concurrent", "concurrent", "does not wait for the player's other calls"]];

function method(box, m, uid) {
  const params = m.params || [];
  const as = h("input", { name: "uid", inputmode: "numeric", pattern: "[0-9]*", value: uid, placeholder: "nobody", autocomplete: "off" });
  const inputs = params.map((p) => {
    const problem = h("span", { class: "problem", hidden: true });
    const input = p.type === "str" || /^(int|uint|float|bool)/.test(p.type)
      ? h("input", { class: "mono", autocomplete: "off", spellcheck: "false", placeholder: p.type === "str" ? "text" : p.type })
      : h("textarea", { rows: 3, spellcheck: "false", placeholder: "JSON: " + p.type });
    return { p, input, problem, field: h("label", { class: "field" },
      h("span", {}, h("strong", {}, p.name), " ", h("span", { class: "muted" }, p.type + (p.optional ? ", optional" : ""))), input, problem) };
  });
  const go = h("button", { class: "primary" }, "Call");
  const result = h("div", { class: "form", "aria-live": "polite" });
  const form = h("form", { class: "form", novalidate: true, onsubmit: (e) => { e.preventDefault(); call(); } },
    h("label", { class: "field" }, h("span", {}, h("strong", {}, "As player"), " ", h("span", { class: "muted" }, m.public ? "uid; empty: without a login" : "uid; this method needs a login")), as,
      h("span", { class: "hint" }, "A player who is online is called through the session that the player has, in order with the player's own messages. One who is not is logged in for this one call.")),
    inputs.map((i) => i.field), h("div", { class: "row" }, go, m.durable ? h("span", { class: "muted" }, "It changes what is stored.") : null));
  box.replaceChildren(
    h("section", { class: "card form" },
      h("div", { class: "row" }, h("h2", { class: "mono" }, m.name), ...flags.filter(([key]) => m[key]).map(([, text, hint]) => h("span", { class: "badge info", title: hint }, text))),
      m.doc ? h("p", {}, m.doc) : null,
      h("dl", { class: "facts" },
        ...params.flatMap((p, i) => [h("dt", {}, i === 0 ? "Params" : ""), h("dd", { class: "mono" }, p.name + " " + p.type + (p.optional ? " (optional)" : ""))]),
        params.length ? null : [h("dt", {}, "Params"), h("dd", {}, "none")],
        h("dt", {}, "Result"), h("dd", { class: "mono" }, m.result || "nil"), m.where ? [h("dt", {}, "Source"), h("dd", { class: "mono" }, m.where)] : null)),
    h("section", { class: "card form" }, h("h2", {}, "Try it"), form, result));

  // raw is an input as JSON; undefined: left empty. Digits are never read as numbers
  // here, which would round them.
  function raw({ p, input }) {
    const text = input.value.trim();
    if (text === "" && (p.optional || p.type !== "str")) return undefined;
    if (p.type === "str") return JSON.stringify(input.value);
    JSON.parse(text);
    return text;
  }
  async function call() {
    const list = [];
    let wrong = null, hole = false;
    for (const i of inputs) {
      i.problem.hidden = true;
      i.input.removeAttribute("aria-invalid");
      let text = "";
      try {
        const one = raw(i);
        if (one === undefined) {
          if (!i.p.optional) text = "it is missing";
          hole = true;
        } else if (hole) {
          text = "the one before it is missing";
        } else {
          list.push(one);
        }
      } catch {
        text = "this is not JSON" + (i.p.type.includes("str") ? ": texts stand in quotes" : "");
      }
      if (text) {
        put(i.problem, text);
        i.problem.hidden = false;
        i.input.setAttribute("aria-invalid", "true");
        wrong = wrong || i.input;
      }
    }
    if (!/^\d*$/.test(as.value.trim())) { as.setAttribute("aria-invalid", "true"); wrong = wrong || as; } else as.removeAttribute("aria-invalid");
    if (wrong) { wrong.focus(); return; }
    const player = as.value.trim() || "0";
    if (m.durable && !(await dialog("Call " + m.name, h("p", {}, `It changes what is stored${player !== "0" ? " of player " + player : ""}, as if the player had called it.`), "Call", true))) return;
    go.disabled = true;
    result.replaceChildren(h("p", { class: "muted" }, "Calling…"));
    try {
      show(await ask("/console/call", `{"uid":"${player}","method":${JSON.stringify(m.name)},"params":[${list.join(",")}]}`));
    } catch (e) {
      result.replaceChildren(errorBox(e.message));
    }
    go.disabled = false;
  }
  function show(a) {
    const head = h("div", { class: "row" }, h("span", { class: a.error ? "badge bad" : "badge good" }, a.error ? a.error.code : "ok"), h("span", { class: "muted" }, ms(a.took_ms) + (a.way ? ", " + a.way : "")));
    const parts = [head];
    if (a.error) {
      parts.push(errorBox(a.error.message + (a.error.retry_after_ms ? " Try again in " + ms(a.error.retry_after_ms) + "." : "")));
      if (a.error.data) parts.push(h("pre", { tabindex: "0" }, pretty(a.error.data)));
    } else {
      parts.push(h("pre", { tabindex: "0", "aria-label": "Result" }, pretty(a.result || "null")));
    }
    result.replaceChildren(...parts);
  }
}
