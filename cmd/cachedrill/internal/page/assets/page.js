// The page: the drills of a run, complete (a report), or the last of them growing by server-sent events (live).

const $ = (id) => document.getElementById(id);
let drills = [];
const SUMMARY = "summary";
let chosen = null; // which of them is shown, or SUMMARY; null: the last
let record = null; // the one that is shown
let titled = null; // the one whose status is shown
let picked = null;
let lost = false;
let pending = false;

const LAYOUTS = JSON.parse($("layouts").textContent);
let layout = null;
let lanes = null;
let charts = [];

// choose shows one of the drills, the last and whatever follows it if there is none of this number, or the summary of all.
function choose(index) {
  chosen = index === SUMMARY || index < drills.length - 1 ? index : null;
  record = drills[typeof chosen === "number" ? chosen : drills.length - 1];
  arrange();
  drawChoice();
  drawRun();
  redraw();
}

const MARKS = { kept: "✓ ", broken: "✗ ", interrupted: "– " };

// drawChoice offers the drills and their summary, if there are several.
function drawChoice() {
  $("choice").hidden = drills.length < 2;
  const button = (text, kind, pressed, index) => {
    const b = h("button", { type: "button", class: kind, "aria-pressed": String(pressed) }, text);
    b.addEventListener("click", () => choose(index));
    return b;
  };
  $("choice").replaceChildren(button("all", "", chosen === SUMMARY, SUMMARY),
    ...drills.map((r, i) => button((MARKS[r.verdict] || "") + r.scenario, r.verdict, chosen !== SUMMARY && r === record, i)));
}

// arrange makes the charts of the record's scenario. The one that the story is about stands alone, above the others.
function arrange() {
  const fresh = layout !== LAYOUTS[record.scenario];
  if (fresh) {
    layout = LAYOUTS[record.scenario];
    lanes = new Lanes(layout.lanes);
    charts = layout.charts.map((figure) => new Chart(figure, pick));
    picked = null;
    $("servers").replaceChildren(...lanes.node);
  }
  const lead = charts.find((c) => record.story && c.figure.id === record.story.chart) || charts[0];
  if (!fresh && $("lead").firstChild === lead.node) return;
  $("lead").replaceChildren(lead.node);
  $("charts").replaceChildren(...charts.filter((c) => c !== lead).map((c) => c.node));
}

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
    $("summary").hidden = chosen !== SUMMARY;
    $("drill").hidden = $("status").hidden = chosen === SUMMARY;
    if (chosen === SUMMARY) {
      drawSummary();
      return;
    }
    arrange();
    drawStatus();
    drawStory();
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
  if (lost && record === drills[drills.length - 1]) return ["Connection lost: the drill has ended or was stopped", "broken"];
  return [record.samples.length ? current().title : "Starting …", ""];
}

function drawStatus() {
  const [text, kind] = headline();
  const old = document.querySelector("#status strong");
  if (!old || old.textContent !== text || titled !== record) {
    titled = record;
    $("status").replaceChildren(
      h("div", { class: "headline" }, h("strong", { class: kind }, text), h("span", { id: "time", "aria-live": "off" })),
      h("div", { class: "progress", role: "img", "aria-label": "Progress through the phases" },
        record.phases.map((p) => h("i", { title: p.title, style: `flex:${Math.max(0.1, p.end_s - p.start_s)}` }, h("b", {})))));
  }
  const running = record.verdict === "running";
  $("time").textContent = running ? `${clock(record.elapsed_s)} of ${clock(total(record))}` : `${clock(record.elapsed_s)}, ${new Date(record.started).toLocaleString()}`;
  document.querySelectorAll(".progress b").forEach((b, i) => {
    const p = record.phases[i];
    b.style.width = 100 * Math.min(1, Math.max(0, (record.elapsed_s - p.start_s) / (p.end_s - p.start_s))) + "%";
  });
}

// drawStory says in words what users noticed.
function drawStory() {
  const told = record.story;
  $("story").hidden = !told;
  if (!told) return;
  $("story").replaceChildren(h("p", { class: "lead" }, told.headline),
    told.sentences.length > 1 ? h("ul", {}, told.sentences.slice(1).map((text) => h("li", {}, text))) : "");
}

// cut reports whether drills that were to follow have not begun.
const cut = (all) => Boolean(all[all.length - 1].cut);
const CUT = "The scenarios after the last one were not drilled.";

// drawSummary has a card for each drill: how it ended, what users noticed, and the chart that shows it.
function drawSummary() {
  const broken = drills.filter((r) => r.verdict === "broken").length;
  const cards = drills.map((r, i) => {
    const shown = LAYOUTS[r.scenario];
    const figure = shown.charts.find((f) => r.story && f.id === r.story.chart) || shown.charts[0];
    const chart = new Chart(figure, () => {});
    const open = h("button", { type: "button" }, "details");
    open.addEventListener("click", () => choose(i));
    const node = h("section", { class: "card" },
      h("div", { class: "headline" }, h("h2", { class: r.verdict }, (MARKS[r.verdict] || "") + r.scenario, h("small", {}, shown.about)), open),
      h("p", { class: "lead" }, r.story ? r.story.headline : r.verdict === "running" ? "Running …" : "The sides did not differ noticeably."),
      chart.node);
    return { node, chart, r };
  });
  const stopped = drills.some((r) => r.verdict === "interrupted");
  const how = broken ? `Promises broken in ${broken} of ${drills.length} drills` : stopped ? "Interrupted" : "All promises kept";
  $("summary").replaceChildren(
    h("p", { class: "headline" }, h("strong", { class: broken || stopped ? "broken" : "kept" }, how)),
    cut(drills) ? h("p", {}, CUT) : "",
    ...cards.map((c) => c.node));
  for (const c of cards) if (c.r.samples.length) c.chart.draw(c.r, null);
}

// drawTiles shows what is true now; of a drill that has ended, the worst phase.
function drawTiles() {
  const last = record.samples[picked ?? record.samples.length - 1];
  const worst = record.verdict !== "running" && picked === null;
  $("tiles").replaceChildren(...layout.tiles.map((tile) => {
    const figure = layout.charts.find((f) => f.id === tile.chart);
    const title = worst ? tile.title : figure.title + (picked === null ? "" : " at " + clock(last.t));
    const value = (side) => (worst ? overall(tile, side) : written(figure, last && last[side][figure.field]));
    return h("div", { class: "tile" }, h("h3", {}, title),
      SIDES.map((side) => h("p", {}, h("span", { class: "key " + side }, side), h("b", {}, value(side)))));
  }));
}

// overall is a figure of all phases that have it.
function overall(tile, side) {
  const values = record.phases.filter((p) => p.begun).map((p) => p[side][tile.field]).filter((v) => v !== null && v !== undefined);
  if (!values.length) return "–";
  const pick = { max: Math.max, min: Math.min, sum: (...all) => all.reduce((a, b) => a + b) }[tile.pick];
  return written(tile, pick(...values));
}

function drawVerdict() {
  const begun = record.phases.filter((p) => p.begun && (p.plain.reads || p.holdfast.reads));
  $("verdict").hidden = !begun.length;
  if (!begun.length) return;
  const rows = begun.flatMap((p) => SIDES.map((side) => h("tr", { class: side },
    side === "plain" ? h("th", { scope: "rowgroup", rowspan: 2 }, p.title) : null,
    h("td", {}, h("span", { class: "key " + side }, side)),
    layout.columns.map((c) => h("td", { class: (c.main ? "" : "extra ") + (c.bad && p[side][c.field] >= c.bad ? "bad" : "") }, written(c, p[side][c.field]))))));
  $("verdict").querySelector(".scroll").replaceChildren(h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "phase"), h("th", { scope: "col" }, "client"),
      layout.columns.map((c) => h("th", { scope: "col", class: c.main ? null : "extra" }, c.name)))),
    h("tbody", {}, rows)));
}

function drawPromises() {
  $("promises").hidden = !record.promises.length;
  const judged = record.verdict !== "running";
  $("promises").querySelector("div").replaceChildren(...record.promises.map((p) => h("div", { class: "promise" },
    h("span", { class: "mark " + (judged && !p.open ? (p.kept ? "kept" : "broken") : "") }, !judged ? "pending" : p.open ? "– open" : p.kept ? "✓ kept" : "✗ broken"),
    h("code", {}, p.text),
    h("span", {}, p.about ? p.about + "; " : "", judged ? `worst: ${p.shown}` + (p.phase ? `, in phase “${p.phase}”` : "") : "of holdfast, judged at the end"))));
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
  $("subtitle").textContent = chosen === SUMMARY ? "all drills of this run" : `${record.scenario}: ${layout.about}`;
  $("run").querySelector("div").replaceChildren(
    h("dl", {}, entries.flatMap((e) => [h("dt", {}, e.name), h("dd", {}, e.value, e.about ? h("small", {}, e.about) : null)])),
    h("ul", {}, record.conditions.map((c) => h("li", {}, c))));
  $("foot").textContent = record.tool;
  $("meanings").querySelector("dl").replaceChildren(...layout.meanings.flatMap((e) => [h("dt", {}, e.name), h("dd", {}, e.value)]));
}

function drawNumbers() {
  const heads = ["time", "phase", ...layout.charts.flatMap((f) => SIDES.map((side) => `${f.title}, ${side}`))];
  $("numbers").querySelector("div").replaceChildren(h("table", {},
    h("thead", {}, h("tr", {}, heads.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, record.samples.map((p) => h("tr", {}, h("td", {}, p.t.toFixed(2) + " s"), h("td", {}, record.phases[p.phase].name),
      layout.charts.flatMap((f) => SIDES.map((side) => h("td", {}, written(f, p[side][f.field])))))))));
}

// show takes the drills of the run, the present one last.
function show(all) {
  drills = all;
  lost = false;
  const last = drills[drills.length - 1];
  choose(chosen ?? (drills.length > 1 && last.verdict !== "running" && (!last.more || cut(drills)) ? SUMMARY : drills.length));
}

function live() {
  $("status").replaceChildren(h("div", { class: "headline" }, h("strong", {}, "Connecting …")));
  const source = new EventSource("events");
  const on = (name, change) => source.addEventListener(name, (e) => { change(JSON.parse(e.data)); redraw(); });
  const present = () => drills[drills.length - 1];
  let earlier = [];
  on("earlier", (x) => { earlier = x; });
  on("record", (x) => show([...earlier, x]));
  on("sample", (x) => { present().samples.push(x); present().elapsed_s = x.t; });
  on("phase", (x) => { present().phases[x.index] = x.phase; present().story = x.story; });
  on("event", (x) => { present().events.push(x); });
  on("end", (x) => { if (!x.more) source.close(); show([...earlier, x]); });
  source.onerror = () => { lost = drills.length > 0 && present().verdict === "running"; redraw(); };
}

$("numbers").addEventListener("toggle", redraw);
$("all-figures").addEventListener("click", () => {
  const all = $("verdict").classList.toggle("all");
  $("all-figures").setAttribute("aria-pressed", String(all));
});
new ResizeObserver(redraw).observe(document.body);
const saved = JSON.parse($("drills").textContent);
if (saved) show(saved); else live();
