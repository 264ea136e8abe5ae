// The words of the page in English and Korean (words.json), and numbers as people write them.

const LANGUAGES = ["en", "ko"];
let words = {};
let language = "en";

function kept(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // a browser that keeps nothing
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // the choice lasts for this page
  }
}

export { kept };

export async function load() {
  const answer = await fetch(new URL("./words.json", import.meta.url));
  if (!answer.ok) throw new Error(`words.json: HTTP ${answer.status}`);
  words = await answer.json();
  const preferred = (navigator.languages ?? [navigator.language]).map((tag) => tag.slice(0, 2));
  speak(kept("language") ?? preferred.find((tag) => LANGUAGES.includes(tag)) ?? "en");
}

export function speak(chosen) {
  language = LANGUAGES.includes(chosen) ? chosen : "en";
  document.documentElement.lang = language;
}

export function spoken() {
  return language;
}

/** A text by its name, with {names} replaced by values. */
export function t(name, values = {}) {
  const text = words[name]?.[LANGUAGES.indexOf(language)] ?? name;
  return text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

export function has(name) {
  return name in words;
}

export function count(value) {
  return value === null || value === undefined ? "–" : new Intl.NumberFormat(language).format(value);
}

/** A number of a field with so many significant digits; "–" of nothing. */
export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "NaN";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(digits - 2).replace("-", "−");
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

/** A share that is not quite none or all never reads as that. */
export function percent(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0 || value === 1) return `${value * 100} %`;
  const text = (value * 100).toFixed(1);
  if (text === "0.0") return "< 0.1 %";
  return text === "100.0" ? "> 99.9 %" : `${text} %`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = [["PB", 1e15], ["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]];
  const [unit, size] = units.find(([, least]) => value >= least) ?? ["B", 1];
  const amount = value / size;
  return `${amount.toFixed(unit === "B" || amount >= 100 ? 0 : 1)} ${unit}`;
}

/** A time in the largest unit that leaves two or more of it. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 120) return t("n_seconds", { n: seconds < 10 ? seconds.toFixed(1) : Math.round(seconds) });
  if (seconds < 7200) return t("n_minutes", { n: Math.round(seconds / 60) });
  if (seconds < 172800) return t("n_hours", { n: Math.round(seconds / 3600) });
  return t("n_days", { n: count(Math.round(seconds / 86400)) });
}

/** The time that one core takes; hours of it stay hours, since that is what is paid for. */
export function coreTime(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 120) return t("n_seconds", { n: seconds.toFixed(1) });
  if (seconds < 7200) return t("n_minutes", { n: Math.round(seconds / 60) });
  return t("n_hours", { n: count(Number((seconds / 3600).toFixed(1))) });
}

export function date(text, withTime = true) {
  const time = new Date(text);
  if (Number.isNaN(time.valueOf())) return String(text ?? "–");
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", ...(withTime && { timeStyle: "short" }) }).format(time);
}

/** A value of a spec as it is written in Python or JSON. */
export function value(item) {
  if (item === null || item === undefined || item === "") return "–";
  if (Array.isArray(item)) return item.map(value).join(", ");
  if (typeof item === "number") return number(item, 12);
  if (typeof item === "object") return Object.entries(item).map(([name, part]) => `${name} ${value(part)}`).join(", ") || "–";
  return String(item);
}
