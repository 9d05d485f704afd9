// Which of a run's series are drawn together: those that measure the same, of training and of what was held back.
import { chart } from "./chart.js";
import { h } from "./dom.js";
import { words } from "./format.js";

const PARTS = { batch: "muted", train: "train", val: "val" };

/** {element, show(series)}: a chart for each measure that has more than one point. */
export function curves() {
  const element = h("div", { class: "charts" });
  const charts = new Map();
  return {
    element,
    show(series) {
      for (const [measure, lines] of grouped(series)) {
        if (!charts.has(measure)) {
          charts.set(measure, chart(words(measure)));
          element.append(charts.get(measure).element);
        }
        charts.get(measure).show(lines);
      }
    },
  };
}

function grouped(series) {
  const found = new Map();
  for (const part of Object.keys(PARTS)) {
    for (const [name, { steps, values }] of Object.entries(series)) {
      if (!name.startsWith(`${part}_`) || steps.length < 2) continue;
      const measure = name.slice(part.length + 1);
      const line = { name: part, colour: PARTS[part], faint: part === "batch", steps, values };
      found.set(measure, [...(found.get(measure) ?? []), line]);
    }
  }
  return found;
}
