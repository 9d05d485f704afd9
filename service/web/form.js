// A row of a table: a slider for each number, a choice for each word; the answer moves along.
import { latest, post } from "./api.js";
import { bars } from "./bars.js";
import { h, say } from "./dom.js";
import { day, number } from "./format.js";

const NONE = "none"; // a row has no value here

export function form(run, columns, examples) {
  const guess = bars([run.spec.dataset.target].flat().join(", "));
  const ask = latest(async () => {
    const row = Object.fromEntries(fields.map((field) => [field.name, field.value()]));
    try {
      const { predictions } = await post(`models/${run.id}/predict`, { rows: [row] });
      guess.show(predictions[0]);
    } catch (error) {
      guess.fault(error.message);
    }
  });

  const dates = run.spec.dataset.dates ?? {};
  const fields = columns.map((column) =>
    column.type === "number" ? slider(column, () => ask(), column.name in dates ? day : number) : choice(column, () => ask()));

  function example() {
    const row = examples[Math.floor(Math.random() * examples.length)];
    for (const field of fields) field.set(row[field.name]);
    ask();
  }

  example();
  const row = h("div", {}, fields.map((field) => field.element), h("button", { onclick: example }, "A row from the data"));
  return { element: h("div", { class: "form" }, row, guess.element), ask };
}

function slider(column, changed, spelt) {
  const span = column.max - column.min || 1;
  const step = column.integer ? 1 : 10 ** Math.floor(Math.log10(span / 20));
  const shown = h("output", {});
  shown.style.minWidth = `${Math.max(...[column.min, column.max].map((each) => spelt(each).length))}ch`;
  const input = h("input", { type: "range", min: column.min, max: column.max, step, value: column.mean ?? column.min });
  let gone = false; // a row may have no number here, until the slider is moved
  const show = () => say(shown, gone ? NONE : spelt(Number(input.value)));
  input.oninput = () => {
    gone = false;
    show();
    changed();
  };
  show();
  return {
    name: column.name,
    element: h("label", {}, h("span", {}, column.name.replaceAll("_", " ")), input, shown),
    value: () => (gone ? null : Number(input.value)),
    set(value) {
      gone = value === null;
      input.value = value ?? column.mean;
      show();
    },
  };
}

function choice(column, changed) {
  const known = column.classes ?? column.top.map((each) => String(each.value));
  const words = [...(column.missing ? [NONE] : []), ...known];
  const input = h("select", { onchange: changed }, words.map((each) => h("option", {}, each)));
  return {
    name: column.name,
    element: h("label", {}, h("span", {}, column.name.replaceAll("_", " ")), input, h("output", {})),
    value: () => (column.missing && input.selectedIndex === 0 ? null : input.value),
    set(value) {
      if (words.includes(value === null ? NONE : String(value))) input.value = value === null ? NONE : String(value);
    },
  };
}
