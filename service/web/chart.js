// A line chart on a canvas: lines with gaps, a cursor by mouse or arrow keys, colours of the style sheet.
import { colour, h, onTheme, sharp } from "./dom.js";
import { number, score } from "./format.js";

const HEIGHT = 210;
const EDGE = { left: 46, right: 16, top: 10, bottom: 22 };

/** {element, show(lines)}; a line is {name, colour, steps, values, faint}. */
export function chart(title) {
  const canvas = h("canvas", { role: "img", tabIndex: 0 });
  const legend = h("div", { class: "legend" });
  const element = h("figure", { class: "chart" }, h("figcaption", {}, h("b", {}, title), legend), canvas);
  let lines = [];
  let cursor = null; // a step, or null
  let size = 0;

  function draw() {
    if (!size || !lines.length) return;
    const ink = sharp(canvas, size, HEIGHT);
    const at = scales(lines, size);
    ink.font = "11px " + getComputedStyle(document.body).fontFamily;
    grid(ink, at, size);
    for (const line of lines) stroke(ink, at, line);
    if (cursor !== null) mark(ink, at, lines, cursor);
    label();
  }

  function label() {
    const step = cursor ?? Infinity;
    legend.replaceChildren(...lines.map((line) => {
      const value = line.values[nearest(line.steps, step)];
      const swatch = h("i", { "aria-hidden": "true" });
      swatch.style.background = colour(line.colour);
      return h("span", {}, swatch, `${line.name} `, h("b", {}, score(title, value)));
    }), cursor === null ? "" : h("span", {}, `step ${number(cursor)}`));
    canvas.setAttribute("aria-label", `${title} by step: ${legend.textContent}`);
  }

  function follow(event) {
    const { from, to } = scales(lines, size);
    const share = (event.offsetX - EDGE.left) / (size - EDGE.left - EDGE.right);
    move(from + Math.min(1, Math.max(0, share)) * (to - from));
  }

  function move(step) {
    const longest = lines.reduce((a, b) => (b.steps.length > a.steps.length ? b : a));
    cursor = step === null ? null : longest.steps[nearest(longest.steps, step)];
    draw();
  }

  canvas.onpointermove = follow;
  canvas.onpointerleave = canvas.onblur = () => lines.length && move(null);
  canvas.onkeydown = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !lines.length) return;
    event.preventDefault();
    const steps = lines.reduce((a, b) => (b.steps.length > a.steps.length ? b : a)).steps;
    const now = cursor === null ? steps.length : nearest(steps, cursor);
    move(steps[Math.min(steps.length - 1, Math.max(0, now + by))]);
  };
  new ResizeObserver(([entry]) => {
    size = entry.contentRect.width;
    draw();
  }).observe(canvas.parentElement);
  onTheme(draw);
  return { element, show: (given) => { lines = given; draw(); } };
}

/** From steps and values to pixels. */
function scales(lines, width) {
  const steps = lines.flatMap((line) => [line.steps[0], line.steps.at(-1)]);
  const values = lines.flatMap((line) => line.values).filter((value) => value !== null);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (!(high > low)) [low, high] = [low - Math.abs(low) / 10, high + (Math.abs(high) / 10 || 1)];
  if (low > 0 && low < high / 4) low = 0;
  const ticks = nice(low, high, 4);
  [low, high] = [ticks[0], ticks.at(-1)];
  const [from, to] = [Math.min(...steps), Math.max(...steps, steps[0] + 1)];
  const x = (step) => EDGE.left + ((step - from) / (to - from)) * (width - EDGE.left - EDGE.right);
  const y = (value) => HEIGHT - EDGE.bottom - ((value - low) / (high - low)) * (HEIGHT - EDGE.top - EDGE.bottom);
  return { x, y, from, to, ticks };
}

/** Round numbers that hold `low` and `high` between them. */
function nice(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find((each) => each * power >= raw);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

function grid(ink, at, width) {
  ink.fillStyle = colour("muted");
  ink.strokeStyle = colour("line");
  ink.textBaseline = "middle";
  ink.textAlign = "right";
  for (const tick of at.ticks) {
    const y = Math.round(at.y(tick)) + 0.5;
    path(ink, [[EDGE.left, y], [width - EDGE.right, y]]);
    ink.fillText(number(Number(tick.toPrecision(8))), EDGE.left - 8, y);
  }
  ink.textAlign = "center";
  for (const step of nice(at.from, at.to, width / 90)) {
    if (step >= at.from && step <= at.to && Number.isInteger(step)) ink.fillText(number(step), at.x(step), HEIGHT - 8);
  }
}

function stroke(ink, at, line) {
  ink.strokeStyle = ink.fillStyle = colour(line.colour);
  ink.globalAlpha = line.faint ? 0.28 : 1;
  ink.lineWidth = line.faint ? 1 : 2;
  ink.lineJoin = "round";
  let piece = [];
  for (let i = 0; i <= line.steps.length; i++) {
    const value = line.values[i];
    if (value !== null && value !== undefined) piece.push([at.x(line.steps[i]), at.y(value)]);
    else {
      if (piece.length > 1) path(ink, piece);
      if (piece.length === 1) dot(ink, ...piece[0]);
      piece = [];
    }
  }
  ink.globalAlpha = ink.lineWidth = 1;
}

function mark(ink, at, lines, step) {
  ink.strokeStyle = colour("muted");
  path(ink, [[at.x(step), EDGE.top], [at.x(step), HEIGHT - EDGE.bottom]]);
  for (const line of lines) {
    const i = nearest(line.steps, step);
    ink.fillStyle = colour(line.colour);
    if (line.values[i] !== null) dot(ink, at.x(line.steps[i]), at.y(line.values[i]));
  }
}

function path(ink, points) {
  ink.beginPath();
  for (const [x, y] of points) ink.lineTo(x, y);
  ink.stroke();
}

function dot(ink, x, y) {
  ink.beginPath();
  ink.arc(x, y, 3.2, 0, 7);
  ink.fill();
}

/** Where the step nearest to the one asked for stands; steps ascend. */
function nearest(steps, step) {
  let [low, high] = [0, steps.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1;
    else high = middle;
  }
  return low > 0 && step - steps[low - 1] < steps[low] - step ? low - 1 : low;
}
