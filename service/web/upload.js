// A file of one's own: chosen or dropped on the page, uploaded, and a job for it begun in the editor.
import { post } from "./api.js";
import { h } from "./dom.js";
import { number } from "./format.js";

const FEW = 20; // whole numbers of so few kinds are classes

/** The card that takes files. `begin(job, about)` hears of the job, and what was understood of the file. */
export function uploads(begin) {
  const input = h("input", { type: "file", hidden: true, onchange: () => take(input.files[0], {}) });
  const about = h("span", { role: "status" }, "A table, arrays, zipped pictures or a text: choose a file, or drop it here.");
  const card = h("button", { class: "card own", onclick: () => input.click() },
    h("i", { "aria-hidden": "true" }, "↥"), h("b", {}, "Bring your data"), about);
  async function take(file, types) {
    if (!file || card.disabled) return;
    card.disabled = true;
    about.textContent = `Uploading ${file.name} …`;
    try {
      const form = new FormData();
      form.append("file", file);
      form.append("types", JSON.stringify(types));
      const data = await post("datasets", form);
      about.textContent = `${data.name} is there: ${number(data.rows)} rows.`;
      const again = (more) => take(file, { ...types, ...more });
      begin(await jobFor(data), [told(data), ...data.warnings.map((warning) => offered(warning, again))]);
    } catch (error) {
      about.textContent = error.message;
    }
    input.value = "";
    card.disabled = false;
  }

  addEventListener("dragover", (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0], {});
  });
  return [card, input];
}

/** A warning, with a button where it names a type that the column may have instead. */
function offered(warning, again) {
  const [, name, type] = warning.match(/say types=(.+):(\w+) at the upload/) ?? [];
  if (!name) return warning;
  return h("span", {}, `${warning} `, h("button", { class: "word", onclick: () => again({ [name]: type }) }, `Read it as ${type}`));
}

function told({ name, kind, rows, columns }) {
  const names = columns.slice(0, 8).map((column) => `${column.name} (${column.type})`).join(", ");
  return `${name}: ${kind}, ${number(rows)} rows; ${names}${columns.length > 8 ? ", …" : ""}`;
}

/** What is likely meant: n-grams of a text; else a small network. */
async function jobFor({ id, name, kind, columns }) {
  const dataset = { id, validation: 0.2 };
  if (kind === "text") return { type: "ngram", name, spec: { dataset, order: 4, tokenizer: { kind: "word" } } };
  const hidden = { kind: "dense", units: 32, activation: "relu" };
  const sequence = columns.find(({ type }) => type === "sequence");
  const wide = columns.some(({ shape }) => shape.length > 1);
  const layers = sequence ? [{ kind: "lstm", units: 32, output: "last" }] : [...(wide ? [{ kind: "flatten" }] : []), hidden];
  if (sequence) dataset.features = [sequence.name];
  const job = (last, more = {}) => ({
    type: "train", name, spec: {
      dataset: { ...dataset, ...more }, network: { layers: [...layers, last] },
      optimizer: { kind: "adam", learning_rate: 0.01 }, training: { epochs: 30, batch_size: 32, seed: 1 },
    },
  });
  const end = { kind: "dense" };
  const planned = (more) => post("plans", job(end, more)).catch(() => null);
  const last = { target: columns.findLast(({ type }) => /number|category/.test(type))?.name };
  const plan = (await planned()) ?? (await planned(last));
  if (!plan) return job(end, last); // will be told why
  const { target } = plan.spec.dataset;
  const { integer, classes } = columns.find((column) => column.name === target);
  const named = plan.spec.loss.kind === "cross_entropy" || (integer && classes?.length > 1 && classes.length <= FEW);
  return job(named ? { ...end, activation: "softmax" } : end, { target });
}
