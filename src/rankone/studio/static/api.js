// Questions to the server: JSON, and server-sent events read from the reply of a POST. What each route takes and answers: Api.
import { batch } from "/static/vendor/signals-core.js";
import { inert, parsed } from "/static/inert.js";

/**
 * What a route answers.
 * @template {keyof Api.Gets} P
 * @param {P} path
 * @returns {Promise<Api.Gets[P]>}
 */
export const ask = async (path) => parsed(await (await answered(await reached(path))).text());

/**
 * What a route answers to a body.
 * @template {keyof Api.Posts} P
 * @param {P} path @param {Api.Posts[P]["body"]} body
 * @returns {Promise<Api.Posts[P]["answer"]>}
 */
export const send = async (path, body) => parsed(await (await answered(await reached(path, posted(body)))).text());

/**
 * Hands every event on; ends with the last one (done, superseded, failed).
 * @template {keyof Api.Streams} P
 * @param {P} path @param {Api.Streams[P]["body"]} body
 * @param {(...told: ["partial", Api.Streams[P]["partial"]] | ["failed", string] | ["looks", number] | ["started" | "done" | "superseded", null]) => void} each
 */
export async function follow(path, body, each) {
  const reply = await answered(await reached(path, posted(body)));
  if (!reply.body) return;
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

/** @param {string} block @param {(event: any, data: any) => void} each what the server sends is as Api says; a test holds it to that */
function tell(block, each) {
  const lines = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
  each(lines.event, parsed(lines.data));
}

/** @param {string} path @param {RequestInit} [how] */
const reached = (path, how) => fetch(path, how).catch(() => Promise.reject(new Error("the studio does not answer: is it still running?")));

/** The reply, or why it was refused as an error. @param {Response} reply */
async function answered(reply) {
  if (reply.ok) return reply;
  const refused = /** @type {Partial<Api.Refused>} */ (await reply.text().then(parsed).catch(() => ({})));
  throw new Error(refused.error ?? `the server answered ${reply.status}`);
}

/** @param {object} body @returns {RequestInit} */
function posted(body) {
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

/** Why something failed, in words. @param {unknown} error */
export const why = (error) => inert(error instanceof Error ? error.message : String(error));
