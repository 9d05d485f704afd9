// The service's API, as any other caller sees it.
import { askForKey, headers as key } from "./key.js";

/** A refused request: `problem` is the problem document, with its `errors` and their pointers. */
export class Refused extends Error {
  constructor(problem) {
    const hint = problem.hint ?? (problem.errors?.length === 1 ? problem.errors[0].hint : null);
    super([problem.detail ?? "the server does not answer", hint].filter(Boolean).join(". "));
    this.problem = problem;
  }
}

export const get = (path) => ask("GET", path);
export const post = (path, body) => ask("POST", path, body);

async function ask(method, path, body) {
  const response = await send(method, path, body);
  return response.json();
}

async function send(method, path, body, signal) {
  const plain = body === undefined || body instanceof FormData; // a form tells its own type
  const headers = { ...key(), ...(plain ? {} : { "Content-Type": "application/json" }) };
  const text = plain || typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(`/v1/${path}`, { method, headers, body: text, signal });
  if (response.status === 401) {
    await askForKey();
    return send(method, path, body, signal);
  }
  if (!response.ok) throw new Refused(await response.json().catch(() => ({ detail: `${response.status}` })));
  return response;
}

/** A completion as it is drawn: calls `piece` with every bit of text. */
export async function complete(asked, piece, signal) {
  const response = await send("POST", "completions", { ...asked, stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const data = frame.replace(/^data: /, "");
      if (data !== "[DONE]") piece(JSON.parse(data).choices[0]?.text ?? "");
    }
  }
}

/** One call at a time: a call made meanwhile waits, and only the newest of those that wait is made. */
export function latest(call, pauseMs = 0) {
  let busy = false;
  let waiting = null;
  return async function run(...given) {
    if (busy) return void (waiting = given);
    busy = true;
    try {
      await call(...given);
      if (pauseMs) await new Promise((done) => setTimeout(done, pauseMs));
    } finally {
      busy = false;
      if (waiting) {
        const next = waiting;
        waiting = null;
        run(...next);
      }
    }
  };
}
