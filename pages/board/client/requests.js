// What the board asks the server for, beside the stream.
import { decode } from "./wire.js";

/** @typedef {import("./wire.js").Frame} Frame */
/** @typedef {{steps: number[], values: number[], means: number[]}} Points */

export class Requests {
  /** @param {string} base address that the routes stand under */
  constructor(base) {
    this.base = base;
  }

  /**
   * @param {string} path
   * @param {Record<string, any>} [query]
   */
  send(path, query = {}) {
    return fetch(new URL(`${path}?${new URLSearchParams(query)}`, this.base));
  }

  /** Why the server does not let this page connect, in its own words; "" where it has said nothing. */
  async refusal() {
    try {
      // A socket's refusal has no words, and only a request that could change something names the page's origin.
      const answer = await fetch(new URL("live", this.base), { method: "POST" });
      const told = answer.status === 403 && answer.headers.get("content-type")?.startsWith("text/plain");
      return told ? (await answer.text()).trim() : "";
    } catch {
      return "";
    }
  }

  /** Answer a question; "" where that was taken, else why not, in the server's words. */
  async answer(question, value) {
    try {
      const body = JSON.stringify({ question, value });
      const headers = { "Content-Type": "application/json" };
      const answer = await fetch(new URL("answer", this.base), { method: "POST", headers, body });
      return answer.ok ? "" : (await answer.text()).trim() || `It was not taken (${answer.status}).`;
    } catch {
      return "It could not be sent; try again.";
    }
  }

  /** The panels of a page for a run, and what their charts need: {panels, tokens, …}. Throws without an answer. */
  async panels(page, run) {
    const answer = await this.send("panels", { page, run });
    if (!answer.ok) throw new Error(`/panels answered ${answer.status}`);
    return answer.json();
  }

  /** The recorded run that is on show before the first Start. Throws where there is none. */
  async example() {
    const answer = await this.send("example");
    if (!answer.ok) throw new Error(answer.statusText);
    return decode(await answer.arrayBuffer());
  }

  /** What people have pinned at steps of a run, [{step, text}, …]. Throws where the server is gone. */
  async notes(run) {
    const answer = await this.send("notes", { run });
    return answer.ok ? (await answer.json()).notes : [];
  }

  /**
   * A channel of a run between two steps; null where it cannot be had.
   * @returns {Promise<Points | null>}
   */
  async series(run, channel, from, to) {
    try {
      const range = { from: Math.floor(Math.max(0, from)), to: Math.ceil(to) };
      const answer = await this.send("series", { run, channel, ...range });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }

  /** The steps of all stored moments of a run. Throws where the server is gone. */
  async moments(run) {
    const answer = await this.send("frame", { run });
    return answer.ok ? (await answer.json()).steps : [];
  }

  /**
   * The moment stored last before a step; null where there is none, or it cannot be had.
   * @returns {Promise<Frame | null>}
   */
  async moment(run, step) {
    try {
      const answer = await this.send("frame", { run, step });
      return answer.ok ? decode(await answer.arrayBuffer()) : null;
    } catch {
      return null;
    }
  }
}
