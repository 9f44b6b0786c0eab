// Ask one question through Lighterman and print the answer's text.
//
//     npm ci && node enqueue.mjs NAME QUESTION [MODEL]
//
// Redis is at LIGHTERMAN_REDIS_URL, else where `lighterman dev` listens. Run again
// with the same NAME, question and model it asks nothing twice and prints the same
// answer. Exit status: 0 answered, 1 not, 2 called wrongly. The contract is
// docs/wire.md.

import { createHash, randomUUID } from "node:crypto";
import { createClient } from "redis";

const url = process.env.LIGHTERMAN_REDIS_URL ?? "redis://127.0.0.1:7379";
const STREAM = "{lm:0}:stream:default"; // partition 0
const DEAD = "{lm:0}:dead";
const PATIENCE = 120_000; // ms for the answer
const BLOCK = 10_000; // ms of one blocking read; then the result is looked at anyway

async function ask(client, name, question, model) {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: question }] });
  // The ID names the work and the body: pushed again it is the same operation,
  // and another body never meets the answer to this one.
  const own = `${name}-${createHash("sha256").update(body).digest("hex").slice(0, 8)}`;
  const id = `0-${own}`;
  const reply = `node-${randomUUID()}`; // notices for this process alone

  // What is dead-lettered from here on may be ours.
  const [last] = await client.xRevRange(DEAD, "+", "-", { COUNT: 1 });
  const entry = await client.xAdd(STREAM, "*", { v: "1", id: own, kind: "chat", reply, body });

  const result = await wait(client, id, entry, reply, last?.id ?? "0-0");
  if (result.outcome !== "succeeded") {
    throw new Error(`${id} ${result.outcome}: ${result.error ?? ""}`);
  }
  return JSON.parse(result.body).choices[0].message.content;
}

// wait returns the result as its hash's fields. A notice only says when to look.
async function wait(client, id, entry, reply, seen) {
  const end = performance.now() + PATIENCE;
  while (performance.now() < end) {
    const result = await client.hGetAll(`{lm:0}:result:${id}`);
    if (result.outcome) return result;
    // An entry that was refused has no result: its dead letter carries the raw
    // fields, under our ID or, where that cannot name keys, one made of the entry's.
    for (const { id: at, message } of await client.xRange(DEAD, `(${seen}`, "+", { COUNT: 1000 })) {
      seen = at;
      if (message.raw && (message.t === id || message.t.startsWith(`0-x${entry}-`))) {
        throw new Error(`${id} refused: ${message.reason}`);
      }
    }
    await client.xRead([{ key: `{lm:0}:reply:${reply}`, id: "0" }, { key: DEAD, id: seen }], { BLOCK });
  }
  throw new Error(`${id}: no answer within ${PATIENCE / 1000} s; the work goes on, run this again to wait for it`);
}

const [name, question, model, ...rest] = process.argv.slice(2);
if (name === undefined || question === undefined || rest.length > 0) {
  console.error("usage: enqueue.mjs NAME QUESTION [MODEL]");
  process.exit(2);
}
// A lost connection ends this run; the next one finds the operation by its ID. RESP
// 2, because the Redis inside `lighterman dev` speaks no RESP 3 where streams are read.
const client = createClient({ url, RESP: 2, socket: { reconnectStrategy: false } });
client.on("error", () => {}); // told by the call that failed
try {
  await client.connect();
  console.log(await ask(client, name, question, model));
} catch (error) {
  console.error(error.message || error.code || String(error));
  process.exitCode = 1;
} finally {
  if (client.isOpen) client.destroy();
}
