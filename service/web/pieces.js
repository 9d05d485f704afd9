// A list from its newest on, in as many pieces as are wanted, each begun where the one before ended.
import { get } from "./api.js";
import { FINAL } from "./format.js";

const LIMIT = 40;

/** What fetches so many pieces of a list; an older one only where it begins elsewhere now, or something in it goes on. */
export function pieces(path) {
  let held = [];

  async function piece(after, before) {
    const same = after && before?.after === after && before.data.every(({ status }) => FINAL.has(status));
    return same ? before : { ...await get(`${path}?limit=${LIMIT}${after && `&after=${encodeURIComponent(after)}`}`), after };
  }

  return async (count) => {
    const found = [];
    for (let after = ""; found.length < count && after !== null; after = found.at(-1).next) {
      found.push(await piece(after, held[found.length]));
    }
    held = found;
    return { data: found.flatMap(({ data }) => data), more: found.at(-1).has_more };
  };
}
