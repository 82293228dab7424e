// A scale from one number to another, linear or logarithmic: where a value lies, and round numbers along it.
import { roundTicks, tickText } from "../charts/ticks.js";

const DIGITS = 3; // of a number that was chosen with a slider
const LEADS = [1, 2, 5, 10];

export class Scale {
  /**
   * @param {number} low
   * @param {number} high
   * @param {boolean} [log]
   */
  constructor(low, high, log = false) {
    this.low = low;
    this.high = high;
    this.log = log;
  }

  /** How far along a value lies, from 0 to 1. */
  share(value) {
    const at = this.log ? Math.log(value / this.low) / Math.log(this.high / this.low) : (value - this.low) / (this.high - this.low);
    return Math.min(1, Math.max(0, at));
  }

  /** The value there. */
  value(share) {
    return this.log ? this.low * (this.high / this.low) ** share : this.low + share * (this.high - this.low);
  }

  /** The same to a few digits: of the value itself on a logarithmic scale, of the whole length on a linear one. */
  rounded(share) {
    const value = this.value(share);
    const size = Math.floor(Math.log10(this.log ? value : this.high - this.low));
    const digits = Math.max(0, (this.log ? DIGITS - 1 : DIGITS) - size);
    const round = digits > 100 ? value : Number(value.toFixed(digits));
    return Math.min(this.high, Math.max(this.low, round));
  }

  /**
   * At most about `most` round numbers, with their words.
   * @returns {{value: number, text: string}[]}
   */
  ticks(most) {
    const values = this.log ? roundTicks(Math.log10(this.low), Math.log10(this.high), most) : this.even(most);
    return values.map((value) => ({ value, text: this.log ? tickText(value) : value.toLocaleString("en", { maximumFractionDigits: 10 }) }));
  }

  even(most) {
    const rough = (this.high - this.low) / most;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * LEADS.find((lead) => lead * unit >= rough * 0.999);
    const values = [];
    for (let n = Math.ceil(this.low / step - 1e-9); n * step <= this.high + 1e-9 * step; n++) {
      values.push(Number((n * step).toPrecision(8)));
    }
    return values;
  }
}
