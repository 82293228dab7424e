// The learning rates that are planned ahead. The same rule as engine/training/schedule.py; a test holds them together.

/** @typedef {{ lr: number, max_steps: number, schedule: string, warmup_steps: number, decay_share: number, final_share: number }} Plan */

/**
 * The rate of a step, counted from 1.
 * @param {Plan} settings
 * @param {number} step
 */
export function rateAt(settings, step) {
  const { lr, max_steps: last, schedule, warmup_steps: warmup, decay_share: share, final_share: final } = settings;
  step = Math.min(step, last);
  if (step <= warmup) return (lr * step) / (warmup + 1);
  if (schedule === "constant") return lr;
  const begins = schedule === "linear" ? Math.max(warmup, Math.floor(last * (1 - share))) : warmup;
  const fallen = Math.min(1, Math.max(0, step - 1 - begins) / Math.max(1, last - begins));
  const left = schedule === "cosine" ? 0.5 * (1 + Math.cos(Math.PI * fallen)) : 1 - fallen;
  return lr * (final + (1 - final) * left);
}

/**
 * The rates planned from one step to another, at most so many points.
 * @param {Plan | undefined} settings
 * @param {number} from
 * @param {number} to
 * @param {number} most
 * @returns {import("./series.js").Curve}
 */
export function planned(settings, from, to, most) {
  if (settings?.schedule === undefined) return { steps: [], values: [] };
  const begin = Math.max(1, Math.ceil(from));
  const end = Math.min(settings.max_steps, Math.floor(to));
  const every = Math.max(1, (end - begin) / Math.max(1, most - 1));
  const steps = [];
  for (let at = begin; at <= end; at += every) steps.push(Math.round(at));
  return { steps, values: steps.map((step) => rateAt(settings, step)) };
}
