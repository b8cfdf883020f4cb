// Uses the console as an operator does. node console.mjs CHROMIUM URL LOCKED-URL TOKEN [SHOTS]
// Lines that begin with @ are for browser_test.go: what is to be done to the daemon.
import { createInterface } from "node:readline";
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";

const [, , program, base, locked, token, shots] = process.argv;
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const wait = { timeout: 40000 }; // of a machine that does much else at the same time
const problems = [];
const expected = []; // what the console of the browser may say, while it may
if (shots) mkdirSync(shots, { recursive: true });

const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"] });

// visit opens a page that reports all that must not be.
async function visit(url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const own = new URL(url).origin;
  page.on("request", (r) => { if (new URL(r.url()).origin !== own) problems.push("a request to " + r.url()); });
  page.on("pageerror", (e) => problems.push("an error of the page: " + e.stack));
  page.on("console", (m) => {
    if (["error", "warning"].includes(m.type()) && !expected.some((e) => m.text().includes(e))) problems.push("the browser says: " + m.text());
  });
  await page.goto(url);
  return page;
}

async function step(name, fn) {
  const before = problems.length;
  try {
    await fn();
  } catch (e) {
    problems.push(e.stack);
  }
  console.log((problems.length > before ? "not ok - " : "ok - ") + name);
  for (const p of problems.slice(before)) console.log("    " + p.replaceAll("\n", "\n    "));
}

function hold(is, what) { if (!is) throw new Error(what); }
const shot = async (page, name, options = {}) => { if (shots) await page.screenshot({ path: `${shots}/console-${name}.png`, ...options }); };
const tile = (page, name) => page.locator(".tile", { has: page.locator("dt", { hasText: name }) }).locator("dd");
const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

// contrast finds texts that are hard to read: less than 4.5 to 1, 3 to 1 if they are large.
const contrast = (page) => page.evaluate(() => {
  const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return { rgb: m.slice(0, 3), a: m.length > 3 ? m[3] : 1 }; };
  const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const over = (top, under, a) => top.map((v, i) => v * a + under[i] * (1 - a));
  const bad = new Set();
  for (const el of document.querySelectorAll("body *")) {
    if (![...el.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !el.checkVisibility() || el.closest(":disabled, .visually-hidden, .skip, noscript")) continue;
    const style = getComputedStyle(el);
    let under = [255, 255, 255], opacity = 1;
    const up = [];
    for (let e = el; e; e = e.parentElement) { up.unshift(e); opacity *= Number(getComputedStyle(e).opacity); }
    for (const e of up) { const c = parse(getComputedStyle(e).backgroundColor); under = over(c.rgb, under, c.a); }
    const text = over(parse(style.color).rgb, under, parse(style.color).a * opacity);
    const [x, y] = [light(text), light(under)].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (x + 0.05) / (y + 0.05);
    if (ratio < (large ? 3 : 4.5)) bad.add(`${el.tagName}.${el.className} "${el.textContent.trim().slice(0, 30)}" ${ratio.toFixed(2)}`);
  }
  return [...bad];
});

// unnamed finds what a screen reader would not name.
const unnamed = (page) => page.evaluate(() => [...document.querySelectorAll("button, a, input, select, textarea, dialog, [role=region]")].filter((el) => el.checkVisibility() &&
  !(el.textContent.trim() && !/^(INPUT|SELECT|TEXTAREA)$/.test(el.tagName)) && !el.getAttribute("aria-label") && !el.getAttribute("aria-labelledby") && !(el.labels && el.labels.length)).map((el) => el.outerHTML.slice(0, 120)));

const page = await visit(base + "/");

await step("live numbers come and move", async () => {
  await page.locator("#state", { hasText: "serving" }).waitFor(wait);
  await page.waitForFunction(() => document.querySelectorAll(".plot canvas").length === 6, null, wait);
  await page.locator("tbody tr", { hasText: "player.get" }).first().waitFor(wait);
  const read = () => tile(page, "Calls a second").textContent();
  await page.waitForFunction(() => parseFloat(document.querySelector(".tile dd").textContent) > 50, null, wait);
  const first = await page.locator("tbody tr", { hasText: "player.get" }).first().locator("td").nth(8).textContent();
  await page.waitForFunction((was) => [...document.querySelectorAll("tbody tr")].find((tr) => tr.textContent.startsWith("player.get")).children[8].textContent !== was, first, wait);
  hold(/^\d/.test(await read()), "calls a second: " + await read());
  hold(await tile(page, "Players online").textContent() === "21", "players: " + await tile(page, "Players online").textContent());
  await page.locator(".chip", { hasText: "not_found" }).first().waitFor(wait);
  await page.locator("tr", { hasText: "sql" }).locator(".badge.good", { hasText: "up" }).waitFor(wait);
});

await step("methods are searched and sorted", async () => {
  const rows = () => page.locator("section", { hasText: "Errors by code" }).first().locator("tbody tr td:first-child").allTextContents();
  await page.getByRole("button", { name: "Method", exact: true }).click();
  const names = await rows();
  hold(names.length > 2 && names.join() === [...names].sort().join(), "sorted by name: " + names);
  hold(await page.locator("th[aria-sort=ascending]", { hasText: "Method" }).count() === 1, "it says so");
  await page.getByRole("button", { name: "Method", exact: true }).click();
  hold((await rows()).join() === [...names].reverse().join(), "the other way: " + await rows());
  await page.getByLabel("Search methods").fill("save");
  hold((await rows()).every((n) => n.startsWith("save.")), "found: " + await rows());
  await page.getByLabel("Search methods").fill("nothing at all");
  await page.getByText("No method fits.").waitFor(wait);
  await page.getByLabel("Search methods").fill("");
});

await step("a player is found, traced, told something and kicked", async () => {
  await page.getByRole("link", { name: "Players" }).click();
  await page.getByText(/1 to 21 of 21/).waitFor(wait);
  await page.getByLabel("Find by uid, address or connection").fill("777");
  await page.getByText("1 to 1 of 1").waitFor(wait);
  await page.getByRole("link", { name: "777", exact: true }).click();
  await page.locator(".badge.good", { hasText: "online" }).waitFor(wait);
  const last = page.getByRole("region", { name: "Last calls of player 777" });
  await last.locator("li", { hasText: "shop.buy" }).locator(".badge.bad", { hasText: "failed_precondition" }).waitFor(wait);
  await last.getByText("The last 16 that failed or took 10 ms or more, waiting included").waitFor(wait);
  await last.getByText(/The last 16 others since \d+:\d\d:\d\d, when/).waitFor(wait);
  await page.getByRole("button", { name: "Trace live" }).click();
  await page.getByText("Waiting for messages…").waitFor(wait);
  const messages = page.getByRole("region", { name: "Messages of player 777" });
  const traced = messages.locator("li", { hasText: "save.put" }).first();
  for (let tries = 0; ; tries++) { // the page waits a moment before the daemon shows
    console.log("@call");
    try {
      await traced.waitFor({ timeout: 2000 });
      break;
    } catch (error) {
      if (tries === 19) throw error;
    }
  }
  await messages.locator("li", { hasText: '"traced"' }).first().waitFor(wait);
  await last.locator("li", { hasText: "save.put" }).locator(".badge", { hasText: "ok" }).first().waitFor(wait);
  hold(await last.locator("ol").first().locator("li", { hasText: "shop.buy" }).count() === 1, "what failed is not at the top");
  await shot(page, "player");
  const [conn] = (await page.locator(".facts dd").nth(1).textContent()).match(/^conn \d+/);
  await page.goto(base + "/#players");
  await page.getByLabel("Find by uid, address or connection").fill(conn);
  await page.getByText("1 to 1 of 1").waitFor(wait);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Player 777" }).waitFor(wait);
  await page.getByRole("button", { name: "Trace live" }).click();
  await page.getByText("Waiting for messages…").waitFor(wait);
  await page.getByRole("button", { name: "Stop trace" }).click();
  await page.getByRole("button", { name: "Message…" }).click();
  await page.getByLabel("Text").fill("ü".repeat(513)); // 1,026 bytes in 513 characters
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("1026 of 1024 bytes").waitFor(wait);
  hold(await page.getByRole("dialog").count() === 1, "the dialog is gone, and the text with it");
  await page.getByLabel("Text").fill("hello from the console");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("Sent.").waitFor(wait);
  await page.getByRole("button", { name: "Kick…" }).click();
  await page.getByLabel("What the player is told").fill("bye");
  expected.push("404"); // the player is asked for once more
  await page.getByRole("button", { name: "Kick", exact: true }).click();
  await page.getByText("Player 777 was kicked.").waitFor(wait);
  await page.locator(".badge", { hasText: "offline" }).waitFor(wait);
  hold(await page.getByRole("button", { name: "Kick…" }).isDisabled(), "a player who is offline can be kicked");
});

await step("methods are tried", async () => {
  await page.getByRole("link", { name: "API" }).click();
  await page.getByRole("link", { name: "sum", exact: true }).click();
  const form = page.locator("form", { has: page.getByRole("button", { name: "Call" }) });
  await form.getByLabel("x int").fill("1");
  await form.getByRole("button", { name: "Call" }).click();
  await page.getByText("it is missing").waitFor(wait);
  await form.getByLabel("y int").fill("9223372036854775806");
  await form.getByRole("button", { name: "Call" }).click();
  await page.locator("pre", { hasText: "9223372036854775807" }).waitFor(wait);
  await form.getByLabel("y int").fill("{");
  await form.getByRole("button", { name: "Call" }).click();
  await page.getByText("this is not JSON").waitFor(wait);
  await page.goto(base + "/#api/player.rename?uid=101");
  await page.getByRole("heading", { name: "player.rename" }).waitFor(wait);
  await form.getByLabel("name str").fill("Ada Lovelace");
  await form.getByRole("button", { name: "Call" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Call" }).click();
  await page.locator("pre", { hasText: "Ada Lovelace" }).waitFor(wait);
  await page.getByText("through the player's session").waitFor(wait);
  await shot(page, "api");
  await page.goto(base + "/#api/shop.buy?uid=101");
  await page.getByRole("heading", { name: "shop.buy" }).waitFor(wait);
  await form.getByLabel("item str").fill("sword");
  await form.getByLabel("count int").fill("1000");
  await form.getByRole("button", { name: "Call" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Call" }).click();
  await page.locator(".badge.bad", { hasText: "failed_precondition" }).waitFor(wait);
});

await step("tasks and warnings have their empty states", async () => {
  await page.getByRole("link", { name: "Tasks" }).click();
  await page.getByText("No task is waiting.").waitFor(wait);
  await page.getByRole("button", { name: "Run a task…" }).click();
  await page.getByLabel("Name").fill("no.such.task");
  expected.push("400", "404");
  await page.getByRole("dialog").getByRole("button", { name: "Run", exact: true }).click();
  await page.locator(".toast.bad").waitFor(wait);
  await page.getByRole("link", { name: "Warnings" }).click();
  await page.getByRole("heading", { name: "The log's last warnings and errors" }).waitFor(wait);
});

await step("all of it without a mouse", async () => {
  const p = await visit(base + "/");
  await p.locator("#state", { hasText: "serving" }).waitFor(wait);
  await p.keyboard.press("Tab");
  hold(await p.evaluate(() => document.activeElement.className === "skip" && document.activeElement.getBoundingClientRect().left >= 0), "the first stop is the skip link, and it shows");
  await p.keyboard.press("Enter");
  hold(await p.evaluate(() => document.activeElement.id === "main"), "it leads to the content");
  await p.keyboard.press("2");
  await p.getByText(/1 to 20 of 20/).waitFor(wait);
  await p.keyboard.press("/");
  await p.keyboard.type("101");
  await p.keyboard.press("Enter");
  await p.getByRole("heading", { name: "Player 101" }).waitFor(wait);
  await p.locator(".badge.good", { hasText: "online" }).waitFor(wait);
  let stops = 0;
  const at = () => p.evaluate(() => document.activeElement.textContent);
  let calls = false;
  while (!(calls && await at() === "Kick…") && stops++ < 200) {
    await p.keyboard.press("Tab");
    const seen = await p.evaluate(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2; });
    hold(seen || await p.evaluate(() => document.activeElement === document.body), "the focus does not show on " + await at());
    calls ||= await p.evaluate(() => document.activeElement.getAttribute("aria-label") === "Last calls of player 101");
  }
  hold(calls, "the last calls are never reached");
  hold(await at() === "Kick…", "Kick is never reached");
  await p.keyboard.press("Enter");
  await p.getByRole("dialog", { name: "Kick player 101" }).waitFor(wait);
  await p.keyboard.press("Escape");
  await p.waitForFunction(() => !document.querySelector("dialog"), null, wait);
  hold(await at() === "Kick…", "the focus comes back after a dialog");
  await p.keyboard.press("?");
  await p.getByRole("dialog", { name: "Keyboard" }).waitFor(wait);
  await p.keyboard.press("Escape");
  await p.keyboard.press("3");
  await p.getByRole("link", { name: "sum", exact: true }).waitFor(wait);
  await p.keyboard.press("1");
  await p.locator(".tile").first().waitFor(wait);
  await p.context().close();
});

for (const [name, options] of [["light", { colorScheme: "light" }], ["dark", { colorScheme: "dark" }], ["phone", { colorScheme: "light", viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }]]) {
  await step("every page, " + name, async () => {
    const p = await visit(base + "/", { reducedMotion: "reduce", ...options });
    await p.locator("tbody tr", { hasText: "player.get" }).first().waitFor(wait);
    const dark = await p.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    hold((dark === "rgb(14, 17, 22)") === (name === "dark"), "background " + dark);
    for (const [where, seen] of [["live", "Event loops"], ["players/101", "Waiting to be sent"], ["api/save.put", "if_version"], ["tasks", "Background tasks"], ["warnings", "The log's last"]]) {
      await p.goto(base + "/#" + where);
      await p.getByText(seen).first().waitFor(wait);
      await shot(p, name + "-" + where.split("/")[0], { fullPage: where === "live" });
      const wide = await overflow(p);
      hold(wide <= 0, `${where} is ${wide} pixels too wide`);
      const hard = await contrast(p);
      hold(hard.length === 0, `${where}: hard to read: ${hard.join("; ")}`);
      const names = await unnamed(p);
      hold(names.length === 0, `${where}: without a name: ${names.join(" ")}`);
    }
    hold(await p.evaluate(() => document.getAnimations().length === 0), "something moves although it should not");
    await p.context().close();
  });
}

await step("the theme is switched, and kept", async () => {
  const p = await visit(base + "/", { colorScheme: "dark" });
  const background = () => p.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await p.locator(".tile").first().waitFor(wait);
  await p.getByRole("button", { name: /^Theme/ }).click();
  hold(await background() === "rgb(244, 246, 249)", "light: " + await background());
  await p.reload();
  hold(await background() === "rgb(244, 246, 249)", "light is not kept: " + await background());
  await p.context().close();
});

await step("a restart is seen, and said", async () => {
  expected.push("Failed to load resource", "ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "503");
  await page.goto(base + "/#live");
  await page.locator("#state", { hasText: "serving" }).waitFor(wait);
  console.log("@stop");
  await page.getByText("The daemon does not answer. Trying again…").waitFor(wait);
  await answers.next();
  console.log("@start");
  await page.getByText(/The daemon was restarted: process \d+/).waitFor(wait);
  await page.locator("#state", { hasText: "serving" }).waitFor(wait);
  await page.waitForFunction(() => document.getElementById("banner").hidden, null, wait);
  await page.locator("tbody tr", { hasText: "player.get" }).first().waitFor(wait);
});

await step("a drain counts down", async () => {
  const p = await visit(base + "/#live");
  await p.locator(".tile").first().waitFor(wait);
  const point = [Date.now(), 5, 0, 1, 2, 1, 1, 9, 9, 1, 1, 1, 1, 1];
  const tick = { p: point, warnings: 0, f: {}, status: { role: "serve", state: "draining", ready: false, reason: "shutting down", version: "v", pid: 1, started: "2026-01-01T00:00:00Z", listen: [], admin: "", stores: [],
    drain: { why: "SIGTERM", took_ms: 1000, deadline_ms: 9000, connections: 9, underway: 2 } } };
  await p.route("**/console/live", (route) => route.fulfill({ contentType: "text/event-stream", body: `event: history\ndata: {"columns":["t"],"points":[]}\n\nevent: tick\ndata: ${JSON.stringify(tick)}\n\n` }));
  await p.reload();
  await p.getByText(/Draining \(SIGTERM\): 9 connections, 2 calls under way, cut in [78] s/).waitFor(wait);
  await p.context().close();
});

await step("errors are shown in words", async () => {
  const p = await visit(base + "/#live");
  await p.route("**/console/players*", (route) => route.fulfill({ status: 503, contentType: "application/json", body: '{"error":{"code":"deadline_exceeded","message":"an event loop does not answer"}}' }));
  await p.locator(".tile").first().waitFor(wait);
  await p.goto(base + "/#players");
  await p.locator(".error", { hasText: "an event loop does not answer" }).waitFor(wait);
  await p.context().close();
});

await step("the token is asked for", async () => {
  expected.push("401");
  const p = await visit(locked + "/");
  await p.getByLabel("Token").waitFor(wait);
  hold(await p.locator("#nav").isHidden(), "pages are offered to who has not signed in");
  await shot(p, "signin");
  await p.getByLabel("Token").fill("a wrong one");
  await p.keyboard.press("Enter");
  await p.getByText("that is not the token").waitFor(wait);
  await p.getByLabel("Token").fill(token);
  await p.keyboard.press("Enter");
  await p.locator("#state", { hasText: "serving" }).waitFor(wait);
  const [cookie] = await p.context().cookies();
  hold(cookie.httpOnly && cookie.sameSite === "Strict", "cookie " + JSON.stringify(cookie));
  hold(await p.evaluate(() => document.cookie) === "", "scripts can read the cookie");
  hold(!(await p.evaluate((t) => document.documentElement.outerHTML.includes(t) || JSON.stringify(localStorage).includes(t), token)), "the token stays in the page");
  await p.reload();
  await p.locator(".tile").first().waitFor(wait);
  await p.getByRole("button", { name: "Sign out" }).click();
  await p.getByLabel("Token").waitFor(wait);
  await p.context().close();
});

await step("where it is closed, the page says how to open it", async () => {
  const q = await visit(locked + "/");
  await q.route("**/console/hello", (route) => route.fulfill({ contentType: "application/json", body: '{"mode":"closed","signed_in":false,"how":"put a token into admin.token_file"}' }));
  await q.reload();
  await q.getByRole("heading", { name: "The console is closed" }).waitFor(wait);
  await q.getByText("admin.token_file").waitFor(wait);
  await q.context().close();
});

await browser.close();
console.log(problems.length ? `${problems.length} problems` : "no problem");
process.exit(problems.length ? 1 : 0);
