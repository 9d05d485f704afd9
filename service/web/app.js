// The page: what can be started, what runs, one of them large.
import { get, latest, post } from "./api.js";
import { h, say } from "./dom.js";
import { editor } from "./editor.js";
import { FINAL } from "./format.js";
import { jobs } from "./jobs.js";
import { show } from "./run.js";
import { SAMPLES } from "./samples.js";
import { uploads } from "./upload.js";

const BUSY_MS = 1000;
const IDLE_MS = 3000;

const place = document.getElementById("run");
const system = document.getElementById("system");
const write = editor(begun);
const list = jobs(document.getElementById("jobs"), heard, () => tell());
let shown = null;
let close = () => {};
let timer = null;

function begun(job) {
  location.hash = job.id;
  tell();
}

function heard(data) {
  clearTimeout(timer);
  timer = setTimeout(tell, data.some((job) => !FINAL.has(job.status)) ? BUSY_MS : IDLE_MS);
  choose(location.hash.slice(1) || data[0]?.id);
}

function choose(id) {
  if (id !== shown && id) {
    close();
    shown = id;
    const [jobId, runId] = id.split("/");
    close = show(place, jobId, runId, tell, ({ type, name, spec }) => write.open({ type, name, spec }));
  }
  list.mark(shown?.split("/")[0]);
  if (!shown) place.replaceChildren(h("p", { class: "hero" }, "Train something: choose a sample, or write a job."));
}

async function start(job, button) {
  button.disabled = true;
  try {
    begun(await post("jobs", job));
  } catch (error) {
    say(system, error.message);
  }
  button.disabled = false;
}

function cards() {
  const made = SAMPLES.map(({ icon, title, about, job }) => {
    const card = h("button", { class: "card", onclick: () => start(job, card) },
      h("i", { "aria-hidden": "true" }, icon), h("b", {}, title), h("span", {}, about));
    return card;
  });
  const own = h("button", { class: "card own", onclick: () => write.open() },
    h("i", { "aria-hidden": "true" }, "{ }"), h("b", {}, "Write your own"), h("span", {}, "A job is JSON. Faults are marked as you type."));
  document.getElementById("start").append(...made, ...uploads(write.open), own);
}

const tell = latest(async () => {
  if (document.hidden) return;
  try {
    const found = await get("system");
    await list.look();
    const plural = found.workers === 1 ? "" : "s";
    say(system, `${found.workers} worker${plural} · ${found.jobs_running} running · ${found.jobs_queued} queued · version ${found.version}`);
  } catch (error) {
    say(system, error.problem ? error.message : "The server does not answer. Trying again …");
    timer = setTimeout(tell, IDLE_MS);
  }
});

cards();
document.body.append(write.element);
addEventListener("hashchange", () => {
  choose(location.hash.slice(1));
  if (place.offsetTop - scrollY > innerHeight / 2) place.scrollIntoView();
});
document.addEventListener("visibilitychange", tell);
tell();
