// The list of stores: search over every field, sort by a column.

import { ask } from "./api.js";
import { h, say, show } from "./dom.js";
import { known } from "./store.js";
import { bytes, coreTime, count, duration, t, value } from "./words.js";

const SHOWN = 100; // rows at a time

const COLUMNS = [
  { name: "store", of: (store) => title(store).toLowerCase() },
  { name: "source", of: (store) => sourceText(store).toLowerCase(), later: true },
  { name: "samples", of: (store) => store.samples ?? -1, number: true },
  { name: "size", of: (store) => store.bytes ?? -1, number: true },
  { name: "age", of: (store) => store.age ?? Infinity, number: true, later: true },
  { name: "core_time", of: (store) => store.core_hours ?? -1, number: true, later: true },
];

/** What a store is called: its filtration or form, and its recipe. */
export function title(store) {
  const what = store.form ? { summation: "GASF", difference: "GADF" }[store.form] : store.filtration;
  return [known(what), store.recipe].filter(Boolean).join(" · ");
}

export function sourceText(store) {
  const first = store.limit ? t("first_n", { n: count(store.limit) }) : null;
  const named = [store.source, store.location].filter(Boolean).join(":");
  return [named, store.split, store.variant, first].filter(Boolean).join(", ") || "–";
}

/** Everything of a store that a search looks at: texts, and NAME=VALUE of the fields of its spec. */
function haystack(store) {
  const fields = { ...store, ...store.fields };
  delete fields.fields;
  const lines = Object.entries(fields).map(([name, item]) => `${name}=${value(item)}`);
  return `${title(store)}\n${sourceText(store)}\n${lines.join("\n")}`.toLowerCase();
}

/** The stores in which every word occurs. */
export function found(stores, words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  return stores.filter((store) => wanted.every((word) => store.haystack.includes(word)));
}

export async function catalogue(main, { values, go }) {
  const answer = await ask("v1/stores");
  const stores = answer.map((store) => ({ ...store, haystack: haystack(store) }));
  const state = { words: values.get("find") ?? "", by: values.get("by") ?? "age", down: values.get("down") === "1", most: SHOWN };
  const table = h("div");
  const told = h("p", { class: "muted small" });
  const box = h("input", {
    type: "search", id: "find", value: state.words, autocomplete: "off", spellcheck: "false",
    oninput: () => {
      state.words = box.value;
      state.most = SHOWN;
      redraw();
    },
  });

  function redraw(focused) {
    const rows = sorted(found(stores, state.words), state);
    told.textContent = t("stores_of", { n: count(rows.length), all: count(stores.length) });
    say(told.textContent);
    show(table, rows.length ? listing(rows, state, redraw) : nothing(stores.length));
    if (focused) table.querySelector(`[data-by="${focused}"]`)?.focus();
    go({ find: state.words, by: state.by === "age" ? "" : state.by, down: state.down ? "1" : "" });
  }

  show(
    main,
    h("h1", { tabindex: "-1" }, t("stores")),
    h("div", { class: "tight" },
      h("label", { class: "field grow", for: "find" }, h("span", null, t("search_label")), box),
      h("p", { class: "muted small" }, t("search_help")),
    ),
    h("div", { class: "tight" }, told, table),
  );
  redraw();
}

function nothing(stores) {
  return h("p", { class: "card empty" }, t(stores ? "none_found" : "no_stores"));
}

function sorted(stores, { by, down }) {
  const { of } = COLUMNS.find((column) => column.name === by) ?? COLUMNS[4];
  const order = (a, b) => (of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : a.key < b.key ? -1 : 1);
  return [...stores].sort(down ? (a, b) => order(b, a) : order);
}

function listing(rows, state, redraw) {
  const few = rows.slice(0, state.most);
  const rest = rows.length - few.length;
  const more = () => {
    state.most += SHOWN;
    redraw();
  };
  return h("div", { class: "stack" },
    h("div", { class: "card stores" },
      h("table", null,
        h("caption", { class: "unseen" }, t("stores")),
        h("thead", null, h("tr", null, COLUMNS.map((column) => heading(column, state, redraw)))),
        h("tbody", null, few.map(row)),
      ),
    ),
    rest > 0 && h("p", null, h("button", { type: "button", onclick: more }, t("show_more", { n: count(rest) }))),
  );
}

function heading({ name, number, later }, state, redraw) {
  const sorts = state.by === name;
  const press = () => {
    state.down = sorts ? !state.down : Boolean(number) && name !== "age";
    state.by = name;
    redraw(name);
  };
  return h("th", {
    scope: "col", class: [number && "number", later && "later"].filter(Boolean).join(" ") || null,
    "aria-sort": sorts ? (state.down ? "descending" : "ascending") : null,
  }, h("button", { type: "button", class: "sort", "data-by": name, onclick: press }, t(name)));
}

function row(store) {
  return h("tr", null,
    h("td", null,
      h("div", { class: "tight" },
        h("div", null, h("a", { href: `#/stores/${store.key}` }, title(store)), " ",
          store.origin === "imported" && h("span", { class: "chip" }, t("imported")), " ",
          store.pin && h("span", { class: "chip on" }, t("pinned"))),
        h("div", { class: "sooner muted small" }, sourceText(store)),
        h("div", { class: "mono muted" }, store.key.slice(0, 12)),
      ),
    ),
    h("td", { class: "later" }, sourceText(store)),
    h("td", { class: "number" }, count(store.samples)),
    h("td", { class: "number" }, bytes(store.bytes)),
    h("td", { class: "number later" }, duration(store.age)),
    h("td", { class: "number later" }, coreTime(store.core_hours === undefined ? null : store.core_hours * 3600)),
  );
}
