// What a JSON Schema says, for people.
import { h } from "./dom.js";

const BOUNDS = { minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<" };
let schemas = {};

/** The document's schemas, by name; to be given first. */
export function know(document) {
  schemas = document.components.schemas;
}

/** A schema, looked up where it is a reference. */
export function resolved(schema) {
  return schema?.$ref ? schemas[named(schema)] : schema ?? {};
}

function named(schema) {
  return schema.$ref.split("/").pop();
}

/** Its alternatives, without null. */
export function alternatives(schema) {
  const all = schema.oneOf ?? schema.anyOf;
  return all ? all.filter((each) => each.type !== "null").flatMap((each) => alternatives(each) ?? [each]) : null;
}

/** A schema in a few words. */
export function told(schema) {
  if (schema.$ref) return told({ ...resolved(schema), $ref: undefined });
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  const either = alternatives(schema);
  if (either) {
    const words = [...new Set(either.map(told))];
    const none = (schema.oneOf ?? schema.anyOf).some((each) => each.type === "null");
    return [...words, ...(none ? ["null"] : [])].join(" or ");
  }
  if (schema.type === "array") return `list of ${schema.items ? told(schema.items) : "anything"}${count(schema.minItems, schema.maxItems)}`;
  if (schema.type === "object" || schema.properties) return schema.properties ? "object" : "object by name";
  const bounds = Object.entries(BOUNDS).filter(([name]) => schema[name] !== undefined).map(([name, sign]) => `${sign} ${schema[name]}`);
  return [schema.type ?? "anything", ...bounds].join(" ");
}

function count(least, most) {
  if (least === undefined && most === undefined) return "";
  return ` (${least ?? 0} to ${most ?? "any number"})`;
}

/** The members of an object, or of each alternative; what lies deeper opens when it is asked for. */
export function members(schema) {
  const either = alternatives(schema);
  if (either) return either.filter((each) => each.$ref || each.properties || each.items).map(folded);
  const found = resolved(schema);
  if (alternatives(found)) return members(found);
  if (found.items) return members(found.items);
  if (found.additionalProperties?.$ref) return members(found.additionalProperties);
  if (!found.properties) return [];
  const needed = new Set(found.additionalProperties === false ? found.required : []); // an answer has all its members
  return [h("dl", { class: "members" }, Object.entries(found.properties).map(([name, each]) => member(name, each, needed.has(name))))];
}

function member(name, schema, needed) {
  const start = schema.default === undefined || schema.default === null ? null : `default ${JSON.stringify(schema.default)}`;
  return h("div", {},
    h("dt", {}, h("code", {}, name), h("span", {}, told(schema)), needed && h("span", { class: "needed" }, "required"), start && h("span", {}, start)),
    h("dd", {}, schema.description, deeper(schema) && folds(schema)));
}

function deeper(schema) {
  const found = resolved(schema);
  const inner = [found, found.items, found.additionalProperties].filter(Boolean);
  return inner.some((each) => each.$ref || each.properties || (alternatives(each) ?? []).some((one) => one.$ref || one.items));
}

function folds(schema) {
  return late("members", () => members(schema));
}

/** One alternative by its kind, or its name. */
function folded(schema) {
  const found = resolved(schema);
  const kind = found.properties?.kind?.const ?? found.properties?.type?.const ?? (schema.$ref ? named(schema) : told(schema));
  return late(kind, () => [found.description && h("p", { class: "text" }, found.description), ...members(schema)]);
}

/** A <details> that is filled when it is first opened. */
export function late(summary, fill) {
  const element = h("details", {}, h("summary", {}, summary));
  element.addEventListener("toggle", () => element.append(...fill().filter(Boolean)), { once: true });
  return element;
}
