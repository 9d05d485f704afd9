// From a drawing to the pixels a model was trained on: cut out, fitted, averaged, as the makers of the data did.

/** The ink, fitted into a square: the whole of it for small pictures, 20 of 28 for large ones. */
export function fitted(paper, cells) {
  const box = inked(paper);
  if (!box) return null;
  const side = cells * 8;
  const room = cells <= 10 ? side : (side * 20) / 28;
  const scale = room / Math.max(box.width, box.height);
  const [width, height] = [box.width * scale, box.height * scale];
  const square = new OffscreenCanvas(side, side);
  const ink = square.getContext("2d", { willReadFrequently: true });
  ink.imageSmoothingQuality = "high";
  ink.drawImage(paper, box.x, box.y, box.width, box.height, (side - width) / 2, (side - height) / 2, width, height);
  return square;
}

/** The smallest box around the ink; null without any. */
function inked(paper) {
  const { data, width } = paper.getContext("2d").getImageData(0, 0, paper.width, paper.height);
  let [left, right, top, bottom] = [Infinity, -1, Infinity, -1];
  for (let i = 3; i < data.length; i += 4) {
    if (data[i] < 40) continue;
    const [x, y] = [((i - 3) / 4) % width, Math.floor((i - 3) / 4 / width)];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  }
  return right < 0 ? null : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

/** Rows of cells from 0 to `max`, each the mean ink of its 8 x 8 pixels. */
export function toCells(square, cells, max) {
  if (!square) return null;
  const side = square.width;
  const { data } = square.getContext("2d").getImageData(0, 0, side, side);
  const mean = (row, column) => {
    let sum = 0;
    for (let y = row * 8; y < row * 8 + 8; y++) for (let x = column * 8; x < column * 8 + 8; x++) sum += data[4 * (y * side + x) + 3];
    return Math.round((sum / 64 / 255) * max);
  };
  return Array.from({ length: cells }, (_, row) => Array.from({ length: cells }, (_, column) => mean(row, column)));
}
