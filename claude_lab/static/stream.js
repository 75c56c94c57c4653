// The browser's half of the live view. A Store hears the frames of one model; each View paints it.
// Offsets and lengths count UTF-16 units, as JavaScript strings do.

const BLOCK = 4096; // units after which the next line begins a new block of text
const MOST_BLOCKS = 32; // older blocks leave the page; the still has the whole text
const SPEAK_MS = 4000; // a screen reader hears one sentence in so many ms at most
const STRIP_MS = 100;
const WIDTH = 640;
const LEFT = 6;
const COLORS = {
  arrival: "#0072b2", attempt: "#8a8f98", wait: "#e69f00", gap: "#e69f00", first: "#0072b2",
  reset: "#a04e86", done: "#8a8f98", stopped: "#8a8f98", error: "#d1500a",
};
const stores = new Map();
const page = (globalThis.claudeLabPage ??= Math.random().toString(36).slice(2));

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});

export function crc(text, before) {
  let c = ~before;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    c = CRC[(c ^ unit) & 255] ^ (c >>> 8);
    c = CRC[(c ^ (unit >>> 8)) & 255] ^ (c >>> 8);
  }
  return ~c >>> 0;
}

// Ring the kernel's bell: directly where the browser and the kernel share a machine, else through the proxy.
function roads(url) {
  const { port, pathname } = new URL(url);
  const here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const config = document.getElementById("jupyter-config-data");
  const base = config ? JSON.parse(config.textContent).baseUrl ?? "/" : "/";
  return here ? [url] : [new URL(`${base}proxy/${port}${pathname}`, location.href).href, url];
}

function post(url) {
  for (const road of roads(url)) {
    const sameOrigin = new URL(road).origin === location.origin;
    const xsrf = document.cookie.match(/\b_xsrf=([^;]*)/)?.[1];
    const options = sameOrigin
      ? { method: "POST", headers: xsrf ? { "X-XSRFToken": xsrf } : {} }
      : { method: "POST", mode: "no-cors", credentials: "omit" };
    fetch(road, options).catch(() => {}); // the comm is the other road
  }
}

export class Store {
  constructor(model) {
    this.model = model;
    this.views = new Set();
    this.asked = -Infinity;
    this.skew = Infinity;
    this.ended = null;
    this.clear();
    const known = model.get("snapshot");
    if (known) this.take(known);
    this.hear = (message) => this.take(message);
    model.on("msg:custom", this.hear);
  }

  clear() {
    Object.assign(this, { text: "", crc: 0, thinking: "", ticks: [], marks: [], deltas: 0, last: 0 });
  }

  tell(word) {
    this.model.send({ word, page });
    if (this.model.get("bell")) post(`${this.model.get("bell")}/${word}`);
  }

  stop() {
    this.stopping = true;
    if (this.model.get("stop_url")) post(this.model.get("stop_url"));
    this.tell("stop");
    this.paint();
  }

  take(message) {
    if (message.kind === "all") this.replace(message);
    else if (message.kind === "frame") this.append(message);
    else if (message.kind === "end") this.end(message);
    this.paint();
  }

  replace(message) {
    const ended = this.ended;
    this.clear();
    for (const view of this.views) view.reset();
    this.grow(message);
    if (ended) this.end(ended);
  }

  append(message) {
    if (message.keep !== undefined && message.keep < this.text.length) {
      this.text = this.text.slice(0, message.keep);
      this.crc = crc(this.text, 0);
      for (const view of this.views) view.reset();
    }
    if (message.from !== this.text.length || message.thought_from !== this.thinking.length) return this.ask();
    this.grow(message);
  }

  grow({ text = "", thinking = "", ticks = [], marks = [], ms = 0 }) {
    this.text += text;
    this.thinking += thinking;
    this.crc = crc(text, this.crc);
    for (const view of this.views) view.waiting += text;
    for (let i = 0; i < ticks.length; i += 2) {
      this.lastTick = (this.ticks.length ? this.lastTick : 0) + ticks[i];
      this.ticks.push([this.lastTick, ticks[i + 1]]);
      this.deltas += ticks[i + 1];
    }
    this.marks.push(...marks);
    const latest = Math.max(ms, this.ticks.at(-1)?.[0] ?? 0, this.marks.at(-1)?.[0] ?? 0);
    this.last = Math.max(this.last, latest);
    this.skew = Math.min(this.skew, performance.now() - latest);
  }

  ask() {
    if (performance.now() - this.asked < 500) return;
    this.asked = performance.now();
    this.tell("snapshot");
  }

  end(message) {
    this.ended = message;
    this.whole = this.text.length === message.units && this.crc === message.crc;
    if (this.whole) return;
    this.asked = -Infinity; // the last chance to ask
    this.ask();
  }

  get now() { // ms since the run began, by the kernel's clock
    return this.ended ? this.last : Math.max(this.last, performance.now() - this.skew || 0);
  }

  find(kind) {
    return this.marks.findLast((mark) => mark[1] === kind);
  }

  get status() {
    if (this.ended) return this.ended.summary;
    if (this.stopping) return "stopping…";
    const [retry, first] = [this.find("retry"), this.ticks[0]];
    const left = retry ? retry[0] + retry[2].wait * 1000 - this.now : 0;
    if (retry && left > 0 && this.last <= retry[0]) {
      return `${retry[2].error} · waiting ${(left / 1000).toFixed(1)} s before attempt ${this.attempts}`;
    }
    if (!first) return `${this.thinking ? "thinking" : "waiting for the first token"} · ${(this.now / 1000).toFixed(1)} s`;
    const tokens = Math.max(this.deltas, Math.round(this.text.length / 4));
    const took = (this.lastTick - first[0]) / 1000;
    const parts = ["streaming", `${tokens.toLocaleString("en")} tokens`, `first token ${(first[0] / 1000).toFixed(2)} s`];
    if (took > 0.2) parts.push(`${Math.round(tokens / took)} tokens/s`);
    if (this.now - this.lastTick > 1500) parts.push(`nothing for ${((this.now - this.lastTick) / 1000).toFixed(1)} s`);
    return parts.join(" · ");
  }

  get attempts() {
    return 1 + this.marks.filter((mark) => mark[1] === "retry").length;
  }

  paint() {
    for (const view of this.views) view.schedule();
  }

  close() {
    this.model.off("msg:custom", this.hear);
  }
}

function element(tag, className, attributes = {}, parent = null) {
  const made = document.createElement(tag);
  made.className = className;
  made.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes the arrow keys of what has the focus
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent?.append(made);
  return made;
}

class View {
  constructor(store, el) {
    this.store = store;
    this.root = element("div", "claude-lab cl-live", { role: "group", "aria-label": store.model.get("title") || "Stream" }, el);
    const head = element("div", "cl-head", {}, this.root);
    element("span", "cl-title", {}, head).textContent = store.model.get("title");
    this.status = element("span", "cl-status", {}, head);
    this.button = element("button", "cl-stop", { type: "button" }, head);
    this.button.textContent = "Stop";
    this.button.hidden = !store.model.get("stoppable");
    this.button.addEventListener("click", () => store.stop());
    this.thinking = element("details", "cl-thinking", {}, this.root);
    element("summary", "", {}, this.thinking).textContent = "Thinking";
    this.thought = element("div", "cl-text", {}, this.thinking);
    this.thinking.addEventListener("toggle", () => this.schedule());
    this.error = element("div", "cl-error", { role: "alert" }, this.root);
    this.note = element("div", "cl-note", {}, this.root);
    this.text = element("div", "cl-text", { role: "region", "aria-label": "Answer", tabindex: "0", "aria-busy": "true" }, this.root);
    this.strip = new Strip(this.root, store);
    this.speaker = new Speaker(store);
    this.timer = setInterval(() => this.schedule(), 250); // waits and stalls count on while nothing arrives
    this.reset();
    this.paint();
  }

  reset() {
    this.text.replaceChildren();
    this.note.textContent = "";
    this.block = null;
    this.left = 0;
    this.waiting = this.store.text;
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  paint() {
    const { store } = this;
    if (this.waiting) this.append(this.waiting);
    this.waiting = "";
    const status = store.status;
    if (this.status.textContent !== status) this.status.textContent = status;
    this.button.disabled = Boolean(store.stopping || store.ended);
    this.thinking.hidden = !store.thinking;
    if (this.thinking.open && this.thought.textContent.length !== store.thinking.length) this.thought.textContent = store.thinking;
    const error = store.find("error")?.[2];
    const said = error ? `${error.error}: ${error.message ?? ""}` : "";
    if (this.error.textContent !== said) this.error.textContent = said;
    if (store.ended) {
      this.text.setAttribute("aria-busy", "false");
      this.root.dataset.whole = String(store.whole);
      clearInterval(this.timer);
    }
    this.strip.paint();
    this.speaker.speak();
  }

  append(text) {
    const atEnd = this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 24;
    while (text) {
      if (!this.block) {
        this.block = element("div", "", {}, this.text).appendChild(document.createTextNode(""));
      }
      const room = Math.max(0, BLOCK - this.block.length);
      const line = text.indexOf("\n", Math.min(room, text.length));
      this.block.appendData(line < 0 ? text : text.slice(0, line));
      if (line < 0) break;
      text = text.slice(line + 1);
      this.block = null;
      this.drop();
    }
    if (atEnd) this.text.scrollTop = this.text.scrollHeight;
  }

  drop() {
    while (this.text.childElementCount > MOST_BLOCKS) {
      this.left += this.text.firstElementChild.textContent.length + 1;
      this.text.firstElementChild.remove();
    }
    if (this.left) this.note.textContent = `… ${this.left.toLocaleString("en")} characters above; all of them are in .text`;
  }

  close() {
    clearInterval(this.timer);
    cancelAnimationFrame(this.frame);
    this.strip.close();
  }
}

// Says new sentences to a screen reader, politely and seldom; the line outlives the view, for its last word.
class Speaker {
  constructor(store) {
    this.store = store;
    this.said = store.text.length;
    this.at = performance.now();
    this.line = document.querySelector(".claude-lab-announcer")
      ?? element("div", "claude-lab-announcer", { role: "status", "aria-live": "polite" }, document.body);
  }

  speak() {
    const { ended, text } = this.store;
    if (ended && !this.last) {
      this.last = true;
      this.line.textContent = ended.summary;
    } else if (!ended && performance.now() - this.at >= SPEAK_MS) {
      const fresh = text.slice(this.said);
      const stop = Math.max(fresh.lastIndexOf(". "), fresh.lastIndexOf("? "), fresh.lastIndexOf("! "), fresh.lastIndexOf("\n"));
      if (stop < 0) return;
      this.line.textContent = fresh.slice(0, stop + 1).slice(-240);
      this.said += stop + 1;
      this.at = performance.now();
    }
  }
}

function shape(tag, attributes, parent) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent?.append(made);
  return made;
}

function color(kind) {
  return `var(--cl-${kind},${COLORS[kind]})`;
}

function axis(duration, most = 7) {
  const power = 10 ** Math.floor(Math.log10(Math.max(duration, 1e-3) / most));
  const step = power * [1, 2, 5, 10, 20].find((factor) => duration / (power * factor) < most);
  return Array.from({ length: Math.floor(duration / step + 1e-9) + 1 }, (_, i) => step * i);
}

// The same strip as the still's: attempts and waits above, arrivals below, the first token flagged.
class Strip {
  constructor(root, store) {
    this.store = store;
    this.at = -Infinity;
    this.svg = shape("svg", { class: "cl-strip", viewBox: `0 0 ${WIDTH} 52`, width: WIDTH, height: 52, role: "img",
      "aria-label": "Timeline of arrivals", style: "max-width:100%;display:block" }, root);
    this.readout = element("div", "cl-readout", { "aria-hidden": "true" }, root);
    this.svg.addEventListener("pointermove", (event) => this.tell(event));
    this.svg.addEventListener("pointerleave", () => { this.readout.textContent = ""; });
  }

  get horizon() { // the axis grows in steps, so that ticks keep their place between them
    let most = 5000;
    while (most < this.store.now) most *= 1.5;
    return this.store.ended ? Math.max(this.store.last, 1) : most;
  }

  paint() {
    const now = performance.now();
    if (now - this.at < STRIP_MS && !this.store.ended) return;
    this.at = now;
    this.scale = (WIDTH - 12) / this.horizon;
    const drawing = document.createDocumentFragment();
    this.bars(drawing);
    this.gaps(drawing);
    this.arrivals(drawing);
    this.flags(drawing);
    for (const at of axis(this.horizon / 1000)) {
      shape("text", { x: at ? this.x(at * 1000) : 2, y: 49, "font-size": 10, fill: "currentColor", "font-family": "sans-serif",
        "text-anchor": at ? "middle" : "start" }, drawing).textContent = `${Number(at.toPrecision(3))} s`;
    }
    this.svg.replaceChildren(drawing);
  }

  x(ms) {
    return LEFT + ms * this.scale;
  }

  bar(kind, from, to, opacity, parent) {
    shape("rect", { x: this.x(from), y: 3, width: Math.max(1, (to - from) * this.scale), height: 5,
      fill: color(kind), "fill-opacity": opacity }, parent);
  }

  bars(parent) {
    let start = 0;
    for (const [ms, kind, value] of this.store.marks) {
      if (kind !== "retry") continue;
      this.bar("attempt", start, ms, 0.45, parent);
      start = ms + value.wait * 1000;
      this.bar("wait", ms, Math.min(start, Math.max(this.store.now, ms)), 0.95, parent);
    }
    if (this.store.now > start) this.bar("attempt", start, this.store.now, 0.45, parent);
  }

  gaps(parent) { // half a second or more, and eight times the median
    const { ticks } = this.store;
    const lengths = ticks.slice(1).map(([ms], i) => ms - ticks[i][0]);
    if (!lengths.some((length) => length > 500)) return;
    const median = lengths.toSorted((a, b) => a - b)[lengths.length >> 1];
    lengths.forEach((length, i) => {
      if (length <= Math.max(500, 8 * median)) return;
      shape("rect", { x: this.x(ticks[i][0]), y: 12, width: length * this.scale, height: 26,
        fill: color("gap"), "fill-opacity": 0.22 }, parent);
    });
  }

  arrivals(parent) {
    const tally = new Map();
    for (const [ms, deltas] of this.store.ticks) {
      const x = Math.floor(this.x(ms));
      tally.set(x, (tally.get(x) ?? 0) + deltas);
    }
    const path = [...tally].map(([x, n]) => `M${x}.5 37v-${Math.min(20, 8 + 3 * Math.log2(n)).toFixed(1)}`).join("");
    shape("path", { d: `M6 38H${WIDTH - 6}`, stroke: "currentColor", "stroke-opacity": 0.35 }, parent);
    shape("path", { d: path, stroke: color("arrival"), fill: "none" }, parent);
  }

  flags(parent) {
    const first = this.store.ticks[0];
    if (first) shape("path", { d: `M${this.x(first[0])} 18l-4-7h8z`, fill: color("first") }, parent);
    for (const [ms, kind] of this.store.marks) {
      if (kind === "reset") shape("path", { d: `M${this.x(ms)} 10l4 5l-4 5l-4-5z`, fill: color("reset") }, parent);
      if (kind === "error") shape("path", { d: `M${this.x(ms) - 1} 11h2v27h-2z`, fill: color("error") }, parent);
    }
  }

  tell(event) {
    const box = this.svg.getBoundingClientRect();
    const ms = ((event.clientX - box.left) * (WIDTH / box.width) - LEFT) / this.scale;
    const near = 4 / this.scale;
    const here = this.store.ticks.filter(([at]) => Math.abs(at - ms) <= near);
    const before = this.store.ticks.findLast(([at]) => at < ms - near);
    const deltas = here.reduce((sum, [, n]) => sum + n, 0);
    const parts = [`${(Math.max(0, ms) / 1000).toFixed(2)} s`, `${deltas} ${deltas === 1 ? "delta" : "deltas"}`];
    if (here.length && before) parts.push(`${Math.round(here[0][0] - before[0])} ms after the one before`);
    this.readout.textContent = parts.join(" · ");
  }

  close() {
    this.svg.remove();
  }
}

function storeOf(model) {
  const key = model.get("key");
  if (!stores.has(key)) stores.set(key, new Store(model));
  return stores.get(key);
}

export default {
  initialize({ model }) {
    const store = storeOf(model);
    return () => {
      store.close();
      stores.delete(model.get("key"));
    };
  },
  render({ model, el }) {
    const store = storeOf(model);
    const view = new View(store, el);
    store.views.add(view);
    store.tell("ready");
    return () => {
      store.views.delete(view);
      view.close();
    };
  },
};
