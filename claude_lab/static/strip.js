// The strip of one run, drawn while it grows: the same shapes as the still's.

const STRIP_MS = 100;
const WIDTH = 640;
const LEFT = 6;
const COLORS = {
  arrival: "#0072b2", attempt: "#8a8f98", wait: "#e69f00", gap: "#e69f00", first: "#0072b2",
  reset: "#a04e86", done: "#8a8f98", stopped: "#8a8f98", error: "#d1500a",
};

const MEANINGS = {
  arrival: ["❘", "deltas, the higher the more at once"], first: ["▼", "first token"], attempt: ["▬", "attempt"],
  wait: ["▬", "wait before the next attempt"], gap: ["█", "nothing came"], reset: ["◆", "resumed"], error: ["▮", "error"],
};

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
    this.legend = element("div", "cl-legend", {}, root);
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
    this.shown = new Set();
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
    this.explain();
  }

  explain() { // what the shapes mean, of those that are there; a lone attempt goes unsaid
    if (!this.shown.has("wait")) this.shown.delete("attempt");
    const kinds = Object.keys(MEANINGS).filter((kind) => this.shown.has(kind));
    if (this.told === kinds.join()) return;
    this.told = kinds.join();
    this.legend.replaceChildren(...kinds.map((kind) => {
      const entry = element("span", "");
      element("i", `cl-${kind}`, { "aria-hidden": "true" }, entry).textContent = MEANINGS[kind][0];
      entry.append(` ${MEANINGS[kind][1]}`);
      return entry;
    }));
  }

  x(ms) {
    return LEFT + ms * this.scale;
  }

  bar(kind, from, to, opacity, parent) {
    this.shown.add(kind);
    shape("rect", { x: this.x(from), y: 3, width: Math.max(1, (to - from) * this.scale), height: 5,
      fill: color(kind), "fill-opacity": opacity }, parent);
  }

  bars(parent) {
    let start = 0;
    for (const [ms, kind, value] of this.store.marks) {
      if (kind !== "retry") continue;
      this.bar("attempt", start, ms, 0.45, parent);
      start = Math.min(ms + value.wait * 1000, this.store.ticks.find(([at]) => at > ms)?.[0] ?? Infinity); // it may come late
      this.bar("wait", ms, Math.min(start, Math.max(this.store.now, ms)), 0.95, parent);
    }
    if (this.store.now > start) this.bar("attempt", start, this.store.now, 0.45, parent);
  }

  gap(from, to, parent) {
    this.shown.add("gap");
    shape("rect", { x: this.x(from), y: 12, width: Math.max(1, (to - from) * this.scale), height: 26,
      fill: color("gap"), "fill-opacity": 0.22 }, parent);
  }

  gaps(parent) { // each reconnection, and half a second or more that is eight times the median
    const { ticks, marks } = this.store;
    const lost = marks.filter(([, kind]) => kind === "resume").map(([ms]) => [
      ticks.findLast(([at]) => at <= ms)?.[0], ticks.find(([at]) => at > ms)?.[0],
    ]).filter(([before, after]) => before !== undefined && after !== undefined);
    for (const [before, after] of lost) this.gap(before, after, parent);
    const lengths = ticks.slice(1).map(([ms], i) => ms - ticks[i][0]);
    if (!lengths.some((length) => length > 500)) return;
    const median = lengths.toSorted((a, b) => a - b)[lengths.length >> 1];
    lengths.forEach((length, i) => {
      const from = ticks[i][0];
      if (length <= Math.max(500, 8 * median) || lost.some(([before, after]) => before <= from && from < after)) return;
      this.gap(from, from + length, parent);
    });
  }

  arrivals(parent) {
    const { ticks } = this.store;
    if (this.scale !== this.tallied || ticks !== this.source) {
      Object.assign(this, { tally: new Map(), tallied: this.scale, source: ticks, known: 0 });
    }
    for (; this.known < ticks.length; this.known++) {
      const x = Math.floor(this.x(ticks[this.known][0]));
      this.tally.set(x, (this.tally.get(x) ?? 0) + ticks[this.known][1]);
    }
    if (ticks.length) this.shown.add("arrival");
    const path = [...this.tally].flatMap(([x, n]) => (n < 8 ? [x] : [x - 1, x, x + 1]).map(
      (place) => `M${place}.5 37v-${Math.min(20, 8 + 3 * Math.log2(n)).toFixed(1)}`)).join("");
    shape("path", { d: `M6 38H${WIDTH - 6}`, stroke: "currentColor", "stroke-opacity": 0.35 }, parent);
    shape("path", { d: path, stroke: color("arrival"), fill: "none" }, parent);
  }

  flags(parent) {
    const first = this.store.ticks[0];
    if (first) this.shown.add("first");
    if (first) shape("path", { d: `M${this.x(first[0])} 18l-4-7h8z`, fill: color("first") }, parent);
    for (const [ms, kind] of this.store.marks) {
      if (kind === "reset" || kind === "resume") this.shown.add("reset");
      if (kind === "error") this.shown.add("error");
      if (kind === "reset" || kind === "resume") shape("path", { d: `M${this.x(ms)} 10l4 5l-4 5l-4-5z`, fill: color("reset") }, parent);
      if (kind === "error") shape("path", { d: `M${this.x(ms) - 2} 9h4v8h-4z`, fill: color("error") }, parent);
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
    this.legend.remove();
  }
}
