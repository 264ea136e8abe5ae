// Samples of a store: what went in, its diagram, its image. By class, or of one class.

import { array, ask, explained, query } from "./api.js";
import { choice, h, say, show } from "./dom.js";
import { canvas, drawCloud, drawDiagram, drawImage, drawnChannels, drawPicture, drawSignal, extremes, forget, repaint, tallImage, tallPlot } from "./draw.js";
import { axisName, heading, unit } from "./store.js";
import { count, number, t } from "./words.js";

const EACH = 2; // samples of every class in the view by class
const AT_ONCE = 12; // samples of one call

function told(name, of) {
  return of ? `${name} [${of}]` : name;
}

export async function gallery(main, { key, values, go }) {
  const [store, seen] = await Promise.all([ask(`v1/stores/${key}`), ask(`v1/stores/${key}/overview`)]);
  const state = {
    label: values.get("label") ?? "", status: values.get("status") ?? "", channel: Number(values.get("channel") ?? 0) || 0,
  };
  const list = h("div", { class: "stack", id: "samples" });
  const next = h("button", { type: "button" }, t("more_samples"));
  const failed = h("p", { class: "notice wrong", role: "alert", hidden: true });
  const counted = h("p", { class: "muted small" });
  let turn = 0;
  let scale = null;

  const byClass = () => state.label === "" && state.status === "" && seen.labels.length > 1;

  async function load(after) {
    const mine = (turn += 1);
    next.disabled = true;
    const asked = query({ ...state, each: byClass() ? EACH : "", after, limit: AT_ONCE });
    try {
      const page = await ask(`v1/stores/${key}/samples?${asked}`);
      if (mine === turn) put(page, after); // else something else was chosen meanwhile
    } catch (error) {
      if (mine === turn) fail(error, after);
    }
  }

  function clear() {
    forget(list);
    list.replaceChildren();
  }

  function put(page, after) {
    failed.hidden = true;
    if (after) widen(scale, page);
    else {
      scale = scaleOf(page, seen);
      clear();
    }
    add(list, page.samples, (sample) => card(sample, store, seen, scale), byClass() ? seen : null, key);
    if (after) repaint();
    const all = byClass() ? seen.samples : page.total;
    counted.textContent = page.total ? t(byClass() ? "by_class_note" : "shown_of", { n: count(page.next ?? page.total), all: count(all), each: EACH }) : "";
    next.hidden = page.next === null;
    next.disabled = false;
    next.textContent = t("more_samples");
    next.onclick = () => load(page.next);
    if (!page.total) show(list, h("p", { class: "card empty" }, t("no_samples")));
    say(counted.textContent || t("no_samples"));
  }

  /** What is shown stays where only more of it did not come. */
  function fail(error, after) {
    if (!after) clear();
    failed.textContent = explained(error);
    failed.hidden = next.hidden = next.disabled = false;
    next.textContent = t("try_again");
    next.onclick = () => load(after);
  }

  const change = (name) => (chosen) => {
    state[name] = name === "channel" ? Number(chosen) : chosen;
    go({ ...state, channel: state.channel || "" });
    return load(0);
  };

  const labels = [["", t("all_classes")], ...seen.labels.map(({ label, name, samples }) => [label, `${name || t("no_label")} (${count(samples)})`])];
  const codes = [["", t("any_status")], ...Object.entries(seen.status).map(([code, n]) => [code, `${code} (${count(n)})`])];
  show(
    main,
    heading(store, "gallery"),
    h("div", { class: "bar" },
      choice(t("class"), labels, state.label, change("label")),
      choice(t("channel"), seen.channels.map((channel, k) => [k, channel.name]), state.channel, change("channel")),
      choice(t("status"), codes, state.status, change("status")),
    ),
    h("div", { class: "tight" }, counted, legend(seen)),
    list,
    failed,
    h("p", null, next),
  );
  await load(0);
}

function legend(seen) {
  return seen.has_diagrams ? h("p", { class: "muted small" }, t("diagram_note")) : null;
}

/** Cards, under a heading for each class where the view is by class. */
function add(list, samples, make, seen, key) {
  for (const sample of samples) {
    const name = seen ? `class ${sample.label ?? -1}` : "all";
    let part = [...list.children].find((child) => child.dataset.part === name);
    if (!part) {
      part = h("section", { class: "class", "data-part": name }, seen && classHeading(sample, seen, key), h("div", { class: "samples" }));
      list.append(part);
    }
    part.querySelector(".samples").append(make(sample));
  }
}

function classHeading(sample, seen, key) {
  const label = seen.labels.find((found) => found.label === (sample.label ?? -1));
  return h("h3", null, h("span", null, sample.label_name || t("no_label")),
    h("a", { class: "small", href: `#/stores/${key}/gallery?label=${sample.label ?? -1}` }, t("all_n_samples", { n: count(label?.samples) })));
}

/** What all pictures that are shown share, so that they compare: the ranges of diagrams and images. */
export function scaleOf(page, seen) {
  const scale = {
    points: [Infinity, -Infinity], images: seen.values ? [...seen.values] : [Infinity, -Infinity],
    fixed: Boolean(seen.values), signed: seen.representation === "gramian-angular-fields",
  };
  widen(scale, page);
  return scale;
}

/** Make room in the ranges for more samples, in place: what is drawn already follows. */
function widen(scale, page) {
  for (const channel of page.samples.flatMap((sample) => sample.channels)) {
    if (channel.points) stretch(scale.points, array(channel.points));
    if (channel.image && !scale.fixed) stretch(scale.images, array(channel.image));
  }
}

function stretch(range, values) {
  if (!values.some(Number.isFinite)) return;
  const [low, high] = extremes(values);
  [range[0], range[1]] = [Math.min(range[0], low), Math.max(range[1], high)];
}

function card(sample, store, seen, scale) {
  const [channel] = sample.channels;
  const figures = [
    inputFigure(sample, seen, channel.channel), diagramFigure(sample, channel, seen, scale), imageFigure(sample, channel, seen, scale),
  ].filter(Boolean);
  return h("article", { class: "card sample" },
    h("header", null,
      h("a", { href: `#/stores/${store.key}/samples/${sample.sample}`, "aria-label": t("sample_n", { n: sample.sample }) }, `#${sample.sample}`),
      h("strong", null, sample.label_name || t("no_label")),
      sample.status !== "OK" && h("span", { class: "chip bad" }, sample.status),
      h("span", { class: "id mono muted" }, sample.id),
    ),
    sample.status !== "OK" && h("p", { class: "small bad" }, t(`status_${sample.status}`)),
    h("div", { class: ["figures", ["", "lonely", "two"][figures.length]].filter(Boolean).join(" ") }, figures),
  );
}

export function figure(kind, caption, picture) {
  return h("figure", { class: kind }, h("figcaption", null, caption), picture);
}

/** What went in, by the names of its dimensions; null where a store has none of it. */
export function inputFigure(sample, seen, channel) {
  const part = sample.input;
  if (!part) return null;
  const values = array(part);
  const front = seen.channels[channel].input;
  const names = part.dimensions;
  const text = t("input_of", { n: sample.sample });
  const make = (draw) => figure("input", t("input"), canvas(text, tallPlot, draw));
  if (names[0] === "row") return make(drawPicture(values, part.shape, { front, maximum: part.maximum, names: { row: t("axis_row"), column: t("axis_column") } }));
  if (names[0] === "time") {
    const times = part.shape[0];
    const bottom = sample.rate ? { low: 0, high: times / sample.rate, name: told(t("axis_time"), unit("second")) } : { low: 0, high: times, name: told(t("axis_time"), unit("sample")) };
    const units = seen.input_channels.map((found) => found.unit);
    const shown = drawnChannels(units, front);
    const counted = shown.length < units.length ? `, ${t("n_of_channels", { shown: count(shown.length), n: count(units.length) })}` : "";
    const name = told(seen.input_channels[front].name, unit(units[front]));
    return figure("input", t("input") + counted, canvas(text, tallPlot, drawSignal(values, part.shape, shown, { bottom, name })));
  }
  if (names[1] === "coordinate") return make(drawCloud(values, part.shape, [t("coordinate_n", { n: 1 }), t("coordinate_n", { n: 2 })]));
  if (names[1] !== "other_point") return null;
  const [low, high] = extremes(values);
  const axis = (n) => ({ low: 0, high: n, name: t("axis_point"), ascending: true });
  return figure("input", t("distances"), canvas(text, tallImage, drawImage(values, part.shape, part.shape.map(axis), [low, high], false)));
}

export function diagramFigure(sample, channel, seen, scale) {
  if (!channel.points) return null;
  const points = array(channel.points);
  const essential = points.filter((found, k) => k % 2 === 1 && !Number.isFinite(found)).length;
  const of = unit(seen.channels[channel.channel].unit);
  const text = t("diagram_of", { n: sample.sample, points: count(channel.points_in_all), essential: count(essential) });
  const names = { birth: told(t("axis_birth"), of), death: told(t("axis_death"), of) };
  const sent = points.length / 2;
  const caption = t(sent < channel.points_in_all ? "n_of_points" : "n_points", { n: count(channel.points_in_all), shown: count(sent) });
  return figure("diagram", `${t("diagram")}, ${caption}`, canvas(text, tallPlot, drawDiagram(points, scale.points, names)));
}

export function imageFigure(sample, channel, seen, scale) {
  const what = t(scale.signed ? "gaf" : "pi");
  if (!channel.image) return figure("pi", what, h("p", { class: "empty small" }, t("no_image", { status: sample.status })));
  const of = unit(seen.channels[channel.channel].unit);
  const sides = seen.axes.map((axis) => ({
    ...axis, low: axis.low ?? 0, high: axis.high ?? axis.cells,
    name: axis.low === null ? t("pixel") : told(axisName(axis.name), axis.unit ? unit(axis.unit) : of),
  }));
  const values = array(channel.image);
  const [low, high] = extremes(values);
  const text = t("image_of", { what, n: sample.sample, low: number(low, 3), high: number(high, 3) });
  return figure("pi", what, canvas(text, tallImage, drawImage(values, channel.image.shape, sides, scale.images, scale.signed)));
}

/** One sample: its input, and the diagram and image of every channel. */
export async function sample(main, { key, number: wanted }) {
  const [store, seen, found] = await Promise.all([
    ask(`v1/stores/${key}`), ask(`v1/stores/${key}/overview`), ask(`v1/stores/${key}/samples/${wanted}`),
  ]);
  const scale = scaleOf({ samples: [found] }, seen);
  const neighbour = (n, text) => n >= 0 && n < seen.samples && h("a", { href: `#/stores/${key}/samples/${n}` }, text);
  const inputs = firstOfUnits(seen, found).map((channel) => inputFigure(found, seen, channel)).filter(Boolean);
  show(
    main,
    heading(store, "gallery"),
    h("div", { class: "bar middle" },
      h("h2", null, t("sample_n", { n: found.sample })),
      neighbour(found.sample - 1, t("previous")), neighbour(found.sample + 1, t("next")),
    ),
    h("div", { class: "pair" }, h("section", { class: "card" }, about(found)), inputs.length > 0 && h("section", { class: "card" }, h("div", { class: "figures lonely" }, inputs))),
    found.channels.map((channel) => h("section", { class: "card stack" },
      h("h2", null, h("span", { class: "mono" }, seen.channels[channel.channel].name)),
      h("div", { class: "figures large" }, diagramFigure(found, channel, seen, scale), imageFigure(found, channel, seen, scale)),
    )),
    found.channels.length < seen.channels.length && h("p", { class: "muted" }, t("channels_left_out", { n: count(seen.channels.length - found.channels.length) })),
  );
}

/** A channel of each unit that signals have, as one axis shows one unit; the first of other inputs. */
function firstOfUnits(seen, found) {
  const unitOf = ({ input }) => seen.input_channels[input].unit;
  const units = found.input?.dimensions[0] === "time" ? new Set(seen.channels.map(unitOf)) : [];
  return units.size ? [...units].map((wanted) => seen.channels.findIndex((channel) => unitOf(channel) === wanted)) : [0];
}

function about(found) {
  const pairs = [["id", found.id], ["class", found.label_name || t("no_label")], ["group", found.group], ["split", found.split]];
  return h("table", { class: "spec" },
    h("caption", { class: "unseen" }, t("sample_n", { n: found.sample })),
    h("tbody", null,
      pairs.filter(([, text]) => text).map(([name, text]) => h("tr", null, h("th", { scope: "row" }, t(name)), h("td", null, text))),
      h("tr", null, h("th", { scope: "row" }, t("status")), h("td", null,
        h("span", { class: found.status === "OK" ? "chip on" : "chip bad" }, found.status), " ", h("span", { class: "muted" }, t(`status_${found.status}`)))),
    ));
}
