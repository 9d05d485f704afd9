// The list on the left: the newest jobs, and older ones as far as they are asked for; their state and the best they have reached.
import { latest } from "./api.js";
import { h, say } from "./dom.js";
import { FINAL, ago, better, called, headline, score, words } from "./format.js";
import { pieces } from "./pieces.js";

/** Keeps the list true as long as the page is looked at. `onJobs` hears of every look; `again` asks for one now. */
export function jobs(element, onJobs, again) {
  const list = h("ul", {});
  const empty = h("p", { class: "quiet" }, "Nothing yet. One click above starts something.");
  const older = h("button", { hidden: true, onclick: showOlder }, "Show older");
  element.append(h("h2", {}, "Jobs"), empty, list, older);
  const [fetchJobs, fetchRuns] = [pieces("jobs"), pieces("runs")];
  const rows = new Map();
  let best = new Map();
  let seen = "";
  let wanted = 1;
  let firstNew = null;

  const look = latest(async () => {
    const { data, more } = await fetchJobs(wanted);
    const now = data.map((job) => `${job.id} ${job.status} ${job.progress}`).join();
    if (now !== seen) {
      const runs = await fetchRuns(wanted);
      best = new Map();
      for (const run of runs.data) best.set(run.job_id, better(run.best, best.get(run.job_id)));
      seen = now;
    }
    show(data);
    older.hidden = !more;
    onJobs(data);
  });

  function showOlder() {
    firstNew = list.children.length;
    wanted += 1;
    again();
  }

  function show(data) {
    empty.hidden = data.length > 0;
    const shown = data.map((job) => {
      if (!rows.has(job.id)) rows.set(job.id, row(job));
      rows.get(job.id).show(job, best.get(job.id));
      return rows.get(job.id).element;
    });
    shown.forEach((each, i) => each !== list.children[i] && list.insertBefore(each, list.children[i]));
    while (list.children.length > shown.length) list.lastChild.remove();
    if (firstNew !== null && shown.length > firstNew) {
      shown[firstNew].firstChild.focus(); // for whoever goes on by keys: the button has moved on
      firstNew = null;
    }
  }

  function mark(id) {
    for (const [each, { link }] of rows) {
      if (each === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  return { look, mark };
}

function row(job) {
  const name = h("b", { title: job.id }, called(job));
  const state = h("span", { class: "state" });
  const value = h("span", {});
  const when = h("span", {});
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const link = h("a", { href: `#${job.id}` }, h("span", { class: "line" }, name, state), bar,
    h("span", { class: "line quiet" }, value, when));
  return {
    link,
    element: h("li", {}, link),
    show(job, best) {
      state.dataset.state = job.status;
      say(state, job.status);
      bar.value = job.progress;
      bar.hidden = FINAL.has(job.status);
      const found = headline(best);
      say(value, job.error?.code ?? (found ? `${words(found[0])} ${score(...found)}` : job.phase));
      say(when, ago(job.ended_at ?? job.started_at ?? job.created_at));
    },
  };
}
