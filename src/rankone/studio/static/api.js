// Questions to the server: JSON, and server-sent events read from the reply of a POST.
import { batch } from "/static/vendor/signals-core.js";

/** @param {string} path @param {object} [body] @returns {Promise<any>} */
export async function ask(path, body) {
  const reply = await fetch(path, body === undefined ? {} : posted(body));
  const data = await reply.json().catch(() => ({ error: `the server answered ${reply.status}` }));
  if (!reply.ok) throw new Error(data.error ?? `the server answered ${reply.status}`);
  return data;
}

/**
 * Hands every event on; ends with the last one (done, superseded, failed).
 * @param {string} path @param {object} body @param {(event: string, data: any) => void} each
 */
export async function follow(path, body, each) {
  const reply = await fetch(path, posted(body));
  if (!reply.ok || !reply.body) {
    const data = await reply.json().catch(() => ({}));
    throw new Error(data.error ?? `the server answered ${reply.status}`);
  }
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop() ?? "";
    batch(() => blocks.forEach((block) => tell(block, each))); // what came together is drawn once
  }
}

/** @param {string} block @param {(event: string, data: any) => void} each */
function tell(block, each) {
  const lines = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
  each(lines.event, JSON.parse(lines.data));
}

/** @param {object} body @returns {RequestInit} */
function posted(body) {
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}
