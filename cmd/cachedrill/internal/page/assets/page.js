// The page: a record that is complete (a report) or grows by server-sent events (live).

const $ = (id) => document.getElementById(id);
let record = null;
let picked = null;
let lost = false;
let pending = false;

const lanes = new Lanes();
const charts = FIGURES.map((figure) => new Chart(figure, pick));

function pick(index) {
  picked = index;
  redraw();
}

// redraw draws at most once per frame.
function redraw() {
  if (pending || !record) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    drawStatus();
    drawTiles();
    lanes.draw(record);
    for (const chart of charts) chart.draw(record, picked);
    drawVerdict();
    drawPromises();
    drawEvents();
    if ($("numbers").open) drawNumbers();
  });
}

const current = () => {
  const last = record.samples[record.samples.length - 1];
  return record.phases[last ? last.phase : 0];
};

function headline() {
  const broken = record.promises.filter((p) => !p.kept).length;
  switch (record.verdict) {
    case "kept": return [record.promises.length ? "All promises kept" : "Done", "kept"];
    case "broken": return [broken === 1 ? "One promise broken" : broken + " promises broken", "broken"];
    case "interrupted": return ["Interrupted", "broken"];
  }
  if (lost) return ["Connection lost: the drill has ended or was stopped", "broken"];
  return [record.samples.length ? current().title : "Starting …", ""];
}

function drawStatus() {
  const [text, kind] = headline();
  const old = document.querySelector("#status strong");
  if (!old || old.textContent !== text) {
    $("status").replaceChildren(
      h("div", { class: "headline" }, h("strong", { class: kind }, text), h("span", { id: "time", "aria-live": "off" })),
      h("div", { class: "progress", role: "img", "aria-label": "Progress through the phases" },
        record.phases.map((p) => h("i", { title: p.title, style: `flex:${Math.max(0.1, p.end_s - p.start_s)}` }, h("b", {})))));
  }
  const running = record.verdict === "running";
  $("time").textContent = running ? `${clock(record.elapsed_s)} of ${clock(record.duration_s)}` : `${clock(record.elapsed_s)}, ${new Date(record.started).toLocaleString()}`;
  document.querySelectorAll(".progress b").forEach((b, i) => {
    const p = record.phases[i];
    b.style.width = 100 * Math.min(1, Math.max(0, (record.elapsed_s - p.start_s) / (p.end_s - p.start_s))) + "%";
  });
}

const TILES = ["p99", "answers", "errors", "loads", "hits"];

// drawTiles shows what is true now; of a drill that has ended, the worst phase.
function drawTiles() {
  const last = record.samples[picked ?? record.samples.length - 1];
  const worst = record.verdict !== "running" && picked === null;
  $("tiles").replaceChildren(...TILES.map((id) => {
    const figure = FIGURES.find((f) => f.id === id);
    const [title, value] = worst ? worstOf(figure) : [figure.title + (picked === null ? "" : " at " + clock(last.t)), (side) => (last ? figure.write(last[side][figure.field]) : "–")];
    return h("div", { class: "tile" }, h("h3", {}, title),
      SIDES.map((side) => h("p", {}, h("span", { class: "key " + side }, side), h("b", {}, value(side)))));
  }));
}

function worstOf(figure) {
  const begun = record.phases.filter((p) => p.begun);
  const best = (of, pickWorst) => (side) => (begun.length ? of(pickWorst(...begun.map((p) => p[side][figure.summary || figure.field]))) : "–");
  switch (figure.id) {
    case "p99": return ["Worst p99 of a phase", best(latency, Math.max)];
    case "answers": return ["Fewest answers/s in a phase", best(count, Math.min)];
    case "hits": return ["Lowest hit ratio in a phase", best(share, Math.min)];
    case "errors": return ["Reads that failed", (side) => total(side, "errors")];
    default: return ["Outdated values served", (side) => total(side, "stale")];
  }
}

const total = (side, field) => record.phases.reduce((sum, p) => sum + p[side][field], 0).toLocaleString("en");

const COLUMNS = [
  ["answers/s", (p) => count(p.answers_per_s)],
  ["p50", (p) => latency(p.p50_ms)],
  ["p99", (p) => latency(p.p99_ms)],
  ["max", (p) => latency(p.max_ms)],
  ["hits", (p) => share(p.hit_ratio)],
  ["db loads", (p) => p.load_ratio.toFixed(2) + "×"],
  ["errors", (p) => percent(p.error_percent), (p) => p.error_percent >= 0.1],
  ["stale", (p) => percent(p.stale_percent), (p) => p.stale_percent >= 0.1],
  ["failed writes", (p) => String(p.failed_writes)],
];

const percent = (p) => (p === 0 ? "0" : p.toFixed(2) + " %");

function drawVerdict() {
  const begun = record.phases.filter((p) => p.begun && (p.plain.reads || p.holdfast.reads));
  $("verdict").hidden = !begun.length;
  if (!begun.length) return;
  const rows = begun.flatMap((p) => SIDES.map((side) => h("tr", { class: side },
    side === "plain" ? h("th", { scope: "rowgroup", rowspan: 2 }, p.title) : null,
    h("td", {}, h("span", { class: "key " + side }, side)),
    COLUMNS.map(([, write, bad]) => h("td", { class: bad && bad(p[side]) ? "bad" : null }, write(p[side]))))));
  $("verdict").querySelector("div").replaceChildren(h("table", {},
    h("thead", {}, h("tr", {}, ["phase", "client", ...COLUMNS.map((c) => c[0])].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows)));
}

function drawPromises() {
  $("promises").hidden = !record.promises.length;
  const judged = record.verdict !== "running";
  $("promises").querySelector("div").replaceChildren(...record.promises.map((p) => h("div", { class: "promise" },
    h("span", { class: "mark " + (judged ? (p.kept ? "kept" : "broken") : "") }, judged ? (p.kept ? "✓ kept" : "✗ broken") : "pending"),
    h("code", {}, p.text),
    h("span", {}, judged ? `worst: ${p.shown}` + (p.phase ? `, in phase “${p.phase}”` : "") : "holdfast must stay below in every phase"))));
}

function drawEvents() {
  $("events").hidden = !record.events.length;
  $("events").querySelector("ol").replaceChildren(...record.events.map((e) =>
    h("li", {}, h("time", {}, e.t.toFixed(2) + " s"), h("span", {}, e.text))));
}

function drawRun() {
  const m = record.machine;
  const entries = [
    { name: "seed", value: String(record.seed), about: "the same seed makes the same requests" },
    ...record.settings, ...record.versions,
    { name: "machine", value: `${m.host}: ${m.os}/${m.arch}, ${m.cpus} CPUs`, about: [m.cpu, m.go].filter(Boolean).join(", ") },
    { name: "started", value: new Date(record.started).toString() },
  ];
  $("subtitle").textContent = `${record.scenario}: plain client and holdfast, side by side, while servers fail`;
  $("run").querySelector("div").replaceChildren(
    h("dl", {}, entries.flatMap((e) => [h("dt", {}, e.name), h("dd", {}, e.value, e.about ? h("small", {}, e.about) : null)])),
    h("ul", {}, record.conditions.map((c) => h("li", {}, c))));
  $("foot").textContent = record.tool;
  $("meanings").querySelector("dl").replaceChildren(...JSON.parse($("meaning").textContent).flatMap((e) => [h("dt", {}, e.name), h("dd", {}, e.value)]));
}

function drawNumbers() {
  const heads = ["time", "phase", ...FIGURES.flatMap((f) => SIDES.map((side) => `${f.title}, ${side}`))];
  $("numbers").querySelector("div").replaceChildren(h("table", {},
    h("thead", {}, h("tr", {}, heads.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, record.samples.map((p) => h("tr", {}, h("td", {}, p.t.toFixed(2) + " s"), h("td", {}, record.phases[p.phase].name),
      FIGURES.flatMap((f) => SIDES.map((side) => h("td", {}, f.write(p[side][f.field])))))))));
}

function show(r) {
  record = r;
  lost = false;
  drawRun();
  redraw();
}

function live() {
  $("status").replaceChildren(h("div", { class: "headline" }, h("strong", {}, "Connecting …")));
  const source = new EventSource("events");
  const on = (name, change) => source.addEventListener(name, (e) => { change(JSON.parse(e.data)); redraw(); });
  on("record", show);
  on("sample", (x) => { record.samples.push(x); record.elapsed_s = x.t; });
  on("phase", (x) => { record.phases[x.index] = x.phase; });
  on("event", (x) => { record.events.push(x); });
  on("end", (x) => { source.close(); show(x); });
  source.onerror = () => { lost = record !== null && record.verdict === "running"; redraw(); };
}

$("servers").append(...lanes.node);
$("charts").append(...charts.map((c) => c.node));
$("numbers").addEventListener("toggle", redraw);
new ResizeObserver(redraw).observe(document.body);
const saved = JSON.parse($("record").textContent);
if (saved) show(saved); else live();
