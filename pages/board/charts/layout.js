// How every chart of the board looks: Plotly's configuration and layout in the page's theme.

export const CONFIG = { displayModeBar: false, responsive: false, doubleClick: false, showTips: false };
export const FIGURE_FONT = 14; // px, before the presenter's scale

/** A figure's layout in the page's theme: transparent ground, quiet grid, one type size. */
export function themed(layout, theme, scale) {
  const size = FIGURE_FONT * scale;
  const axis = (own) => ({
    gridcolor: theme.grid, zeroline: false, linecolor: theme.grid, showline: true, ticks: "outside", ticklen: 4,
    tickcolor: theme.grid, tickfont: { size, color: theme.baseline }, ...own,
    title: { ...own.title, font: { size, color: theme.baseline }, standoff: 6 },
  });
  const margin = Object.fromEntries(Object.entries(layout.margin ?? {}).map(([side, wide]) => [side, wide * scale]));
  return {
    ...layout, margin, template: undefined, autosize: true,
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", separators: ".,",
    font: { size, color: theme.text, family: theme.font },
    hoverlabel: { bgcolor: theme.background, bordercolor: theme.baseline, font: { size, color: theme.text } },
    xaxis: axis({
      unifiedhovertitle: { text: "step %{x:,.0f}" },
      spikecolor: theme.baseline, spikethickness: -1, spikedash: "dot", ...layout.xaxis,
    }),
    yaxis: axis(layout.yaxis ?? {}),
    ...(layout.xaxis2 && { xaxis2: axis(layout.xaxis2) }),
  };
}

/** The name of an axis `length` px long: with its unit where there is room for both, else without. */
export function axisName(full, length, scale) {
  const fits = full.length * FIGURE_FONT * scale * 0.5 < length + 20 * scale;
  return fits ? full : full.split(",")[0];
}

/**
 * The ground's own colour close around the letters: they can be read over a curve, which goes on between them.
 * @param {Record<string, string>} theme
 */
export const halo = ({ panel }) => Array(4).fill(`0 0 2px ${panel}`).join(", ");
