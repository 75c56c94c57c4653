// A `fetch` for useChat that never takes a cut answer for a whole one. It hands on whole events only, goes back to the
// server for the rest when the connection ends early, and throws when the rest cannot be had.
//
//   new DefaultChatTransport({ api: "/chat/ui", fetch: wholeFetch() })

const ENTRY = /(?:^|\n)id: ([^\n]*)\n\n/g; // the id of an event stands behind all of its parts
const DONE = "data: [DONE]\n\n";
const RUN = "x-claude-lab-run";

// `tries` is how often in a row it goes back without hearing anything new, `wait` the first pause, in milliseconds.
export function wholeFetch({ fetch: ask = (...given) => globalThis.fetch(...given), tries = 5, wait = 250 } = {}) {
  return async (url, init = {}) => {
    const first = await ask(url, init);
    if (!first.ok || !first.body || first.status === 204) return first;
    const run = first.headers.get(RUN);
    const again = async (after) => {
      const headers = { ...plain(init.headers), [RUN]: run, "last-event-id": after };
      const { credentials, signal } = init;
      return ask(backUrl(url, init), { method: "GET", headers, credentials, signal });
    };
    const pieces = whole(first, again, { tries, wait, signal: init.signal });
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

const plain = (headers) => Object.fromEntries(new Headers(headers ?? {}));

// A chat asks by POST at one URL, and comes back by GET at another.
function backUrl(url, init) {
  if ((init.method ?? "GET") === "GET") return url;
  const [path, query] = String(url).split(/(?=[?#])/, 2);
  return `${path}/${encodeURIComponent(JSON.parse(init.body).id)}/stream${query ?? ""}`;
}

async function* whole(response, again, { tries, wait, signal }) {
  let after = "";
  for (let left = tries; ; left -= 1) {
    for await (const { text, id, ended } of entries(response, signal)) {
      if (id) [after, left] = [id, tries];
      yield text;
      if (ended) return;
    }
    response = null;
    for (; !response; left -= 1) {
      if (left <= 0) throw cut();
      await pause(wait * 2 ** (tries - left), signal);
      response = await again(after).catch((error) => refused(error, signal));
    }
    if (response.status !== 200) throw cut();
  }
}

// useChat takes a TypeError that speaks of the network for a lost connection, and keeps what it needs to resume.
const cut = () => new TypeError("The network cut the answer before its end.");

function refused(error, signal) {
  if (signal?.aborted) throw error;
  return null;
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    const timer = setTimeout(() => (signal?.removeEventListener("abort", stop), resolve()), milliseconds);
    if (signal?.aborted) return clearTimeout(timer), stop();
    signal?.addEventListener("abort", () => (clearTimeout(timer), stop()), { once: true });
  });
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
