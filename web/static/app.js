"use strict";
// Three views by the part of the address behind #: /, /incident/ID, /agent/NAME. What comes from the server is text and
// only ever set as text.

const main = document.getElementById("main"), state = document.getElementById("state"), lines = document.getElementById("lines");
let view = { stop() {} }, shown = 0;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "click") node.addEventListener("click", value);
    else if (key === "text") node.textContent = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

function table(heads, rows, empty) {
  if (!rows.length) return make("p", { class: "dim", text: empty });
  for (const row of rows) [...row.children].forEach((one, index) => { one.dataset.head = heads[index].replace("#", ""); }); // a phone shows a row as a card
  return make("table", {}, make("thead", {}, make("tr", {}, heads.map(head => make("th", { text: head.replace("#", ""), class: head.startsWith("#") ? "n" : null, scope: "col" })))), make("tbody", {}, rows));
}

function cell(content, kind) { return content instanceof Node ? make("td", { class: kind }, content) : make("td", { class: kind, text: content ?? "" }); }
function tag(word, kind = word) { return make("span", { class: "tag " + kind, text: word }); }
function day(ms) { return new Date(ms).toISOString().slice(0, 10); }
function link(to, text) { return make("a", { href: "#" + to, text }); }
function whole(value) { return Math.round(value).toLocaleString("en"); }
function percent(part) { return Math.round(part * 100) + "%"; }
function incidentLink(incident) { return link("/incident/" + encodeURIComponent(incident.id), incident.title); }

// --- overview

async function overviewView() {
  const found = await ask("/api/overview");
  const row = incident => make("tr", { "data-id": incident.id },
    cell(tag(incident.severity)), cell(`${day(incident.started_ms)} ${clock(incident.started_ms)}`, "t"),
    cell(incidentLink(incident)), cell(`${incident.verdict} ${percent(incident.probability)}${incident.provisional ? ", provisional" : ""}`),
    cell(incident.owner ?? incident.scope ?? "", "hide"), cell(incident.status === "open" ? "for " + span(Math.max(0, found.now - incident.started_ms)) : `${incident.status} ${incident.resolved_ms ? clock(incident.resolved_ms) : ""}`, "t"));
  const heads = ["severity", "since, UTC", "what", "who did it", "whose", "state"];
  const nodes = [
    make("h1", { text: found.open.length ? `${found.open.length} open` : "Nothing is open" }),
    make("div", { class: "panel" }, table(heads, found.open.map(row), "No open incidents.")),
    make("h2", { text: "Silent sources" }),
    make("div", { class: "panel" }, found.silent.length
      ? [make("ul", {}, found.silent.map(one => make("li", {}, incidentLink({ id: one.id, title: one.scope ?? one.title })))), make("p", { class: "dim", text: "“All clear” is not said for what sends nothing." })]
      : make("p", { class: "dim", text: "None is known." })),
    make("h2", { text: "Held agents" }),
    make("div", { class: "panel" }, table(["agent", "how", "by", "why", "until, UTC"], found.held.map(one => make("tr", {}, cell(one.about), cell(one.mode === "shadow" ? "shadow only" : tag(one.action, "warning")), cell(one.author), cell(one.reason, "long"), cell(one.until_ms ? `${day(one.until_ms)} ${clock(one.until_ms)}` : "it is resumed", "t"))), "None is paused or halted.")),
    make("h2", { text: "Agents, the last hour" }),
    make("div", { class: "panel" }, table(["agent", "#tokens", "#its usual hour", "#budget of today", "#calls", "#errors", "tokens a minute"], found.agents.map(agent => make("tr", {},
      cell(link(agentPath(agent.tenant, agent.agent_id), agent.agent_id)), cell(whole(agent.tokens), "n"), cell(usually(agent), "n"), cell(budgeted(agent), "n"), cell(whole(agent.calls), "n"),
      cell(agent.errors ? make("span", { class: "warning", text: whole(agent.errors) }) : "0", "n"),
      cell(spark(agent.by_minute)))), "No agent did anything in the last hour.")),
    make("h2", { text: "Pages of the day" }),
    make("div", { class: "panel" }, table(["when, UTC", "what", "to", "result"], found.pages.map(page => make("tr", {},
      cell(clock(page.at_ms), "t"), cell(link("/incident/" + encodeURIComponent(page.incident_id), page.title)), cell(`${page.receiver} (${page.mode}, ${page.transition})`),
      cell(page.state === "sent" ? "sent" : tag(page.state, page.state === "failed" ? "critical" : "warning")))), "Nobody was paged.")),
    make("h2", { text: "Before" }),
    make("div", { class: "panel" }, table(heads, found.recent.map(row), "No earlier incidents.")),
  ];
  return { nodes, shows: revisions([...found.open, ...found.recent]), stop() {} };
}

// Incident -> the revision that stands here. Numbers beyond what a browser's hold.
function revisions(incidents) { return new Map(incidents.map(one => [one.id, BigInt(one.revision)])); }

function agentPath(tenant, agent) { return `/agent/${encodeURIComponent(tenant)}/${encodeURIComponent(agent)}`; }
function times(factor) { return (factor >= 10 ? whole(factor) : factor.toFixed(1)) + " x"; }

// Tokens of the hour against the median of its active hours of the week before; of the day against its budget.
function usually(agent) {
  if (!agent.usual) return make("span", { class: "dim", text: "not known yet" });
  const factor = agent.tokens / agent.usual;
  return make("span", { class: factor >= 3 ? "warning" : null, text: `${times(factor)} of ${whole(agent.usual)}` });
}

function budgeted(agent) {
  if (!agent.budget) return make("span", { class: "dim", text: "none set" });
  const part = agent.today / agent.budget;
  return make("span", { class: part >= 1 ? "critical" : part >= .8 ? "warning" : null, text: `${percent(part)} of ${whole(agent.budget)}` });
}

function spark(byMinute) {
  const canvas = make("canvas", { class: "spark", role: "img" });
  const [ages, values] = [byMinute[0] ?? [], byMinute[1] ?? []], all = new Array(60).fill(0);
  ages.forEach((age, index) => { if (age >= 0 && age < 60) all[59 - age] += values[index]; });
  const most = Math.max(1, ...all);
  canvas.setAttribute("aria-label", `at most ${whole(most)} tokens in a minute`);
  canvas.title = `at most ${whole(most)} tokens in a minute`;
  canvas.width = 380; canvas.height = 68;
  const ink = canvas.getContext("2d");
  ink.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--agent").trim();
  all.forEach((value, index) => { const high = value / most * 62; ink.fillRect(index * 6.3, 66 - high, 5, Math.max(value ? 2 : 0, high)); });
  return canvas;
}

// --- an agent held, or let go

function holding(tenant, agent, held, incident = null) {
  const now = held.map(one => make("p", { class: "warning", text: `${one.mode === "shadow" ? "would be held (shadow): " : ""}${one.action} of ${one.about} by ${one.author}, until ${one.until_ms ? `${day(one.until_ms)} ${clock(one.until_ms)}` : "it is resumed"}: ${one.reason}` }));
  const said = make("span", { role: "status", class: "dim" }), box = make("div", { class: "tools" });
  const name = make("input", { placeholder: "your name", "aria-label": "your name", maxlength: "100" });
  const why = make("input", { placeholder: "why", "aria-label": "why", maxlength: "500", class: "why" });
  const minutes = make("input", { type: "number", min: "1", max: "10080", value: "10", "aria-label": "minutes" });
  async function send(action) {
    said.textContent = "asking";
    const answer = await fetch("/api/controls", { method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ action, tenant, agent_id: agent, author: name.value, reason: why.value, minutes: Number(minutes.value), incident_id: incident }) });
    said.textContent = answer.ok ? (action === "pause" ? `${agent} is paused: its guard refuses its next call` : `${agent} goes on`) : await answer.text();
    if (answer.ok) box.replaceChildren(begin, said);
  }
  const begin = make("button", { text: "Pause or resume this agent", click: () => {
    box.replaceChildren(make("b", { text: agent }), name, why, minutes, make("span", { class: "dim", text: "minutes" }),
      make("button", { text: "Pause it", click: () => send("pause") }), make("button", { text: "Let it go on", click: () => send("resume") }),
      make("button", { text: "Never mind", click: () => box.replaceChildren(begin, said) }), said);
    name.focus();
  } });
  box.append(begin, said);
  return make("div", {}, now, box);
}

// --- one incident

async function incidentView(id) {
  const found = await ask("/api/incidents/" + encodeURIComponent(id)), { incident } = found;
  const canvas = make("canvas", { class: "wide" }), tip = document.getElementById("tip") ?? document.body.appendChild(make("div", { id: "tip", role: "tooltip", hidden: "" }));
  const facts = [["since", `${day(incident.started_ms)} ${clock(incident.started_ms)} UTC`], ["detected", `${clock(incident.detected_ms)}, ${span(Math.max(0, incident.detected_ms - incident.started_ms))} later`],
    [incident.status, incident.resolved_ms ? `${clock(incident.resolved_ms)}, lasted ${span(incident.resolved_ms - incident.started_ms)}` : "still going on"],
    ["agent", incident.agent_id && link(agentPath(incident.tenant, incident.agent_id), incident.agent_id + (incident.agent_version ? " " + incident.agent_version : ""))],
    ["severity", incident.severity_change && `${incident.severity_change.shows}, at ${clock(incident.severity_change.at_ms)}`], ["scope", incident.scope], ["owner", incident.owner], ["taken by", incident.acknowledged_by]].filter(([, value]) => value);
  const waste = incident.waste, prevented = make("details", {}, make("summary", { text: "Replay the limits over what it did" })), path = encodeURIComponent(incident.id);
  canvas.setAttribute("aria-label", "Lanes of time; the same stands in the timeline below. Arrow keys move, plus and minus zoom, 0 shows all.");
  const nodes = [
    make("h1", {}, tag(incident.severity), " ", tag(incident.kind.replaceAll("_", " "), "dim"), incident.provisional ? [" ", tag("provisional", "warning")] : null, make("br"), incident.title),
    make("div", { class: "panel facts" }, facts.map(([word, value]) => make("span", {}, make("span", { class: "dim", text: word + " " }), value instanceof Node ? value : make("b", { text: value })))),
    incident.do_first.length ? make("div", { class: "panel first" }, make("span", { class: "dim", text: "Do first" }), make("ol", {}, incident.do_first.map(text => make("li", { text })))) : null,
    incident.agent_id ? holding(incident.tenant, incident.agent_id, found.held, incident.id) : null,
    make("div", { class: "tools" }, make("button", { text: "−", "aria-label": "zoom out", click: () => lanes.zoom(2) }), make("button", { text: "+", "aria-label": "zoom in", click: () => lanes.zoom(.5) }),
      make("button", { text: "all", click: () => lanes.all() }), make("span", { class: "dim", text: "drag to zoom; point at a mark for what it was; times are UTC" })),
    make("div", { class: "panel" }, canvas),
    make("div", { class: "grid" },
      panel("Who did it: " + incident.verdict + ", " + percent(incident.probability) + " sure", incident.ranked.length ? incident.ranked.map((one, index) => make("details", { open: index === 0 ? "" : null },
        make("summary", {}, make("b", { text: percent(one.probability) + " " }), `${one.shows} at ${clock(one.at_ms)}`),
        table(["what speaks for it", "#from 0 to 1"], Object.entries(one.factors).map(([factor, value]) => make("tr", {}, cell(FACTORS[factor] ?? factor.replaceAll("_", " ")), cell(number(value), "n"))), ""))) : [make("p", { class: "dim", text: "No change of an agent or a person explains it." })]),
      panel("What the agent did not know", [table(["fact", "the agent", "ask"], incident.gaps.map(gap => make("tr", {}, cell(gap.shows, "long"), cell(make("span", { class: gap.class === "unknowable" || gap.class === "cannot_tell" ? "dim" : "warning", text: gap.says + (gap.read_ms ? " at " + clock(gap.read_ms) : "") })), cell(gap.source ?? "", "dim"))), "Nothing that held was missing, as far as its reads can be told.")]),
      found.read ? panel("What it had read by " + clock(incident.ranked[0].at_ms), [table(["what", "newest, UTC", "#times", "#failed"], found.read.map(row => make("tr", {}, cell(row.what, "long"), cell(clock(row.at_ms), "t"), cell(whole(row.times), "n"), cell(row.errors ? make("span", { class: "warning", text: whole(row.errors) }) : "0", "n"))), "It had read nothing in this session before it acted.")]) : null,
      panel("Which limit was missing", [table(["component", "what happened", "limit"], incident.limits.map(gap => make("tr", {}, cell(gap.component), cell(gap.failure_point, "long"), cell(gap.gap))), "No limit was missing or passed.")]),
      waste ? panel("What it wasted", [make("p", {}, make("b", { text: `${Math.round(waste.calls_percent_of_expected)}% of the calls needed` }), `: ${whole(waste.needed_calls)} needed, ${whole(waste.calls)} made`),
        make("p", {}, make("b", { text: `${whole(waste.unplanned_tokens)} unplanned tokens` }), ` in ${span(waste.wall_time_seconds * 1000)}`)]) : null,
      incident.blast_radius.length ? panel("What broke", [make("ul", {}, incident.blast_radius.slice(0, 30).map(item => make("li", { text: item.resource + (item.distance ? ` (${item.distance} away)` : "") }))), incident.blast_radius.length > 30 ? make("p", { class: "dim", text: `and ${incident.blast_radius.length - 30} more` }) : null]) : null,
      panel("What would have prevented it", prevented),
      panel("Further", [make("p", {}, make("a", { href: `/incidents/${path}/postmortem`, target: "_blank", rel: "noopener", text: "Postmortem, each sentence with its query" })),
        make("code", { text: `aftermath whatif ${incident.id.slice(0, 8)}` }), make("br"), make("code", { text: `aftermath postmortem ${incident.id.slice(0, 8)} --format html` })])),
    make("h2", { text: "Timeline, UTC" }), timeline(found, incident),
  ];
  prevented.addEventListener("toggle", async () => { // when somebody asks: it reads all that the agent did
    const said = prevented.appendChild(make("p", { class: "dim", text: "asking" }));
    try { const { sentences } = await ask(`/api/incidents/${path}/prevention`); said.replaceWith(make("ul", {}, sentences.map(text => make("li", { text })))); }
    catch (error) { said.textContent = error.message; }
  }, { once: true });
  const lanes = new Lanes(canvas, tip, found, (from, to) => ask(`/api/incidents/${path}/lanes?from=${from}&to=${to}`));
  return { nodes, incident, shows: revisions([incident]), stop() { lanes.stop(); tip.hidden = true; } };
}

// Of each factor of pipeline/correlation/factors.py what it says.
const FACTORS = { distance: "how near it is to what failed first", coverage: "how much of what failed it reaches", own: "whether what was changed failed itself",
  lag: "how soon before, against what is usual", dose: "how large the change was", outcome: "whether its call went through", kind: "whether it changed more than paper", actor: "who did it: a controller only reacts", weight: "all together; 1 speaks neither for nor against", error_share: "share of its calls that failed" };

function panel(title, content) { return make("section", { class: "panel" }, make("h2", { text: title }), content); }

// Symptoms of one kind, and calls that differ in their arguments alone, are one row: how many there were, until when.
function folded(rows) {
  const groups = new Map();
  for (const row of rows) {
    const key = row.type === "symptom" ? row.shows.split(":")[0].split(" x")[0] : row.type === "signal" && row.shows.includes(" {") ? row.shows.split(" {")[0] : row.type + row.event_id + row.at_ms;
    if (groups.has(key)) groups.get(key).push(row); else groups.set(key, [row]);
  }
  return [...groups].map(([head, all]) => {
    if (all.length === 1) return all[0];
    const places = new Set(all.map(row => row.resource)), says = all[0].type === "symptom" ? all[0].shows.split(":").slice(1).join(":") : "";
    return { ...all[0], shows: `${head}, ${all.length} times until ${clock(all[all.length - 1].at_ms)}${says ? ":" + says : ""}`, resource: places.size === 1 ? all[0].resource : `${places.size} resources` };
  });
}

function timeline(found, incident) {
  const body = make("tbody"), cause = decided(incident), STEP = 100;
  let next = 0, rows = folded(found.timeline);
  const more = make("button", { click: () => show() });
  const all = make("button", { text: `all ${whole(found.timeline.length)} rows`, click: () => { rows = found.timeline; next = 0; body.replaceChildren(); all.hidden = true; show(); } });
  all.hidden = rows.length === found.timeline.length;
  function show() {
    for (const row of rows.slice(next, next + STEP))
      body.append(make("tr", { class: cause && (row.event_id === cause.event_id || row.event_id === cause.span_id) ? "decisive" : null },
        cell(clock(row.at_ms), "t"), cell(row.type), cell(row.shows, "long"), cell(row.resource || row.agent_id, "dim hide")));
    next += STEP;
    more.hidden = next >= rows.length;
    more.textContent = `${rows.length - next} more`;
  }
  show();
  return make("div", { class: "panel" }, make("div", { class: "tools" }, all, found.timeline_count > found.timeline.length ? make("span", { class: "dim", text: `${whole(found.timeline.length)} of ${whole(found.timeline_count)} rows: the first signals, and all else` }) : null), make("table", { class: "timeline" }, make("thead", {}, make("tr", {}, ["when", "", "what", "where"].map((text, at) => make("th", { text, scope: "col", class: at === 3 ? "hide" : null })))), body), more);
}

// --- one agent

async function agentView(tenant, id) {
  const found = await ask(`/api/agents/${encodeURIComponent(tenant)}/${encodeURIComponent(id)}`);
  const ages = found.minutes.map(row => Math.round((found.now - row.at_ms) / 60000)), tokens = found.minutes.map(row => row.tokens);
  const nodes = [
    make("h1", {}, found.agent_id, " ", make("span", { class: "dim", text: "of " + found.tenant })),
    holding(found.tenant, found.agent_id, found.held),
    make("div", { class: "panel" }, make("p", { class: "dim", text: "tokens a minute, the last hour" }), spark([ages, tokens])),
    make("h2", { text: "Versions" }),
    make("div", { class: "panel" }, table(["version", "first, UTC", "last, UTC", "#calls", "#errors", "#tokens", "#tokens a call"], found.versions.map(row => make("tr", {}, cell(row.agent_version || "not given"), cell(`${day(row.first_ms)} ${clock(row.first_ms)}`, "t"), cell(`${day(row.last_ms)} ${clock(row.last_ms)}`, "t"), cell(whole(row.calls), "n"), cell(`${whole(row.errors)} (${percent(row.errors / Math.max(1, row.calls))})`, "n"), cell(whole(row.tokens), "n"), cell(whole(row.tokens / Math.max(1, row.calls)), "n"))), "It was not seen.")),
    make("h2", { text: "Tools, the last hour" }),
    make("div", { class: "panel" }, table(["tool", "#calls", "#errors", "#mean ms"], found.tools.map(row => make("tr", {}, cell(row.tool_name), cell(whole(row.calls), "n"), cell(whole(row.errors), "n"), cell(whole(row.mean_ms), "n"))), "It called no tool.")),
    make("h2", { text: "Drift: the last hour against the week before" }),
    make("div", { class: "panel" }, table(["what", "#moved by, bits", "#chance and floor", "reading"], found.drift.map(driftRow), "It was not seen.")),
    make("h2", { text: "Limits hit, and limits that were missing" }),
    make("div", { class: "panel" }, table(["component", "limit", "#times", "newest, UTC", "what happened then"], found.limits.map(row => make("tr", {}, cell(row.component), cell(row.gap), cell(whole(row.times), "n"), cell(link("/incident/" + encodeURIComponent(row.incident_id), `${day(row.newest_ms)} ${clock(row.newest_ms)}`), "t"), cell(row.failure_point, "long"))), "None.")),
    make("h2", { text: "Its incidents" }),
    make("div", { class: "panel" }, table(["severity", "since, UTC", "what", "who did it", "state"], found.incidents.map(incident => make("tr", {}, cell(tag(incident.severity)), cell(`${day(incident.started_ms)} ${clock(incident.started_ms)}`, "t"), cell(incidentLink(incident)), cell(`${incident.verdict} ${percent(incident.probability)}`), cell(incident.status))), "None.")),
  ];
  return { nodes, shows: revisions(found.incidents), stop() {} };
}

function driftRow(row) {
  if (row.moved === null) return make("tr", {}, cell(row.measure), cell("", "n"), cell("", "n"), cell(make("span", { class: "dim", text: `not enough to say: ${whole(row.now)} calls in the hour, ${whole(row.before)} before, ${row.needed} needed` })));
  const told = row.most.map(one => `${one.name} ${percent(one.before)} to ${percent(one.now)}`).join(", ");
  return make("tr", {}, cell(row.measure), cell(row.moved.toFixed(3), "n"), cell(row.bound.toFixed(3), "n"),
    cell(row.is_beyond_chance ? make("span", { class: "warning", text: "moved: " + told }) : make("span", { class: "dim", text: "no more than chance" })));
}

// --- the address, and what happens

async function route(isAgain = false) {
  const turn = ++shown, [, kind, id, more] = location.hash.slice(1).split("/");
  try {
    let made;
    if (kind === "incident" && id) made = await incidentView(decodeURIComponent(id));
    else if (kind === "agent" && id && more) made = await agentView(decodeURIComponent(id), decodeURIComponent(more));
    else made = await overviewView();
    if (turn !== shown) { made.stop(); return; }
    const before = view.incident, at = scrollY;
    view.stop();
    view = { ...made, kind: kind || "", id: id ? decodeURIComponent(id) : "" };
    main.replaceChildren(...made.nodes.flat().filter(Boolean));
    document.title = (main.querySelector("h1")?.textContent ?? "") + " · Aftermath";
    if (isAgain) { scrollTo(0, at); if (view.incident && before?.id === view.incident.id && before.revision !== view.incident.revision) revised(before, view.incident); } else { scrollTo(0, 0); main.focus({ preventScroll: true }); }
  } catch (error) {
    if (turn === shown) main.replaceChildren(make("h1", { text: "This cannot be shown" }), make("p", { text: error.message }), make("button", { text: "Try again", click: () => route() }));
  }
}

// What stood here a moment ago was replaced: say so, and what changed.
const COMPARED = { title: "title", status: "state", severity: "severity", verdict: "who did it", probability: "how sure", provisional: "provisional", scope: "scope", owner: "owner", acknowledged_by: "taken by" };
function revised(before, now) {
  const said = value => value === null || value === undefined ? "none" : typeof value === "number" ? percent(value) : String(value);
  const changes = Object.entries(COMPARED).filter(([key]) => said(before[key]) !== said(now[key])).map(([key, word]) => make("li", {}, word + ": ", make("s", { class: "dim", text: said(before[key]) }), " → ", make("b", { text: said(now[key]) }), key === "severity" && now.severity_change ? " because of " + now.severity_change.shows.replace(/^[^:]*: /, "") : ""));
  const heading = main.querySelector("h1");
  heading.classList.add("changed");
  heading.after(make("div", { class: "panel revised changed", role: "status" }, make("b", { text: `Revised at ${clock(now.updated_ms)}` }), changes.length ? make("ul", {}, changes) : " with more evidence; the verdict is the same"));
}

// What was told and does not stand here yet: the row is in ClickHouse a moment after Kafka, so it asks until it is there.
const AT_ONCE = 100, LONGEST = 5000, GIVE_UP = 60000;
const told = new Map(); // incident -> { revision, at }
let soon = null, pause = AT_ONCE, isAsking = false;

function refresh() { // one at a time, and never put off by what comes next
  pause = AT_ONCE;
  if (soon === null && !isAsking) soon = setTimeout(askAgain, pause);
}

async function askAgain() {
  soon = null; isAsking = true;
  const asked = pause;
  pause = LONGEST; // what is told meanwhile sets it back
  await route(true);
  isAsking = false;
  for (const [id, one] of told)
    if (Date.now() - one.at > GIVE_UP || (view.shows?.get(id) ?? -1n) >= one.revision || (view.kind === "incident" && view.id !== id)) told.delete(id);
  if (pause === AT_ONCE) soon = setTimeout(askAgain, 2 * AT_ONCE);
  else if (told.size) { pause = Math.min(LONGEST, 2 * asked); soon = setTimeout(askAgain, pause); }
}

function said(text) {
  lines.prepend(make("li", { text }));
  while (lines.children.length > 40) lines.lastChild.remove();
}

function listen() {
  const stream = new EventSource("/api/stream");
  stream.onopen = () => { if (state.className === "down") route(true); state.textContent = "live"; state.className = ""; };
  stream.onerror = () => { state.textContent = "no connection; trying again"; state.className = "down"; };
  stream.onmessage = event => {
    const happened = JSON.parse(event.data);
    if (happened.line) said(happened.line);
    if (happened.type === "again" || (happened.type === "control" && view.kind === "")) refresh();
    if (happened.type === "incident" && (view.kind === "" || view.id === happened.id || view.kind === "agent")) {
      told.set(happened.id, { revision: BigInt(happened.revision), at: Date.now() });
      refresh();
    }
  };
}

setInterval(() => { document.getElementById("clock").textContent = new Date().toISOString().slice(11, 19) + " UTC"; }, 1000);
addEventListener("hashchange", () => route());
route();
listen();
