// Numbers and characters as people read them.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const whole = (number) => (Number.isFinite(number) ? WHOLE.format(number) : "–");

/** Four significant digits: 2.487, 0.01234, 12,340; 1.2e-5 where it is very small. */
export function figures(number, digits = 4) {
  if (!Number.isFinite(number)) return "–";
  const size = Math.abs(number);
  if (size >= 10 ** digits && size < 1e7) return whole(number);
  if (size && (size < 1e-3 || size >= 1e7)) return number.toExponential(2);
  return number.toPrecision(digits);
}

/** @type {[number, string][]} */
const UNITS = [[1e12, "T"], [1e9, "G"], [1e6, "M"]];

/** A count with a unit prefix where it is large: 840, 12,340, 3.16 M. */
export function amount(number) {
  if (!Number.isFinite(number)) return "–";
  for (const [size, unit] of UNITS) {
    if (number >= size) return `${(number / size).toPrecision(3)} ${unit}`;
  }
  return whole(number);
}

/** Seconds as 0:26, 12:05 or 3:07:00. */
export function clock(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const total = Math.max(0, Math.round(seconds));
  const two = (part) => String(part).padStart(2, "0");
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor(total / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(total % 60)}` : `${minutes}:${two(total % 60)}`;
}

const VISIBLE = { "\n": "⏎", " ": "␣", "\t": "⇥", "\r": "␍" };

/** A token with its spaces and line ends made visible. */
export const visible = (token) => Array.from(token, (character) => VISIBLE[character] ?? character).join("");

/** Text for Plotly, which reads a little markup: here none of it acts as markup. */
export const literal = (text) =>
  String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
