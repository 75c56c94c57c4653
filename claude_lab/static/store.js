// What one view knows of its run. Offsets and lengths count UTF-16 units, as JavaScript strings do.

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

function post(url) {
  for (const road of roads(url)) {
    const sameOrigin = new URL(road).origin === location.origin;
    const options = sameOrigin
      ? { method: "POST", headers: xsrf() }
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
    const ended = message.end ?? this.ended;
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
