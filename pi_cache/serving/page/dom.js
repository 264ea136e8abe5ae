// Elements made by script: every text is a text node, so that no name in a data set becomes markup.

export function h(name, given, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(given ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

export function show(parent, ...children) {
  parent.replaceChildren();
  add(parent, children);
}

/** A bar as long as a share of the whole; a picture of a number that stands beside it. */
export function line(share) {
  const filled = h("span");
  filled.style.width = `${Math.min(Math.max(share ?? 0, 0), 1) * 100}%`;
  return h("span", { class: "line", "aria-hidden": "true" }, filled);
}

/** What a screen reader is told, such as the progress of a build. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

export function choice(label, options, chosen, change) {
  const select = h("select", { onchange: (event) => change(event.target.value) });
  for (const [value, text] of options) {
    select.append(h("option", { value, selected: String(value) === String(chosen ?? "") }, text));
  }
  return h("label", { class: "field" }, h("span", null, label), select);
}
