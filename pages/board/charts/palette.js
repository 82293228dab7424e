// The palette: each colour of the dark stage with its twin on light paper. Figures are written in the dark ones.
// Browsers load this file as a module and Python reads it as JSON (pages/charts/palette.py), so what stands between the
// outer braces is plain JSON: no comments, no trailing commas.
export const PALETTE = {
  "colours": {
    "train": ["#56B4E9", "#0072B2"],
    "validation": ["#E69F00", "#B86E00"],
    "baseline": ["#8FA1B3", "#5B6B7A"],
    "event": ["#CC79A7", "#A8407C"],
    "running": ["#009E73", "#009E73"],
    "healthy": ["rgba(0,158,115,0.15)", "rgba(0,158,115,0.12)"],
    "good": ["#3FBF9B", "#00704F"],
    "error": ["#FF6B4A", "#C43D1B"],
    "background": ["#0B0F14", "#FFFFFF"],
    "panel": ["#131A22", "#F5F7F9"],
    "text": ["#E8EEF4", "#15202B"],
    "grid": ["#253140", "#D9E0E6"],
    "border": ["#2A3440", "#CBD3DB"],
    "ring": ["#4A5D72", "#A9B6C2"],
    "lower_loss": ["rgba(86,180,233,0.06)", "rgba(0,114,178,0.05)"]
  },
  "layers": [
    ["#6B7FB8", "#1F3A78"],
    ["#7D8BA8", "#384A72"],
    ["#8D979B", "#50586B"],
    ["#9FA38F", "#656660"],
    ["#B3AF82", "#787250"],
    ["#C8BC72", "#8A7E3C"],
    ["#DDCB5C", "#998525"],
    ["#F3DA3F", "#A38700"]
  ],
  "scales": {
    "signed": {
      "dark": [[0, "#9AD7FF"], [0.25, "#2F7FB8"], [0.5, "#131A22"], [0.75, "#B8642F"], [1, "#FFC693"]],
      "light": [[0, "#083F7C"], [0.25, "#62A6D2"], [0.5, "#F5F7F9"], [0.75, "#EFA15B"], [1, "#8F3F00"]]
    },
    "probability": {
      "dark": [[0, "#131A22"], [0.05, "#1C4364"], [0.2, "#2E7FB3"], [0.5, "#7CC8F0"], [1, "#F2FAFF"]],
      "light": [[0, "#F5F7F9"], [0.05, "#CFE3F1"], [0.2, "#79B4DA"], [0.5, "#0072B2"], [1, "#062B48"]]
    }
  }
};
