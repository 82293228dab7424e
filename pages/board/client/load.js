// What the board needs before it can draw: Plotly and its own style sheet, each fetched once.
import { element } from "../dom.js";

let library = null;

/** Plotly, loaded once. Streamlit bundles its own, so the reference is taken as the script arrives. */
export function loadPlotly(base) {
  library ??= new Promise((resolve, reject) => {
    const before = window.Plotly;
    const tag = element("script", "", "", { src: new URL("vendor/plotly.min.js", base).href });
    tag.onload = () => {
      const own = window.Plotly;
      if (before) window.Plotly = before;
      resolve(own);
    };
    tag.onerror = () => {
      library = null;
      reject(new Error("plotly.min.js did not load"));
    };
    document.head.append(tag);
  });
  return library;
}

/** A style sheet, once. */
export function loadStyle(base, name) {
  const href = new URL(name, base).href;
  /** @type {NodeListOf<HTMLLinkElement>} */
  const links = document.querySelectorAll("link[rel=stylesheet]");
  if ([...links].some((link) => link.href === href)) return; // the front page names it by another path
  document.head.append(element("link", "", "", { rel: "stylesheet", href }));
}

// Registered from the start; the other kinds follow when a figure wants one.
const AT_HAND = new Set(["scatter", "heatmap"]);

/** See to it that Plotly can draw the figures. */
export function prepareFor(figures, Plotly) {
  if (figures.some(({ data }) => data.some(({ type = "scatter" }) => !AT_HAND.has(type)))) Plotly.registerRest?.();
}
