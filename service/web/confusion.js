// Which classes were taken for which: a table whose cells are as dark as their share of the row.
import { h } from "./dom.js";
import { percent } from "./format.js";

const MOST = 20;

export function confusion({ part, classes, counts }) {
  if (classes.length > MOST) return h("p", { class: "quiet" }, `${classes.length} classes: too many to show.`);
  const right = counts.reduce((sum, row, i) => sum + row[i], 0);
  const all = counts.flat().reduce((a, b) => a + b, 0);
  return h("section", { class: "panel" },
    h("h3", {}, "Confusion"),
    h("p", { class: "quiet" }, `${right} of ${all} ${part} rows right (${percent(right / all)}). Rows: truth; columns: answer.`),
    h("div", { class: "scroll", tabIndex: 0, role: "group", "aria-label": "Confusion matrix" },
      h("table", { class: "confusion" },
        h("thead", {}, h("tr", {}, h("td", {}), classes.map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, counts.map((row, i) => line(row, i, classes))))));
}

function line(row, i, classes) {
  const sum = row.reduce((a, b) => a + b, 0) || 1;
  return h("tr", {}, h("th", { scope: "row" }, classes[i]), row.map((count, j) => {
    const title = `${count} × ${classes[i]} taken for ${classes[j]} (${percent(count / sum)})`;
    const cell = h("td", { title, class: i === j ? "right" : "wrong" }, count || "·");
    const share = count / sum;
    cell.style.setProperty("--share", `${Math.round(100 * (i === j ? share : Math.sqrt(share)))}%`);
    if (share > 0.55) cell.classList.add("full");
    if (!count) cell.classList.add("none");
    return cell;
  }));
}
