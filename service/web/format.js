// Numbers and times as people read them.

export const FINAL = new Set(["succeeded", "failed", "cancelled"]);

export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e12) return value.toLocaleString("en");
  if (size >= 1e9 || size < 1e-4) return Number(value.toPrecision(3)).toExponential().replace("+", "");
  return Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 10 });
}

/** Seconds since 1970 as a date. */
export const day = (s) => new Date(1000 * s).toISOString().slice(0, 10);

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

/** A metric's value: shares in percent, all else as a number. */
export function score(name, value) {
  if (value === null || value === undefined) return "–";
  return /accuracy|precision|recall|f1$/.test(name) ? percent(value) : number(value);
}

/** A job by its name; without one by its type and the end of its id. */
export const called = ({ name, type, id }) => name ?? `${type} ${id.slice(-5)}`;

export const words = (name) => name.replace(/^val_/, "validation ").replaceAll("_", " ");

export function seconds(s) {
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 90) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  return s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`;
}

export function ago(at) {
  const s = (Date.now() - Date.parse(at)) / 1000;
  return s < 5 ? "now" : s < 86400 ? `${seconds(s)} ago`.replace(/\.\d/, "") : new Date(at).toLocaleDateString();
}

export function bytes(n) {
  const unit = ["B", "kB", "MB", "GB"];
  let i = 0;
  for (; n >= 1000 && i < 3; i++) n /= 1000;
  return `${n.toFixed(i && n < 10 ? 1 : 0)} ${unit[i]}`;
}

/** The metric that tells most about a run, as [name, value]; null before there is one. */
export function headline(best) {
  const order = ["val_accuracy", "val_perplexity", "val_loss", "test_perplexity", "train_accuracy", "train_loss"];
  const name = order.find((each) => best?.[each]);
  return name ? [name, best[name].value] : null;
}

/** Of two runs' bests the one whose headline is better. */
export function better(one, other) {
  const [[name, value], [same, least]] = [headline(one) ?? [], headline(other) ?? []];
  if (name === undefined || same === undefined) return name === undefined ? other : one;
  return name !== same || (name.endsWith("accuracy") ? value > least : value < least) ? one : other;
}
