// The right side: one job and its run, from the queue to a model one can try.
import { get, latest, post } from "./api.js";
import { confusion } from "./confusion.js";
import { curves } from "./curves.js";
import { h, say } from "./dom.js";
import { facts } from "./facts.js";
import { follow } from "./follow.js";
import { FINAL, called, seconds } from "./format.js";
import { trials } from "./trials.js";
import { tryIt } from "./try.js";

const PAUSE_MS = 200;
const POINTS = 400;

/** Shows a job in `place` until `close` is called; of a search the run `wanted`, else one of the best
 * candidate's once it has ended, else the first. `moved()` hears of its end, `edit(job)` opens its spec. */
export function show(place, jobId, wanted, moved, edit) {
  const view = frame(edit);
  const seen = { ended: false, panel: null, closed: false };
  place.replaceChildren(view.element);

  const look = latest(async () => {
    if (seen.closed) return;
    try {
      await refresh();
    } catch (error) {
      if (!seen.closed) view.fault({ message: error.message });
    }
  }, PAUSE_MS);

  async function refresh() {
    const job = await get(`jobs/${jobId}`);
    view.job(job);
    if (FINAL.has(job.status)) stop();
    const table = job.type === "search" ? await get(`jobs/${jobId}/trials`) : null;
    const best = FINAL.has(job.status) ? table?.candidates[table.best]?.trials[0].run_id : null;
    const runId = (seen.run ??= wanted ?? job.run_id ?? best ?? job.run_ids[0]);
    if (!runId) return;
    const [run, { series }] = await Promise.all([get(`runs/${runId}`), get(`runs/${runId}/metrics/series?max_points=${POINTS}&columns=&digits=6`)]);
    if (table) view.tried(trials(jobId, table, runId));
    if (seen.closed) return;
    view.curves.show(series);
    view.facts.show(job, run);
    if (!seen.panel && run.type !== "evaluate" && (run.model_sha256 || run.best.train_loss) && run.status !== "failed") {
      seen.panel = await tryIt(run);
      view.lower.prepend(seen.panel.element);
    }
    if (!seen.ended && FINAL.has(run.status)) await ended(run);
    else if (!seen.ended) seen.panel?.ask(); // one sees it learn
  }

  async function ended(run) {
    seen.ended = true;
    moved();
    seen.panel?.ask();
    if (run.type === "ngram" || /error|huber/.test(run.spec.loss?.kind)) return;
    const found = await get(`runs/${run.id}/confusion`).catch(() => null);
    if (found) view.lower.append(confusion(found));
  }

  const stop = follow(jobId, look);
  look();
  return function close() {
    seen.closed = true;
    stop();
  };
}

function frame(edit) {
  let job = null;
  const title = h("h2", {});
  const state = h("span", { class: "state", role: "status" });
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const eta = h("p", { class: "quiet" });
  const fault = h("div", { class: "fault", role: "alert", hidden: true });
  const cancel = h("button", { onclick: () => act("cancel") }, "Cancel");
  const again = h("button", { onclick: () => edit(job) }, "Edit and run again");
  const search = h("div", {});
  const parts = { curves: curves(), facts: facts(), lower: h("div", { class: "lower" }) };

  async function act(verb) {
    cancel.disabled = true;
    await post(`jobs/${job.id}/${verb}`).catch((error) => show({ message: error.message }));
  }

  function show(error) {
    fault.hidden = !error;
    if (error) fault.replaceChildren(...[error.message, error.hint, error.layer].filter(Boolean).map((each) => h("p", {}, each)));
  }

  return {
    ...parts,
    fault: show,
    tried: (table) => search.replaceChildren(table),
    element: h("div", {},
      h("div", { class: "head" }, title, state, h("span", { class: "gap" }), cancel, again),
      h("div", { class: "going" }, bar, eta), fault, search, parts.facts.element, parts.curves.element, parts.lower),
    job(now) {
      job = now;
      const ended = FINAL.has(now.status);
      say(title, called(now));
      say(state, now.stop_requested && !ended ? "stopping" : now.status);
      state.dataset.state = now.status;
      bar.value = now.progress;
      bar.parentElement.hidden = ended;
      say(eta, going(now));
      cancel.hidden = ended;
      if (now.stop_requested) cancel.disabled = true;
      show(now.error);
    },
  };
}

function going(job) {
  if (job.status === "queued") return job.queue_position ? `number ${job.queue_position} in the queue` : "queued";
  return `${job.phase}${job.eta_s === null ? "" : `, ${seconds(job.eta_s)} left`}`;
}
