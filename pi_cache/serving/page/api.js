// What the service answers. URLs are relative to the page, so that a proxy may put it anywhere.

import { t } from "./words.js";

const BUSY = [429, 503];

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Why something failed, in the language of the page where it is known what it means. */
export function explained(error) {
  if (!(error instanceof Refused)) {
    console.warn(error);
    return t("no_answer");
  }
  if (error.status === 401) return t("no_token");
  if (error.status === 404) return t("not_found");
  return BUSY.includes(error.status) ? t("busy") : error.message;
}

export function address(path) {
  return new URL(path, new URL(".", document.baseURI)).href;
}

export async function ask(path, given = {}) {
  const answer = await fetch(address(path), { headers: { Accept: "application/json" }, ...given });
  const text = await answer.text();
  let content = null;
  try {
    content = text ? JSON.parse(text) : null;
  } catch {
    content = null;
  }
  if (!answer.ok) throw new Refused(answer.status, content?.error ?? `HTTP ${answer.status}`);
  return content;
}

export function send(path, content) {
  return ask(path, {
    method: "POST",
    headers: { Accept: "application/json", "Content-Type": "application/json" },
    body: JSON.stringify(content),
  });
}

export function remove(path) {
  return ask(path, { method: "DELETE" });
}

export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return new URLSearchParams(given).toString();
}

/** The numbers of an array: little-endian, in base64 (see pictures.py). */
export function array(part) {
  const bytes = Uint8Array.from(atob(part.base64), (letter) => letter.charCodeAt(0));
  if (part.dtype === "|u1") return bytes;
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, k) => view.getFloat32(4 * k, true));
}
