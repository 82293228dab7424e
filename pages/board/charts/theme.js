// Colours: the palette in its two forms, and which of them the page asks for. Knows no chart and no data.

// Each colour of the dark stage beside its twin on light paper; figures are written in the dark ones.
const TWINS = [
  ["#56B4E9", "#0072B2"], // train
  ["#E69F00", "#B86E00"], // validation
  ["#8FA1B3", "#5B6B7A"], // baselines, grid text
  ["#CC79A7", "#A8407C"], // an event
  ["rgba(0,158,115,0.15)", "rgba(0,158,115,0.12)"], // healthy band
  ["#3FBF9B", "#00704F"], // its text
  ["#FF6B4A", "#C43D1B"], // diverged, error
  ["#0B0F14", "#FFFFFF"], // background
  ["#131A22", "#F5F7F9"], // panel
  ["#E8EEF4", "#15202B"], // text
  ["#253140", "#D9E0E6"], // grid lines
  ["#4A5D72", "#A9B6C2"], // rings of equal loss
  ["rgba(86,180,233,0.06)", "rgba(0,114,178,0.05)"], // where it is less than at the start
  // layers, from the input to the output
  ["#6B7FB8", "#1F3A78"],
  ["#7D8BA8", "#384A72"],
  ["#8D979B", "#50586B"],
  ["#9FA38F", "#656660"],
  ["#B3AF82", "#787250"],
  ["#C8BC72", "#8A7E3C"],
  ["#DDCB5C", "#998525"],
  ["#F3DA3F", "#A38700"],
];

// A saved picture knows no font of the page: words that were measured in that would run into each other in another.
export const PLAIN_FONT = "system-ui, sans-serif";

const SCALES = {
  signed: {
    dark: [[0, "#9AD7FF"], [0.25, "#2F7FB8"], [0.5, "#131A22"], [0.75, "#B8642F"], [1, "#FFC693"]],
    light: [[0, "#083F7C"], [0.25, "#62A6D2"], [0.5, "#F5F7F9"], [0.75, "#EFA15B"], [1, "#8F3F00"]],
  },
  // Most probabilities are small: the scale spends its first half below 0.2, and its bar shows so.
  probability: {
    dark: [[0, "#131A22"], [0.05, "#1C4364"], [0.2, "#2E7FB3"], [0.5, "#7CC8F0"], [1, "#F2FAFF"]],
    light: [[0, "#F5F7F9"], [0.05, "#CFE3F1"], [0.2, "#79B4DA"], [0.5, "#0072B2"], [1, "#062B48"]],
  },
};

/** The theme called "dark" or "light": its name, and each colour by its meaning. */
export function theme(name) {
  const side = name === "light" ? 1 : 0;
  const pick = (row) => TWINS[row][side];
  return {
    name,
    train: pick(0), validation: pick(1), baseline: pick(2), event: pick(3),
    error: pick(6), background: pick(7), panel: pick(8), text: pick(9), grid: pick(10),
  };
}

export const colourScale = (kind, name) => SCALES[kind][name];

/** A copy of a figure with every colour of the dark stage replaced by its twin in `name`. */
export function repaint(figure, name) {
  let text = JSON.stringify(figure);
  if (name === "light") for (const [dark, light] of TWINS) text = text.replaceAll(dark, light);
  return JSON.parse(text);
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
