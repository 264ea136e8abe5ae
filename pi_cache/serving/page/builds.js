// Requests for stores: a list, one that is followed while it runs, and a form to make one.

import { address, ask, explained, Refused, remove, send } from "./api.js";
import { h, say, show } from "./dom.js";
import { bytes, count, date, duration, has, number, t, value } from "./words.js";

const POLL = 2000; // milliseconds between questions where events do not come
const STREAMS = 1; // requests followed by events
const LASTING = [401, 404]; // statuses that asking again does not change
const ENDED = ["finished", "failed", "cancelled"];

let closing = [];
let streams = 0;

/** Stop following: another view is drawn. */
export function stop() {
  for (const close of closing) close();
  closing = [];
}

/** Calls `told` with each new state of a request: by server-sent events, else by asking again.

A browser opens six connections to a host, and events keep one: so one request is followed by
events, others are asked for, and a page that nobody looks at holds none. */
function follow(id, told) {
  let events = null;
  let timer = null;
  let over = false;

  const hear = (found) => {
    if (over) return;
    told(found);
    if (ENDED.includes(found.state)) close();
  };
  const poll = async () => {
    timer = null;
    try {
      hear(await ask(`v1/requests/${id}`));
    } catch (error) {
      if (error instanceof Refused && LASTING.includes(error.status)) {
        close(); // a browser would ask for a password each time
        told({ error: explained(error) });
        return;
      }
      console.info(error.message); // asked again below
    }
    later(POLL);
  };
  const later = (wait) => {
    if (!over && !document.hidden) timer ??= setTimeout(poll, wait);
  };
  const listen = () => {
    streams += 1;
    events = new EventSource(address(`v1/requests/${id}/events`));
    for (const name of ["state", "progress"]) events.addEventListener(name, (event) => hear(JSON.parse(event.data)));
    events.addEventListener("error", () => {
      rest(); // it ended, or a proxy does not let events through
      later(0);
    });
  };
  const rest = () => {
    if (events) streams -= 1;
    events?.close();
    events = null;
    clearTimeout(timer);
    timer = null;
  };
  const look = () => {
    if (document.hidden) rest();
    else if (streams < STREAMS) listen();
    else later(POLL);
  };
  const close = () => {
    if (over) return;
    over = true;
    rest();
    document.removeEventListener("visibilitychange", look);
  };
  document.addEventListener("visibilitychange", look);
  look();
  closing.push(close);
}

export async function builds(main, { access }) {
  if (!access.builds) {
    show(main, h("h1", { tabindex: "-1" }, t("builds")), h("p", { class: "card empty" }, t("builds_off")));
    return;
  }
  const { requests } = await ask("v1/requests");
  const list = h("div", { class: "stack" });
  const make = (request) => one(request, access);
  const put = () => show(list, requests.length ? requests.map(make) : h("p", { class: "card empty" }, t("no_builds")));
  const added = (request) => {
    stop(); // every card follows its request anew
    const place = requests.findIndex(({ id }) => id === request.id);
    if (place >= 0) requests.splice(place, 1);
    requests.unshift(request);
    put();
  };
  put();
  show(
    main,
    h("h1", { tabindex: "-1" }, t("builds")),
    access.may.includes("build") && form(access, added),
    h("section", { class: "stack" }, h("h2", null, t("requests")), list),
  );
}

export async function build(main, { id, access }) {
  const request = await ask(`v1/requests/${id}`);
  show(main, h("h1", { tabindex: "-1" }, t("build_of", { source: request.source })), one(request, access));
}

/** A request as a card that follows it until it ends. */
function one(request, access) {
  const card = h("article", { class: "card build", "data-id": request.id });
  let last = "";
  const redraw = (found) => {
    const focused = card.contains(document.activeElement) && document.activeElement.dataset.name;
    Object.assign(request, found);
    show(card, content(request, access, redraw));
    if (focused) card.querySelector(`[data-name="${focused}"]`)?.focus();
    const text = t(`state_${request.state}`);
    if (last && last !== text) say(`${t("build_of", { source: request.source })}: ${text}`);
    last = text;
  };
  redraw(request);
  if (!ENDED.includes(request.state)) follow(request.id, redraw);
  return card;
}

function content(request, access, redraw) {
  const open = !ENDED.includes(request.state);
  const mine = access.may.includes("build") && (request.token ?? "") === access.name;
  const bad = request.state === "failed";
  return [
    h("header", null,
      h("a", { href: `#/builds/${request.id}`, "data-name": "link" }, h("strong", null, request.source)),
      h("span", { class: `chip ${bad ? "bad" : open ? "on" : ""}` }, t(`state_${request.state}`)),
      request.position ? h("span", { class: "muted small" }, t("position", { n: request.position })) : null,
      open && mine && h("button", { type: "button", class: "end", "data-name": "cancel", onclick: () => cancel(request, redraw) }, t("cancel")),
    ),
    asked(request),
    request.state === "running" && progress(request),
    request.error && h("p", { class: "notice wrong small" }, request.error),
    request.key && h("p", { class: "small mono" }, request.state === "finished" ? h("a", { href: `#/stores/${request.key}`, "data-name": "store" }, request.key) : request.key),
    h("p", { class: "muted small" }, moments(request)),
  ];
}

function moments(request) {
  const told = [t("asked_at", { date: date(request.created) })];
  if (request.token) told.push(request.token);
  if (request.ended) told.push(t("ended_at", { date: date(request.ended) }));
  if (request.estimate?.bytes && !request.ended) told.push(t("about", { text: bytes(request.estimate.bytes) }));
  return told.join(" · ");
}

function asked(request) {
  if (!request.asked) return null;
  const { source, ...rest } = request.asked;
  const text = [...leaves(rest)].map(([name, item]) => `${name}=${value(item)}`).join(", ");
  return text ? h("p", { class: "small" }, text) : null;
}

/** The values inside an object, by dotted names. */
function* leaves(part, prefix = "") {
  for (const [name, item] of Object.entries(part)) {
    if (item && typeof item === "object" && !Array.isArray(item)) yield* leaves(item, `${prefix}${name}.`);
    else yield [`${prefix}${name}`, item];
  }
}

function progress(request) {
  const found = request.progress ?? {};
  const text = [
    t("samples_of", { n: count(found.samples_done ?? 0), all: count(found.samples ?? request.samples) }),
    found.shards ? t("shards_of", { n: count(found.shards_done), all: count(found.shards) }) : null,
    found.rate ? t("a_second", { n: number(found.rate, 3) }) : null,
    found.seconds_left ? t("left", { time: duration(found.seconds_left) }) : null,
    has(`phase_${found.phase}`) ? t(`phase_${found.phase}`) : null,
  ].filter(Boolean).join(" · ");
  return h("div", { class: "tight" },
    h("progress", { max: found.samples || 1, value: found.samples_done ?? 0, "aria-label": t("progress") }),
    h("p", { class: "small" }, text));
}

async function cancel(request, redraw) {
  try {
    redraw((await remove(`v1/requests/${request.id}`)) ?? { state: "cancelled" });
  } catch (error) {
    redraw({ error: explained(error) });
  }
}

const FILTRATIONS = ["sublevel", "superlevel", "cubical", "rips"];

function form(access, added) {
  const { sources } = access;
  if (!sources.length) return h("p", { class: "card empty" }, t("no_sources"));
  const source = h("select", { name: "source" }, sources.map((name) => h("option", { value: name }, name)));
  const recipe = choices("recipe", access.recipes);
  const filtration = h("select", { name: "filtration" }, h("option", { value: "" }, t("by_recipe")), FILTRATIONS.map((name) => h("option", { value: name }, name)));
  const limit = h("input", { name: "limit", inputmode: "numeric", autocomplete: "off", pattern: "[0-9]*" });
  const told = h("p", { class: "notice wrong small", role: "alert", hidden: true });
  const there = h("p", { class: "notice small", role: "status", hidden: true });
  const press = h("button", { type: "submit", class: "main" }, t("request_store"));
  const field = (name, input, help) => h("label", { class: "field" }, h("span", null, t(name)), input, help && h("span", { class: "unseen" }, help));

  async function submit(event) {
    event.preventDefault();
    press.disabled = true;
    told.hidden = there.hidden = true;
    try {
      const found = await send("v1/requests", wanted({ source: source.value, recipe: recipe.value.trim(), filtration: filtration.value, limit: limit.value.trim() }));
      say(t(`state_${found.state}`));
      if (found.id) added(found);
      else show(there, t("is_there"), " ", h("a", { href: `#/stores/${found.key}`, class: "mono" }, found.key.slice(0, 12)));
      there.hidden = Boolean(found.id);
    } catch (error) {
      told.textContent = error instanceof Refused ? error.message : explained(error);
      told.hidden = false;
    }
    press.disabled = false;
  }

  return h("form", { class: "card stack", onsubmit: submit },
    h("h2", null, t("request_one")),
    h("p", { class: "muted small" }, t("request_note")),
    h("div", { class: "bar" }, field("source", source), field("recipe", recipe), field("filtration", filtration), field("limit", limit), press),
    told,
    there,
  );
}

/** A choice of names; a field to type one into where the names are not known. */
function choices(name, names) {
  if (!names.length) return h("input", { name, autocomplete: "off", spellcheck: "false", placeholder: "default" });
  const first = names.includes("default") ? ["default"] : [];
  const all = [...first, ...names.filter((found) => found !== "default")];
  return h("select", { name }, all.map((found) => h("option", { value: found === "default" ? "" : found }, found)));
}

export function wanted({ source, recipe, filtration, limit }) {
  return {
    source,
    ...(recipe && { recipe }),
    ...(filtration && { diagram: { filtration } }),
    ...(limit && { limit: Number(limit) }),
  };
}
