// The page of players: who is connected, one of them in detail, what an operator does
// to them, and what they say (live trace).
import { ask, follow } from "./api.js";
import { bytes, clock, dialog, empty, errorBox, h, ms, note, num, put, rate, span, table } from "./ui.js";

const pageSize = 50;
const maxText = 1024; // bytes that the daemon takes of a message

export function players(main, model, [uid]) {
  let offset = 0, timer = 0, asking = null, closed = false;
  const search = h("input", { type: "search", placeholder: "uid, address, conn 7", "aria-label": "Find by uid, address or connection", "aria-keyshortcuts": "/", oninput: () => { offset = 0; soon(250); } });
  const open = h("form", { class: "row", onsubmit: (e) => { e.preventDefault(); openFound(search.value.trim()); } },
    search, h("button", { type: "submit" }, "Open player"));
  const sort = h("select", { "aria-label": "Order", onchange: () => { offset = 0; soon(0); } },
    h("option", { value: "waiting" }, "most bytes waiting"), h("option", { value: "rate" }, "most messages a second"), h("option", { value: "age" }, "longest connected"), h("option", { value: "silent" }, "longest silent"));
  const count = h("span", { class: "muted", role: "status" });
  const before = h("button", { type: "button", onclick: () => { offset = Math.max(0, offset - pageSize); soon(0); } }, "Before");
  const next = h("button", { type: "button", onclick: () => { offset += pageSize; soon(0); } }, "Next");
  const fresh = h("input", { type: "checkbox", checked: true });
  const t = table([
    { key: "uid", title: "Player", left: true, fill: (td, r) => {
      if (r.uid === "0") { put(td, "not logged in"); return; }
      if (!td.querySelector("a")) td.replaceChildren(h("a", {}));
      const a = td.firstChild;
      put(a, r.uid);
      a.href = "#players/" + r.uid;
    } },
    { key: "peer", title: "Address", left: true, text: (r) => r.peer },
    { key: "way", title: "Transport", left: true, text: (r) => r.transport + ", " + r.framing },
    { key: "loop", title: "Loop", text: (r) => r.loop },
    { key: "waiting_bytes", title: "Waiting", text: (r) => bytes(r.waiting_bytes), level: (r) => (r.waiting_bytes > 1 << 20 ? 2 : r.waiting_bytes > 65536 ? 1 : r.waiting_bytes ? 0 : -1) },
    { key: "mailbox", title: "Mailbox", text: (r) => num(r.mailbox), level: (r) => (r.mailbox ? 1 : -1) },
    { key: "underway", title: "Calls", text: (r) => num(r.underway), level: (r) => (r.underway ? 0 : -1) },
    { key: "rooms", title: "Rooms", text: (r) => num(r.rooms), level: (r) => (r.rooms ? 0 : -1) },
    { key: "messages", title: "Messages", text: (r) => num(r.messages) + (r.rate === undefined ? "" : " (" + rate(r.rate) + "/s)") },
    { key: "age", title: "Connected", text: (r) => span(r.age_ms) },
    { key: "silent", title: "Silent", text: (r) => span(r.silent_ms) },
    { key: "conn", title: "Connection", text: (r) => r.conn },
  ], { caption: "Connections" });
  const state = h("div", {}, empty("Loading…"));
  const box = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Connections", hidden: true }, t.el);
  const list = h("section", { class: "card" },
    h("header", {}, h("h2", {}, "Connections"), count, h("span", { class: "spacer" }), open, sort, h("label", {}, fresh, "every 5 s")),
    state, box, h("div", { class: "row pager" }, before, next));
  const side = h("div");
  main.replaceChildren(h("h1", { class: "visually-hidden" }, "Players"), h("div", { class: uid ? "two" : "" }, list, side));
  const one = uid ? player(side, uid) : null;

  // openFound opens the player of a uid, who may be offline, or the one on "conn 7".
  async function openFound(text) {
    if (/^\d+$/.test(text)) location.hash = "#players/" + text;
    const conn = text.match(/^conn\s*(\d+)$/)?.[1];
    if (!conn) return;
    try {
      const [at] = (await ask("/console/players?offset=0&limit=1&find=" + encodeURIComponent("conn " + conn))).sessions;
      if (closed) return;
      if (at && at.uid !== "0") location.hash = "#players/" + at.uid;
      else note(at ? `Nobody is logged in on connection ${conn}.` : `There is no connection ${conn}.`);
    } catch (e) { note(e.message, true); }
  }
  function soon(wait) { clearTimeout(timer); timer = setTimeout(load, wait); }
  async function load() {
    if (closed) return;
    const mine = asking = {};
    try {
      const find = encodeURIComponent(search.value.trim());
      const answer = await ask(`/console/players?sort=${sort.value}&offset=${offset}&limit=${pageSize}&find=${find}`);
      if (mine !== asking || closed) return;
      if (offset >= answer.total && offset > 0) { offset = 0; soon(0); return; }
      const rows = answer.sessions.map((s) => ({ id: s.loop + "/" + s.conn, ...s }));
      t.update(rows, true);
      for (const r of rows) { const tr = t.row(r.id); if (r.uid === uid) tr.setAttribute("aria-selected", "true"); else tr.removeAttribute("aria-selected"); }
      box.hidden = rows.length === 0;
      state.replaceChildren(...(rows.length ? [] : [empty(search.value.trim() ? "Nobody fits." : "Nobody is connected.")]));
      put(count, rows.length ? `${offset + 1} to ${offset + rows.length} of ${num(answer.total)}` : "");
      before.disabled = offset === 0;
      next.disabled = offset + pageSize >= answer.total;
      before.parentElement.hidden = answer.total <= pageSize;
    } catch (e) {
      if (mine !== asking || closed) return;
      state.replaceChildren(errorBox(e.message));
    }
    soon(fresh.checked && !document.hidden ? 5000 : 600000);
  }
  fresh.addEventListener("change", () => soon(0));
  load();
  return { search: () => search, close() { closed = true; clearTimeout(timer); if (one) one.close(); } };
}

// player is the card of one player. It asks every second while it is shown.
function player(side, uid) {
  let timer = 0, closed = false, tracing = null, online = null;
  const badge = h("span", { class: "badge" }, "…");
  const facts = h("dl", { class: "facts" });
  const state = h("div");
  const kick = h("button", { type: "button", class: "danger", onclick: doKick }, "Kick…");
  const message = h("button", { type: "button", onclick: doMessage }, "Message…");
  const trace = h("button", { type: "button", onclick: () => (tracing ? stop() : start()), "aria-pressed": "false" }, "Trace live");
  const hard = h("ol", { class: "log" }), easy = h("ol", { class: "log" });
  const hardIs = h("p", { class: "muted" }), easyIs = h("p", { class: "muted" });
  const calls = h("div", { class: "box", tabindex: "0", role: "region", "aria-label": "Last calls of player " + uid }, hardIs, hard, easyIs, easy);
  const callBox = h("section", { class: "trace", hidden: true }, h("h3", {}, "Last calls"), calls);
  const log = h("ol", { class: "log", tabindex: "0", role: "region", "aria-label": "Messages of player " + uid, reversed: true });
  const traceState = h("p", { class: "muted", role: "status" });
  const traceBox = h("section", { class: "trace", hidden: true }, h("h3", {}, "Messages"), traceState, log);
  side.replaceChildren(h("section", { class: "card form", "aria-label": "Player " + uid },
    h("div", { class: "row" }, h("h2", {}, "Player " + uid), badge, h("span", { class: "spacer" }), h("a", { class: "button", href: "#players" }, "Close")),
    h("div", { class: "row" }, message, trace, h("a", { class: "button", href: "#api/player.get?uid=" + uid }, "Try"), kick),
    state, facts, callBox, traceBox));

  function show(list) {
    facts.replaceChildren(...list.flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
  }
  async function load() {
    if (closed) return;
    try {
      const p = await ask("/console/player?uid=" + encodeURIComponent(uid));
      if (closed) return;
      setOnline(true);
      state.replaceChildren();
      show([["Address", p.peer], ["Connection", "conn " + p.conn + " on loop " + p.loop], ["Transport", p.transport + ", " + p.framing], ["Connected for", span(p.age_ms)], ["Silent for", span(p.silent_ms)],
        ["Waiting to be sent", bytes(p.waiting_bytes)], ["Mailbox", num(p.mailbox) + " messages"], ["Messages received", num(p.messages)],
        ["Rooms", p.room_names.length ? p.room_names.map((r) => h("span", { class: "chip" }, r)) : "none"],
        ["Calls under way", p.calls.length ? p.calls.map((c) => h("span", { class: "chip" }, c.method + " " + span(c.age_ms))) : "none"],
        ["Asked of the client", num(p.asked)]]);
      showCalls(p);
    } catch (e) {
      if (closed) return;
      if (e.status === 404) {
        setOnline(false);
        show([]);
        callBox.hidden = true;
        state.replaceChildren(empty("Not connected to this daemon. A trace begins when the player comes."));
      } else {
        state.replaceChildren(errorBox(e.message));
      }
    }
    timer = setTimeout(load, document.hidden ? 5000 : 1000);
  }
  let shown = "";
  function showCalls(p) {
    callBox.hidden = false;
    put(hardIs, `The last 16 that failed or took ${p.slow_ms} ms or more, waiting included`);
    put(easyIs, p.all_since ? `The last 16 others since ${clock(p.all_since)}, when this session was first opened here` : "");
    const now = JSON.stringify(p.last);
    const selected = getSelection();
    if (now === shown || (!selected.isCollapsed && calls.contains(selected.anchorNode))) return; // a trace id is being copied
    shown = now;
    const suffers = (c) => c.code || c.took_ms + c.waited_ms >= p.slow_ms;
    for (const [list, some] of [[hard, p.last.filter(suffers)], [easy, p.last.filter((c) => !suffers(c))]]) {
      list.replaceChildren(...(some.length ? some.map((c) => lastCall(c, p.slow_ms)) : [h("li", {}, "None so far.")]));
    }
  }
  function setOnline(is) {
    if (online === is) return;
    online = is;
    put(badge, is ? "online" : "offline");
    badge.className = "badge " + (is ? "good" : "");
    kick.disabled = message.disabled = !is;
  }
  async function doKick() {
    const values = await dialog("Kick player " + uid, h("div", { class: "form" },
      h("p", {}, "The session ends at once; what the player has sent before is stored."),
      h("label", { class: "field" }, "What the player is told", h("input", { name: "message", maxlength: 300, placeholder: "an operator has ended the session" })),
      h("label", {}, h("input", { type: "checkbox", name: "reconnect" }), "The client may connect again by itself")), "Kick", true);
    if (!values) return;
    try {
      const done = await ask("/console/kick", JSON.stringify({ uid, message: values.message, reconnect: values.reconnect === "on" }));
      note(done.kicked ? `Player ${uid} was kicked.` : `Player ${uid} is not online.`);
    } catch (e) { note(e.message, true); }
  }
  async function doMessage() {
    const size = h("p", { class: "muted num", role: "status" });
    const text = h("textarea", { name: "text", rows: 3, required: true, oninput: check });
    function check() { // what the daemon takes, before the dialog is gone
      const n = new TextEncoder().encode(text.value).length;
      put(size, `${n} of ${maxText} bytes`);
      size.className = n > maxText ? "problem num" : "muted num";
      text.setCustomValidity(n > maxText ? `The text has ${n} bytes, ${maxText} fit.` : text.value.trim() ? "" : "There is no text.");
    }
    check();
    const values = await dialog("Message to player " + uid, h("div", { class: "form" },
      h("label", { class: "field" }, "Text", text), size,
      h("p", { class: "muted" }, "The client gets the notification sys.notice(text); what it does with it is the game's.")), "Send");
    if (!values) return;
    try {
      const done = await ask("/console/message", JSON.stringify({ uid, text: values.text }));
      note(done.sent ? "Sent." : `Player ${uid} is not online.`);
    } catch (e) { note(e.message, true); }
  }
  function start() {
    let n = 0, dropped = 0;
    traceBox.hidden = false;
    log.replaceChildren();
    put(trace, "Stop trace");
    trace.setAttribute("aria-pressed", "true");
    put(traceState, "Waiting for messages…");
    const counts = () => put(traceState, num(n) + " messages" + (dropped ? ", " + num(dropped) + " left out" : ""));
    tracing = follow("/console/trace?uid=" + encodeURIComponent(uid), {
      message: (m) => { n++; log.prepend(line(m)); if (log.children.length > 300) log.lastChild.remove(); counts(); },
      beat: (d) => { dropped = d; if (n) counts(); },
      end: (last) => { put(traceState, "Ended: " + last.end + "."); stop(); },
    }, (lost) => { if (lost && tracing) { put(traceState, "The trace was cut or refused: 16 at once are allowed."); stop(); } }, false);
  }
  function stop() {
    if (tracing) tracing.close();
    tracing = null;
    put(trace, "Trace live");
    trace.setAttribute("aria-pressed", "false");
  }
  load();
  return { close() { closed = true; clearTimeout(timer); stop(); } };
}

// lastCall is one call that has ended.
function lastCall(c, slow) {
  const time = ms(c.took_ms) + (c.waited_ms >= 1 ? " after " + ms(c.waited_ms) + " of waiting" : "");
  return h("li", {},
    h("div", { class: "head" }, h("span", { class: "muted num" }, clock(c.at)), h("strong", {}, c.method || "a method that there is not"),
      h("span", { class: c.code ? "badge bad" : "badge" }, c.code || "ok"),
      h("span", { class: c.took_ms + c.waited_ms >= slow ? "badge warn num" : "muted num" }, time)),
    c.trace ? h("code", { class: "body" }, "trace " + c.trace) : null);
}

// line is one message of a trace.
function line(m) {
  const way = m.dir === "in" ? "→" : "←";
  return h("li", {},
    h("div", { class: "head" }, h("span", { class: "muted num" }, clock(m.at)), h("span", { "aria-label": m.dir === "in" ? "from the client" : "to the client" }, way),
      h("strong", {}, m.method || "?"), h("span", { class: m.failed ? "badge bad" : "badge" }, m.failed ? "error" : m.kind), m.id ? h("span", { class: "muted" }, "#" + m.id) : null,
      h("span", { class: "muted num" }, bytes(m.size) + (m.took_ms ? ", " + ms(m.took_ms) : ""))),
    h("code", { class: "body" }, m.body || ""));
}
