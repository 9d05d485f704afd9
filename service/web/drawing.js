// Draw a digit, and the model says which it is while the line is still wet.
import { latest, post } from "./api.js";
import { bars } from "./bars.js";
import { h } from "./dom.js";
import { fitted, toCells } from "./pixels.js";

const SIDE = 224;

export function drawing(run, column, examples) {
  const [height, width] = column.shape;
  const paper = h("canvas", { class: "paper", width: SIDE, height: SIDE, role: "img", "aria-label": "Draw here" });
  const seen = h("canvas", { class: "seen", width, height, role: "img", "aria-label": "What the model sees" });
  const ink = paper.getContext("2d", { willReadFrequently: true });
  Object.assign(ink, { lineCap: "round", lineJoin: "round", strokeStyle: "#fff", lineWidth: SIDE / 10, imageSmoothingEnabled: false });
  const guess = bars();
  let cells = null; // what the model sees
  let pen = null;
  let own = false; // whether what is on the paper was drawn by hand

  const ask = latest(async () => {
    try {
      const { predictions } = await post(`models/${run.id}/predict`, { rows: [{ [column.name]: cells }] });
      guess.show(predictions[0]);
    } catch (error) {
      guess.fault(error.message);
    }
  });

  function see(given) {
    if (!given) return;
    cells = given;
    paint(seen, cells.flat(2), column.max);
    ask();
  }

  function clear() {
    ink.clearRect(0, 0, SIDE, SIDE);
    own = true;
  }

  function example() {
    see(examples[Math.floor(Math.random() * examples.length)][column.name]);
    clear();
    ink.drawImage(seen, 0, 0, SIDE, SIDE);
    own = false;
  }

  function spot(event) {
    const scale = SIDE / paper.clientWidth;
    return [event.offsetX * scale, event.offsetY * scale];
  }

  function line(event) {
    if (!pen) return;
    ink.beginPath();
    ink.moveTo(...pen);
    ink.lineTo(...(pen = spot(event)));
    ink.stroke();
    see(toCells(fitted(paper, height), height, column.max));
  }

  paper.onpointerdown = (event) => {
    paper.setPointerCapture(event.pointerId);
    if (!own) clear();
    pen = spot(event);
    line(event);
  };
  paper.onpointermove = line;
  paper.onpointerup = paper.onpointercancel = () => (pen = null);
  example();
  const tools = h("div", { class: "tools" }, h("button", { onclick: clear }, "Clear"), h("button", { onclick: example }, "One from the data"));
  const about = h("p", { class: "quiet" }, seen, `Draw in the box. The model sees ${height} × ${width}.`);
  return { element: h("div", { class: "drawing" }, h("div", {}, paper, tools), h("div", {}, about, guess.element)), ask };
}

/** Paints values as they are, one pixel each. */
function paint(canvas, values, max) {
  const ink = canvas.getContext("2d");
  const image = ink.createImageData(canvas.width, canvas.height);
  values.forEach((value, i) => image.data.set([...Array(3).fill((255 * value) / max), 255], 4 * i));
  ink.putImageData(image, 0, 0);
}
