// One job's events as they happen, as long as the page is looked at: a hidden page holds no connection.

const KINDS = ["queued", "started", "training", "epoch", "improved", "warned", "paused", "finished", "progress"];

/** Calls `changed` at every event until the job ends; returns what stops it. */
export function follow(jobId, changed) {
  let source = null;

  function open() {
    source = new EventSource(`/v1/jobs/${jobId}/events`);
    for (const kind of KINDS) source.addEventListener(kind, () => changed());
    source.addEventListener("end", stop);
  }

  function look() {
    if (document.hidden) source?.close();
    else if (source.readyState === EventSource.CLOSED) open();
  }

  function stop() {
    source.close();
    document.removeEventListener("visibilitychange", look);
    changed();
  }

  document.addEventListener("visibilitychange", look);
  open();
  return () => {
    source.close();
    document.removeEventListener("visibilitychange", look);
  };
}
