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
  setPill(byId("ready"), state.ready ? "Ready" : "Not ready", state.ready ? "good" : "bad");
  byId("about").textContent = `Scopeward ${state.version}, up since ${new Date(state.started).toLocaleString("en-GB")}.`;
  show(byId("notices"), [state.reload, state.reasons, state.ready], () => noticesOf(state));
  const perSecond = rateOf(state);
  show(byId("glance"), [state.policy, state.decisions, perSecond, state.cache, state.limit, state.load, state.redis], () => cardsOf(state, perSecond));
  show(byId("providers-cards"), state.providers.map(p => [p, p.keys && p.keys.ageSeconds < 0]), () => state.providers.map(providerCard));
  state.providers.forEach(updateKeyAge);
}

function noticesOf({ reload, reasons, ready }) {
  const notices = [];
  const list = lines => make("ul", null, ...lines.map(line => make("li", null, ...line.split("\n"))));
  if (reload.errors.length > 0) {
    notices.push(make("div", { class: "notice bad" }, make("strong", null, "The files on disk are broken; what was last good serves on. Read ", ago(reload.failed), "."),
      list(reload.errors)));
  }
  const others = reasons.filter(r => !r.startsWith("the files on disk are broken"));
  if (others.length > 0) {
    notices.push(make("div", { class: `notice ${ready ? "warn" : "bad"}` }, make("strong", null, ready ? "Ready, but" : "Not ready"), list(others)));
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
    card("Policy", policy.version, [
      ["in force since", ago(policy.loaded)], ["rules", number.format(policy.rules)], policy.shadow && ["shadow", policy.shadow],
      ["files", reload.errors.length > 0 ? badge("broken", "bad") : "as on disk"],
    ]),
    card("Decisions", number.format(total), [
      ["per second", number.format(perSecond)], ["allowed", number.format(allowed)],
      ...Object.entries(decisions).filter(([code, n]) => code !== "allow" && n > 0).sort((a, b) => b[1] - a[1]).map(([code, n]) => [code, number.format(n)]),
    ]),
    card("Identity cache", number.format(cache.identities), [
      ["of at most", number.format(cache.max)], ["refusals", number.format(cache.refusals)], ["answered", lookups ? `${Math.round(100 * hits / lookups)} %` : "none yet"],
      cache.lookups.stale > 0 && ["believed stale", number.format(cache.lookups.stale)],
    ]),
    card("Rate limit", limit.count === "off" ? "off" : `${number.format(limit.max)} in ${limit.window}`, limit.count === "off" ? [] : [
      ["counts", limit.count], ["clients counted", number.format(limit.clients)], ["refused", number.format(limit.refused)],
    ]),
    card("Load", load.shedding ? badge("shedding", "warn") : plural(load.inFlight, "request"), [
      ["at this moment", plural(load.inFlight, "request")], ["shed by overload", number.format(load.shed)], ["audit events lost", number.format(load.auditLost)],
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
    make("div", { class: "title" }, make("h3", null, p.name), badge(sick ? "failing" : "well", sick ? "bad" : "good")),
    make("p", { class: "mono" }, p.issuer),
    make("dl", null, ...facts.flatMap(([name, value]) => [make("dt", null, name), make("dd", null, value)]),
      ...p.endpoints.flatMap(e => [make("dt", null, `${e.name} endpoint`), make("dd", null, e.up ? "asked" : "left alone but for probes")])),
    p.keys && p.keys.reason && make("p", { class: "fault" }, p.keys.reason),
    ...faults.map(e => make("p", { class: "fault" }, make("strong", null, e.fault.over ? "Last fault, over: " : "Fault: "), `${e.name}, `, ago(e.fault.at), `: ${e.fault.reason}`)));
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
  source.addEventListener("missed", event => draw(noteRow(`${plural(Number(event.data), "decision")} came too fast to be shown, or while this page was paused`)));
  source.addEventListener("gap", () => draw(noteRow("Nobody watched for a while, or Scopeward was restarted: what was decided meanwhile is in the audit")));
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
  byId("stream-empty").textContent = filtered ? "No decision that the filter takes yet." : "No decision yet: send a request through Envoy, and it shows up here.";
  connect();
}

function rowOf(event) {
  const cell = (attributes, ...children) => make("td", { role: "cell", ...attributes }, ...children);
  const about = [event.host, event.clientIp, event.requestId].filter(Boolean).join(" · ");
  const believed = [event.provider, event.cache !== "none" && `cache ${event.cache}`].filter(Boolean).join(" · ");
  const row = make("tr", { role: "row", class: "fresh" },
    cell(null, make("time", { datetime: event.timestamp, title: event.timestamp }, clock(event.timestamp))),
    cell(null, badge(event.code, toneOf(event.code)), event.wouldBe && make("small", null, `would be ${event.wouldBe}`), event.shadow && make("small", null, `shadow: ${event.shadow}`)),
    cell(null, make("span", { class: "mono" }, `${event.method} ${event.path}`), make("small", { title: "host, client address and request id" }, about),
      event.reason && make("small", null, event.reason)),
    cell(null, event.rule ? make("span", { class: "mono" }, event.action) : make("em", null, "no rule matches"), event.rule && make("small", { title: event.rule }, fileOf(event.rule))),
    cell(null, event.userId || make("span", { class: "help" }, "none"), event.scopes.length > 0 && make("small", null, event.scopes.join(" ")), believed && make("small", null, believed)),
    cell({ class: "number" }, `${event.durationMs} ms`));
  news.seen++;
  if (!event.success) news.denied++;
  return row;
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
    while (body.rows.length > mostRows) body.deleteRow(-1);
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

for (const code of ["allow", "missing_token", "invalid_request", "invalid_token", "insufficient_scope", "access_denied", "cross_site", "invalid_path", "rate_limited", "unavailable", "internal_error"]) {
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

byId("question").addEventListener("submit", async event => {
  event.preventDefault();
  const valid = brings() === "valid", token = brings() === "token";
  const question = {
    method: byId("q-method").value.trim(), url: byId("q-url").value.trim(), headers: linesOf("q-headers"), clientIp: byId("q-client").value.trim(),
    valid, scopes: valid ? byId("q-scopes").value.split(/\s+/).filter(Boolean) : [], claims: valid ? linesOf("q-claims") : [],
    token: token ? byId("q-token").value.trim() : "",
  };
  if (token && question.token === "") return complain("Paste a token, or choose another line above.");
  try {
    const { ok, value } = await getJSON("/explain", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question) });
    if (ok) showAnswer(value); else complain(value.error);
  } catch (error) {
    complain(error.message);
  }
});

function complain(text) {
  byId("answer-head").replaceChildren(badge("not asked", "warn"), ` ${text}`);
  byId("answer").replaceChildren();
}

function showAnswer({ explanation, text, token }) {
  const status = explanation.response.status;
  byId("answer-head").replaceChildren(badge(explanation.code, toneOf(explanation.code)),
    explanation.allowed ? " The request passes." : ` The client gets ${status}.`, explanation.would_be ? ` The rule is in mode: audit and would answer ${explanation.would_be}.` : "");
  byId("answer").replaceChildren(make("pre", null, text), ...(token ? [tokenChecks(token)] : []));
}

function tokenChecks(token) {
  const tones = { passed: "good", failed: "bad", unknown: "warn" };
  return make("ul", { "aria-label": `The token is ${token.verdict}` }, ...token.checks.map(check => make("li", null, badge(check.state, tones[check.state]),
    make("div", null, check.text, check.detail && make("small", null, check.detail), check.advice && make("small", null, check.advice)))));
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
