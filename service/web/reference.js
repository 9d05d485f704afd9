// The API's own page: every operation and every word of its language, out of /openapi.json.
import { h } from "./dom.js";
import { alternatives, know, late, members, resolved, told } from "./schema.js";

const VERBS = ["get", "post", "put", "patch", "delete"];
const contents = document.getElementById("jobs");
const reference = document.getElementById("reference");
const find = document.getElementById("find");

const api = await (await fetch("/openapi.json")).json();
know(api);
const groups = [...operations(), ...vocabulary()];
for (const { title, entries } of groups) {
  const section = h("section", {}, h("h2", {}, title), entries.map(({ element }) => element));
  const links = entries.map(({ id, label }) => h("a", { href: `#${id}`, title: label }, label));
  contents.append(h("div", {}, h("h2", {}, title), links));
  reference.append(section);
}
find.addEventListener("input", filter);
addEventListener("hashchange", open);
open();

/** The operations by their tag, in the document's order. */
function operations() {
  const found = new Map();
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const verb of VERBS.filter((each) => verbs[each])) {
      const [tag] = verbs[verb].tags ?? ["other"];
      if (!found.has(tag)) found.set(tag, []);
      found.get(tag).push(operation(path, verb, verbs[verb]));
    }
  }
  return [...found].map(([title, entries]) => ({ title, entries }));
}

function operation(path, verb, said) {
  const id = said.operationId;
  const summary = [h("span", { class: "verb", "data-verb": verb }, verb.toUpperCase()), h("code", {}, path), h("span", {}, said.summary)];
  const element = late(summary, () => [
    h("p", { class: "text" }, said.description),
    ...parameters(said.parameters ?? []),
    ...Object.entries(said.requestBody?.content ?? {}).flatMap(([media, each]) => body(`Body, ${media}`, each.schema)),
    ...Object.entries(said.responses).filter(([code]) => code < "300").flatMap(([code, each]) =>
      Object.entries(each.content ?? {}).flatMap(([media, one]) => body(`Answer ${code}, ${media}`, one.schema ?? {}))),
    refusals(said.responses),
  ]);
  element.id = id;
  return { id, element, label: `${verb.toUpperCase()} ${path}`, text: `${verb} ${path} ${said.summary} ${said.description}`.toLowerCase() };
}

function parameters(given) {
  if (!given.length) return [];
  const each = (one) => h("div", {},
    h("dt", {}, h("code", {}, one.name), h("span", {}, `in ${one.in}`), h("span", {}, told(one.schema)), one.required && h("span", { class: "needed" }, "required")),
    h("dd", {}, one.description ?? one.schema.description));
  return [h("h3", {}, "Parameters"), h("dl", { class: "members" }, given.map(each))];
}

function body(title, schema) {
  return [h("h3", {}, title), ...members(schema)];
}

function refusals(responses) {
  const codes = Object.entries(responses).filter(([code]) => code >= "400").map(([code, each]) => `${code} ${each.description}`);
  return codes.length ? h("p", { class: "quiet" }, `Refuses with ${codes.join(", ")}: a problem document with every fault, its place and a hint.`) : null;
}

/** Layers, losses, optimizers ...: every choice by `kind`, under the name of the member that holds it. */
function vocabulary() {
  const found = new Map();
  for (const schema of Object.values(api.components.schemas)) {
    for (const [name, each] of Object.entries(schema.properties ?? {})) {
      for (const one of choices(each)) {
        if (!found.has(name)) found.set(name, new Map());
        found.get(name).set(one.properties.kind.const, one);
      }
    }
  }
  return [...found].sort(([, a], [, b]) => b.size - a.size).map(([name, kinds]) => ({ title: name.replaceAll("_", " "), entries: [...kinds].map(([kind, schema]) => word(name, kind, schema)) }));
}

function choices(schema) {
  const inner = [schema, schema.items, ...(alternatives(schema) ?? [])].filter(Boolean).flatMap((each) => alternatives(each) ?? [each]);
  return inner.map(resolved).filter((each) => each.properties?.kind?.const);
}

function word(group, kind, schema) {
  const [first] = (schema.description ?? "").split("\n");
  const element = late([h("code", {}, kind), h("span", {}, first)], () => [h("p", { class: "text" }, schema.description), ...members(schema)]);
  element.id = `${group}-${kind}`;
  return { id: element.id, element, label: kind, text: `${group} ${kind} ${schema.description}`.toLowerCase() };
}

/** Hides what does not hold every word that is looked for. */
function filter() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  groups.forEach(({ entries }, at) => {
    let shown = 0;
    entries.forEach(({ element, text }, place) => {
      const hidden = !words.every((each) => text.includes(each));
      element.hidden = hidden;
      contents.children[at].children[place + 1].hidden = hidden;
      shown += hidden ? 0 : 1;
    });
    reference.children[at].hidden = contents.children[at].hidden = shown === 0;
  });
}

/** Opens what the address names. */
function open() {
  const element = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!(element instanceof HTMLDetailsElement)) return;
  element.open = true;
  element.scrollIntoView({ block: "start" });
}
