// Pictures on canvases: inputs, diagrams, images, each with its axes in field units.

import { h } from "./dom.js";
import { number } from "./words.js";

const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans KR", "NanumSquare", sans-serif';
const VIRIDIS = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37],
];
const DIVERGING = [[33, 80, 150], [120, 164, 212], [244, 244, 242], [226, 140, 112], [158, 42, 38]];
const LINES = 12; // channels of a signal that are drawn

const drawings = new Map();
const watcher = new ResizeObserver((entries) => entries.forEach(({ target }) => paint(target)));

/** A canvas that is drawn whenever its width or the theme changes. text: what it shows, in words. */
export function canvas(text, height, draw) {
  const element = h("canvas", { role: "img", "aria-label": text });
  drawings.set(element, { height, draw });
  watcher.observe(element);
  return element;
}

/** No longer draw what an element holds: it leaves the page, or never came into it. */
export function forget(parent) {
  for (const element of parent.querySelectorAll("canvas")) {
    watcher.unobserve(element);
    drawings.delete(element);
  }
}

export function repaint() {
  for (const element of drawings.keys()) paint(element);
}

function paint(element) {
  const { height, draw } = drawings.get(element) ?? {};
  const width = element.clientWidth;
  if (!draw || !width) return;
  const scale = Math.max(window.devicePixelRatio || 1, 1);
  const tall = Math.round(height(width));
  element.style.height = `${tall}px`;
  element.width = Math.round(width * scale);
  element.height = Math.round(tall * scale);
  const g = element.getContext("2d");
  g.scale(scale, scale);
  g.font = FONT;
  draw(g, width, tall, colours());
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const named = ["text", "muted", "line", "edge", "accent", "surface", "bad"];
  return Object.fromEntries(named.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** The axes around a box. bottom, left: {low, high, name}; inner: where low and high lie. */
function frame(g, box, bottom, left, ink, inner = box) {
  g.strokeStyle = ink.edge;
  g.lineWidth = 1;
  g.strokeRect(box.x - 0.5, box.y - 0.5, box.w + 1, box.h + 1);
  g.fillStyle = ink.muted;
  g.textBaseline = "top";
  ends(g, bottom, { x: inner.x, w: inner.w, y: box.y, h: box.h });
  upright(g, left, { x: box.x, y: inner.y, h: inner.h });
}

function ends(g, axis, box) {
  g.save();
  g.translate(box.x, box.y + box.h + 5);
  along(g, axis, box.w, below(box.w) > LINE ? 13 : null);
  g.restore();
}

function upright(g, axis, box) {
  g.save();
  g.translate(box.x - 16, box.y + box.h);
  g.rotate(-Math.PI / 2);
  along(g, axis, box.h, -14);
  g.restore();
}

/** The ends and the name of an axis of that length; the name in a second line where it must. */
function along(g, axis, length, second) {
  const [low, high] = [number(axis.low, 3), number(axis.high, 3)];
  g.textAlign = "left";
  g.fillText(low, 0, 0);
  g.textAlign = "right";
  g.fillText(high, length, 0);
  g.textAlign = "center";
  const room = length - 2 * Math.max(g.measureText(low).width, g.measureText(high).width) - 10;
  const wide = (text) => g.measureText(text).width;
  const short = axis.name.replace(/ \[.*\]$/, ""); // the unit is told beside the gallery too
  if (wide(axis.name) <= room) g.fillText(axis.name, length / 2, 0);
  else if (second !== null && wide(axis.name) <= length) g.fillText(axis.name, length / 2, second);
  else if (second === null || wide(short) <= room) g.fillText(shortened(g, short, room), length / 2, 0);
  else g.fillText(shortened(g, short, length), length / 2, second);
}

function shortened(g, text, room) {
  if (g.measureText(text).width <= room) return text;
  let kept = text;
  while (kept.length > 1 && g.measureText(`${kept}…`).width > room) kept = kept.slice(0, -1);
  return kept.length > 1 ? `${kept}…` : "";
}

const LEFT = 34;
const NARROW = 150; // an axis shorter than it may need a line of its own for its name
const LINE = 20;

const below = (length) => (length < NARROW ? LINE + 12 : LINE);

/** Where a plot lies on a canvas of that width; right: room for a scale beside it. */
export function square(width, right) {
  const side = Math.max(width - LEFT - right, 24);
  return { x: LEFT, y: 4, w: side, h: side };
}

export const tallSquare = (right) => (width) => {
  const box = square(width, right);
  return box.h + below(box.w) + 4;
};

export const RIGHT = 30;
export const PLOT_RIGHT = 6;

function mixed(table, share) {
  const place = Math.min(Math.max(share, 0), 1) * (table.length - 1);
  const k = Math.min(Math.floor(place), table.length - 2);
  return table[k].map((part, c) => Math.round(part + (table[k + 1][c] - part) * (place - k)));
}

/** The pixels of a matrix [rows, columns] as a small picture; row 0 at the bottom where `up`. */
function raster(values, [rows, columns], { low, high, table, up = false, mirrored = false }) {
  const picture = new ImageData(columns, rows);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const found = values[row * columns + column];
      const place = 4 * ((up ? rows - 1 - row : row) * columns + (mirrored ? columns - 1 - column : column));
      const colour = Number.isFinite(found) ? mixed(table, (found - low) / (high - low || 1)) : [128, 128, 128];
      picture.data.set([...colour, Number.isFinite(found) ? 255 : 60], place);
    }
  }
  return picture;
}

function put(g, picture, box) {
  const small = document.createElement("canvas");
  small.width = picture.width;
  small.height = picture.height;
  small.getContext("2d").putImageData(picture, 0, 0);
  g.imageSmoothingEnabled = false;
  g.drawImage(small, box.x, box.y, box.w, box.h);
}

function scaleBar(g, box, { low, high, table }, ink) {
  const x = box.x + box.w + 7;
  for (let row = 0; row < box.h; row += 1) {
    g.fillStyle = `rgb(${mixed(table, 1 - row / box.h).join(" ")})`;
    g.fillRect(x, box.y + row, 7, 1.5);
  }
  g.fillStyle = ink.muted;
  g.save();
  g.translate(x + 10, box.y + box.h);
  g.rotate(-Math.PI / 2);
  g.textBaseline = "top";
  g.textAlign = "left";
  g.fillText(number(low, 3), 0, 0);
  g.textAlign = "right";
  g.fillText(number(high, 3), box.h, 0);
  g.restore();
}

/** The ends of a range; 0 and 1 of one that nothing lies in. */
function limits([low, high]) {
  return low <= high ? { low, high } : { low: 0, high: 1 };
}

/** An image (rows, columns) of a store. axes: of its rows and its columns; range: [low, high]. */
export function drawImage(values, shape, axes, range, signed) {
  return (g, width, height, ink) => {
    const scale = { ...limits(range), table: signed ? DIVERGING : VIRIDIS };
    const box = square(width, RIGHT);
    const [rows, columns] = axes;
    put(g, raster(values, shape, { ...scale, up: rows.ascending, mirrored: !columns.ascending }), box);
    frame(g, box, columns, rows, ink);
    scaleBar(g, box, scale, ink);
  };
}

/** Births and deaths with the diagonal; essential classes as triangles on a line of their own. */
export function drawDiagram(points, range, names) {
  return (g, width, height, ink) => {
    const box = square(width, PLOT_RIGHT);
    const { low, high } = limits(range);
    const span = high - low || 1;
    const edge = 13; // room for essential classes above or below
    const place = (value) => (value - low) / span;
    const x = (birth) => box.x + 3 + place(birth) * (box.w - 6 - edge);
    const y = (death) => box.y + box.h - 3 - edge * below - place(death) * (box.h - 6 - edge);
    let below = 0;
    for (let k = 1; k < points.length; k += 2) if (points[k] === -Infinity) below = 1;
    g.strokeStyle = ink.edge;
    g.setLineDash([3, 3]);
    g.beginPath();
    g.moveTo(x(low), y(low));
    g.lineTo(x(high), y(high));
    g.stroke();
    g.setLineDash([]);
    const radius = box.w < 220 ? 2.4 : 3.6;
    const finite = new Path2D();
    const essential = new Path2D();
    for (let k = 0; k < points.length; k += 2) {
      const [birth, death] = [points[k], points[k + 1]];
      if (Number.isFinite(death)) {
        finite.moveTo(x(birth) + radius, y(death));
        finite.arc(x(birth), y(death), radius, 0, 7);
      } else {
        const up = death > 0;
        const tip = up ? box.y + 3 : box.y + box.h - 3;
        const base = up ? tip + 7 : tip - 7;
        essential.moveTo(x(birth), tip);
        essential.lineTo(x(birth) - 4.5, base);
        essential.lineTo(x(birth) + 4.5, base);
        essential.closePath();
      }
    }
    g.globalAlpha = points.length > 120 ? 0.45 : 0.8;
    g.fillStyle = ink.accent;
    g.fill(finite);
    g.globalAlpha = 1;
    g.fillStyle = ink.bad;
    g.fill(essential);
    const inner = { x: x(low), w: x(high) - x(low), y: y(high), h: y(low) - y(high) };
    frame(g, box, { low, high, name: names.birth }, { low, high, name: names.death }, ink, inner);
  };
}

/** Those channels of a signal that one axis fits, which are the ones of one unit; a few of many. */
export function drawnChannels(units, front) {
  const alike = [...units.keys()].filter((channel) => units[channel] === units[front] && channel !== front);
  return [...alike.slice(0, LINES - 1), front];
}

/** Some channels of a signal (time, channel): the last one in front, the others behind it. */
export function drawSignal(values, [times, channels], shown, { bottom, name }) {
  const front = shown.at(-1);
  const [low, high] = extremes(values.filter((_, k) => shown.includes(k % channels)));
  return (g, width, height, ink) => {
    const box = square(width, PLOT_RIGHT);
    const span = high - low || 1;
    const x = (time) => box.x + (time / times) * box.w;
    const y = (found) => box.y + box.h - 3 - ((found - low) / span) * (box.h - 6);
    for (const channel of shown) {
      g.strokeStyle = channel === front ? ink.accent : ink.edge;
      g.globalAlpha = channel === front ? 1 : 0.45;
      g.lineWidth = channel === front ? 1.4 : 1;
      g.beginPath();
      let pen = false;
      for (let time = 0; time < times; time += 1) {
        const found = values[time * channels + channel];
        if (!Number.isFinite(found)) pen = false;
        else if (pen) g.lineTo(x(time), y(found));
        else {
          g.moveTo(x(time), y(found));
          pen = true;
        }
      }
      g.stroke();
    }
    g.globalAlpha = 1;
    frame(g, box, bottom, { low, high, name }, ink);
  };
}

/** A picture (row, column, channel): colours of three channels, one channel in grey. */
export function drawPicture(values, [rows, columns, channels], { front, maximum, names }) {
  const [low, high] = maximum ? [0, maximum] : extremes(values);
  const byte = (found) => Math.round(255 * Math.min(Math.max((found - low) / (high - low || 1), 0), 1));
  const picture = new ImageData(columns, rows);
  for (let place = 0; place < rows * columns; place += 1) {
    const at = (channel) => byte(values[place * channels + channel]);
    const grey = at(Math.min(front ?? 0, channels - 1));
    const colour = channels === 3 ? [at(0), at(1), at(2)] : [grey, grey, grey];
    picture.data.set([...colour, 255], 4 * place);
  }
  return (g, width, height, ink) => {
    const whole = square(width, PLOT_RIGHT);
    const scale = Math.min(whole.w / columns, whole.h / rows);
    const box = { x: whole.x, y: whole.y, w: columns * scale, h: rows * scale };
    put(g, picture, box);
    frame(g, box, { low: 0, high: columns, name: names.column }, { low: rows, high: 0, name: names.row }, ink);
  };
}

/** Points of a cloud (point, coordinate) by their first two coordinates. */
export function drawCloud(values, [points, coordinates], names) {
  const at = (point, c) => (c < coordinates ? values[point * coordinates + c] : 0);
  const all = [...Array(points).keys()];
  const [left, right] = extremes(all.map((point) => at(point, 0)));
  const [low, high] = extremes(all.map((point) => at(point, 1)));
  return (g, width, height, ink) => {
    const box = square(width, PLOT_RIGHT);
    g.fillStyle = ink.accent;
    g.globalAlpha = 0.7;
    for (const point of all) {
      const x = box.x + 4 + ((at(point, 0) - left) / (right - left || 1)) * (box.w - 8);
      const y = box.y + box.h - 4 - ((at(point, 1) - low) / (high - low || 1)) * (box.h - 8);
      g.fillRect(x - 1.2, y - 1.2, 2.4, 2.4);
    }
    g.globalAlpha = 1;
    frame(g, box, { low: left, high: right, name: names[0] }, { low, high, name: names[1] }, ink);
  };
}

export function extremes(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const found of values) {
    if (found < low && found > -Infinity) low = found;
    if (found > high && found < Infinity) high = found;
  }
  return low <= high ? [low, high] : [0, 1];
}

export const tallPlot = tallSquare(PLOT_RIGHT);
export const tallImage = tallSquare(RIGHT);
