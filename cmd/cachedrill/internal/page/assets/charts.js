"use strict";

// Small charts in SVG: two lines over time, the phases shaded, one cross-hair in all of them.

const SVG = "http://www.w3.org/2000/svg";
const SIDES = ["plain", "holdfast"];

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined));
  return node;
}

const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const clock = (t) => Math.floor(t / 60) + ":" + String(Math.floor(t % 60)).padStart(2, "0");

function latency(ms) {
  if (ms >= 1000) return (ms / 1000).toFixed(2) + " s";
  if (ms >= 10) return ms.toFixed(0) + " ms";
  return ms.toFixed(ms >= 1 ? 1 : 2) + " ms";
}

const count = (n) => (n >= 10000 ? (n / 1000).toFixed(1) + "k" : n > 0 && n < 10 ? n.toFixed(1).replace(/\.0$/, "") : n.toFixed(0));
const share = (x) => (100 * x).toFixed(x === 1 ? 0 : 1) + " %";

const percent = (p) => (p === 0 ? "0" : p.toFixed(2) + " %");

// How a figure is written, by its unit.
const UNITS = { "ms": latency, "/s": count, "count": (n) => n.toLocaleString("en"), "ratio": share, "%": percent, "x": (n) => n.toFixed(2) + "×" };
const written = (figure, value) => (value === null || value === undefined ? "–" : UNITS[figure.unit](value));

// How long all phases are together, as far as that is known now.
const total = (record) => Math.max(record.duration_s, record.phases[record.phases.length - 1].end_s);

function linearTicks(top) {
  const raw = top / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((f) => f >= raw);
  return Array.from({ length: Math.ceil(top / step - 1e-9) + 1 }, (_, i) => i * step);
}

function verticalScale(figure, samples) {
  const values = samples.flatMap((x) => SIDES.map((side) => x[side][figure.field]));
  if (figure.log) {
    const positive = values.filter((v) => v > 0);
    const low = Math.floor(Math.log10(Math.max(0.1, Math.min(figure.min || 1, ...positive))));
    const high = Math.max(low + 3, Math.ceil(Math.log10(Math.max(10, ...positive)) - 1e-9));
    const ticks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
    return { ticks, at: (v) => (Math.log10(Math.max(v, 10 ** low)) - low) / (high - low) };
  }
  if (figure.needed) values.push(...samples.map((x) => x.holdfast[figure.needed]));
  const ticks = linearTicks(figure.max || Math.max(4, ...values) * 1.04);
  const top = ticks[ticks.length - 1];
  return { ticks, at: (v) => v / top };
}

function timeTicks(duration, width) {
  const most = Math.max(2, Math.floor(width / 70));
  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].find((t) => duration / t <= most) || 7200;
  return Array.from({ length: Math.floor(duration / step) + 1 }, (_, i) => i * step);
}

function phaseClass(phases, i) {
  if (phases[i].fault) return phases[i].fault;
  return i > 0 && (phases[i].server >= 0 || phases[i - 1].fault) ? "after" : "none";
}

function shade(record, box, x) {
  return record.phases.map((p, i) => {
    const left = x(p.start_s), right = x(p.end_s);
    const fits = right - left > p.name.length * 5.1 + 3;
    return s("g", {},
      s("rect", { class: "phase " + phaseClass(record.phases, i), "data-phase": p.name, x: left, y: box.top, width: Math.max(0, right - left), height: box.bottom - box.top },
        s("title", {}, p.title)),
      fits ? s("text", { class: "phase-label" + (p.begun ? "" : " ahead"), x: (left + right) / 2, y: box.top - 5, "text-anchor": "middle" }, p.name) : null);
  });
}

function horizontalAxis(record, box, x) {
  return timeTicks(total(record), box.right - box.left).map((t) =>
    s("text", { x: x(t), y: box.bottom + 15, "text-anchor": "middle" }, clock(t)));
}

const path = (points) => points.map(([x, y], i) => (i ? "L" : "M") + x.toFixed(1) + " " + y.toFixed(1)).join("");

// Chart is one figure of both sides over time.
class Chart {
  constructor(figure, onPick) {
    this.figure = figure;
    this.values = Object.fromEntries(SIDES.map((side) => [side, h("b", {}, "–")]));
    this.svg = s("svg", { class: "plot", role: "img", tabindex: 0, "data-chart": figure.id });
    this.node = h("article", { class: "card chart" },
      h("header", {},
        h("h2", {}, figure.title, h("small", {}, figure.note)),
        h("div", { class: "reading" }, SIDES.map((side) => h("span", {}, h("span", { class: "key " + side }, side), this.values[side])))),
      this.svg);
    this.svg.addEventListener("pointermove", (e) => onPick(this.nearest(e)));
    this.svg.addEventListener("pointerleave", () => onPick(null));
    this.svg.addEventListener("blur", () => onPick(null));
    this.svg.addEventListener("keydown", (e) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
      if (!move || !this.record) return;
      e.preventDefault();
      const last = this.record.samples.length - 1;
      onPick(Math.min(last, Math.max(0, (this.picked ?? last) + move)));
    });
  }

  nearest(event) {
    if (!this.record || !this.record.samples.length) return null;
    const t = ((event.clientX - this.svg.getBoundingClientRect().left - this.box.left) / (this.box.right - this.box.left)) * total(this.record);
    const samples = this.record.samples;
    let low = 0, high = samples.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (samples[middle].t < t) low = middle + 1; else high = middle;
    }
    return low > 0 && t - samples[low - 1].t < samples[low].t - t ? low - 1 : low;
  }

  draw(record, picked) {
    this.record = record;
    this.picked = picked;
    const width = Math.max(240, this.svg.clientWidth), height = this.svg.closest("#lead") ? 230 : 180;
    const box = { left: 46, right: width - 8, top: 20, bottom: height - 22 };
    this.box = box;
    const x = (t) => box.left + (Math.min(t, total(record)) / total(record)) * (box.right - box.left);
    const scale = verticalScale(this.figure, record.samples);
    const y = (v) => box.bottom - scale.at(v) * (box.bottom - box.top);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    this.svg.replaceChildren(
      ...shade(record, box, x),
      ...scale.ticks.map((v) => s("g", {},
        s("line", { class: "grid", x1: box.left, x2: box.right, y1: y(v), y2: y(v) }),
        s("text", { x: box.left - 6, y: y(v) + 4, "text-anchor": "end" }, written(this.figure, v).replace(/\.0+(?= )/, "")))),
      ...horizontalAxis(record, box, x),
      ...this.lines(record, x, y),
      ...this.cross(record, picked, box, x, y));
    this.read(record, picked);
  }

  lines(record, x, y) {
    const along = (of) => path(record.samples.map((p) => [x(p.t), y(of(p))]));
    const lines = SIDES.map((side) => s("path", { class: "line " + side, d: along((p) => p[side][this.figure.field]) }));
    if (this.figure.needed) lines.push(s("path", { class: "needed", d: along((p) => p.holdfast[this.figure.needed]) }));
    return lines;
  }

  cross(record, picked, box, x, y) {
    const at = record.samples[picked];
    if (picked === null || !at) return [];
    return [
      s("line", { class: "cross", x1: x(at.t), x2: x(at.t), y1: box.top, y2: box.bottom }),
      ...SIDES.map((side) => s("circle", { class: "dot " + side, r: 3.5, cx: x(at.t), cy: y(at[side][this.figure.field]) })),
    ];
  }

  read(record, picked) {
    const at = record.samples[picked ?? record.samples.length - 1];
    if (!at) return;
    for (const side of SIDES) this.values[side].textContent = written(this.figure, at[side][this.figure.field]);
    const worst = (side) => written(this.figure, Math.max(...record.samples.map((p) => p[side][this.figure.field])));
    const least = (side) => written(this.figure, Math.min(...record.samples.map((p) => p[side][this.figure.field])));
    this.svg.setAttribute("aria-label", `${this.figure.title} over time, at ${clock(at.t)}: ` +
      SIDES.map((side) => `${side} ${this.values[side].textContent} (from ${least(side)} to ${worst(side)})`).join(", "));
  }
}

// runs returns the stretches of equal values.
function runs(samples, of) {
  const stretches = [];
  let from = 0;
  for (const p of samples) {
    const value = of(p);
    const last = stretches[stretches.length - 1];
    if (last && last.value === value) last.to = p.t;
    else stretches.push({ value, from, to: p.t });
    from = p.t;
  }
  return stretches;
}

// usedBy tells how a server was used: the state of holdfast's breaker, or the side whose client sent commands there.
function usedBy(server, i, sample) {
  if (!server.side) return (sample.holdfast.breakers || [])[i] || "";
  return sample[server.side].primary === server.addr ? "closed " + server.side : "";
}

// Lanes shows for each server how it was, and below how it was used.
class Lanes {
  constructor(about) {
    this.svg = s("svg", { class: "plot", role: "img", "data-chart": "servers" });
    this.node = [
      h("div", { class: "headline" }, h("h2", {}, "Servers"),
        h("span", { class: "reading" }, about)),
      this.svg,
    ];
  }

  draw(record) {
    const width = Math.max(240, this.svg.clientWidth), narrow = width < 620;
    const row = narrow ? 46 : 38, height = record.servers.length * row + 22;
    const box = { left: narrow ? 8 : 215, right: width - 8, top: 0, bottom: height - 22 };
    const x = (t) => box.left + (Math.min(t, total(record)) / total(record)) * (box.right - box.left);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    const last = record.samples[record.samples.length - 1];
    this.svg.setAttribute("aria-label", "Servers now: " + record.servers.map((server, i) =>
      `${server.name} ${(last && last.faults[i]) || "up"}` + (last && usedBy(server, i, last) ? `, ${server.side ? "in use" : "breaker " + usedBy(server, i, last)}` : "")).join("; "));
    this.svg.replaceChildren(...record.servers.flatMap((server, i) => this.lane(record, server, i, i * row, x, narrow)), ...horizontalAxis(record, box, x));
  }

  lane(record, server, i, top, x, narrow) {
    const y = top + (narrow ? 18 : 4);
    const bar = (run) => {
      const wide = x(run.to) - x(run.from);
      return [
        s("rect", { class: "lane " + run.value, x: x(run.from), y, width: Math.max(1, wide - 1), height: 13, rx: 2 }),
        run.value && wide > 10 + 6.8 * run.value.length ? s("text", { class: "lane-label " + run.value, x: x(run.from) + 6, y: y + 10 }, run.value) : null,
      ].filter(Boolean);
    };
    const asked = runs(record.samples, (p) => usedBy(server, i, p)).filter((run) => run.value);
    return [
      s("text", { class: "lane-name", x: narrow ? 8 : 0, y: top + 12 }, server.name),
      s("text", { class: "lane-kind", x: narrow ? 16 + 7.2 * server.name.length : 0, y: narrow ? top + 12 : top + 26 }, !server.share ? server.kind : `${server.kind}, ${(100 * server.share).toFixed(0)} % of reads`),
      ...runs(record.samples, (p) => p.faults[i]).flatMap(bar),
      ...asked.map((run) => s("rect", { class: "breaker " + run.value, x: x(run.from) + 0.5, y: y + 15.5, width: Math.max(1, x(run.to) - x(run.from) - 2), height: 4, rx: 1.5 })),
    ];
  }
}
