// The key of a server that wants one: asked for once, kept as long as the tab.
import { h } from "./dom.js";

const NAME = "netwright_key";
let asking = null;

/** What every call carries. */
export function headers() {
  const key = sessionStorage.getItem(NAME);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Asks for a key, once for all who want one meanwhile; resolves when there is another to try. */
export function askForKey() {
  asking ??= new Promise((done) => open(done)).finally(() => (asking = null));
  return asking;
}

function open(done) {
  const input = h("input", { type: "password", required: true, autocomplete: "current-password", "aria-label": "Key" });
  const form = h("form", { method: "dialog" },
    h("p", {}, sessionStorage.getItem(NAME) ? "This key opens nothing here: it is unknown, has expired or was revoked."
      : "This server wants a key. Its keeper makes one: netwright keys create NAME"),
    h("div", { class: "tools" }, input, h("button", { type: "submit" }, "Enter")));
  const dialog = h("dialog", { "aria-label": "Key" }, form);
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("close", () => {
    keep(input.value.trim());
    dialog.remove();
    done();
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** Event streams cannot send headers, so what only reads may also come with a cookie that leaves with the browser. */
function keep(key) {
  sessionStorage.setItem(NAME, key);
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${NAME}=${encodeURIComponent(key)}; path=/; SameSite=Strict${secure}`;
}
