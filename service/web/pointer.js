// Where in a JSON text the value of a JSON pointer stands: a scanner that needs no tree.

const TOKEN = /\s*("(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+)/gy;

/** [start, end] of the value, or of its nearest ancestor; of the whole text when there is nothing better. */
export function locate(text, pointer) {
  const wanted = pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  let found = [0, text.length];
  let deep = -1;
  walk(text, (path, start, end, key) => {
    if (path.length <= deep || path.some((part, i) => part !== wanted[i])) return;
    deep = path.length;
    found = path.length === wanted.length && key ? [key[0], end] : [start, end];
  });
  return found;
}

/** Calls `visit(path, start, end, key)` for every value; a broken text is walked as far as it goes. */
function walk(text, visit) {
  TOKEN.lastIndex = 0;
  const next = () => {
    const found = TOKEN.exec(text);
    return found && { word: found[1], end: TOKEN.lastIndex, start: TOKEN.lastIndex - found[1].length };
  };

  function value(token, path, key) {
    if (!token) return null;
    let { end } = token;
    if (token.word === "{") end = members(path);
    if (token.word === "[") end = items(path);
    if (end !== null) visit(path, token.start, end, key);
    return end;
  }

  function members(path) {
    for (let token = next(); token; token = next()) {
      if (token.word === "}") return token.end;
      if (token.word === ",") continue;
      const key = [token.start, token.end];
      let name;
      try {
        name = JSON.parse(token.word);
      } catch {
        return null;
      }
      next(); // the colon
      if (value(next(), [...path, String(name)], key) === null) return null;
    }
    return null;
  }

  function items(path) {
    for (let token = next(), i = 0; token; token = next()) {
      if (token.word === "]") return token.end;
      if (token.word === ",") continue;
      if (value(token, [...path, String(i++)], null) === null) return null;
    }
    return null;
  }

  value(next(), [], null);
}
