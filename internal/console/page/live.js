// The page of live numbers.
import { bytes, empty, h, ms, num, put, rate, setClass, span, table } from "./ui.js";
import { chart, spark } from "./charts.js";

// rows of a family, by its name without the prefix; what was never counted has none.
const rowsOf = (tick, name) => tick.f[name] || [];
const total = (tick, name, i = 0) => rowsOf(tick, name).reduce((sum, r) => sum + (r[i] || 0), 0);

const noMethod = "unknown"; // what calls of methods that there are not count under

// callsOf sums up the calls of each method, whose rows are one for each code.
function callsOf(tick) {
  const by = new Map();
  for (const [id, code, sum, r] of rowsOf(tick, "rpc_calls_total")) {
    let row = by.get(id);
    if (!row) by.set(id, row = { id, total: 0, calls: 0, failed: 0, bad: 0, codes: [], rated: r !== null });
    row.total += sum;
    row.calls += r || 0;
    if (code === "ok") continue;
    row.failed += r || 0;
    row.bad += sum;
    row.codes.push([code, sum]);
  }
  return by;
}

const sparks = new Map(); // by method: its calls a second, the last 60

// remember keeps the small lines going while other pages are shown.
export function remember(tick) {
  for (const { id: method, calls: r, rated } of callsOf(tick).values()) {
    if (!rated) continue; // the first tick has no rates
    let line = sparks.get(method);
    if (!line) sparks.set(method, line = []);
    line.push(r);
    if (line.length > 60) line.shift();
  }
}

export function live(main, model) {
  const charts = [
    chart("Calls a second", [{ label: "calls", column: "calls", color: "--s1", fill: true }, { label: "errors", column: "errors", color: "--bad" }], rate),
    chart("Time of a call", [{ label: "p50", column: "p50", color: "--s1" }, { label: "p99", column: "p99", color: "--s2" }, { label: "queue p99", column: "queue99", color: "--s3" }], ms),
    chart("Connections", [{ label: "open", column: "connections", color: "--s1", fill: true }, { label: "players", column: "online", color: "--s4" }], num),
    chart("Traffic", [{ label: "received/s", column: "received", color: "--s1" }, { label: "sent/s", column: "sent", color: "--s2" }], bytes),
    chart("Lag of the loops", [{ label: "lag p99", column: "lag99", color: "--s3" }], ms),
    chart("Commits a second", [{ label: "transactions", column: "commits", color: "--s4", fill: true }], rate),
  ];
  const tiles = tileRow();
  const parts = [methodTable(), loopTable(), connectionsPart(), limitsPart(), storesPart(), tasksPart(), processPart()];
  const [methods, loops, connections, limits, stores, tasks, process] = parts;
  main.replaceChildren(h("h1", { class: "visually-hidden" }, "Live"), tiles.el, h("div", { class: "charts" }, charts.map((c) => c.el)), methods.el,
    h("div", { class: "split" }, h("div", { class: "stack" }, loops.el, connections.el, tasks.el), h("div", { class: "stack" }, stores.el, limits.el, process.el)));
  return {
    tick(tick) {
      tiles.update(tick);
      for (const c of charts) c.update(model.points, model.columns);
      for (const part of parts) part.update(tick);
    },
    theme() { for (const c of charts) c.redraw(); },
    search: () => methods.search,
    close() { for (const c of charts) c.close(); },
  };
}

function tileRow() {
  const el = h("dl", { class: "tiles" });
  const tile = (title) => {
    const dd = h("dd", {}, "–"), sub = h("div", { class: "sub" }, " ");
    const box = h("div", { class: "card tile" }, h("dt", {}, title), dd, sub);
    el.append(box);
    return (text, below, level = 0) => {
      put(dd, text);
      put(sub, below);
      setClass(box, "bad", level === 2);
      setClass(box, "warn", level === 1);
    };
  };
  const calls = tile("Calls a second"), errors = tile("Errors a second"), time = tile("Time of a call, p99"), players = tile("Players online"),
    lag = tile("Loop lag, p99"), waiting = tile("Waiting to be sent"), memory = tile("Memory");
  return {
    el,
    update(tick) {
      const p = Object.fromEntries(["t", "calls", "errors", "p50", "p99", "queue99", "lag99"].map((k, i) => [k, tick.p[i]]));
      const s = tick.status;
      const share = p.calls > 0 ? (p.errors || 0) / p.calls : 0;
      calls(rate(p.calls), num(total(tick, "rpc_calls_total", 2)) + " since the start");
      errors(rate(p.errors || 0), (share * 100).toFixed(share > 0 && share < 0.1 ? 2 : 1) + " % of calls", share > 0.1 ? 2 : share > 0.02 ? 1 : 0);
      time(ms(p.p99), "p50 " + ms(p.p50) + ", queue p99 " + ms(p.queue99), p.p99 > 1000 ? 2 : p.p99 > 250 ? 1 : 0);
      players(num(s.online), num(s.connections) + " of " + num(s.max_connections) + " connections", s.connections >= s.max_connections ? 2 : s.connections > 0.9 * s.max_connections ? 1 : 0);
      lag(ms(p.lag99), "calls under way " + num(s.underway), p.lag99 > 250 ? 2 : p.lag99 > 50 ? 1 : 0);
      const out = total(tick, "write_buffer_bytes"), most = total(tick, "write_buffer_limit_bytes");
      waiting(bytes(out), "of " + bytes(most) + "; received " + bytes(total(tick, "input_bytes")), most && out > 0.9 * most ? 2 : most && out > 0.5 * most ? 1 : 0);
      memory(bytes(s.resident_bytes || s.heap_bytes), "heap " + bytes(s.heap_bytes) + ", goroutines " + num(s.goroutines));
    },
  };
}

function section(title, ...tools) {
  const body = h("div");
  const el = h("section", { class: "card" }, h("header", {}, h("h2", {}, title), ...tools), body);
  return { el, body };
}

function methodTable() {
  const search = h("input", { type: "search", placeholder: "Search methods", "aria-label": "Search methods", "aria-keyshortcuts": "/", oninput: () => show() });
  const active = h("input", { type: "checkbox", onchange: () => show() });
  const { el, body } = section("Methods", h("span", { class: "spacer" }), h("label", {}, active, "called lately"), search);
  const column = (key, title, sort, text, level) => ({ key, title, sort, text: text || ((r) => rate(r[key])), level });
  const slow = (v) => (v > 1000 ? 2 : v > 250 ? 1 : v === null || v === undefined ? -1 : 0);
  const t = table([
    { key: "id", title: "Method", left: true, sort: (r) => r.id, fill: (td, r) => {
      if (!td.firstChild) td.append(h("a", { href: "#api/" + encodeURIComponent(r.id) }, r.id));
    } },
    { key: "line", title: "Last minute", left: true, fill: (td, r) => spark(td, sparks.get(r.id) || []) },
    column("calls", "Calls/s", (r) => r.calls, null, (r) => (r.calls ? 0 : -1)),
    column("failed", "Errors/s", (r) => r.failed, null, (r) => (r.failed > 0 ? (r.failed > 0.1 * r.calls ? 2 : 1) : -1)),
    column("run50", "Run p50", (r) => r.run50, (r) => ms(r.run50), (r) => slow(r.run50)),
    column("run99", "Run p99", (r) => r.run99, (r) => ms(r.run99), (r) => slow(r.run99)),
    column("queue50", "Queue p50", (r) => r.queue50, (r) => ms(r.queue50), (r) => slow(r.queue50)),
    column("queue99", "Queue p99", (r) => r.queue99, (r) => ms(r.queue99), (r) => slow(r.queue99)),
    column("total", "Calls", (r) => r.total, (r) => num(r.total)),
    column("bad", "Errors", (r) => r.bad, (r) => num(r.bad), (r) => (r.bad ? 0 : -1)),
    { key: "codes", title: "Errors by code", left: true, wrap: true, fill: (td, r) => {
      const text = r.codes.map(([code, n]) => code + " " + n).join("|");
      if (td.dataset.text === text) return;
      td.dataset.text = text;
      td.replaceChildren(...r.codes.map(([code, n]) => h("span", { class: "chip bad" }, code + " " + num(n))));
    } },
  ], { by: "calls", caption: "Methods: rates of the last second, times of the last 5 to 10 seconds" });
  const none = empty("No method was called yet.");
  body.append(none, h("div", { class: "scroll tall last", tabindex: "0", role: "region", "aria-label": "Methods" }, t.el));
  let rows = [];
  function show() {
    const find = search.value.trim().toLowerCase();
    const shown = rows.filter((r) => r.id.toLowerCase().includes(find) && (!active.checked || r.calls > 0 || (sparks.get(r.id) || []).some((v) => v > 0)));
    t.update(shown, true);
    none.hidden = shown.length > 0;
    put(none, rows.length ? "No method fits." : "No method was called yet.");
    t.el.parentElement.hidden = shown.length === 0;
  }
  return {
    el, search,
    update(tick) {
      const by = callsOf(tick);
      by.delete(noMethod);
      for (const [id, , , , p50, p99] of rowsOf(tick, "rpc_run_seconds")) if (by.has(id)) Object.assign(by.get(id), { run50: p50, run99: p99 });
      for (const [id, , , p50, p99] of rowsOf(tick, "rpc_queue_seconds")) if (by.has(id)) Object.assign(by.get(id), { queue50: p50, queue99: p99 });
      for (const row of by.values()) row.codes.sort((a, b) => b[1] - a[1]);
      rows = [...by.values()];
      if (!el.contains(document.activeElement) || document.activeElement === search) {
        if (!t.el.matches(":hover")) { show(); return; }
      }
      const find = search.value.trim().toLowerCase();
      t.update(rows.filter((r) => r.id.toLowerCase().includes(find) && (!active.checked || r.calls > 0 || (sparks.get(r.id) || []).some((v) => v > 0))));
      t.el.parentElement.hidden = rows.length === 0;
    },
  };
}

function loopTable() {
  const { el, body } = section("Event loops");
  const late = (v) => (v > 250 ? 2 : v > 50 ? 1 : 0);
  const t = table([
    { key: "id", title: "Loop", left: true, sort: (r) => r.id, text: (r) => r.id },
    { key: "turns", title: "Turns/s", sort: (r) => r.turns, text: (r) => rate(r.turns) },
    { key: "turn", title: "Turn p99", sort: (r) => r.turn, text: (r) => ms(r.turn), level: (r) => late(r.turn) },
    { key: "lag", title: "Lag p99", sort: (r) => r.lag, text: (r) => ms(r.lag), level: (r) => late(r.lag) },
    { key: "waiting", title: "Callbacks", hint: "that wait for the next turn", sort: (r) => r.waiting, text: (r) => num(r.waiting) },
    { key: "conns", title: "Connections", sort: (r) => r.conns, text: (r) => num(r.conns) },
    { key: "inbox", title: "Inbox", hint: "deliveries from other loops", sort: (r) => r.inbox, text: (r) => bytes(r.inbox) },
  ], { by: "id", down: false, caption: "Event loops" });
  const slow = h("p", { class: "muted slow" });
  body.append(h("div", { class: "scroll" }, t.el));
  el.append(slow);
  return {
    el,
    update(tick) {
      const by = new Map();
      const get = (id) => by.get(id) || by.set(id, { id }).get(id);
      for (const [id, v] of rowsOf(tick, "loop_connections")) get(id).conns = v;
      for (const [id, , r] of rowsOf(tick, "loop_turns_total")) get(id).turns = r;
      for (const [id, , , , p99] of rowsOf(tick, "loop_turn_seconds")) get(id).turn = p99;
      for (const [id, , , , p99] of rowsOf(tick, "loop_lag_seconds")) get(id).lag = p99;
      for (const [id, v] of rowsOf(tick, "loop_callbacks_waiting")) get(id).waiting = v;
      for (const [id, v] of rowsOf(tick, "loop_inbox_bytes")) get(id).inbox = v;
      t.update([...by.values()]);
      const held = rowsOf(tick, "loop_slow_callbacks_total");
      slow.replaceChildren(...(held.length ? ["Slow callbacks: ", ...held.map(([method, n]) => h("span", { class: "chip warn" }, (method === "-" ? "of no method" : method) + " " + num(n)))] : []));
      slow.hidden = held.length === 0;
    },
  };
}

function storesPart() {
  const { el, body } = section("Stores");
  const t = table([
    { key: "id", title: "Store", left: true, text: (r) => r.id },
    { key: "up", title: "State", left: true, fill: (td, r) => {
      if (!td.firstChild) td.append(h("span", { class: "badge" }));
      const b = td.firstChild;
      put(b, r.up ? "up" : "down");
      b.title = r.why || "";
      setClass(b, "good", r.up);
      setClass(b, "bad", !r.up);
    } },
    { key: "calls", title: "Calls/s", text: (r) => rate(r.calls) },
    { key: "p50", title: "p50", text: (r) => ms(r.p50) },
    { key: "p99", title: "p99", text: (r) => ms(r.p99), level: (r) => (r.p99 > 1000 ? 2 : r.p99 > 250 ? 1 : 0) },
    { key: "pool", title: "Pool", hint: "connections that are busy, of all", text: (r) => num(r.busy) + " / " + num((r.busy || 0) + (r.idle || 0)) },
    { key: "waiting", title: "Waiting", text: (r) => num(r.waiting), level: (r) => (r.waiting > 0 ? 1 : 0) },
    { key: "errors", title: "Errors", left: true, text: (r) => r.errors.map(([c, n]) => c + " " + num(n)).join(", ") || "0", level: (r) => (r.errors.length ? 1 : -1) },
  ], { caption: "Stores" });
  const facts = h("dl", { class: "facts" });
  body.append(h("div", { class: "scroll" }, t.el));
  el.append(h("h3", {}, "Group commit"), facts);
  return {
    el,
    update(tick) {
      const by = new Map(tick.status.stores.map((s) => [s.name, { id: s.name, up: s.up, why: s.why, errors: [] }]));
      const at = (id) => by.get(id) || by.set(id, { id, up: true, errors: [] }).get(id);
      for (const [id, , r, p50, p99] of rowsOf(tick, "store_seconds")) Object.assign(at(id), { calls: r, p50, p99 });
      for (const [id, state, v] of rowsOf(tick, "store_connections")) at(id)[state] = v;
      for (const [id, v] of rowsOf(tick, "store_waiting")) at(id).waiting = v;
      for (const [id, code, n] of rowsOf(tick, "store_errors_total")) at(id).errors.push([code, n]);
      t.update([...by.values()]);
      const [, commits = 0] = rowsOf(tick, "commit_batches_total")[0] || [];
      const [, , time50, time99] = rowsOf(tick, "commit_seconds")[0] || [];
      const [, , rows50, rows99] = rowsOf(tick, "commit_rows")[0] || [];
      const [again = 0] = rowsOf(tick, "commit_retries_total")[0] || [];
      const list = [["Transactions", rate(commits) + " a second"], ["Time", "p50 " + ms(time50) + ", p99 " + ms(time99)],
        ["Rows of one", rows50 == null ? "–" : "p50 " + num(Math.ceil(rows50)) + ", p99 " + num(Math.ceil(rows99))], ["Changes that wait", num(total(tick, "commit_waiting")) + " of " + num(total(tick, "commit_waiting_limit"))],
        ["Tried again", num(again)], ["Players in memory", num(total(tick, "players_loaded"))]];
      for (const [outcome, n] of rowsOf(tick, "commit_changes_total")) list.push(["Changes " + outcome.replace("_", " "), num(n)]);
      facts_(facts, list);
    },
  };
}

// facts_ fills a list of facts in place.
function facts_(dl, list) {
  if (dl.children.length !== 2 * list.length) dl.replaceChildren(...list.flatMap(([k]) => [h("dt", {}, k), h("dd", {}, "")]));
  list.forEach(([k, v], i) => { put(dl.children[2 * i], k); put(dl.children[2 * i + 1], v); });
}

function connectionsPart() {
  const { el, body } = section("Connections");
  const t = table([
    { key: "transport", title: "Transport", left: true, text: (r) => r.transport },
    { key: "framing", title: "Framing", left: true, text: (r) => r.framing },
    { key: "n", title: "Open", sort: (r) => r.n, text: (r) => num(r.n) },
  ], { by: "n", caption: "Connections by transport and framing" });
  const none = empty("Nobody is connected.");
  const box = h("div", { class: "scroll" }, t.el);
  const facts = h("dl", { class: "facts" });
  body.append(none, box);
  el.append(facts);
  return {
    el,
    update(tick) {
      const rows = rowsOf(tick, "connections").filter((r) => r[2] > 0).map(([transport, framing, n]) => ({ id: transport + " " + framing, transport, framing, n }));
      none.hidden = rows.length > 0;
      box.hidden = rows.length === 0;
      t.update(rows);
      const per = (name) => { const r = rowsOf(tick, name)[0]; return r ? num(r[0]) + " (" + rate(r[1]) + "/s)" : "0"; };
      const volume = (name) => { const r = rowsOf(tick, name)[0]; return r ? bytes(r[1]) + "/s, " + bytes(r[0]) + " in all" : "0"; };
      facts_(facts, [["Accepted", per("connections_accepted_total")], ["Received", volume("received_bytes_total")], ["Sent", volume("sent_bytes_total")],
        ["In mailboxes", num(total(tick, "mailbox_messages")) + " messages"], ["TLS handshakes", num(total(tick, "tls_handshakes")) + " under way"]]);
    },
  };
}

// What tells that a bound was hit: families whose rows are {label, total, rate}.
const bounds = [["connections_refused_total", "refused: "], ["connections_closed_total", "closed: "], ["rate_limited_total", "over the rate: "], ["shed_total", "for want of memory: "],
  ["mailbox_full_total", "mailbox full"], ["workers_refused_total", "no worker free"], ["stray_responses_total", "responses nobody waits for"],
  ["failed_notifications_total", "notifications that failed"], ["panics_total", "methods that panicked"]];

function limitsPart() {
  const { el, body } = section("Limits that were hit, and ends");
  const t = table([
    { key: "id", title: "What", left: true, sort: (r) => r.id, text: (r) => r.id },
    { key: "n", title: "Since the start", sort: (r) => r.n, text: (r) => num(r.n) },
    { key: "r", title: "A second", sort: (r) => r.r, text: (r) => rate(r.r), level: (r) => (r.r > 0 ? 1 : -1) },
  ], { by: "n", caption: "Limits that were hit" });
  const none = empty("No limit was hit, and nobody was closed.");
  const box = h("div", { class: "scroll last" }, t.el);
  body.append(none, box);
  return {
    el,
    update(tick) {
      const rows = [];
      for (const [name, text] of bounds) for (const r of rowsOf(tick, name)) rows.push({ id: text + (r.length > 2 ? r[0].replaceAll("_", " ") : ""), n: r[r.length - 2], r: r[r.length - 1] });
      const nobody = callsOf(tick).get(noMethod);
      if (nobody) rows.push({ id: "calls of no method", n: nobody.total, r: nobody.rated ? nobody.calls : null });
      none.hidden = rows.length > 0;
      box.hidden = rows.length === 0;
      t.update(rows);
    },
  };
}

function tasksPart() {
  const { el, body } = section("Background tasks", h("span", { class: "spacer" }), h("a", { href: "#tasks" }, "all tasks"));
  const facts = h("dl", { class: "facts" });
  const t = table([
    { key: "id", title: "Task", left: true, sort: (r) => r.id, text: (r) => r.id },
    { key: "done", title: "Done", sort: (r) => r.done, text: (r) => num(r.done) },
    { key: "failed", title: "Failed", sort: (r) => r.failed, text: (r) => num(r.failed), level: (r) => (r.failed ? 1 : -1) },
    { key: "other", title: "Archived, revoked, lost", text: (r) => num(r.other), level: (r) => (r.other ? 1 : -1) },
    { key: "p99", title: "p99", sort: (r) => r.p99, text: (r) => ms(r.p99) },
  ], { by: "done", caption: "Runs of tasks" });
  const box = h("div", { class: "scroll last" }, t.el);
  body.append(facts);
  el.append(box);
  return {
    el,
    update(tick) {
      const s = tick.status.tasks || {};
      const list = [["Running here", num(s.running || 0) + " of " + num(s.most || 0)]];
      const queues = new Map();
      const at = (id) => queues.get(id) || queues.set(id, {}).get(id);
      for (const [queue, state, v] of rowsOf(tick, "queue_depth")) at(queue)[state] = v;
      for (const [queue, v] of rowsOf(tick, "queue_oldest_seconds")) at(queue).oldest = v;
      for (const [queue, q] of queues) list.push(["Queue " + queue, num(q.waiting || 0) + " waiting, " + num(q.active || 0) + " active, " + num(q.later || 0) + " later" + (q.oldest > 1 ? "; the first waits " + span(q.oldest * 1000) : "")]);
      facts_(facts, list);
      const by = new Map();
      for (const [id, outcome, n] of rowsOf(tick, "task_runs_total")) {
        const row = by.get(id) || by.set(id, { id, done: 0, failed: 0, other: 0 }).get(id);
        if (outcome === "done" || outcome === "failed") row[outcome] += n; else row.other += n;
      }
      for (const [id, , , , p99] of rowsOf(tick, "task_seconds")) if (by.has(id)) by.get(id).p99 = p99;
      t.update([...by.values()]);
      box.hidden = by.size === 0;
    },
  };
}

function processPart() {
  const { el, body } = section("Process");
  const facts = h("dl", { class: "facts" });
  body.append(facts);
  return {
    el,
    update(tick) {
      const s = tick.status;
      const list = [["Version", s.version + ", process " + s.pid], ["Running for", span(tick.p[0] - new Date(s.started).getTime())], ["Listens on", (s.listen || []).join(", ") || "nothing"],
        ["Admin", s.admin], ["Log level", s.log_level], ["Go", num(s.goroutines) + " goroutines, " + bytes(s.heap_bytes) + " heap, " + bytes(s.resident_bytes) + " resident"],
        ["Workers", rowsOf(tick, "workers").map(([state, v]) => num(v) + " " + state).join(", ") + "; " + num(total(tick, "worker_queue")) + " calls wait"],
        ["Open pages", num(total(tick, "console_pages"))]];
      const end = total(tick, "certificate_not_after_seconds");
      if (end > 0) list.push(["Certificate ends", new Date(end * 1000).toLocaleString() + ", in " + span(end * 1000 - tick.p[0])]);
      facts_(facts, list);
    },
  };
}
