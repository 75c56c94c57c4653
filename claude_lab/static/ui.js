// A `fetch` for useChat that never takes a cut answer for a whole one. It hands on whole events only, goes back to the
// server for the rest when the connection ends early, and throws when the rest cannot be had.
//
//   new DefaultChatTransport({ api: "/chat/ui", fetch: wholeFetch() })

import { POLICY, wait } from "./reader.js";

const ENTRY = /(?:^|\n)id: ([^\n]*)\n\n/g; // the id of an event stands behind all of its parts
const DONE = "data: [DONE]\n\n";
const RUN = "x-claude-lab-run";
const REFUSED_FOR_NOW = new Set([429, 502, 503, 504]);

// `policy` says how often in a row it goes back without hearing anything new, and how long it waits before.
export function wholeFetch({ fetch: ask = (...given) => globalThis.fetch(...given), policy = POLICY } = {}) {
  return async (url, init = {}) => {
    const first = await ask(url, init);
    if (!first.ok || !first.body || first.status === 204) return first;
    const run = first.headers.get(RUN);
    const again = async (after) => {
      const headers = new Headers(init.headers ?? {});
      if (run) headers.set(RUN, run);
      headers.set("last-event-id", after);
      const { credentials, signal } = init;
      return ask(backUrl(url, init), { method: "GET", headers, credentials, signal });
    };
    const pieces = whole(first, again, policy, init.signal);
    const body = new ReadableStream({
      async pull(sink) {
        const { value, done } = await pieces.next();
        if (done) sink.close();
        else sink.enqueue(new TextEncoder().encode(value));
      },
      cancel: () => pieces.return(),
    });
    return new Response(body, { status: first.status, headers: first.headers });
  };
}

// A chat asks by POST at one URL, and comes back by GET at another.
function backUrl(url, init) {
  if ((init.method ?? "GET") === "GET") return url;
  const [path, query] = String(url).split(/(?=[?#])/, 2);
  return `${path}/${encodeURIComponent(JSON.parse(init.body).id)}/stream${query ?? ""}`;
}

async function* whole(response, again, policy, signal) {
  let after = "";
  let retries = 0;
  for (;;) {
    if (response) {
      if (response.status !== 200) throw cut();
      for await (const { text, id, ended } of entries(response, signal)) {
        if (id) [after, retries] = [id, 0];
        yield text;
        if (ended) return;
      }
    }
    if (retries >= policy.max_retries) throw cut();
    await pause(wait(policy, retries), signal);
    retries += 1;
    response = await again(after).catch((error) => refused(error, signal));
    if (REFUSED_FOR_NOW.has(response?.status)) response = null;
  }
}

// useChat takes a TypeError that speaks of the network for a lost connection, and keeps what it needs to resume.
const cut = () => new TypeError("The network cut the answer before its end.");

function refused(error, signal) {
  if (signal?.aborted) throw error;
  return null;
}

async function pause(seconds, signal) {
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
  signal?.throwIfAborted();
}

// Yields the text of whole entries; what is left of one when the connection ends is dropped: it will come again.
async function* entries(response, signal) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { value, done } = await reader.read().catch((error) => refused(error, signal) ?? { done: true });
      if (done) return;
      held += value;
      const ended = held.endsWith(DONE);
      const last = [...held.matchAll(ENTRY)].at(-1);
      const end = ended ? held.length : last ? last.index + last[0].length : 0;
      if (!end) continue;
      yield { text: held.slice(0, end), id: last?.[1], ended };
      held = held.slice(end);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
