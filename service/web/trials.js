// A search's candidates: what each came to over its folds, the best one marked; every trial is a link to its run.
import { h } from "./dom.js";
import { number, score, words } from "./format.js";

/** `jobId`: the search; `shown`: the run on the page. */
export function trials(jobId, { monitor, best, candidates }, shown) {
  return h("section", { class: "panel" },
    h("h3", {}, "Candidates"),
    h("div", { class: "scroll", tabIndex: 0, role: "group", "aria-label": "Candidates" },
      h("table", { class: "trials" },
        h("thead", {}, h("tr", {}, ["", words(monitor), "trials"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, candidates.map((each, i) => line(jobId, each, monitor, i === best, shown))))));
}

function line(jobId, { values, metrics, trials }, monitor, best, shown) {
  const found = metrics[monitor];
  const spread = found?.n > 1 ? ` ± ${number(found.std, 2)}` : "";
  const name = Object.entries(values).map(([path, value]) => `${path.split(".").pop()} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  return h("tr", { class: best ? "best" : null },
    h("th", { scope: "row" }, name || "as it is", best && " · best"),
    h("td", {}, found ? score(monitor, found.mean) + spread : "–"),
    h("td", {}, trials.flatMap(({ run_id, fold, status, scores }, i) => [h("a", {
      href: `#${jobId}/${run_id}`, title: `${status}, ${score(monitor, scores[monitor])}`, "aria-current": run_id === shown && "true",
    }, fold === null ? "run" : `fold ${fold + 1}`), i + 1 < trials.length && " "])));
}
