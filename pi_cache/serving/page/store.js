// One store: its facts, its spec in words and units, what its window shows, and how to use it.

import { address, ask } from "./api.js";
import { h, line, say, show } from "./dom.js";
import { bytes, coreTime, count, date, has, number, percent, t, value } from "./words.js";

const FEW = 20; // classes or channels that are shown before the rest is asked for
const LITTLE = 0.5; // a window that shows less of the points than this is worth a second look

/** The title, the key and the tabs that all views of a store have. */
export function heading(told, view) {
  const tabs = [["overview", `#/stores/${told.key}`], ["gallery", `#/stores/${told.key}/gallery`]];
  return h("header", { class: "stack" },
    h("div", { class: "tight" },
      h("h1", { tabindex: "-1" }, nameOf(told)),
      h("p", { class: "muted" }, sourceOf(told.source)),
      h("p", { class: "mono muted" }, told.key),
    ),
    h("nav", { class: "tabs", "aria-label": t("of_this_store") },
      tabs.map(([name, href]) => h("a", { href, "aria-current": view === name ? "page" : null }, t(name)))),
  );
}

export function nameOf(told) {
  const what = told.gramian ? t("gaf_of", { form: { summation: "GASF", difference: "GADF" }[told.gramian.form] }) : t("pi_of", { filtration: known(told.diagram?.filtration) });
  return told.recipe ? `${what} · ${told.recipe}` : what;
}

/** A word of a spec; of imported images some are unknown. */
export function known(word) {
  return !word || word === "unknown" ? t("unknown") : word;
}

function sourceOf(source) {
  const first = source.limit ? t("first_n", { n: count(source.limit) }) : null;
  return [[source.kind, source.location].filter(Boolean).join(":"), source.split, first].filter(Boolean).join(", ");
}

export async function store(main, { key, access }) {
  const [told, seen] = await Promise.all([ask(`v1/stores/${key}`), ask(`v1/stores/${key}/overview`)]);
  show(
    main,
    heading(told, "overview"),
    facts(told),
    told.origin === "imported" && h("p", { class: "notice" }, t("imported_note")),
    h("div", { class: "pair" },
      h("section", { class: "card stack" }, h("h2", null, t("what_was_computed")), specs(told, seen)),
      h("div", { class: "stack" }, statuses(seen), classes(seen, told.key), axes(seen)),
    ),
    seen.window && shown(seen.window),
    seen.inputs?.length ? inputs(seen.inputs) : null,
    usage(told, access),
    more(told),
  );
}

function facts(told) {
  const spent = Object.values(told.seconds ?? {}).reduce((sum, part) => sum + part, 0);
  const pairs = [
    ["samples", count(told.samples)], ["size", bytes(told.bytes)], ["shards", count(told.shards)],
    ["channels", count(told.channels.length)], ["core_time", coreTime(spent)], ["created", date(told.created, false)],
  ];
  return h("dl", { class: "facts" }, pairs.map(([name, text]) => h("div", null, h("dt", null, t(name)), h("dd", null, text))));
}

function specs(told, seen) {
  const source = { ...told.source };
  for (const [name, item] of Object.entries(source.options ?? {})) source[`options.${name}`] = item;
  delete source.options;
  const parts = [["source", source], ["diagram", told.diagram], ["image", told.image], ["gramian", told.gramian]];
  return parts.filter(([, part]) => part).map(([name, part]) => specTable(name, part, seen));
}

const FIELD = ["sigma", "birth_range", "persistence_range", "threshold", "min_persistence", "max_length"];

function unitOf(name, seen) {
  if (name === "pixels" || name === "size") return t("cells");
  if (!FIELD.includes(name)) return "";
  const units = new Set(seen.channels.map((channel) => channel.unit));
  return units.size === 1 ? unit([...units][0]) : t("field_units");
}

export function unit(name) {
  return has(`unit_${name}`) ? t(`unit_${name}`) : name;
}

function specTable(part, fields, seen) {
  const rows = Object.entries(fields).filter(([, item]) => item !== null && item !== "");
  return h("table", { class: "spec" },
    h("caption", null, t(`part_${part}`)),
    h("thead", { class: "unseen" }, h("tr", null, ["field", "value", "meaning"].map((name) => h("th", { scope: "col" }, t(name))))),
    h("tbody", null, rows.map(([name, item]) => h("tr", null,
      h("th", { scope: "row", class: "mono" }, name),
      h("td", null, [specValue(name, item), unitOf(name, seen)].filter(Boolean).join(" ")),
      h("td", { class: "meaning" }, has(`field_${part}_${name}`) ? t(`field_${part}_${name}`) : ""),
    ))),
  );
}

const DIGEST = /^[0-9a-f]{64}$/;

function specValue(name, item) {
  if (item === "unknown") return t("unknown");
  if (name.endsWith("_range") && Array.isArray(item)) return item.map((end) => value(end)).join(" … ");
  return DIGEST.test(item) ? `${item.slice(0, 12)}…` : value(item);
}

function statuses(seen) {
  const all = seen.samples || 1;
  const rows = Object.entries(seen.status).sort(([, a], [, b]) => b - a);
  return h("section", { class: "card stack" },
    h("h2", null, t("status")),
    bars(t("status"), rows.map(([code, n]) => ({
      name: [h("span", { class: code === "OK" ? "chip on" : "chip bad" }, code), " ", h("span", { class: "muted small" }, t(`status_${code}`))],
      n, share: n / all, href: code === "OK" ? null : `#/stores/${seen.key}/gallery?status=${code}`,
    }))),
    problems(seen.problems),
  );
}

function problems(found) {
  const few = Object.entries(found);
  if (!few.length) return null;
  return h("details", null, h("summary", null, t("first_problems")),
    h("ul", { class: "small" }, few.map(([id, text]) => h("li", null, h("span", { class: "mono" }, id), " ", value(text)))));
}

/** The first of many items as `make` shows them, and a button that has it show all. */
function few(items, make) {
  const body = h("div", { class: "stack" }, make(items.slice(0, FEW)));
  const rest = items.length - FEW;
  const all = () => {
    show(body, make(items));
    body.tabIndex = -1;
    body.focus(); // the button that had it is gone
  };
  if (rest > 0) body.append(h("div", null, h("button", { type: "button", onclick: all }, t("show_more", { n: count(rest) }))));
  return body;
}

function bars(caption, rows) {
  return h("table", { class: "captioned" },
    h("caption", { class: "unseen" }, caption),
    h("thead", { class: "unseen" }, h("tr", null, h("th", { scope: "col" }, caption), h("th", { scope: "col" }, t("share")), h("th", { scope: "col" }, t("samples")))),
    h("tbody", null, rows.map(({ name, n, share, href }) => h("tr", null,
      h("th", { scope: "row" }, href ? h("a", { href }, name) : name),
      h("td", { class: "wide" }, line(share), h("span", { class: "unseen" }, percent(share))),
      h("td", { class: "number" }, count(n)),
    ))),
  );
}

function classes(seen, key) {
  const largest = Math.max(...seen.labels.map((label) => label.samples), 1);
  const rows = (labels) => labels.map((label) => ({
    name: label.name || t("no_label"), n: label.samples, share: label.samples / largest,
    href: `#/stores/${key}/gallery?label=${label.label}`,
  }));
  const splits = Object.entries(seen.splits);
  return h("section", { class: "card stack" },
    h("h2", null, t("n_classes", { n: count(seen.classes) })),
    few(seen.labels, (labels) => bars(t("classes"), rows(labels))),
    splits.length ? h("p", { class: "small" }, `${t("splits")}: `, splits.map(([name, n]) => `${name || "–"} ${count(n)}`).join(", ")) : null,
    seen.groups === null ? null : h("p", { class: "small" }, t("n_groups", { n: count(seen.groups) })),
  );
}

function axes(seen) {
  const units = [...new Set(seen.channels.map((channel) => unit(channel.unit)).filter(Boolean))].join(", ");
  const text = (axis) => axis.low === null ? t("axis_unknown", { n: axis.cells }) : t("axis_known", {
    n: axis.cells, low: number(axis.low), high: number(axis.high),
  });
  const named = (axis) => [axisName(axis.name), axis.unit ? unit(axis.unit) : units].filter(Boolean);
  const title = ([name, of]) => of ? `${name} [${of}]` : name;
  return h("section", { class: "card stack" },
    h("h2", null, t("axes_channels")),
    h("table", { class: "spec" },
      h("caption", { class: "unseen" }, t("axes_channels")),
      h("tbody", null,
        seen.axes.map((axis) => h("tr", null, h("th", { scope: "row" }, title(named(axis))), h("td", null, text(axis)))),
        h("tr", null, h("th", { scope: "row" }, t("channels")), h("td", null, few(seen.channels.map((channel) => channel.name), (names) => h("span", { class: "mono" }, names.join(", "))))),
      )),
  );
}

export function axisName(name) {
  return has(`axis_${name}`) ? t(`axis_${name}`) : name;
}

function shown(window) {
  const told = [
    ["points_inside", percent(window.points_inside), window.points_inside],
    ["persistence_inside", percent(window.persistence_inside), window.persistence_inside],
  ];
  const counts = [
    ["drawn_points", window.points], ["empty_diagrams", window.empty_diagrams],
    [window.essential_are === "dropped" ? "essential_dropped" : "essential_clipped", window.essential],
    ["faint_images", window.faint_images], ["flat_channels", window.flat_channels],
  ];
  return h("section", { class: "card stack" },
    h("h2", null, t("window_shows")),
    h("p", { class: "muted small" }, t("window_note")),
    h("dl", { class: "facts" },
      told.map(([name, text, share]) => h("div", null, h("dt", null, t(name)),
        h("dd", null, text, " ", share !== null && share < LITTLE && h("span", { class: "chip bad" }, t("little")), line(share)))),
      counts.map(([name, n]) => h("div", null, h("dt", null, t(name)), h("dd", null, count(n)))),
    ),
    window.channels && few(window.channels, channelTable),
  );
}

function wide(label, table) {
  return h("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, table);
}

function channelTable(channels) {
  const shares = ["points_inside", "persistence_inside", "births_below", "births_above", "persistences_below", "persistences_above"];
  const ends = ["births", "longest"];
  return wide(t("by_channel"), h("table", { class: "captioned" },
    h("caption", null, t("by_channel")),
    h("thead", null, h("tr", null, ["channel", "points", ...shares, ...ends].map((name, k) => h("th", { scope: "col", class: k ? "number" : null }, t(name))))),
    h("tbody", null, channels.map((channel) => h("tr", null,
      h("th", { scope: "row", class: "mono" }, channel.name),
      h("td", { class: "number" }, count(channel.points)),
      shares.map((name) => h("td", { class: "number" }, percent(channel[name]))),
      h("td", { class: "number" }, channel.points ? `${number(channel.birth[0])} … ${number(channel.birth[1])}` : "–"),
      h("td", { class: "number" }, number(channel.persistence)),
    ))),
  ));
}

function inputs(all) {
  const shares = ["flat", "clipped_low", "clipped_high", "missing"];
  return h("section", { class: "card stack" },
    h("h2", null, t("inputs_seen")),
    h("p", { class: "muted small" }, t("clipped_note")),
    few(all, (channels) => wide(t("inputs_seen"), h("table", { class: "captioned" },
      h("caption", { class: "unseen" }, t("inputs_seen")),
      h("thead", null, h("tr", null, ["channel", "unit", "lowest", "highest", ...shares].map((name, k) => h("th", { scope: "col", class: k > 1 ? "number" : null }, t(name))))),
      h("tbody", null, channels.map((channel) => h("tr", null,
        h("th", { scope: "row", class: "mono" }, channel.name),
        h("td", null, unit(channel.unit) || "–"),
        h("td", { class: "number" }, number(channel.min)), h("td", { class: "number" }, number(channel.max)),
        shares.map((name) => h("td", { class: "number" }, percent(channel[name]))),
      ))),
    ))),
  );
}

/** Lines that work as they are copied: with the address of this host, and the token's where one is needed. */
function usage(told, access) {
  const here = address(`stores/${told.key}`);
  const header = access.tokens ? ' -H "Authorization: Bearer $PI_CACHE_TOKEN"' : "";
  const zarrHeader = access.tokens ? ',\n    client_options={"default_headers": {"Authorization": "Bearer " + os.environ["PI_CACHE_TOKEN"]}}' : "";
  const plain = here.startsWith("http:") ? ',\n    client_options={"allow_http": True}' : "";
  const options = zarrHeader && plain ? zarrHeader.replace('{"default', '{"allow_http": True, "default') : zarrHeader || plain;
  const lines = [
    ["use_python", `import pi_cache\n\nstore = pi_cache.open_store("${here}")\nimages = store.read("images", slice(0, 32))  # (32, ${value(told.channels.length)}, ...)`],
    ["use_torch", `from torch.utils.data import DataLoader\nfrom training.data import PersistenceImageDataset\n\ndataset = PersistenceImageDataset("${here}")\nloader = DataLoader(dataset, batch_size=128, shuffle=True)`],
    ["use_pull", `pi-cache pull ${here}`],
    ["use_curl", `curl${header} -O ${here}/manifest.json`],
    ["use_zarr", `${access.tokens ? "import os\n" : ""}import zarr\nfrom obstore.store import HTTPStore\nfrom zarr.storage import ObjectStore\n\nremote = HTTPStore.from_url(\n    "${here}/data.zarr"${options},\n)\ngroup = zarr.open_group(ObjectStore(remote, read_only=True), mode="r")`],
  ];
  return h("section", { class: "card stack" },
    h("h2", null, t("use")),
    access.tokens && h("p", { class: "notice small" }, t("token_note")),
    lines.map(([name, text]) => copyable(t(name), text)),
  );
}

export function copyable(label, text) {
  const button = h("button", { type: "button", "aria-label": t("copy_of", { what: label }) }, t("copy"));
  button.addEventListener("click", async () => {
    const done = await copied(text);
    button.textContent = t(done ? "copied" : "not_copied");
    say(button.textContent);
    setTimeout(() => { button.textContent = t("copy"); }, 2000);
  });
  return h("div", { class: "copy" }, h("h3", null, label), button, h("pre", { tabindex: "0" }, text));
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedByHand(text); // the clipboard is for https and loopback pages only
  }
}

function copiedByHand(text) {
  const area = h("textarea", { class: "unseen", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

function more(told) {
  const pairs = [
    ["digest", told.digest], ["layout", value(told.layout)], ["arrays", value(told.arrays)],
    ["files", count(told.files)], ["created", date(told.created)], ["versions", value(told.versions)],
    ["seconds_by_step", value(Object.fromEntries(Object.entries(told.seconds ?? {}).map(([name, spent]) => [name, number(spent, 3)])))],
  ];
  return h("details", { class: "card" }, h("summary", null, t("more")),
    h("table", { class: "spec" }, h("caption", { class: "unseen" }, t("more")),
      h("tbody", null, pairs.map(([name, text]) => h("tr", null, h("th", { scope: "row" }, t(name)), h("td", { class: "mono" }, text))))));
}
