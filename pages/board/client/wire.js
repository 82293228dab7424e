// The socket: frames in, nothing out. The wire format, and the way back after a connection is lost.

/** @typedef {{shape: number[], data: Float32Array}} Table */
/** @typedef {{header: Record<string, any>, arrays: Map<string, Table>}} Frame */

/**
 * One binary frame, decoded. The header's length is a multiple of 4, so the arrays can be views on the frame itself.
 * @param {ArrayBuffer} buffer
 * @returns {Frame}
 */
export function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = new Map();
  let at = 4 + length;
  for (const { name, shape } of header.arrays ?? []) {
    const count = shape.reduce((product, size) => product * size, 1);
    arrays.set(name, { shape, data: new Float32Array(buffer, at, count) });
    at += 4 * count;
  }
  return { header, arrays };
}

const FIRST_WAIT = 1;
const LONGEST_WAIT = 10;
const FULL_WAIT = 20; // where all seats are taken
const STANDING_WAIT = 60; // where one hears of questions meanwhile
// The server sends a frame each second at the least. Silence is counted in ticks, not by the clock: while the page
// itself is busy, or the machine asleep, none passes.
const TICK = 500; // ms
const SILENT = 5; // ticks without a frame: what is on show is no longer news
const DEAD = 20; // ticks: a socket that has died without a word; another is tried

/** Forty browsers that lost the same server should not all come back in the same instant. */
const spread = (wait) => wait * (0.75 + 0.5 * Math.random());

/**
 * Keeps a socket open and hands each decoded frame to `onFrame`. `onStatus` gets {kind}: "open", "silent" (open, but
 * nothing comes), "lost" (with `seconds` until the next try), "full" (no seat is free: also with the `reason`), or
 * "unknown" (no such run; it does not try again).
 * The server begins every connection with a snapshot, so nothing is missing after a loss.
 */
export class Connection {
  tries = 0; // in vain, since the last frame
  timer = null; // of the next one
  watchdog = null;
  ticks = 0; // since the last frame, or since the socket was opened
  /** @type {WebSocket | null} */
  socket = null;

  /**
   * @param {string} address
   * @param {(frame: Frame) => void} onFrame
   * @param {(status: {kind: string, seconds?: number, reason?: string}) => void} onStatus
   */
  constructor(address, onFrame, onStatus) {
    this.address = address;
    this.onFrame = onFrame;
    this.onStatus = onStatus;
    const hurry = () => (this.timer || this.ticks >= SILENT) && this.open();
    addEventListener("online", hurry);
    document.addEventListener("visibilitychange", hurry);
    this.open();
  }

  open() {
    clearTimeout(this.timer);
    this.timer = null;
    const former = this.socket;
    const socket = (this.socket = new WebSocket(this.address));
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      if (!(data instanceof ArrayBuffer) || this.socket !== socket) return;
      this.tries = this.ticks = 0;
      this.onStatus({ kind: "open" });
      const frame = decode(data);
      if (frame.header.standing) this.timer ??= setTimeout(() => this.open(), 1000 * spread(STANDING_WAIT));
      this.onFrame(frame);
    };
    socket.onclose = ({ code, reason }) => {
      if (this.socket !== socket) return;
      if (code === 4404) {
        clearTimeout(this.watchdog);
        this.onStatus({ kind: "unknown" });
      } else if (code === 1013) this.retry({ kind: "full", reason });
      else this.retry({ kind: "lost" });
    };
    former?.close(); // nobody hears it any more
    this.ticks = 0;
    this.listen();
  }

  /** Notice, from tick to tick, that nothing has come for a while. */
  listen() {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => {
      this.ticks += 1;
      if (this.ticks === SILENT && this.socket.readyState === WebSocket.OPEN) this.onStatus({ kind: "silent" });
      if (this.ticks < DEAD) this.listen();
      else this.retry({ kind: "lost" });
    }, TICK);
  }

  /** @param {{kind: string, reason?: string}} why */
  retry(why) {
    clearTimeout(this.watchdog);
    const { socket } = this;
    this.socket = null; // it may take minutes to close, where nobody answers
    socket.close();
    const full = why.kind === "full";
    const wait = full ? FULL_WAIT : Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.tries++);
    const seconds = spread(wait);
    this.onStatus({ ...why, seconds });
    this.timer = setTimeout(() => this.open(), 1000 * seconds);
  }
}
