// The page of Scopeward's admin listener. Whatever a client wrote (a path, a claim, a
// header) gets into the document as text only: nothing here makes markup of a string, and
// the page's policy (Trusted Types) forbids it.
"use strict";

const byId = id => document.getElementById(id);

// make builds an element. Strings among the children are text.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter(child => child || child === 0));
  return element;
}

// show builds a part anew, but only if what it shows has changed.
const shown = new Map();
function show(container, value, build) {
  const text = JSON.stringify(value);
  if (shown.get(container) === text) return;
  shown.set(container, text);
  container.replaceChildren(...build(value));
}

const number = new Intl.NumberFormat("en");
const plural = (n, what) => `${number.format(n)} ${what}${n === 1 ? "" : "s"}`;
const sum = values => Object.values(values || {}).reduce((a, b) => a + b, 0);
const clock = at => new Date(at).toLocaleTimeString("en-GB");

// since says how long ago something was, by the clock of the service.
let skew = 0; // the service's clock less the browser's
function since(at) {
  const seconds = Math.max(0, Math.round((Date.now() + skew - Date.parse(at)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}
function ago(at) {
  return make("time", { datetime: at, title: new Date(at).toLocaleString("en-GB"), "data-ago": true }, since(at));
}

// toneOf gives the colour of an answer; what it means is always said in words as well.
function toneOf(code) {
  if (code === "allow") return "good";
  return ["unavailable", "internal_error", "rate_limited"].includes(code) ? "warn" : "bad";
}
const badge = (text, tone) => make("span", { class: `code ${tone || ""}` }, text);

/* ---- State ---- */

const stateEvery = 2000; // ms
let before; // the state before, for rates

async function getJSON(path, options) {
  const response = await fetch(path, options);
  const body = await response.text();
  if (!response.headers.get("Content-Type").startsWith("application/json")) throw new Error(body.trim() || response.statusText);
  return { ok: response.ok, value: JSON.parse(body) };
}

async function refresh() {
  try {
    const [state, rules] = await Promise.all([getJSON("/state"), getJSON("/rules")]);
    skew = Date.parse(state.value.now) - Date.now();
    showState(state.value);
    showRules(rules.value);
  } catch {
    setPill(byId("ready"), "Scopeward can't be reached", "bad");
  }
  document.querySelectorAll("time[data-ago]").forEach(t => { t.textContent = since(t.dateTime); });
}

function setPill(element, text, tone) {
  if (element.textContent !== text) element.textContent = text;
  element.className = `pill ${tone || ""}`;
}

function showState(state) {
  const troubled = state.reasons.length > 0 || state.reload.errors.length > 0;
  if (state.ready) setPill(byId("ready"), troubled ? "Ready, with problems" : "Ready", troubled ? "warn" : "good");
  else setPill(byId("ready"), "Not ready", "bad");
  byId("about").textContent = `Scopeward ${state.version}, up since ${new Date(state.started).toLocaleString("en-GB")}.`;
  show(byId("notices"), [state.reload, state.reasons, state.ready], () => noticesOf(state));
  const perSecond = rateOf(state);
  show(byId("glance"), [state.policy, state.decisions, perSecond, state.cache, state.limit, state.load, state.redis], () => cardsOf(state, perSecond));
  show(byId("providers-cards"), state.providers.map(p => [p, p.keys && p.keys.ageSeconds < 0]), () => state.providers.map(providerCard));
  state.providers.forEach(updateKeyAge);
  showHistory(state.history);
}

/* ---- The last 15 minutes ---- */

const steps = 90, stepSeconds = 10; // of the history
const barWidth = 4, chartHeight = 64;

// drawn builds an element of a picture.
function drawn(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const picture = (label, ...parts) => drawn("svg", { viewBox: `0 0 ${steps * barWidth} ${chartHeight}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, ...parts);

function showHistory(history) {
  const x = i => (steps - history.length + i) * barWidth; // the newest is at the right
  const most = Math.max(1, ...history.map(step => step.allowed + step.denied));
  const slowest = Math.max(...history.map(step => step.p99), 0.01);
  const allowed = sum(history.map(step => step.allowed)), denied = sum(history.map(step => step.denied));
  show(byId("history-decisions"), history, () => [picture(`${plural(allowed, "request")} allowed and ${number.format(denied)} denied in the last 15 minutes`,
    ...history.flatMap((step, i) => {
      const high = { allowed: chartHeight * step.allowed / most, denied: chartHeight * step.denied / most };
      return [["bad", high.denied, 0], ["good", high.allowed, high.denied]].filter(([, height]) => height > 0).map(([tone, height, below]) =>
        drawn("rect", { class: tone, x: x(i), y: chartHeight - below - height, width: barWidth - 1, height }));
    }))]);
  byId("history-most").textContent = allowed + denied > 0 ? `at most ${number.format(Math.ceil(10 * most / stepSeconds) / 10)} a second` : "none yet";
  const line = (name, tone) => drawn("polyline", { class: tone, points: history.map((step, i) => `${x(i)},${chartHeight - 1 - (chartHeight - 2) * step[name] / slowest}`).join(" ") });
  show(byId("history-times"), history, () => [picture(`At most ${number.format(slowest)} ms for 99 of 100 requests in the last 15 minutes`, line("p99", "warn"), line("p50", "brand"))]);
  byId("history-slowest").textContent = allowed + denied > 0 ? `at most ${number.format(slowest)} ms` : "none yet";
}

function noticesOf({ reload, reasons, ready }) {
  const notices = [];
  const list = lines => make("ul", null, ...lines.map(line => make("li", null, ...line.split("\n"))));
  if (reload.errors.length > 0) {
    notices.push(make("div", { class: "notice bad" }, make("strong", null, "The files on disk are broken; the last good version is in force. Read ", ago(reload.failed), "."),
      list(reload.errors)));
  }
  const others = reasons.filter(r => !r.startsWith("the files on disk are broken"));
  if (others.length > 0) {
    notices.push(make("div", { class: `notice ${ready ? "warn" : "bad"}` }, make("strong", null, ready ? "It serves, with problems" : "Not ready"), list(others)));
  }
  return notices;
}

function rateOf(state) {
  const now = { at: Date.parse(state.now), total: sum(state.decisions) };
  const rate = before && now.at > before.at ? (now.total - before.total) / ((now.at - before.at) / 1000) : 0;
  if (!before || now.at > before.at) before = now;
  return Math.max(0, Math.round(rate * 10) / 10);
}

// card has a title, a large fact, and small ones.
function card(title, big, facts, tone) {
  return make("article", { class: "card" }, make("h3", null, title), make("p", { class: "big" }, ...[big].flat()),
    make("dl", null, ...facts.filter(Boolean).flatMap(([name, ...value]) => [make("dt", null, name), make("dd", { class: tone }, ...value)])));
}

function cardsOf({ policy, reload, decisions, cache, limit, load, redis }, perSecond) {
  const total = sum(decisions), allowed = decisions.allow || 0;
  const lookups = sum(cache.lookups), hits = lookups - (cache.lookups.miss || 0);
  return [
    card("Policy", plural(policy.rules, "rule"), [
      ["in force since", ago(policy.loaded)], ["files", reload.errors.length > 0 ? badge("broken", "bad") : "as on disk"],
      ["version", make("span", { class: "help mono" }, policy.version)], policy.shadow && ["shadow policy", make("span", { class: "help mono" }, policy.shadow)],
    ]),
    card("Decisions", number.format(total), [
      ["per second", number.format(perSecond)], ["allowed", number.format(allowed)],
      ...Object.entries(decisions).filter(([code, n]) => code !== "allow" && n > 0).sort((a, b) => b[1] - a[1]).map(([code, n]) => [code, number.format(n)]),
    ]),
    card("Identity cache", number.format(cache.identities), [
      ["at most", number.format(cache.max)], ["refused tokens", number.format(cache.refusals)], ["found in the cache", lookups ? `${Math.round(100 * hits / lookups)} %` : "none yet"],
      cache.lookups.stale > 0 && ["used while the provider was down", number.format(cache.lookups.stale)],
    ]),
    card("Rate limit", limit.count === "off" ? "off" : `${number.format(limit.max)} in ${limit.window.replace(/h0m0s$/, " h").replace(/m0s$/, " min")}`, limit.count === "off" ? [] : [
      ["counts", limit.count], ["clients now", number.format(limit.clients)], ["refused", number.format(limit.refused)],
    ]),
    card("Load", load.shedding ? badge("overloaded", "warn") : `${plural(load.inFlight, "request")} now`, [
      ["refused by overload", number.format(load.shed)], ["audit events lost", number.format(load.auditLost)],
    ]),
    ...redis.map(r => card(r.use === "cache" ? "Redis, shared cache" : "Redis, shared limit", badge(r.up ? "up" : "down", r.up ? "good" : "bad"), [["at", r.url], r.reason && ["why", r.reason]])),
  ];
}

const keyAges = new Map(); // the elements that show them
function providerCard(p) {
  const facts = [["validation", p.validation]];
  if (p.keys) {
    const age = make("span");
    keyAges.set(p.name, age);
    facts.push(["keys", plural(p.keys.held, "key")], ["fetched", age]);
  }
  const faults = [...p.endpoints, ...(p.keys ? [{ name: "keys", fault: p.keys.fault }] : [])].filter(e => e.fault);
  const sick = p.endpoints.some(e => !e.up) || p.keys && p.keys.reason;
  return make("article", { class: "card" },
    make("div", { class: "title" }, make("h3", null, p.name), badge(sick ? "failing" : "healthy", sick ? "bad" : "good")),
    make("p", { class: "mono" }, p.issuer),
    make("dl", null, ...facts.flatMap(([name, value]) => [make("dt", null, name), make("dd", null, value)]),
      ...p.endpoints.flatMap(e => [make("dt", null, `${e.name} endpoint`), make("dd", null, e.up ? "in use" : "paused after failures, tried now and then")])),
    p.keys && p.keys.reason && make("p", { class: "fault" }, p.keys.reason),
    ...faults.map(e => make("p", { class: "fault" }, make("strong", null, e.fault.over ? "Last fault, now over: " : "Fault: "), `${e.name}, `, ago(e.fault.at), `: ${e.fault.reason}`)));
}

// The age of the keys changes all the time; only its own text is written.
function updateKeyAge(p) {
  const element = keyAges.get(p.name);
  if (!p.keys || !element) return;
  const text = p.keys.ageSeconds < 0 ? "never" : since(new Date(Date.now() + skew - 1000 * p.keys.ageSeconds).toISOString());
  if (element.textContent !== text) element.textContent = text;
}

/* ---- Rules ---- */

const fewRules = 100; // that are shown at first
let rules = [], order = "place", allRules = false;

const nameOf = rule => rule.place === "" ? "no rule matches" : rule.name || rule.patterns.join(", ");
const fileOf = place => place.split("/").pop(); // file:line:column without folders

function needsOf(rule) {
  if (rule.place === "") return "denied";
  if (rule.access === "public") return "nothing: public";
  if (rule.access === "deny") return "nobody may";
  const needs = [];
  if (rule.scopes) needs.push(`all of ${rule.scopes.join(" ")}`);
  if (rule.anyScopes) needs.push(`any of ${rule.anyScopes.join(" ")}`);
  if (rule.login) needs.push(rule.login);
  const needed = needs.join(" and ") || "a valid token";
  return rule.access === "optional" ? `nobody, or ${needed}` : needed;
}

function showRules(list) {
  rules = list;
  show(byId("rules-rows"), [rules, order, allRules], rowsOfRules);
  byId("rules-all").hidden = allRules || rules.length <= fewRules;
  const select = byId("filter-rule"), chosen = select.value;
  show(select, rules.map(rule => [rule.place, rule.name, rule.patterns]), () => [make("option", { value: "" }, "all"),
    ...rules.map(rule => make("option", { value: rule.place || "none" }, nameOf(rule)))]);
  if (select.value !== chosen) {
    select.value = chosen;
    if (select.selectedIndex < 0) { // the rule has gone, or moved within its file
      select.value = "";
      restart();
    }
  }
}

function rowsOfRules() {
  const ordered = order === "place" ? [...rules] : [...rules].sort((a, b) => b[order] - a[order]);
  const cell = (attributes, ...children) => make("td", { role: "cell", ...attributes }, ...children);
  return ordered.slice(0, allRules ? undefined : fewRules).map(rule => make("tr", { role: "row" },
    cell(null, rule.place === "" ? make("em", null, nameOf(rule)) : make("span", { class: "mono" }, nameOf(rule)),
      rule.place && make("small", { title: rule.place }, [fileOf(rule.place), rule.name && rule.patterns.join(", "), rule.policy && `policy ${rule.policy}`].filter(Boolean).join(" · "))),
    cell(null, needsOf(rule), rule.audit && " ", rule.audit && badge("mode: audit", "warn"), rule.when && make("small", { class: "mono" }, `when ${rule.when}`)),
    cell({ class: "number", "data-name": "requests" }, number.format(rule.hits)),
    cell({ class: "number", "data-name": "denied" }, number.format(rule.denied), rule.wouldBe > 0 && make("small", null, `${number.format(rule.wouldBe)} would be`))));
}

byId("rules-table").addEventListener("click", event => {
  const button = event.target.closest("button[data-order]");
  if (!button) return;
  order = button.dataset.order;
  for (const other of byId("rules-table").querySelectorAll("button[data-order]")) {
    other.closest("th").setAttribute("aria-sort", other !== button ? "none" : order === "place" ? "ascending" : "descending");
  }
  showRules(rules);
});
byId("rules-all").addEventListener("click", () => { allRules = true; showRules(rules); });

/* ---- The stream ---- */

const mostRows = 200;
let source, retry, last = "", paused = false;
let waiting = [], drawing = false;
let news = { seen: 0, denied: 0 };

function streamURL() {
  const query = new URLSearchParams({ code: byId("filter-code").value, rule: byId("filter-rule").value, text: byId("filter-text").value.trim(), after: last || "0" });
  return `/stream?${query}`;
}

function connect() {
  disconnect();
  if (paused || document.hidden) return;
  source = new EventSource(streamURL());
  source.onopen = () => setPill(byId("stream-state"), "Live", "good");
  source.onerror = () => {
    setPill(byId("stream-state"), "Connection lost, trying again …", "warn");
    if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
    retry = setTimeout(connect, 5000);
    explainRefusal();
  };
  source.addEventListener("decision", event => { last = event.lastEventId; draw(rowOf(JSON.parse(event.data))); });
  source.addEventListener("missed", event => draw(noteRow(`${plural(Number(event.data), "decision")} came too fast to show, or while this page was paused`)));
  source.addEventListener("gap", () => draw(noteRow("Scopeward was restarted: earlier decisions are in the audit log")));
  source.addEventListener("at", event => { last = event.lastEventId; });
}

// A stream that is refused doesn't say why; the state does.
async function explainRefusal() {
  try {
    const { pages } = (await getJSON("/state")).value;
    if (pages.open >= pages.max) setPill(byId("stream-state"), `${pages.max} pages are open, and no more can be: close one`, "warn");
  } catch { /* the state says so itself */ }
}

function disconnect() {
  clearTimeout(retry);
  if (source) source.close();
  source = undefined;
}

// restart asks for all that is kept and that the filter takes.
function restart() {
  last = "";
  waiting = [];
  byId("stream-rows").replaceChildren();
  byId("stream-empty").hidden = false;
  const filtered = byId("filter-code").value || byId("filter-rule").value || byId("filter-text").value.trim();
  byId("stream-empty").textContent = filtered ? "No decision matches the filter yet." : "No decision yet: send a request through Envoy, and it shows up here.";
  connect();
}

function rowOf(event) {
  const cell = (attributes, ...children) => make("td", { role: "cell", ...attributes }, ...children);
  const row = make("tr", { role: "row", class: "fresh decision" },
    cell(null, make("button", { type: "button", "aria-expanded": "false", title: "Show more" }, make("time", { datetime: event.timestamp }, clock(event.timestamp)))),
    cell(null, badge(event.code, toneOf(event.code)), event.wouldBe && badge(`would be ${event.wouldBe}`, "warn")),
    cell({ class: "mono" }, `${event.method} ${event.path}`),
    cell(null, event.rule ? make("span", { class: "mono" }, event.action) : make("em", null, "no rule matches")),
    cell(null, event.userId || make("span", { class: "help" }, "none")),
    cell({ class: "number" }, `${event.durationMs} ms`));
  row.addEventListener("click", () => toggle(row, event));
  news.seen++;
  if (!event.success) news.denied++;
  return row;
}

// toggle shows all of a decision below its row, or hides it.
function toggle(row, event) {
  if (getSelection().toString() !== "") return; // somebody copies text
  const open = row.nextElementSibling && row.nextElementSibling.classList.contains("detail");
  row.querySelector("button").setAttribute("aria-expanded", String(!open));
  if (open) row.nextElementSibling.remove(); else row.after(detailOf(event));
}

function detailOf(event) {
  const facts = [["why", event.reason], ["host", event.host], ["client", event.clientIp], ["connected from", event.peer], ["scopes", event.scopes.join(" ")],
    ["provider", event.provider], ["identity cache", event.cache !== "none" && event.cache], ["rule", event.rule], ["shadow policy", event.shadow && `would answer ${event.shadow}`],
    ["request id", event.requestId], ["trace", event.traceId], ["at", event.timestamp]].filter(([, value]) => value);
  const again = make("button", { type: "button" }, "Explain this request");
  again.addEventListener("click", () => explainAgain(event));
  return make("tr", { role: "row", class: "detail" }, make("td", { role: "cell", colspan: 6 },
    make("dl", null, ...facts.flatMap(([name, value]) => [make("dt", null, name), make("dd", null, value)])), again));
}

// explainAgain asks about a decision anew, with what the event tells of its token.
function explainAgain(event) {
  const path = event.code === "invalid_path" ? event.path : event.path.split("/").map(encodeURIComponent).join("/");
  byId("q-method").value = event.method;
  byId("q-url").value = event.host ? `https://${event.host}${path}` : path;
  byId("q-client").value = event.clientIp;
  byId("q-headers").value = byId("q-token").value = "";
  byId("q-scopes").value = event.scopes.join(" ");
  byId("q-claims").value = event.userId ? `sub=${event.userId}` : "";
  byId("question").elements.brings.value = event.userId ? "valid" : "none";
  showBrings();
  byId("explain").scrollIntoView();
  askQuestion("Asked with what the decision tells: its subject and scopes, but no other claim, no header and no query.");
}

const noteRow = text => make("tr", { role: "row", class: "note" }, make("td", { role: "cell", colspan: 6 }, text));

function draw(row) {
  waiting.push(row);
  if (waiting.length > mostRows) waiting.shift();
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const body = byId("stream-rows");
    body.prepend(...waiting.reverse());
    waiting = [];
    while (body.querySelectorAll(".decision, .note").length > mostRows || body.lastElementChild.classList.contains("detail") && body.rows.length > mostRows) body.deleteRow(-1);
    byId("stream-empty").hidden = body.rows.length > 0;
  });
}

// A screen reader is told how many there were, now and then, not each one.
setInterval(() => {
  if (news.seen === 0) return;
  byId("stream-news").textContent = `${plural(news.seen, "new decision")}, ${number.format(news.denied)} denied`;
  news = { seen: 0, denied: 0 };
}, 15000);

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  if (paused) {
    disconnect();
    setPill(byId("stream-state"), "Paused", "warn");
  } else {
    setPill(byId("stream-state"), "Connecting …");
    connect();
  }
});
byId("clear").addEventListener("click", () => {
  waiting = [];
  byId("stream-rows").replaceChildren();
  byId("stream-empty").hidden = false;
  byId("stream-empty").textContent = "Cleared. What is decided from now on shows up here.";
});
byId("filter").addEventListener("submit", event => event.preventDefault());
byId("filter-code").addEventListener("change", restart);
byId("filter-rule").addEventListener("change", restart);
let typing;
byId("filter-text").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(restart, 250); });

for (const code of ["allow", "missing_token", "invalid_request", "invalid_token", "insufficient_scope", "insufficient_user_authentication", "access_denied", "cross_site", "invalid_path", "rate_limited", "unavailable", "internal_error"]) {
  byId("filter-code").append(make("option", { value: code }, code));
}

/* ---- The explain form ---- */

const linesOf = id => byId(id).value.split("\n").map(line => line.trim()).filter(Boolean);
const brings = () => new FormData(byId("question")).get("brings");

function showBrings() {
  byId("brings-valid").hidden = brings() !== "valid";
  byId("brings-token").hidden = brings() !== "token";
}
byId("question").addEventListener("change", showBrings);

byId("question").addEventListener("submit", event => {
  event.preventDefault();
  askQuestion();
});

async function askQuestion(note) {
  const valid = brings() === "valid", token = brings() === "token";
  const question = {
    method: byId("q-method").value.trim(), url: byId("q-url").value.trim(), headers: linesOf("q-headers"), clientIp: byId("q-client").value.trim(),
    valid, scopes: valid ? byId("q-scopes").value.split(/\s+/).filter(Boolean) : [], claims: valid ? linesOf("q-claims") : [],
    token: token ? byId("q-token").value.trim() : "",
  };
  if (token && question.token === "") return complain("Paste a token, or choose another line above.");
  try {
    const { ok, value } = await getJSON("/explain", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question) });
    if (ok) showAnswer(value, note); else complain(value.error);
  } catch (error) {
    complain(error.message);
  }
}

function complain(text) {
  byId("answer-head").replaceChildren(badge("not asked", "warn"), ` ${text}`);
  byId("answer").replaceChildren();
}

function showAnswer({ explanation, text, token }, note) {
  const status = explanation.response.status;
  byId("answer-head").replaceChildren(badge(explanation.code, toneOf(explanation.code)),
    explanation.allowed ? " The request passes." : ` The client gets ${status}.`, explanation.would_be ? ` The rule is in mode: audit and would answer ${explanation.would_be}.` : "");
  byId("answer").replaceChildren(...(note ? [make("p", { class: "help" }, note)] : []), make("pre", null, text), ...(token ? tokenChecks(token) : []));
}

// tokenChecks shows the checks that failed or could not be made; those that passed on a click.
function tokenChecks(token) {
  const tones = { passed: "good", failed: "bad", unknown: "warn" };
  const list = checks => make("ul", { "aria-label": `The token is ${token.verdict}` }, ...checks.map(check => make("li", null, badge(check.state, tones[check.state]),
    make("div", null, check.text, check.detail && make("small", null, check.detail), check.advice && make("small", null, check.advice)))));
  const passed = token.checks.filter(check => check.state === "passed"), others = token.checks.filter(check => check.state !== "passed");
  return [others.length > 0 && list(others), passed.length > 0 && make("details", null, make("summary", null, `${plural(passed.length, "check")} passed`), list(passed))].filter(Boolean);
}

/* ---- The beginning ---- */

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return disconnect(); // a browser has few connections to one address
  refresh();
  connect();
});
setInterval(() => { if (!document.hidden) refresh(); }, stateEvery);
showBrings();
refresh();
connect();
