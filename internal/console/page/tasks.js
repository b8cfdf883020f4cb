// The page of background tasks.
import { ask } from "./api.js";
import { dialog, empty, errorBox, h, note, num, pretty, put, span, table, when } from "./ui.js";

export function tasks(main) {
  let timer = 0, closed = false, asking = null;
  const state = h("select", { "aria-label": "State", onchange: () => soon(0) }, ["waiting", "running", "done", "archived", "revoked"].map((s) => h("option", { value: s }, s)));
  const counts = h("div", { class: "row", role: "status" });
  const info = h("div", {}, empty("Loading…"));
  const t = table([
    { key: "name", title: "Task", left: true, fill: (td, r) => {
      if (!td.firstChild) td.append(h("button", { type: "button", class: "link", onclick: () => open(td.dataset.id) }));
      td.dataset.id = r.id;
      put(td.firstChild, r.name);
    } },
    { key: "queue", title: "Queue", left: true, text: (r) => r.queue },
    { key: "run", title: "Due", left: true, text: (r) => when(r.run_ms) },
    { key: "created", title: "Applied", left: true, text: (r) => when(r.created_ms) },
    { key: "attempts", title: "Attempts", text: (r) => num(r.attempts) },
    { key: "failures", title: "Failures", text: (r) => num(r.failures), level: (r) => (r.failures ? 1 : -1) },
    { key: "problem", title: "Problem", left: true, wrap: true, text: (r) => r.problem || "" },
  ], { caption: "Tasks" });
  const box = h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Tasks", hidden: true }, t.el);
  const queues = h("dl", { class: "facts" });
  main.replaceChildren(h("h1", { class: "visually-hidden" }, "Tasks"),
    h("section", { class: "card" }, h("header", {}, h("h2", {}, "Background tasks"), counts, h("span", { class: "spacer" }), state, h("button", { type: "button", onclick: run }, "Run a task…")), info, box),
    h("section", { class: "card" }, h("header", {}, h("h2", {}, "Queues")), queues));

  function soon(wait) { clearTimeout(timer); timer = setTimeout(load, wait); }
  async function load() {
    if (closed) return;
    const mine = asking = {};
    try {
      const a = await ask(`/console/tasks?state=${state.value}&limit=100`);
      if (mine !== asking || closed) return;
      t.update(a.tasks, true);
      box.hidden = a.tasks.length === 0;
      info.replaceChildren(...(a.tasks.length ? [] : [empty("No task is " + state.value + ".")]));
      counts.replaceChildren(...Object.entries(a.counts || {}).map(([s, n]) => h("span", { class: "chip" }, s + " " + num(n))));
      const rows = (a.queues || []).flatMap((q) => [h("dt", {}, q.name), h("dd", {}, `${num(q.waits)} waiting, ${num(q.active)} active, ${num(q.later)} later` + (q.oldest_ms > 1000 ? `; the first waits ${span(q.oldest_ms)}` : ""))]);
      queues.replaceChildren(...(rows.length ? rows : [h("dt", {}, "All queues are empty.")]));
    } catch (e) {
      if (mine !== asking || closed) return;
      info.replaceChildren(errorBox(e.message));
    }
    soon(document.hidden ? 30000 : 5000);
  }
  async function open(id) {
    let task;
    try { task = await ask("/console/task?id=" + encodeURIComponent(id)); } catch (e) { note(e.message, true); return; }
    const facts = [["Id", task.id], ["State", task.state], ["Queue", task.queue], ["Due", when(task.run_ms)], ["Applied", when(task.created_ms)], ["Ended", task.ended_ms ? when(task.ended_ms) : "–"],
      ["Attempts", num(task.attempts) + ", failures " + num(task.failures) + " of " + num(task.retries + 1)], ["Problem", task.problem || "none"]];
    const acts = task.state === "archived" ? ["retry"] : task.state === "waiting" ? ["revoke", "archive"] : task.state === "running" ? ["revoke"] : [];
    const select = acts.length ? h("label", { class: "field" }, "What to do", h("select", { name: "action" }, acts.map((a) => h("option", { value: a }, a)))) : null;
    const values = await dialog(task.name, h("div", { class: "form" }, h("dl", { class: "facts" }, facts.flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)])),
      h("h3", {}, "Arguments"), h("pre", {}, pretty(JSON.stringify(task.args ?? null))), task.result === undefined ? null : [h("h3", {}, "Result"), h("pre", {}, pretty(JSON.stringify(task.result)))], select), acts.length ? "Do it" : null, true);
    if (!values || !values.action) return;
    try { note((await ask("/console/tasks/act", JSON.stringify({ id, action: values.action }))).done); soon(0); } catch (e) { note(e.message, true); }
  }
  async function run() {
    const values = await dialog("Run a task now", h("div", { class: "form" },
      h("label", { class: "field" }, "Name", h("input", { name: "name", required: true, class: "mono" })),
      h("label", { class: "field" }, "Arguments, a JSON list", h("textarea", { name: "args", rows: 3 }, "[]"))), "Run");
    if (!values) return;
    let args = (values.args || "").trim() || "[]";
    try { if (!Array.isArray(JSON.parse(args))) throw new Error(); } catch { note("The arguments must be a JSON list.", true); return; }
    try { note("Task " + (await ask("/console/tasks/run", `{"name":${JSON.stringify(values.name)},"args":${args}}`)).id + " was applied."); soon(0); } catch (e) { note(e.message, true); }
  }
  load();
  return { close() { closed = true; clearTimeout(timer); } };
}
