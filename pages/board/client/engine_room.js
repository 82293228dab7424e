// The engine room: all panels and knobs of the stage, where a beginner sees a few. Which of both a person has chosen is
// kept in a cookie, so that the server knows it when it draws the page.

const COOKIE = "loopscope_stage";
const CHOICES = { beginner: false, "engine-room": true };
const A_YEAR = 31_536_000; // seconds

/** What the page's address says, or else what was chosen last. */
export function inEngineRoom() {
  const kept = document.cookie.split("; ").find((pair) => pair.startsWith(`${COOKIE}=`));
  const asked = new URLSearchParams(location.search).get("stage") ?? "";
  return CHOICES[asked] ?? CHOICES[kept?.slice(COOKIE.length + 1) ?? ""] ?? false;
}

/** Keep the choice for the next visit. */
export function keep(engineRoom) {
  const choice = engineRoom ? "engine-room" : "beginner";
  if (!document.cookie.includes(`${COOKIE}=${choice}`)) {
    document.cookie = `${COOKIE}=${choice}; max-age=${A_YEAR}; samesite=strict`;
  }
}
