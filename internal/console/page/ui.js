// Building blocks: elements, numbers for people, dialogs, notes. Nothing is ever set
// as HTML: what comes from players and logs is text.

// h makes an element: attributes, on* listeners, then children.
export function h(tag, attrs = {}, ...children) {
  const el = document.createElement(tag);
  for (const [key, value] of Object.entries(attrs)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (key === "class") el.className = value;
    else if (key === "value") el.value = value;
    else el.setAttribute(key, value === true ? "" : String(value));
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

// put sets an element's text, if it has changed: a node that stays the same costs no layout.
export function put(el, text) {
  text = String(text);
  if (el.textContent !== text) el.textContent = text;
}

export function setClass(el, name, on) {
  if (el.classList.contains(name) !== on) el.classList.toggle(name, on);
}

const units = ["", "k", "M", "G", "T"];

// num is a count: 999, 12.3k.
export function num(v) {
  if (v === null || v === undefined || Number.isNaN(v)) return "–";
  let u = 0;
  let n = Math.abs(v);
  while (n >= 9999.5 && u < units.length - 1) { n /= 1000; u++; }
  const text = u === 0 ? (Number.isInteger(n) ? String(n) : n < 10 ? n.toFixed(1) : n.toFixed(0)) : n < 100 ? n.toFixed(1) : n.toFixed(0);
  return (v < 0 ? "-" : "") + text + units[u];
}

// rate is a count a second.
export function rate(v) {
  if (v === null || v === undefined) return "–";
  if (v === 0) return "0";
  return v < 0.1 ? "<0.1" : num(v);
}

// ms is a time in milliseconds.
export function ms(v) {
  if (v === null || v === undefined) return "–";
  if (v < 1) return (v * 1000).toFixed(0) + " µs";
  if (v < 10) return v.toFixed(1) + " ms";
  if (v < 1000) return v.toFixed(0) + " ms";
  return (v / 1000).toFixed(v < 10000 ? 1 : 0) + " s";
}

// span is a longer time, from milliseconds.
export function span(v) {
  if (v === null || v === undefined) return "–";
  const s = Math.floor(v / 1000);
  if (s < 1) return Math.round(v) + " ms";
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
}

export function bytes(v) {
  if (v === null || v === undefined) return "–";
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let u = 0;
  while (v >= 1024 && u < names.length - 1) { v /= 1024; u++; }
  return (u === 0 ? Math.round(v) : v < 10 ? v.toFixed(1) : v.toFixed(0)) + " " + names[u];
}

export function clock(at) {
  return !at ? "–" : new Date(at).toLocaleTimeString([], { hour12: false });
}

export function when(at) {
  return new Date(at).toLocaleString([], { hour12: false });
}

// note tells what came of something, for a while.
export function note(text, bad = false) {
  const el = h("div", { class: bad ? "toast bad" : "toast" }, text);
  document.getElementById("toasts").append(el);
  setTimeout(() => el.remove(), bad ? 9000 : 5000);
}

export function empty(text) { return h("p", { class: "empty" }, text); }
export function errorBox(text) { return h("p", { class: "error", role: "alert" }, text); }

// dialog shows a form, and resolves to its values, or null when it was closed.
export function dialog(title, body, action, danger = false) {
  return new Promise((resolve) => {
    const form = h("form", { method: "dialog" }, h("h2", { id: "dialog-title" }, title), body,
      h("div", { class: "actions" },
        h("button", { type: "button", onclick: () => d.close("cancel") }, action ? "Cancel" : "Close"),
        action && h("button", { class: danger ? "danger" : "primary", value: "ok" }, action)));
    const d = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    const before = document.activeElement;
    d.addEventListener("close", () => {
      const values = d.returnValue === "ok" ? Object.fromEntries(new FormData(form)) : null;
      d.remove();
      if (before && before.isConnected) before.focus();
      resolve(values);
    });
    document.body.append(d);
    d.showModal();
  });
}

// table keeps the rows of a table in step with data: columns are
// {key, title, text(row) | fill(td, row), left, sort}, rows have an id.
export function table(columns, options = {}) {
  const head = h("tr");
  const body = h("tbody");
  const rows = new Map();
  let by = options.by;
  let down = options.down !== false;
  for (const c of columns) {
    const th = h("th", { scope: "col", class: c.left ? "text" : null, title: c.hint });
    if (c.sort) {
      th.append(h("button", { type: "button", onclick: () => {
        down = by === c.key ? !down : c.left ? false : true;
        by = c.key;
        mark();
        if (options.onsort) options.onsort(by, down); else update(last, true);
      } }, c.title));
    } else {
      th.append(c.title);
    }
    c.th = th;
    head.append(th);
  }
  function mark() {
    for (const c of columns) {
      if (c.sort && c.key === by) c.th.setAttribute("aria-sort", down ? "descending" : "ascending");
      else c.th.removeAttribute("aria-sort");
    }
  }
  mark();
  let last = [];
  const el = h("table", {}, h("caption", { class: "visually-hidden" }, options.caption || ""), h("thead", {}, head), body);
  // A row must not slip away under a pointer or a focus.
  const held = () => body.matches(":hover") || body.contains(document.activeElement);
  function update(data, force = false) {
    last = data;
    const seen = new Set();
    for (const row of data) {
      seen.add(row.id);
      let tr = rows.get(row.id);
      if (!tr) {
        tr = h("tr");
        for (const c of columns) tr.append(h("td", { class: [c.left ? "text" : "", c.wrap ? "wrap" : ""].join(" ").trim() || null }));
        rows.set(row.id, tr);
        body.append(tr);
      }
      columns.forEach((c, i) => {
        const td = tr.children[i];
        if (c.fill) c.fill(td, row); else put(td, c.text(row));
        if (c.level) { const l = c.level(row); setClass(td, "hot", l === 2); setClass(td, "warm", l === 1); setClass(td, "zero", l === -1); }
      });
    }
    for (const [id, tr] of rows) if (!seen.has(id)) { tr.remove(); rows.delete(id); }
    const c = columns.find((one) => one.key === by);
    let order = data;
    if (c && c.sort && !options.onsort) {
      if (!force && held()) return;
      const sign = down ? -1 : 1;
      order = [...data].sort((a, b) => {
        const x = c.sort(a), y = c.sort(b);
        const n = typeof x === "string" ? x.localeCompare(y) : (x ?? -1) - (y ?? -1);
        return n * sign || String(a.id).localeCompare(String(b.id));
      });
    }
    order.forEach((row, i) => {
      const tr = rows.get(row.id);
      if (body.children[i] !== tr) body.insertBefore(tr, body.children[i] || null);
    });
  }
  return { el, update, sorted: () => [by, down], row: (id) => rows.get(id) };
}

// pretty indents JSON that it takes as text: numbers keep all their digits.
export function pretty(json) {
  let out = "", depth = 0, text = false;
  for (let i = 0; i < json.length; i++) {
    const c = json[i];
    if (text) {
      out += c;
      if (c === "\\") out += json[++i] ?? "";
      else if (c === '"') text = false;
    } else if (c === '"') {
      out += c; text = true;
    } else if (c === "{" || c === "[") {
      const close = c === "{" ? "}" : "]";
      if (json[i + 1] === close) { out += c + close; i++; continue; }
      depth++;
      out += c + "\n" + "  ".repeat(depth);
    } else if (c === "}" || c === "]") {
      depth--;
      out += "\n" + "  ".repeat(depth) + c;
    } else if (c === ",") {
      out += ",\n" + "  ".repeat(depth);
    } else if (c === ":") {
      out += ": ";
    } else if (!/\s/.test(c)) {
      out += c;
    }
  }
  return out;
}
