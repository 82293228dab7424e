// A chart as a PNG, as it stands on the screen: its colours, its stretch, with title, legend, run and step.
import { PLAIN_FONT } from "./theme.js";
import { element } from "../dom.js";
import { literal, whole } from "../format.js";

const SHARPER = 2; // pixels of the picture for each of the screen
const LEAST = [640, 400]; // a small panel has more room in its picture: the words have to fit
const BESIDE = 4; // with more curves than that their names stand at the right

/**
 * Save a chart under a name that tells what it shows.
 * @param {Pick<import("./chart.js").Chart, "board" | "frame" | "plot" | "aspect">} chart
 */
export async function savePicture({ board, frame, plot, aspect }) {
  const { Plotly, theme, scale } = board;
  const { header } = board.data;
  const { width: wide, height: high, _size: margin } = plot._fullLayout;
  const step = board.pastStep ?? header.step ?? 0;
  const title = [frame.title.textContent, aspect].filter(Boolean).join(", ");
  const named = plot.data.map((trace) => isNamed(trace, board));
  const keys = named.filter(Boolean).length;
  const beside = keys > BESIDE;
  const above = (keys && !beside ? 76 : 54) * scale;
  const [width, height] = [Math.max(wide, LEAST[0] * scale), Math.max(high, LEAST[1] * scale) + above];
  const layout = {
    ...plot.layout, width, height, autosize: false, paper_bgcolor: theme.panel,
    font: { ...plot.layout.font, family: PLAIN_FONT },
    margin: { ...plot.layout.margin, t: margin.t + above },
    title: {
      text: `<b>${literal(title)}</b><br>${literal(header.title ?? "")}, step ${whole(step)}`,
      font: { size: 15 * scale, color: theme.text },
      x: 0, xanchor: "left", y: 1, yref: "container", yanchor: "top",
      pad: { l: 12 * scale, t: 28 * scale }, // of its second line
    },
    showlegend: keys > 0,
    legend: {
      font: { size: 14 * scale, color: theme.text },
      ...(beside ? { y: 1 } : { orientation: "h", x: 0, y: 1, yanchor: "bottom" }),
    },
  };
  const data = plot.data.map((trace, index) => ({
    ...trace, name: literal(trace.name ?? ""), showlegend: named[index],
  }));
  const picture = await Plotly.toImage({ data, layout }, { format: "png", width, height, scale: SHARPER });
  const name = [header.title, title, "step", step].map(plain).filter(Boolean).join("-");
  element("a", "", "", { href: picture, download: `${name}.png` }).click();
}

/** Does the legend name a trace: its figure says so, and it is drawn? */
function isNamed({ name, showlegend, meta }, { previousRun }) {
  return Boolean(name) && showlegend !== false && (meta?.run !== "previous" || Boolean(previousRun));
}

/** Words as part of a file's name. */
function plain(words) {
  const letters = String(words ?? "").normalize("NFKD").toLowerCase().replace(/[^\p{Letter}\p{Number}]+/gu, "-");
  return letters.replace(/^-+|-+$/g, "").slice(0, 60);
}
