// A prompt that goes on: next words while one types, and a completion that streams in.
import { complete, latest, post } from "./api.js";
import { h, say } from "./dom.js";
import { percent } from "./format.js";

const WORDS = 60;

export function writing(run) {
  const prompt = h("textarea", { rows: 3, value: "The value of ", "aria-label": "Prompt", spellcheck: false });
  const next = h("div", { class: "next", role: "group", "aria-label": "Next words" });
  const told = h("p", { class: "told", "aria-live": "polite" });
  const heat = h("input", { type: "range", min: 0, max: 1.5, step: 0.1, value: 0.7 });
  const warm = h("output", {}, "0.7");
  const go = h("button", { class: "main", onclick: write }, "Continue");
  let stop = null;

  const suggest = latest(async () => {
    const cut = prompt.value.search(/\S*$/);
    const asked = { model: run.id, text: prompt.value.slice(0, cut), prefix: prompt.value.slice(cut), k: 6 };
    try {
      let { suggestions } = await post("suggestions", asked);
      const whole = suggestions.every((each) => each.text === asked.prefix); // nothing left to add to the word
      if (whole) ({ suggestions } = await post("suggestions", { ...asked, text: prompt.value, prefix: "" }));
      const kept = whole ? `${prompt.value} ` : asked.text;
      next.replaceChildren(...suggestions.map(({ text, probability }) =>
        h("button", { class: "word", onclick: () => take(kept + text) }, text, h("small", {}, percent(probability, 0)))));
    } catch (error) {
      next.replaceChildren(h("span", { class: "quiet" }, error.message));
    }
  });

  function take(text) {
    prompt.value = `${text} `;
    prompt.focus();
    suggest();
  }

  async function write() {
    if (stop) return stop.abort();
    stop = new AbortController();
    say(go, "Stop");
    const tail = h("mark", {});
    told.replaceChildren(prompt.value, tail);
    const asked = { model: run.id, prompt: prompt.value, max_tokens: WORDS, temperature: Number(heat.value), ignore_end: true };
    try {
      await complete(asked, (piece) => tail.append(piece), stop.signal);
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(error.message);
    }
    stop = null;
    say(go, "Continue");
  }

  heat.oninput = () => say(warm, heat.value);
  prompt.oninput = suggest;
  suggest();
  const tools = h("div", { class: "tools" }, go, h("label", {}, "temperature ", heat, warm));
  return { element: h("div", { class: "writing" }, prompt, next, tools, told), ask: suggest };
}
