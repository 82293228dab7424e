// The stage before Streamlit: the board stands where the page will place it, and draws the run meanwhile. Streamlit's
// script, which is large, is asked for when the first curve is drawn, or after a while if none comes; and what other
// pages are made of, once the board has moved into Streamlit's page and the browser has nothing to do.
import { element } from "../dom.js";

const PATIENCE = 8000; // ms
const QUICK = 800; // ms: a machine that took longer for the first curve has other tabs to draw first
const STACKED = 640; // px: on a narrower page Streamlit puts its columns below each other

let asked = false;

function askForStreamlit() {
  if (asked) return;
  asked = true;
  /** @type {NodeListOf<HTMLLinkElement>} */
  const parts = document.querySelectorAll("link[data-part]");
  for (const part of parts) part.rel = "modulepreload";
  /** @type {HTMLScriptElement} */
  const entry = document.querySelector("script[data-next]");
  document.head.append(element("script", "", "", { type: "module", crossOrigin: "", src: entry.dataset.next }));
}

function askForOtherPages() {
  /** @type {NodeListOf<HTMLLinkElement>} */
  const parts = document.querySelectorAll("link[data-later]");
  const next = (at) => parts[at] && (window.requestIdleCallback ?? setTimeout)(() => {
    parts[at].rel = "modulepreload";
    next(at + 1);
  });
  next(0);
}

/** "dark" or "light", as Streamlit keeps what was chosen in its menu; null where it follows the system. */
function chosenTheme() {
  try {
    const chosen = JSON.parse(localStorage.getItem(`stActiveTheme-${location.pathname}-v2`));
    return { Dark: "dark", Light: "light" }[chosen] ?? null;
  } catch {
    return null;
  }
}

/** Where the page's right column will be, until the board moves there or the page turns out to be another one. */
function makePlace() {
  const place = element("div", "ls-early");
  document.body.prepend(place); // before Streamlit's page, which board.css keeps out of sight meanwhile
  const { pathname } = location;
  const watch = setInterval(() => {
    const wrong = location.pathname !== pathname || document.querySelector('[data-testid="stException"]');
    if (place.firstChild && !wrong) return;
    clearInterval(watch);
    place.remove();
    askForOtherPages();
  }, 100);
  return place;
}

/** The first curve is drawn. Where many tabs open at once, each has its own before any of them goes on. */
function askSoon() {
  setTimeout(askForStreamlit, Math.max(0, performance.now() - QUICK));
}

setTimeout(askForStreamlit, PATIENCE);
const chosen = chosenTheme();
if (chosen) document.documentElement.dataset.theme = chosen;
if (innerWidth > STACKED) {
  const { mount } = await import("../board.js");
  mount(makePlace(), { page: "train", calm: true, onReady: askSoon });
} else {
  askForStreamlit();
}
