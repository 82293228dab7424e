// The palette's two themes, figures repainted from one to the other, and which of them the page has.
import { PALETTE } from "./palette.js";

const TWINS = [...Object.values(PALETTE.colours), ...PALETTE.layers];

// A saved picture knows no font of the page: words that were measured in that would run into each other in another.
export const PLAIN_FONT = "system-ui, sans-serif";

/**
 * The theme called "dark" or "light": its name, and each colour by its meaning.
 * @returns {Record<string, string>}
 */
export function theme(name) {
  const side = name === "light" ? 1 : 0;
  return {
    name,
    ...Object.fromEntries(Object.entries(PALETTE.colours).map(([meaning, twins]) => [meaning, twins[side]])),
  };
}

/** A colour scale as Plotly takes it: "signed" or "probability". */
export const colourScale = (kind, name) => PALETTE.scales[kind][name];

/** A copy of a figure with every colour of the dark stage replaced by its twin in the theme called `name`. */
export function repaint(figure, name) {
  let text = JSON.stringify(figure);
  if (name === "light") for (const [dark, light] of TWINS) text = text.replaceAll(dark, light);
  return JSON.parse(text);
}

/** The theme's colours as custom properties for the style sheet: [[name, value], …]. */
export function properties(theme) {
  const names = ["train", "validation", "baseline", "running", "good", "event", "error", "background", "panel", "text", "grid", "border"];
  const channels = [1, 3, 5].map((at) => Number.parseInt(theme.train.slice(at, at + 2), 16));
  return [...names.map((name) => [`--ls-${name}`, theme[name]]), ["--ls-shade", channels.join(", ")]];
}

/** "dark" or "light", as the page around `node` has it. */
export function themeAround(node) {
  const ground = getComputedStyle(node).getPropertyValue("--st-background-color").trim();
  if (ground && ground !== "unset") return luminance(ground) < 0.5 ? "dark" : "light";
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "dark" || chosen === "light") return chosen;
  return matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
}

function luminance(colour) {
  const brush = document.createElement("canvas").getContext("2d");
  brush.fillStyle = colour;
  brush.fillRect(0, 0, 1, 1);
  const [red, green, blue] = brush.getImageData(0, 0, 1, 1).data;
  return (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
}
