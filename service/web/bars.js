// Probabilities as bars, the likeliest first.
import { h, say } from "./dom.js";
import { number, percent } from "./format.js";

const MOST = 10;

/** {element, show(prediction), fault(message)}. */
export function bars(target) {
  const answer = h("output", { class: "answer" });
  const list = h("div", { class: "bars" });
  const rows = new Map();
  return {
    element: h("div", {}, h("p", { class: "quiet" }, target), answer, list),
    fault(message) {
      say(answer, message);
      answer.classList.add("faulty");
    },
    show(prediction) {
      answer.classList.remove("faulty");
      say(answer, told(prediction));
      const shown = Object.entries(prediction.probabilities ?? {}).slice(0, MOST * 3);
      const names = shown.length > MOST ? shown.slice(0, MOST) : shown.sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
      list.replaceChildren(...names.map(([name, share]) => {
        if (!rows.has(name)) rows.set(name, bar(name));
        rows.get(name).show(share, (prediction.labels ?? [prediction.label]).includes(name));
        return rows.get(name).element;
      }));
    },
  };
}

function told(prediction) {
  if ("label" in prediction) return prediction.label;
  if ("labels" in prediction) return prediction.labels.join(", ") || "none of them";
  if ("value" in prediction) return number(prediction.value, 6);
  return Object.entries(prediction.values).map(([name, value]) => `${name} ${number(value, 6)}`).join(", ");
}

function bar(name) {
  const fill = h("i", {});
  const value = h("span", {});
  const element = h("div", {}, h("span", { title: name }, name), h("div", { class: "track" }, fill), value);
  return {
    element,
    show(share, first) {
      fill.style.width = `${100 * share}%`;
      element.classList.toggle("first", first);
      say(value, percent(share, 0));
    },
  };
}
