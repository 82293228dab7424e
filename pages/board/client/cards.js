// A card that a key has opened lies beside what was pressed, but may come far from it in the order of Tab: the focus goes
// into the card, and Escape cancels it and brings the focus back.
const CARDS = ':is([class*="st-key-over_verbs"], [class*="st-key-over_board"])';
const OPENS = new Set(["Enter", " ", "Backspace"]);
const LOOK_EVERY = 100; // ms
const PATIENCE = 5000; // ms for the page to answer

/** @type {HTMLElement | null} */
let askedAt = null; // had the focus when the card was asked for
let looking = 0; // the timer that waits for it

const openCard = () => /** @type {HTMLElement | null} */ (document.querySelector(CARDS));

/** The focus goes into the card: to its first field, else to the card, whose first button is then a Tab away. */
function enter(card) {
  const field = /** @type {HTMLElement | null} */ (card.querySelector("input, textarea"));
  if (!field) card.tabIndex = -1;
  (field ?? card).focus();
}

/** A key was pressed: if a card comes of it, the focus is to go there. */
function expectCard() {
  const end = performance.now() + PATIENCE;
  clearInterval(looking);
  looking = setInterval(() => {
    const card = openCard();
    if (card && !card.contains(document.activeElement)) enter(card);
    if (card || performance.now() > end) clearInterval(looking);
  }, LOOK_EVERY);
}

addEventListener("pointerdown", () => clearInterval(looking), true);
addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  const card = openCard();
  if (!card && OPENS.has(event.key)) {
    askedAt = target;
    expectCard();
  }
  if (event.key !== "Escape" || !card?.contains(target)) return;
  const cancel = [...card.querySelectorAll("button")].find(({ textContent }) => textContent.trim() === "Cancel");
  if (!cancel) return;
  cancel.click();
  askedAt?.focus();
}, true);
