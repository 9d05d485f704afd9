// The few numbers one asks for first.
import { h } from "./dom.js";
import { number, score, seconds, words } from "./format.js";

const SHOWN = ["val_accuracy", "test_accuracy", "val_loss", "train_loss", "val_perplexity", "test_perplexity"];

export function facts() {
  const element = h("dl", { class: "facts" });
  return {
    element,
    show(job, run) {
      const found = [...scores(run), ...about(job, run)];
      element.replaceChildren(...found.map(([name, value, title]) => h("div", { title }, h("dt", {}, name), h("dd", {}, value))));
      for (const each of new Set([...job.warnings, ...run.warnings])) element.append(h("div", { class: "warning" }, h("dt", {}, "warning"), h("dd", {}, each)));
    },
  };
}

function scores(run) {
  const names = SHOWN.filter((name) => run.best[name]).slice(0, 2);
  return names.map((name) => [`best ${words(name)}`, score(name, run.best[name].value), `at step ${run.best[name].step}`]);
}

function about(job, run) {
  const from = job.started_at && Date.parse(job.started_at);
  const to = job.ended_at ? Date.parse(job.ended_at) : Date.now();
  const speed = run.summary.rows_per_s?.last;
  const { dataset } = run.spec;
  return [
    from && ["time", seconds(Math.max(0, to - from) / 1000)],
    run.type === "train" && ["steps", number(run.step)],
    speed && ["rows per second", number(Math.round(speed))],
    run.type === "ngram" && ["order", String(run.spec.order)],
    ["data", dataset.sample ?? `${dataset.id.slice(0, 12)}…`, dataset.id],
    job.stopped_by && job.stopped_by !== "epochs" && ["stopped by", job.stopped_by.replaceAll("_", " ")],
    run.weights_sha256 && ["weights", run.weights_sha256.slice(0, 8), `sha256 ${run.weights_sha256}`],
  ].filter(Boolean);
}
