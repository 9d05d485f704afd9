// Which panel a model is tried in: it follows from the kind of data it was trained on.
import { get } from "./api.js";
import { h } from "./dom.js";
import { drawing } from "./drawing.js";
import { form } from "./form.js";
import { writing } from "./writing.js";

/** {element, ask}: `ask()` asks again, when the weights have changed. */
export async function tryIt(run) {
  const { element, ask } = ["ngram", "arpa", "mixture"].includes(run.type) ? writing(run) : await rows(run);
  return { element: h("section", { class: "panel" }, h("h3", {}, "Try it"), element), ask };
}

async function rows(run) {
  const none = { element: h("p", { class: "quiet" }, `There is no form for such rows; POST /v1/models/${run.id}/predict takes them.`), ask() {} };
  const dataset = await get(`datasets/${run.dataset_id}`);
  const { rows: data } = await get(`datasets/${run.dataset_id}/preview?limit=200`);
  const columns = dataset.columns.filter((column) => run.spec.dataset.features.includes(column.name));
  const image = columns.length === 1 && drawable(columns[0]);
  if (image) return drawing(run, columns[0], data);
  if (columns.every((column) => ["number", "category"].includes(column.type))) return form(run, columns, data);
  return none;
}

/** Square, grey and small: what can be drawn with a mouse. */
function drawable({ type, shape }) {
  const [height, width, channels = 1] = shape;
  return type === "image" && height === width && channels === 1 && height <= 64;
}
