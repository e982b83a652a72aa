"use strict";
// The lanes of an incident on a canvas: what the agent did, what held, what the cluster said, what metrics did, who was
// told, on one axis of time. Marks that fall together are drawn once; a window with too many calls or events comes as buckets.

const LANE = 46, SERIES = 62, RIGHT = 18, TOP = 26, FACT = 20;
let LEFT = 214; // where the labels end

class Lanes {
  // load(from, to) gives what the lanes show in a window, milliseconds.
  constructor(canvas, tip, found, load) {
    Object.assign(this, { canvas, tip, found, load, data: null, marks: [], from: found.window[0], to: found.window[1], asked: 0 });
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.addEventListener("pointermove", event => this.hover(event));
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; this.drag = null; this.draw(); });
    canvas.addEventListener("pointerdown", event => { this.hover(event); if (event.pointerType === "mouse") this.drag = { from: event.offsetX, to: event.offsetX }; });
    canvas.addEventListener("pointerup", () => this.dropped());
    canvas.addEventListener("keydown", event => this.key(event));
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(canvas);
    this.fetch();
  }

  stop() { this.sizes.disconnect(); }

  async fetch() {
    const asked = ++this.asked;
    const data = await this.load(Math.floor(this.from), Math.ceil(this.to));
    if (asked === this.asked && data) { this.data = data; this.draw(); }
  }

  look(from, to) {
    if (to - from < 1000) return;
    this.from = from; this.to = to;
    this.draw();
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.fetch(), 150);
  }

  zoom(factor, middle = (this.from + this.to) / 2) {
    this.look(middle - (middle - this.from) * factor, middle + (this.to - middle) * factor);
  }

  all() { this.look(this.found.window[0], this.found.window[1]); }

  key(event) {
    const step = (this.to - this.from) / 8;
    const does = { ArrowLeft: () => this.look(this.from - step, this.to - step), ArrowRight: () => this.look(this.from + step, this.to + step),
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), "0": () => this.all() }[event.key];
    if (does) { event.preventDefault(); does(); }
  }

  dropped() {
    const drag = this.drag;
    this.drag = null;
    if (drag && Math.abs(drag.to - drag.from) > 12) {
      const ends = [this.time(drag.from), this.time(drag.to)].sort((a, b) => a - b);
      this.look(ends[0], ends[1]);
    } else this.draw();
  }

  hover(event) {
    if (this.drag) { this.drag.to = event.offsetX; this.draw(); return; }
    let best = null, least = 11;
    for (const mark of this.marks) {
      if (event.offsetY < mark.top || event.offsetY > mark.bottom) continue;
      const off = event.offsetX < mark.left ? mark.left - event.offsetX : event.offsetX > mark.right ? event.offsetX - mark.right : 0;
      if (off < least) { least = off; best = mark; }
    }
    this.tip.hidden = !best;
    if (!best) return;
    this.tip.textContent = best.text;
    this.tip.style.left = Math.min(event.clientX + 14, innerWidth - this.tip.offsetWidth - 8) + "px";
    this.tip.style.top = Math.min(event.clientY + 14, innerHeight - this.tip.offsetHeight - 8) + "px";
  }

  x(time) { return LEFT + (time - this.from) / (this.to - this.from) * (this.width - LEFT - RIGHT); }
  time(x) { return this.from + (x - LEFT) / (this.width - LEFT - RIGHT) * (this.to - this.from); }
  sees(time) { return time >= this.from && time <= this.to; }

  draw() {
    this.width = this.canvas.clientWidth;
    if (!this.width || !this.data) return;
    const head = this.head = this.width < 560 ? 20 : 0; // on a phone labels stand over their lanes
    LEFT = head ? 8 : 214;
    const { calls, facts, series } = this.data, shownFacts = facts.slice(0, 8);
    const rows = [["calls", LANE], ["changes", LANE], ["facts", Math.max(LANE, shownFacts.length * FACT + 12)], ["cluster", LANE],
      ...series.map(one => [one, SERIES]), ["pages", LANE]];
    const height = TOP + rows.reduce((sum, row) => sum + row[1] + head, 0) + 26;
    const ratio = devicePixelRatio || 1;
    this.canvas.style.height = height + "px";
    this.canvas.width = this.width * ratio;
    this.canvas.height = height * ratio;
    const ink = this.ink = this.canvas.getContext("2d");
    ink.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    this.colour = name => style.getPropertyValue("--" + name).trim();
    this.marks = []; this.texts = [];
    this.axis(height);
    let y = TOP;
    const where = {};
    for (const [row, tall] of rows) {
      ink.strokeStyle = this.colour("line");
      ink.beginPath(); ink.moveTo(0, y + .5); ink.lineTo(this.width, y + .5); ink.stroke();
      y += head;
      if (row === "calls") this.calls(calls, y, tall);
      else if (row === "changes") this.changes(calls, y, tall);
      else if (row === "facts") this.facts(shownFacts, facts.length, y);
      else if (row === "cluster") this.events(y, tall);
      else if (row === "pages") this.pages(y, tall);
      else this.series(row, y, tall);
      if (row.metric) where[row.resource] ??= y + tall / 2;
      where[row.metric ? row.resource + " " + row.metric : row] = y + tall / 2;
      y += tall;
    }
    this.decisive(where);
    for (const write of this.texts) write();
    this.canvas.dataset.drawn = "yes";
    if (this.drag) {
      ink.fillStyle = this.colour("accent"); ink.globalAlpha = .2;
      ink.fillRect(Math.min(this.drag.from, this.drag.to), TOP, Math.abs(this.drag.to - this.drag.from), height - TOP);
      ink.globalAlpha = 1;
    }
  }

  label(text, y, ...below) {
    const ink = this.ink;
    if (this.head) {
      const width = this.width - RIGHT, font = "12px system-ui, sans-serif";
      ink.font = font;
      const whole = fit(ink, [text, ...below].join(" · "), width);
      this.texts.push(() => this.halo(whole, 4, y - 5, this.colour("dim"), font, "left"));
      return;
    }
    ink.fillStyle = this.colour("text"); ink.font = "600 12.5px system-ui, sans-serif"; ink.textAlign = "left";
    ink.fillText(fit(ink, text, LEFT - 12), 4, y + 18);
    ink.fillStyle = this.colour("dim"); ink.font = "12px system-ui, sans-serif";
    below.forEach((dim, line) => ink.fillText(fit(ink, dim, LEFT - 12), 4, y + 34 + line * 16));
    this.mark(0, y + 22, 20, [text, ...below].join("\n"), LEFT - 8); // whole, where it was cut
  }

  axis(height) {
    const ink = this.ink, { incident } = this.found;
    const end = incident.resolved_ms ?? this.found.window[1];
    const left = Math.max(LEFT, this.x(incident.started_ms)), right = Math.min(this.width - RIGHT, this.x(end));
    if (right > left) {
      ink.fillStyle = this.colour("write"); ink.globalAlpha = .1;
      ink.fillRect(left, TOP, right - left, height - TOP - 22); ink.globalAlpha = 1;
    }
    if (this.sees(incident.detected_ms)) {
      ink.setLineDash([4, 4]); ink.strokeStyle = this.colour("critical");
      this.line(this.x(incident.detected_ms), TOP, this.x(incident.detected_ms), height - 22); ink.setLineDash([]);
      ink.fillStyle = this.colour("critical"); ink.font = "12px system-ui, sans-serif"; ink.textAlign = "center";
      ink.fillText("detected " + clock(incident.detected_ms), this.x(incident.detected_ms), TOP - 8);
    }
    ink.fillStyle = this.colour("dim"); ink.font = "12px system-ui, sans-serif"; ink.textAlign = "center";
    const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400].map(s => s * 1000)
      .find(s => (this.to - this.from) / s <= Math.max(3, (this.width - LEFT) / 95)) ?? 86400000;
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      ink.strokeStyle = this.colour("line"); this.line(this.x(at), height - 24, this.x(at), height - 19);
      ink.fillText(step < 60000 ? clock(at) : clock(at).slice(0, 5), this.x(at), height - 6);
    }
  }

  line(x, y, toX, toY) { const ink = this.ink; ink.beginPath(); ink.moveTo(x, y); ink.lineTo(toX, toY); ink.stroke(); }

  mark(x, y, half, text, right = x) { this.marks.push({ left: x, right, top: y - half, bottom: y + half, text }); }

  calls(calls, y, tall) {
    const ink = this.ink;
    this.label("agent: what it did", y, `${calls.count.toLocaleString("en")} steps: thought ▴, calls ▾`);
    if (calls.buckets.length) {
      const most = Math.max(...calls.buckets.map(one => one.calls)), wide = Math.max(1, (this.width - LEFT - RIGHT) / 600);
      for (const one of calls.buckets) {
        if (!this.sees(one.at_ms)) continue;
        const high = Math.max(2, one.calls / most * (tall - 12)), x = this.x(one.at_ms);
        ink.fillStyle = this.colour(one.errors ? "critical" : "agent");
        ink.fillRect(x, y + tall - 4 - high, wide, high);
        this.mark(x, y + tall / 2, tall / 2, `${clock(one.at_ms)}\n${one.calls} calls, ${one.errors} errors, ${one.writes} changes, ${one.tokens.toLocaleString("en")} tokens`, x + wide);
      }
      return;
    }
    for (const call of calls.rows) {
      if (!this.sees(call.at_ms)) continue;
      const x = this.x(call.at_ms), isTool = call.operation === "execute_tool", bad = call.status === "error";
      ink.fillStyle = this.colour(bad ? "critical" : "agent");
      ink.fillRect(x - .75, isTool ? y + tall / 2 : y + 8, 1.8, tall / 2 - 8);
      this.mark(x, isTool ? y + tall * .75 : y + tall * .28, tall / 4, callText(call));
    }
  }

  changes(calls, y, tall) {
    this.label("agent: changes", y, "what it wrote");
    let free = 0;
    const writes = calls.rows.filter(call => call.access && call.access !== "read" && this.sees(call.at_ms));
    for (const call of writes) {
      const x = this.x(call.at_ms), middle = y + tall / 2;
      this.triangle(x, middle, call.status === "error" ? "critical" : "write");
      this.mark(x, middle, tall / 2, callText(call));
      if (x > free && writes.length < 40) free = this.text(call.tool_name, x + 9, middle + 4);
    }
  }

  // Over all marks, and readable over any of them.
  halo(text, x, y, colour, font, align) {
    const ink = this.ink;
    ink.font = font; ink.textAlign = align; ink.lineJoin = "round";
    ink.strokeStyle = this.colour("panel"); ink.lineWidth = 3; ink.strokeText(text, x, y); ink.lineWidth = 1;
    ink.fillStyle = colour; ink.fillText(text, x, y);
  }

  triangle(x, y, name) {
    const ink = this.ink;
    ink.fillStyle = this.colour(name);
    ink.beginPath(); ink.moveTo(x - 6, y - 7); ink.lineTo(x + 6, y - 7); ink.lineTo(x, y + 6); ink.fill();
  }

  text(said, x, y) {
    const ink = this.ink;
    ink.fillStyle = this.colour("text"); ink.font = "12px system-ui, sans-serif"; ink.textAlign = "left";
    const fits = fit(ink, said, this.width - RIGHT - x);
    this.texts.push(() => this.halo(fits, x, y, this.colour("text"), "12px system-ui, sans-serif", "left"));
    return x + ink.measureText(fits).width + 8;
  }

  facts(facts, all, y) {
    const ink = this.ink;
    this.label("what held", y, all > facts.length ? `${facts.length} of ${all} facts` : "flags, windows, deploys");
    facts.forEach((fact, row) => {
      const top = y + 6 + row * FACT, left = Math.max(LEFT, this.x(fact.from_ms)), right = Math.min(this.width - RIGHT, this.x(fact.until_ms ?? this.to));
      if (right < LEFT || left > this.width - RIGHT) return;
      const gap = this.found.incident.gaps.find(one => one.event_id === fact.event_id);
      ink.fillStyle = this.colour(gap ? "warning" : "good"); ink.globalAlpha = .35;
      ink.fillRect(left, top, Math.max(3, right - left), FACT - 5); ink.globalAlpha = 1;
      const said = `${fact.kind} ${name(fact.resource)}${fact.value ? " = " + fact.value : ""}${gap ? " · the agent: " + gap.says : ""}`;
      this.text(said, left + 4, top + 12);
      this.mark(left, top + 7, FACT / 2, `${clock(fact.from_ms)} to ${fact.until_ms ? clock(fact.until_ms) : "replaced"}, published ${clock(fact.published_ms)}\n${said}\n${fact.message}${fact.source ? "\nsource: " + fact.source : ""}`, right);
    });
  }

  events(y, tall) {
    const ink = this.ink, { events } = this.data;
    this.label("cluster", y, `${events.count.toLocaleString("en")} events`);
    let free = 0;
    const most = Math.max(...events.buckets.map(one => one.events)), wide = Math.max(1, (this.width - LEFT - RIGHT) / 600);
    for (const one of events.buckets) {
      if (!this.sees(one.at_ms)) continue;
      const high = Math.max(2, one.events / most * (tall - 12)), x = this.x(one.at_ms);
      ink.fillStyle = this.colour(one.warnings ? "critical" : "dim");
      ink.fillRect(x, y + tall - 4 - high, wide, high);
      this.mark(x, y + tall / 2, tall / 2, `${clock(one.at_ms)}\n${one.events} events, ${one.warnings} warnings\nmostly ${one.most.join(", ")}`, x + wide);
    }
    for (const event of events.rows) {
      if (!this.sees(event.at_ms)) continue;
      const x = this.x(event.at_ms), bad = event.severity === "warning", middle = y + tall / 2;
      ink.fillStyle = this.colour(bad ? "critical" : "dim");
      if (bad) { ink.beginPath(); ink.moveTo(x, middle - 7); ink.lineTo(x + 6, middle); ink.lineTo(x, middle + 7); ink.lineTo(x - 6, middle); ink.fill(); }
      else ink.fillRect(x - 1, middle - 6, 2, 12);
      this.mark(x, middle, tall / 2, `${clock(event.at_ms)} ${event.kind} ${event.reason}${event.count > 1 ? " x" + event.count : ""}\n${event.resource}\n${event.message}${event.actor ? "\nby " + event.actor : ""}`);
      if (bad && x > free) free = this.text(event.reason, x + 9, middle + 4);
    }
  }

  series(one, y, tall) {
    const ink = this.ink, low = Math.min(...one.points), high = Math.max(...one.points), range = high - low || 1;
    this.label(name(one.resource), y, one.metric, `${amount(low, one)} to ${amount(high, one)}`);
    const at = value => y + tall - 8 - (value - low) / range * (tall - 16);
    ink.strokeStyle = this.colour("info"); ink.lineWidth = 1.8; ink.beginPath();
    let begun = false;
    one.times.forEach((time, index) => {
      if (time < this.from - (this.to - this.from) || time > this.to + (this.to - this.from)) return;
      const x = this.x(time);
      if (x < LEFT - 4 || x > this.width) { begun = false; return; }
      if (begun) ink.lineTo(x, at(one.points[index])); else ink.moveTo(x, at(one.points[index]));
      begun = true;
      this.mark(x, y + tall / 2, tall / 2, `${clock(time)} ${name(one.resource)} ${one.metric}: ${amount(one.points[index], one)}`);
    });
    ink.stroke(); ink.lineWidth = 1;
    for (const row of this.found.timeline) {
      if (row.type !== "symptom" || row.resource !== one.resource || !row.shows.includes(one.metric) || !this.sees(row.at_ms)) continue;
      ink.strokeStyle = this.colour("critical"); ink.lineWidth = 2;
      ink.beginPath(); ink.arc(this.x(row.at_ms), y + 10, 5, 0, 7); ink.stroke(); ink.lineWidth = 1;
      this.mark(this.x(row.at_ms), y + 10, 9, `${clock(row.at_ms)} ${row.shows}`);
    }
  }

  pages(y, tall) {
    const ink = this.ink, { pages } = this.found;
    this.label("told", y, pages.length ? "pages, tickets" : "nobody was told");
    let free = 0;
    for (const page of pages) {
      if (!this.sees(page.at_ms)) continue;
      const x = this.x(page.at_ms), middle = y + tall / 2;
      ink.fillStyle = this.colour(page.state === "failed" ? "critical" : "text");
      ink.beginPath(); ink.arc(x, middle, 5, 0, 7); ink.fill();
      this.mark(x, middle, tall / 2, `${clock(page.at_ms)} ${page.mode}, ${page.transition}: ${page.receiver}, ${page.state}\nrule ${page.rule}${page.detail ? "\n" + page.detail : ""}`);
      if (x > free) free = this.text(`${page.mode} ${page.transition}`, x + 9, middle + 4);
    }
  }

  // From the change that decided it to the first symptom: the one line to see.
  decisive(where) {
    const { incident, timeline } = this.found, cause = decided(incident);
    this.canvas.dataset.decisive = "no";
    if (!cause || !["agent_action", "deploy", "scale", "config", "flag"].includes(cause.kind)) return;
    const symptom = timeline.find(row => row.type === "symptom" && row.at_ms >= cause.at_ms);
    if (!symptom) return;
    const from = [this.x(cause.at_ms), cause.kind === "agent_action" ? where.changes : where.cluster];
    const moved = this.data.series.find(one => one.resource === symptom.resource && symptom.shows.includes(one.metric));
    const to = [this.x(symptom.at_ms), where[moved ? moved.resource + " " + moved.metric : symptom.resource] ?? where.cluster];
    if (from[0] < LEFT || to[0] > this.width - RIGHT) return;
    const ink = this.ink, middle = (from[0] + to[0]) / 2;
    this.canvas.dataset.decisive = "yes";
    ink.strokeStyle = this.colour("write"); ink.lineWidth = 2.5;
    ink.beginPath(); ink.moveTo(...from); ink.bezierCurveTo(middle, from[1], middle, to[1], ...to); ink.stroke();
    const turn = Math.atan2(to[1] - from[1], to[0] - from[0] || 1) * .4;
    ink.fillStyle = this.colour("write"); ink.beginPath(); ink.moveTo(...to);
    ink.lineTo(to[0] - 11 * Math.cos(turn - .4), to[1] - 11 * Math.sin(turn - .4));
    ink.lineTo(to[0] - 11 * Math.cos(turn + .4), to[1] - 11 * Math.sin(turn + .4)); ink.fill();
    ink.lineWidth = 1;
    this.texts.push(() => this.halo(span(symptom.at_ms - cause.at_ms) + " later", middle - 10, (from[1] + to[1]) / 2 + (this.head ? 16 : 0), this.colour("write"), "600 12.5px system-ui, sans-serif", "right"));
  }
}

function fit(ink, text, room) {
  text = String(text ?? "");
  if (ink.measureText(text).width <= room) return text;
  let length = text.length;
  while (length > 1 && ink.measureText(text.slice(0, length) + "…").width > room) length -= Math.max(1, length >> 3);
  return text.slice(0, Math.max(0, length)) + "…";
}

function callText(call) {
  const tokens = call.input_tokens + call.output_tokens;
  return [`${clock(call.at_ms)} ${call.agent_id}: ${call.tool_name || call.operation}${call.target ? " on " + call.target : ""} -> ${call.status}`,
    call.args, call.believed && "believed: " + call.believed, tokens ? tokens.toLocaleString("en") + " tokens" : ""].filter(Boolean).join("\n");
}

// The change that the verdict rests on; null where none of the candidates is held responsible.
function decided(incident) { return ["agent", "change", "shared"].includes(incident.verdict) ? incident.ranked[0] ?? null : null; }
function clock(ms) { return new Date(ms).toISOString().slice(11, 19); }
// UCUM writes what is counted in braces, and 1 for nothing.
function unit(series) { return series.unit === "1" ? "" : String(series.unit ?? "").replace(/[{}]/g, ""); }
const BYTES = ["B", "kB", "MB", "GB", "TB", "PB"];
function amount(value, series) {
  if (series.unit !== "By") return `${number(value)} ${unit(series)}`.trim();
  const step = Math.min(BYTES.length - 1, Math.max(0, Math.floor(Math.log10(Math.abs(value) || 1) / 3)));
  return `${number(value / 1000 ** step)} ${BYTES[step]}`;
}
function name(resource) { return String(resource).split("/").pop(); }
function number(value) { return Math.abs(value) >= 1e6 ? value.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 }) : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4))); }
function span(ms) {
  const s = Math.round(ms / 1000);
  return s < 90 ? `${s} s` : s < 5400 ? `${Math.floor(s / 60)} min${s % 60 ? " " + s % 60 + " s" : ""}` : `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
}
