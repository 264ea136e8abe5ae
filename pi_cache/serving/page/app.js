// What the address after # asks for, drawn into the page; the language and the theme.

import { ask, explained } from "./api.js";
import { builds, build, stop } from "./builds.js";
import { catalogue } from "./catalogue.js";
import { h, say, show } from "./dom.js";
import { forget, repaint } from "./draw.js";
import { gallery, sample } from "./gallery.js";
import { store } from "./store.js";
import { keep, kept, load, speak, spoken, t } from "./words.js";

const ROUTES = [
  [/^\/?$/, catalogue, "stores"],
  [/^\/stores\/(?<key>[0-9a-f]{64})$/, store, "stores"],
  [/^\/stores\/(?<key>[0-9a-f]{64})\/gallery$/, gallery, "stores"],
  [/^\/stores\/(?<key>[0-9a-f]{64})\/samples\/(?<number>\d{1,15})$/, sample, "stores"],
  [/^\/builds$/, builds, "builds"],
  [/^\/builds\/(?<id>[\w-]{1,128})$/, build, "builds"],
];

const main = document.getElementById("main");
let access = null; // who asks and what they may, once the service has said so
let turn = 0;

function place() {
  const [path, values] = location.hash.replace(/^#/, "").split("?");
  return { path: path || "/", values: new URLSearchParams(values ?? "") };
}

/** Keep what was chosen in a view in the address, so that a link leads there. */
function go(values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  history.replaceState(null, "", `#${place().path}${text ? `?${text}` : ""}`);
}

async function draw({ moved = false } = {}) {
  const mine = (turn += 1);
  const { path, values } = place();
  stop();
  const [pattern, view, tab] = ROUTES.find(([form]) => form.test(path)) ?? [null, nowhere, ""];
  for (const link of document.querySelectorAll("#views a")) {
    if (link.dataset.view === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const part = h("div", { class: "stack view" }); // filled while the old view stays
  main.setAttribute("aria-busy", "true");
  try {
    access ??= await ask("v1/access");
    const choose = (given) => mine === turn && go(given);
    await view(part, { ...pattern?.exec(path).groups, values, go: choose, access });
  } catch (error) {
    show(part, failure(error));
  }
  if (mine !== turn) {
    forget(part);
    return;
  }
  main.removeAttribute("aria-busy");
  forget(main);
  part.dataset.path = path;
  main.replaceChildren(part);
  const title = part.querySelector("h1");
  document.title = title && path !== "/" ? `${title.textContent} · pi-cache` : "pi-cache";
  if (moved) {
    window.scrollTo(0, 0);
    (title ?? main).focus({ preventScroll: true });
  }
}

async function nowhere(part) {
  show(part, h("h1", { tabindex: "-1" }, t("nothing_here")), h("p", null, h("a", { href: "#/" }, t("to_stores"))));
}

function failure(error) {
  return [
    h("h1", { tabindex: "-1" }, t("failed")),
    h("p", { class: "notice wrong", role: "alert" }, explained(error)),
    h("p", null, h("button", { type: "button", onclick: () => draw() }, t("try_again")), " ", h("a", { href: "#/" }, t("to_stores"))),
  ];
}

function settle() {
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = t(element.dataset.word);
  for (const element of document.querySelectorAll("[data-word-label]")) element.setAttribute("aria-label", t(element.dataset.wordLabel));
  const other = document.getElementById("language");
  other.textContent = t("other_language");
  other.lang = spoken() === "en" ? "ko" : "en";
  theme(document.documentElement.dataset.theme);
}

function theme(chosen) {
  document.documentElement.dataset.theme = chosen;
  document.getElementById("theme").textContent = t(chosen === "dark" ? "light_theme" : "dark_theme");
  repaint();
}

const system = window.matchMedia("(prefers-color-scheme: dark)");

function chosenTheme() {
  return kept("theme") ?? (system.matches ? "dark" : "light");
}

async function start() {
  document.documentElement.dataset.theme = chosenTheme();
  await load();
  settle();
  system.addEventListener("change", () => theme(chosenTheme()));
  document.getElementById("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    keep("theme", next);
    theme(next);
  });
  document.getElementById("language").addEventListener("click", () => {
    speak(spoken() === "en" ? "ko" : "en");
    keep("language", spoken());
    settle();
    draw();
    say(t("language_is"));
  });
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address after # is a view
    main.focus();
  });
  window.addEventListener("hashchange", () => draw({ moved: true }));
  await draw();
}

start().catch((error) => {
  console.warn(error);
  const again = h("button", { type: "button", onclick: () => location.reload() }, "Try again · 다시 시도");
  show(main, h("p", { class: "notice wrong", role: "alert" }, "The service does not answer. 서비스가 응답하지 않습니다."), h("p", null, again));
});
