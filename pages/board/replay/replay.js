// The page of one stored run, in a file by itself: charts, and a moment that can be moved along the run. Plotly and the
// data lie packed in the page. export.py makes one script of this and the modules that it imports.
import { average, hasLeapt } from "../charts/series.js";
import { colourScale, theme, themeAround } from "../charts/theme.js";
import { element } from "../dom.js";
import { literal, visible } from "../format.js";

const FRAMES_A_SECOND = 8; // at most
const PLAY_SECONDS = 24; // however long the run is
const SLOWEST = 2000; // ms between two moments, where it has few
const SMOOTHING = 100; // the bold curve averages about this share of the run

/** @returns {any} the element of that id */
const at = (id) => document.getElementById(id);

/** The bytes in a packed piece of this page. */
async function unpack(id) {
  const packed = Uint8Array.from(atob(at(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** The run: its header, with each array under its name. */
async function readRun() {
  const bytes = await unpack("data-packed");
  const length = new DataView(bytes).getUint32(0, true);
  const run = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  let place = 4 + length;
  run.data = {};
  for (const { name, kind, shape } of run.arrays) {
    const count = shape.reduce((product, size) => product * size, 1);
    run.data[name] = { shape, cells: new (kind === "i" ? Int8Array : Float32Array)(bytes, place, count) };
    place += kind === "i" ? count : 4 * count;
  }
  return run;
}

/** Steps, values, and, where the run has them, the means of all since the point before. */
function points({ shape: [, count], cells }) {
  return { x: cells.slice(0, count), y: cells.slice(count, 2 * count), means: cells.slice(2 * count) };
}

function layoutOf(colours, xTitle, yTitle) {
  const font = { size: 14, color: colours.baseline };
  const axis = (text) => ({
    title: { text, font, standoff: 6 }, tickfont: font, gridcolor: colours.grid, linecolor: colours.grid,
    zerolinecolor: colours.grid, automargin: true, separatethousands: true, exponentformat: "none",
  });
  return {
    paper_bgcolor: colours.panel, plot_bgcolor: colours.panel, separators: ".,",
    font: { size: 14, color: colours.text },
    margin: { l: 10, r: 10, t: 10, b: 10 }, xaxis: axis(xTitle), yaxis: axis(yTitle),
    legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 },
    modebar: { bgcolor: colours.panel, color: colours.baseline },
  };
}

const CONFIG = { displaylogo: false, responsive: true, modeBarButtons: [["toImage"]], showTips: false };

/** @returns {any} a trace of Plotly's */
function curve(name, { x, y }, colour, width, extra = {}) {
  return { name, x, y, mode: "lines", line: { color: colour, width }, hovertemplate: "%{x:,}: %{y:.4~g}", ...extra };
}

function drawCurves(run, colours) {
  const window = Math.max(1, run.last / SMOOTHING);
  const faint = { opacity: 0.25, showlegend: false, hoverinfo: "skip", hovertemplate: null };
  const bold = ({ x, means }) => ({ x, y: average(x, means, window) });
  const train = points(run.data.train);
  const grad = points(run.data.grad_norm);
  const leapt = hasLeapt(train.y);
  const loss = [curve("train", train, colours.train, 1, faint), curve("train", bold(train), colours.train, 2.5)];
  const val = points(run.data.val);
  if (val.x.length) {
    loss.push(curve("validation", val, colours.validation, 2, { mode: "lines+markers", marker: { size: 6 } }));
  }
  for (const [level, words, side] of leapt ? [] : run.levels) { // on such a scale all of them lie together
    loss.unshift({
      x: [0, run.last], y: [level, level], mode: "lines+text",
      line: { color: colours.baseline, width: 1.5, dash: "dash" },
      text: ["", words], textposition: side.replace("right", "left"), // from the line's end to the left
      textfont: { color: colours.baseline }, showlegend: false, hoverinfo: "skip",
    });
  }
  const lossLayout = layoutOf(colours, "step", `loss, ${run.unit}`);
  if (leapt) Object.assign(lossLayout.yaxis, { type: "log", exponentformat: "power" });
  Plotly.newPlot(at("loss"), loss, lossLayout, CONFIG);
  if (!grad.x.length) return; // a recorded loop may not measure it
  const norms = [curve("norm", grad, colours.train, 1, faint), curve("norm", bold(grad), colours.train, 2.5)];
  const layout = { ...layoutOf(colours, "step", "gradient norm"), showlegend: false };
  Plotly.newPlot(at("grad"), norms, layout, CONFIG);
}

/** The places of the charts of this run: what it does not have has none, and each number of its own has one. */
function placeCharts(run) {
  const main = document.querySelector("main");
  if (!run.data.grad_norm.shape[1]) at("grad").parentElement.remove();
  run.own.forEach((name, index) => {
    const section = element("section");
    section.append(element("h2", "", name), element("div", "plot", "", { id: `own-${index}` }));
    main.insertBefore(section, document.querySelector(".bar"));
  });
  const charts = [...document.querySelectorAll("main > section:not(.bar) > .plot")].map((plot) => plot.parentElement);
  if (charts.length % 2) charts.at(-1).classList.add("wide");
  if (!run.views.length) at("about-run").classList.add("wide");
  at("sampled").hidden = !run.samples.length;
  return charts.map((chart) => chart.querySelector(".plot"));
}

function drawOwn(run, colours) {
  run.own.forEach((name, index) => {
    const told = points(run.data[`own/${index}`]);
    const layout = { ...layoutOf(colours, "step", literal(name)), showlegend: false };
    const extra = told.x.length > 1 ? {} : { mode: "markers" };
    Plotly.newPlot(at(`own-${index}`), [curve(literal(name), told, colours.train, 2, extra)], layout, CONFIG);
  });
}

/** The index of the last of the ascending `steps` that is not after `step`; the first where all are. */
function lastUpTo(steps, step) {
  let found = 0;
  while (found + 1 < steps.length && steps[found + 1] <= step) found++;
  return found;
}

function drawTable(run, colours, step) {
  const view = run.views[at("view").value];
  const { shape: [, rows, cols], cells } = run.data[view.name];
  const frame = lastUpTo(view.steps, step);
  const limit = view.limits[frame];
  const z = Array.from({ length: rows }, (_, row) => {
    const start = (frame * rows + row) * cols;
    return Array.from(cells.subarray(start, start + cols), (level) => (level * limit) / 127);
  });
  // Weights keep one scale for the whole run; gradients shrink so much that each moment has its own.
  const end = view.name.startsWith("gradients/") ? limit : Math.max(...view.limits);
  const names = view.tokens.map((token) => literal(visible(token)));
  const every = Math.max(1, Math.ceil(names.length / 24));
  const ticks = names.length && {
    tickmode: "array", tickvals: names.map((_, i) => i).filter((i) => i % every === 0),
    ticktext: names.filter((_, i) => i % every === 0),
  };
  const across = cols === rows && names.length ? "next token" : "dimension";
  const layout = layoutOf(colours, across, names.length ? "token" : "row");
  Object.assign(layout.yaxis, { autorange: "reversed", showgrid: false }, ticks);
  Object.assign(layout.xaxis, { showgrid: false }, cols === rows ? ticks : {});
  const heat = {
    type: "heatmap", z, zmin: -end, zmax: end, colorscale: colourScale("signed", colours.name),
    colorbar: { thickness: 10, outlinewidth: 0, nticks: 5 }, hovertemplate: "%{y}, %{x}: %{z:.3~g}<extra></extra>",
  };
  Plotly.react(at("table"), [heat], layout, CONFIG);
}

function drawSample(run, step) {
  const shown = run.samples.filter(([made]) => made <= step).at(-1);
  at("sample").replaceChildren();
  if (!shown) return at("sample").append("none yet");
  const [made, text, given] = shown;
  const letters = Array.from(text);
  at("sample").append(
    element("div", "given", `step ${made.toLocaleString("en")}`),
    element("span", "given", letters.slice(0, given).join("")),
    element("span", "", letters.slice(given).join("")),
  );
}

function listRows(table, rows) {
  for (const [left, right] of rows) {
    const row = element("tr");
    row.append(element("td", "", left), element("td", "", right));
    at(table).append(row);
  }
}

async function start() {
  const [run, code] = await Promise.all([readRun(), unpack("plotly-packed")]);
  const library = document.createElement("script");
  library.textContent = new TextDecoder().decode(code);
  document.head.append(library);
  let colours = theme(themeAround(document.body));
  document.title = run.name;
  at("name").textContent = run.name;
  at("about").textContent = `${run.id}, ${run.standing}. Recorded with Loopscope; this file needs no network.`;
  document.querySelector("main").hidden = false;
  const charts = placeCharts(run);
  drawCurves(run, colours);
  drawOwn(run, colours);

  const events = [...run.events, ...run.notes.map(([step, text]) => [step, `note: ${text}`])];
  events.sort(([one], [other]) => (one ?? -1) - (other ?? -1));
  listRows("events", events.map(([step, text]) => [step === null ? "" : step.toLocaleString("en"), text]));
  listRows("settings", Object.entries(run.settings));
  run.views.forEach(({ name }, index) => at("view").append(new Option(name, index)));
  at("tables").hidden = !run.views.length;

  const steps = run.views.length ? run.views.flatMap((view) => view.steps) : Array.from(points(run.data.train).x);
  const moments = [...new Set([...steps, ...run.samples.map(([step]) => step)])].sort((one, other) => one - other);
  const slider = at("moment");
  slider.max = Math.max(0, moments.length - 1);
  slider.value = slider.max;
  const show = () => {
    const step = moments[slider.value] ?? 0;
    at("step").textContent = `step ${step.toLocaleString("en")}`;
    if (run.views.length) drawTable(run, colours, step);
    drawSample(run, step);
    const style = { color: colours.event, width: 2 };
    const line = { type: "line", x0: step, x1: step, y0: 0, y1: 1, yref: "paper", line: style };
    for (const chart of charts) Plotly.relayout(chart, { shapes: [line] });
    [...at("events").rows].forEach((row, index) => row.classList.toggle("past", events[index][0] > step));
  };
  slider.oninput = at("view").onchange = show;
  let playing = null;
  const last = Number(slider.max);
  const stride = Math.max(1, Math.ceil(last / (PLAY_SECONDS * FRAMES_A_SECOND)));
  const play = (go) => {
    clearInterval(playing);
    playing = go ? setInterval(next, Math.min(SLOWEST, (1000 * PLAY_SECONDS * stride) / last)) : null;
    at("play").textContent = go ? "Pause" : "Play";
  };
  const next = () => {
    slider.value = Number(slider.value) + stride;
    show();
    if (Number(slider.value) >= last) play(false);
  };
  at("play").onclick = () => {
    if (playing === null && slider.value === slider.max) {
      slider.value = 0;
      show();
    }
    play(playing === null);
  };
  matchMedia("(prefers-color-scheme: light)").onchange = () => {
    colours = theme(themeAround(document.body));
    drawCurves(run, colours);
    drawOwn(run, colours);
    show();
  };
  show();
}

start().catch((error) => {
  at("about").textContent = `This file could not be opened: ${error.message}. It needs a browser of 2023 or later.`;
});
