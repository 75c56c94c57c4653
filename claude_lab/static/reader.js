// Reads an answer of POST /chat/stream to its end, over as many connections as it takes. No dependency, no build step:
//
//   import { ask } from "./reader.js";
//   for await (const frame of ask(url, { message: "Why is the sky blue?" })) {
//     if (frame.type === "delta") text += frame.text;
//     if (frame.type === "error") complain(frame.message);
//   }
//
// The last frame is one `done` or one `error`; a stream that was cut for good ends with the error `truncated`.
// After a cut the answer is taken up again (a frame `resume` says so), and what comes twice counts once.
// tests/vectors/reader.json holds this reader and the Python one to the same bytes.

const ACCEPT = "text/event-stream";
const RUN = "x-claude-lab-run";
const MOST_RETRY_DIGITS = 9;
const ENDED_EARLY = "The stream ended without its final frame.";
const NOT_WHOLE = "What came is not the whole answer";
const FINAL = new Set(["done", "error"]);
const FRAMES = new Set(["start", "retry", "thinking", "delta", "tool", "reset", "moved", ...FINAL]);
const text = (value) => typeof value === "string";
const amount = (value) => typeof value === "number" && value >= 0;
const count = (value) => Number.isInteger(value) && value >= 0;
const NEEDED = {
  retry: { error: text, attempt: count, wait: amount },
  thinking: { text },
  delta: { text },
  tool: { tool_id: text, name: text },
  reset: { keep_chars: count },
  error: { error: text },
};

// How a reader comes back by itself: five tries in 8 to 16 seconds, counted anew whenever a frame has come.
export const POLICY = { max_retries: 5, base_delay: 0.5, max_delay: 8, max_retry_after: 300 };

// The wait in seconds after `retries` earlier ones: half of the ceiling, the other half drawn, above the server's floor.
export function wait(policy, retries, floor = 0, chance = Math.random()) {
  const half = Math.min(policy.max_delay, policy.base_delay * 2 ** retries) / 2;
  return Math.max(floor, half) + half * chance;
}

// Bytes of one stream, cut anywhere, into events: the WHATWG HTML standard, section 9.2.6.
// Lines end at CR, LF or CRLF and at nothing else. A retry time of more than nine digits is not taken.
export class Decoder {
  constructor() {
    this.utf8 = new TextDecoder(); // drops one BOM, waits for whole characters, replaces what is none
    Object.assign(this, { rest: "", afterCr: false, data: [], event: "", id: "", lastEventId: "", retryMs: null });
  }

  feed(bytes) {
    let fresh = this.utf8.decode(bytes, { stream: true });
    if (this.afterCr && fresh) {
      if (fresh[0] === "\n") fresh = fresh.slice(1); // the CR has ended this line already
      this.afterCr = false;
    }
    if (!fresh) return [];
    this.afterCr = fresh.endsWith("\r");
    const lines = fresh.split(/\r\n|\n|\r/);
    lines[0] = this.rest + lines[0];
    this.rest = lines.pop();
    return lines.map((line) => this.take(line)).filter(Boolean);
  }

  take(line) {
    if (line === "") return this.dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value[0] === " ") value = value.slice(1);
    if (name === "data") this.data.push(value);
    else if (name === "event") this.event = value;
    else if (name === "id" && !value.includes("\0")) this.id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value) && value.length <= MOST_RETRY_DIGITS) this.retryMs = Number(value);
    return null;
  }

  dispatch() {
    this.lastEventId = this.id;
    const { data, event } = this;
    this.data = [];
    this.event = "";
    return data.length ? { data: data.join("\n"), event: event || "message", id: this.id } : null;
  }
}

// Text that grows at its end; half a surrogate pair waits for its other half, and what stays half becomes U+FFFD.
class Tape {
  constructor() {
    this.text = "";
    this.half = "";
  }

  add(piece) {
    piece = this.half + piece;
    this.half = /[\ud800-\udbff]$/.exec(piece)?.[0] ?? "";
    const readable = (this.half ? piece.slice(0, -1) : piece).toWellFormed();
    this.text += readable;
    return readable;
  }

  keep(chars) { // counted in code points, as the contract counts
    this.half = "";
    this.text = [...this.text].slice(0, chars).join("");
  }
}

// What came of one answer, without a socket: bytes in, frames out, and what to do when a connection has ended.
export class Reading {
  constructor({ run = null, policy = POLICY, asking = true } = {}) {
    this.tapes = { delta: new Tape(), thinking: new Tape() };
    Object.assign(this, { run, policy, begun: false, asking, ended: null, resumed: 0, retries: 0, lastId: null });
    Object.assign(this, { mayAsk: asking, stopping: false, cut: { kind: "truncated", message: "The reader had left." } });
    this.seen = [0, 0];
    this.connect();
  }

  connect() {
    Object.assign(this, { decoder: new Decoder(), moved: null, damage: "" });
  }

  get text() { return this.tapes.delta.text; }
  get thinking() { return this.tapes.thinking.text; }
  get over() { return Boolean(this.ended || this.moved !== null || this.damage); }

  request() { // method, path and headers of the next request: the question at first, then the rest of its answer
    if (this.asking) return ["POST", "/chat/stream", { accept: ACCEPT, ...(this.run && { [RUN]: this.run }) }];
    this.resumed += 1;
    return ["GET", `/chat/stream/${this.run}`, { accept: ACCEPT, ...(this.lastId && { "last-event-id": this.lastId }) }];
  }

  head(headers) { // whether the body is to be fed
    if (!(headers.get("content-type") ?? "").startsWith(ACCEPT)) return false;
    this.connect();
    if (!this.begun) this.run = headers.get(RUN);
    Object.assign(this, { begun: true, asking: false });
    return true;
  }

  feed(bytes) { // the frames that are new; nothing after the final one, nor after damage
    const frames = [];
    for (const { data } of this.decoder.feed(bytes)) {
      if (this.over) break;
      const frame = this.parse(data);
      if (frame && FRAMES.has(frame.type) && this.isNew(frame.id)) frames.push(this.take(frame));
    }
    return frames;
  }

  parse(data) { // data that is no frame was damaged on its way; a frame of an unknown type is passed over
    try {
      const frame = JSON.parse(data);
      const needed = typeof frame?.type === "string" ? Object.entries(NEEDED[frame.type] ?? {}) : [["type", () => false]];
      const wrong = needed.find(([name, right]) => !right(frame?.[name]));
      if (!wrong) return frame;
      this.damage = `The stream was damaged on its way (${wrong[0]} is missing or wrong).`;
    } catch {
      this.damage = "The stream was damaged on its way (data that is no JSON).";
    }
    return null;
  }

  isNew(id) {
    const place = typeof id === "string" && /^([0-9]{1,9})-([0-9]{1,9})$/.exec(id);
    if (!place) return true;
    const [epoch, seq] = [Number(place[1]), Number(place[2])];
    if (epoch < this.seen[0] || (epoch === this.seen[0] && seq <= this.seen[1])) return false;
    Object.assign(this, { seen: [epoch, seq], lastId: id, retries: 0 });
    return true;
  }

  take(frame) {
    const { type } = frame;
    if (this.tapes[type]) frame.text = this.tapes[type].add(frame.text);
    else if (type === "reset") this.reset(frame.keep_chars);
    else if (type === "start") this.run = frame.run || this.run;
    else if (type === "moved") this.moved = Number(frame.retry) || 0;
    else if (type === "done" && frame.stop_reason === "stopped" && this.resumed && !this.stopping) {
      return this.fail("truncated", `The connection was lost, and the run was stopped meanwhile. ${NOT_WHOLE}.`);
    }
    if (FINAL.has(type)) this.ended = frame;
    return frame;
  }

  reset(chars) { // nothing kept: the thinking is void too
    this.tapes.delta.keep(chars);
    if (chars === 0) this.tapes.thinking.keep(0);
  }

  // A connection has ended: null when the answer has too, else a `resume` frame with its wait in seconds, or an `error`.
  // `kind` and `message` say how; `status` is that of a response without frames, `floor` the wait it asks for.
  lost({ kind = "truncated", message = "", status = null, floor = 0, chance } = {}) {
    if (this.ended) return null;
    if (status !== null && !this.resumed) return this.fail(kind, message);
    floor = this.moved ?? floor;
    if (status === null) this.cut = { kind, message: message || this.damage || ENDED_EARLY };
    this.asking = status === 404 && !this.begun && this.mayAsk; // the question never came to the run of that name
    if (this.asking) kind = this.cut.kind;
    let reason = null;
    const gone = [404, 410].includes(status) && "the server does not have it any more.";
    if (status !== null && !transient(status) && !this.asking) reason = gone || message;
    else if (this.retries >= this.policy.max_retries) reason = `max_retries=${this.policy.max_retries} used up.`;
    else if (floor > this.policy.max_retry_after) reason = `the server asks for a wait of ${floor} s.`;
    if (this.run === null) reason = "the server named no run to come back to.";
    if (reason !== null) {
      const told = `${this.cut.message} ${this.begun || !this.mayAsk ? NOT_WHOLE : "Asking again did not help"}: ${reason}`;
      return this.fail(this.begun && this.cut.kind !== "timeout" ? "truncated" : this.cut.kind, told);
    }
    const seconds = wait(this.policy, this.retries, floor, chance);
    this.retries += 1;
    return { type: "resume", error: kind, attempt: this.retries, wait: seconds, after: this.lastId };
  }

  fail(error, message) {
    const retryable = ["truncated", "timeout", "network_error", "rate_limit", "overloaded", "server_error"].includes(error);
    return (this.ended = { type: "error", error, message, retryable });
  }
}

// Statuses after which asking again can help, and the kind of error that a status stands for.
const transient = (status) => [408, 409, 429].includes(status) || status >= 500;
const KINDS = {
  401: "auth_error", 402: "auth_error", 403: "auth_error", 408: "timeout", 409: "server_error", 413: "token_limit",
  429: "rate_limit", 503: "overloaded", 504: "timeout", 529: "overloaded",
};

function kindOf(status) {
  return KINDS[status] ?? (status < 300 ? "unknown" : status >= 400 && status < 500 ? "invalid_request" : "server_error");
}

// The beginning of a body: a refusal is a sentence, whatever a broken server sends.
async function beginning(response, most = 2 ** 20) {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (let read; text.length < most && !(read = await reader.read()).done;) text += decoder.decode(read.value, { stream: true });
  } catch {} // without a body, or cut: what came is told
  reader?.cancel().catch(() => {});
  return text;
}

// What a refusal says: the server's `detail`, or the beginning of a page.
export async function refusal(response) {
  const body = await beginning(response);
  let detail = null;
  try {
    detail = JSON.parse(body).detail;
  } catch {} // a page
  if (Array.isArray(detail)) detail = detail.map(({ loc = [], msg }) => `${loc.join(".")}: ${msg}`).join("; ");
  const { status } = response;
  const floor = Number(response.headers.get("retry-after")) || 0;
  const told = String(detail ?? body.slice(0, 200)).slice(0, 1000);
  return { kind: kindOf(status), message: `The server answered ${status}: ${told}`, status, floor };
}

function newName() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// One answer: `for await` its frames; `stop()` stops the run on the server and resolves to whether it heard.
// With the name of a `run` nothing is asked: that run is read, from its beginning.
export class Answer {
  constructor(url, body, { token = null, silence = 60, policy = POLICY, signal = null, headers = {}, run = null } = {}) {
    this.url = url.replace(/\/$/, "");
    this.body = body;
    this.reading = new Reading({ run: run ?? newName(), policy, asking: run === null });
    this.silence = silence; // the longest, in seconds; a server's heartbeats break it
    this.signal = signal;
    this.headers = token === null ? headers : { authorization: `Bearer ${token}`, ...headers };
  }

  get text() { return this.reading.text; }
  get thinking() { return this.reading.thinking; }
  get run() { return this.reading.run; }

  async *[Symbol.asyncIterator]() {
    const { reading } = this;
    while (!reading.ended) {
      const how = {};
      yield* this.connection(how);
      this.signal?.throwIfAborted();
      const then = reading.lost(how);
      if (then) yield then;
      if (then?.type === "resume") await this.pause(then.wait);
    }
  }

  async *connection(how) {
    const { reading } = this;
    const own = new AbortController();
    const leave = () => own.abort();
    this.signal?.addEventListener("abort", leave);
    let timer = null;
    const listen = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        Object.assign(how, { kind: "timeout", message: `Nothing came for ${this.silence} seconds.` });
        own.abort();
      }, this.silence * 1000);
    };
    try {
      listen();
      const response = await fetch(...this.request(own.signal));
      if (!reading.head(response.headers)) {
        Object.assign(how, await refusal(response));
        return;
      }
      const body = response.body.getReader();
      while (!reading.over) {
        const { done, value } = await body.read();
        if (done) return;
        listen();
        yield* reading.feed(value);
      }
    } catch (error) {
      how.kind ??= reading.begun ? "truncated" : "network_error";
      how.message ??= reading.begun
        ? "The connection broke before the answer ended."
        : `The server cannot be reached (${error.message}).`;
    } finally {
      clearTimeout(timer);
      this.signal?.removeEventListener("abort", leave);
      own.abort(); // an unread rest is not wanted
    }
  }

  request(signal) {
    const [method, path, own] = this.reading.request();
    const headers = { ...own, ...this.headers };
    const options = { method, headers, signal, cache: "no-store" };
    if (method === "POST") {
      headers["content-type"] = "application/json";
      options.body = JSON.stringify(this.body);
    }
    return [this.url + path, options];
  }

  // Waits so many seconds, and as long as the browser is offline; ends early when it is back, or when told to leave.
  async pause(seconds) {
    await new Promise((resolve) => {
      const offline = globalThis.navigator?.onLine === false;
      const timer = offline ? null : setTimeout(resolve, seconds * 1000);
      const early = () => (clearTimeout(timer), resolve());
      globalThis.addEventListener?.("online", early, { once: true });
      this.signal?.addEventListener("abort", early, { once: true });
    });
    this.signal?.throwIfAborted();
  }

  async stop() {
    this.reading.stopping = true;
    const options = { method: "DELETE", headers: this.headers, keepalive: true };
    return fetch(`${this.url}/chat/stream/${this.reading.run}`, options).then((answer) => answer.ok, () => false);
  }
}

export function ask(url, body, options) {
  return new Answer(url, body, options);
}
