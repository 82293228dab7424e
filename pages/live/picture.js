// A chart as a PNG, as it stands on the screen: its colours, its stretch, with title, legend, run and step. No network.
import { element, literal, whole } from "./words.js";

const SHARPER = 2; // pixels of the picture for each of the screen

/** Save `chart` ({stage, frame, plot, aspect}) under a name that tells what it shows. */
export async function savePicture({ stage, frame, plot, aspect }) {
  const { Plotly, theme, scale, head } = stage;
  const { width, height, _size: margin } = plot._fullLayout;
  const title = [frame.title.textContent, aspect].filter(Boolean).join(", ");
  const step = stage.pastStep ?? head.step ?? 0;
  const keys = legend(plot.data, stage);
  const above = (keys.length ? 56 : 30) * scale;
  const layout = {
    ...plot.layout, width, height: height + above, autosize: false, paper_bgcolor: theme.panel,
    margin: { ...plot.layout.margin, t: margin.t + above },
    title: {
      text: `<b>${literal(title)}</b>  ${literal(head.title ?? "")}, step ${whole(step)}`,
      font: { size: 15 * scale, color: theme.text, family: theme.font },
      x: 0, xanchor: "left", y: 1, yref: "container", yanchor: "top", pad: { l: 12 * scale, t: 10 * scale },
    },
    showlegend: keys.length > 0,
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { size: 14 * scale, color: theme.text } },
  };
  const data = plot.data.map((trace, index) => ({ ...trace, showlegend: keys.includes(index) }));
  const size = { width, height: height + above, scale: SHARPER };
  const picture = await Plotly.toImage({ data, layout }, { format: "png", ...size });
  const name = [head.title, title, "step", step].map(plain).filter(Boolean).join("-");
  element("a", "", "", { href: picture, download: `${name}.png` }).click();
}

/** The traces that the panel's own legend names, one of each group. */
function legend(data, { ghost }) {
  const named = new Map();
  data.forEach(({ name, showlegend, meta }, index) => {
    if (name && showlegend !== false && (meta?.run !== "previous" || ghost)) named.set(meta?.group ?? name, index);
  });
  return [...named.values()];
}

/** Words as part of a file's name. */
function plain(words) {
  const letters = String(words ?? "").normalize("NFKD").toLowerCase().replace(/[^\p{Letter}\p{Number}]+/gu, "-");
  return letters.replace(/^-+|-+$/g, "").slice(0, 60);
}
