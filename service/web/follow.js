// One job's events as they happen. A browser holds six connections to a server for all its windows: the window looked
// at last has the stream, the others ask once a second, a hidden one does neither.

const KINDS = ["queued", "started", "training", "epoch", "improved", "warned", "paused", "finished", "progress"];
const LOCK = "netwright-events";
const POLL_MS = 1000;

/** Calls `changed` at every event until the job ends; returns what stops it. */
export function follow(jobId, changed) {
  let source = null;
  let timer = null;
  let release = null;
  let over = false;

  function stream() {
    rest();
    source = new EventSource(`/v1/jobs/${jobId}/events`);
    for (const kind of KINDS) source.addEventListener(kind, () => changed());
    source.addEventListener("end", () => {
      stop();
      changed();
    });
  }

  /** Takes the stream from whichever window has it; where locks are not to be had, one each. */
  function take() {
    if (over || document.hidden || (source && source.readyState !== EventSource.CLOSED)) return;
    if (!navigator.locks) return stream();
    const held = () => new Promise((done) => {
      release = done;
      if (over) done();
      else stream();
    });
    navigator.locks.request(LOCK, { steal: true }, held).catch(poll);
  }

  function poll() {
    rest();
    if (!over && !document.hidden) timer = setInterval(changed, POLL_MS);
  }

  function rest() {
    source?.close();
    clearInterval(timer);
  }

  function look() {
    if (!document.hidden) return take();
    rest();
    release?.();
  }

  function stop() {
    over = true;
    rest();
    release?.();
    document.removeEventListener("visibilitychange", look);
    removeEventListener("focus", take);
  }

  document.addEventListener("visibilitychange", look);
  addEventListener("focus", take);
  take();
  return stop;
}
