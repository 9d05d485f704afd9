// The spec of a job, checked as it is written: every fault is marked where it stands.
import { Refused, latest, post } from "./api.js";
import { h, say } from "./dom.js";
import { bytes, number, seconds } from "./format.js";
import { locate } from "./pointer.js";
import { SAMPLES } from "./samples.js";

const PAUSE_MS = 250;

/** {element, open(job)}: a dialog; `started(job)` hears of what was submitted. */
export function editor(started) {
  const source = h("textarea", { spellcheck: false, "aria-label": "The job as JSON", autocapitalize: "off" });
  const marks = h("pre", { "aria-hidden": "true" });
  const verdict = h("p", { class: "verdict", role: "status" });
  const faults = h("ul", { class: "faults" });
  const note = h("p", { class: "quiet" });
  const send = h("button", { class: "main", onclick: submit }, "Start");
  const samples = SAMPLES.map(({ title, job }) => h("button", { onclick: () => fill(job) }, title));
  const dialog = h("dialog", { "aria-label": "Write a job" },
    h("div", { class: "head" }, h("h2", {}, "Write a job"), h("span", { class: "gap" }), h("span", { class: "quiet" }, "Begin with"), samples), note,
    h("div", { class: "source" }, marks, source), verdict, faults,
    h("div", { class: "tools" }, send, h("button", { onclick: () => dialog.close() }, "Close"), h("span", { class: "quiet" }, "Ctrl + Enter starts it")));

  const check = latest(async () => {
    try {
      say(verdict, planned(await post("plans", source.value)));
      show([]);
    } catch (error) {
      refuse(error);
    }
  }, PAUSE_MS);

  async function submit() {
    try {
      started(await post("jobs", source.value));
      dialog.close();
    } catch (error) {
      refuse(error);
    }
  }

  function refuse(error) {
    if (!(error instanceof Refused)) return say(verdict, "the server does not answer");
    const { detail, errors } = error.problem;
    say(verdict, errors?.length ? detail : error.message);
    show(errors ?? []);
  }

  function show(errors) {
    verdict.classList.toggle("good", !errors.length);
    send.disabled = errors.length > 0;
    const places = errors.map(({ pointer }) => locate(source.value, pointer));
    faults.replaceChildren(...errors.map((each, i) => line(each, () => select(places[i]))));
    mark(places);
  }

  function mark(places) {
    const text = source.value;
    let at = 0;
    marks.replaceChildren();
    for (const [start, end] of places.filter(([a, b]) => b - a < text.length).sort((a, b) => a[0] - b[0])) {
      if (start < at) continue;
      marks.append(text.slice(at, start), h("mark", {}, text.slice(start, end)));
      at = end;
    }
    marks.append(text.slice(at) + "\n");
    marks.scrollTop = source.scrollTop;
  }

  function select([start, end]) {
    source.focus();
    source.setSelectionRange(start, end);
  }

  function fill(job) {
    source.value = JSON.stringify(job, null, 2);
    mark([]);
    check();
  }

  source.oninput = () => {
    mark([]);
    send.disabled = false;
    check();
  };
  source.onscroll = () => Object.assign(marks, { scrollTop: source.scrollTop, scrollLeft: source.scrollLeft });
  source.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
  };
  return {
    element: dialog,
    open(job = SAMPLES[0].job, about = []) {
      fill(job);
      note.replaceChildren(...about.flatMap((line) => [line, h("br")]));
      if (!dialog.open) dialog.showModal();
      source.focus();
      source.setSelectionRange(0, 0);
      source.scrollTop = 0;
    },
  };
}

function planned(plan) {
  const parts = [
    plan.parameters > 0 && `${number(plan.parameters)} parameters`,
    `${bytes(plan.bytes)} of memory`,
    plan.estimated_seconds !== null && `about ${seconds(plan.estimated_seconds)}`,
  ];
  return ["It fits", ...parts.filter(Boolean), ...plan.warnings].join(" · ");
}

function line({ pointer, message, hint, allowed }, onclick) {
  const more = hint ?? (allowed?.length ? `One of: ${allowed.join(", ")}` : null);
  return h("li", {}, h("button", { onclick }, h("code", {}, pointer || "/"), ` ${message}`, more && h("small", {}, more)));
}
