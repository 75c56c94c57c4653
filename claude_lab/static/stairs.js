// Several routes' arrivals on one clock, as they come: characters against seconds, one staircase a route.

const SVG = "http://www.w3.org/2000/svg";
const [WIDE, HIGH] = [640, 56];

function shape(tag, attributes, parent) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent.append(made);
  return made;
}

// The path of a staircase: flat from each point to the next one's time, then up.
export function stairPath(points, end, most) {
  const y = (height) => (HIGH - 2 - (height / most) * (HIGH - 6)).toFixed(1);
  const heights = new Map(points.map(([at, height]) => [Math.round((at / end) * WIDE), height])); // a pixel's last
  return `M0 ${y(0)}${[...heights].map(([x, height]) => `H${x}V${y(height)}`).join("")}H${WIDE}`;
}

class Stairs {
  constructor(model, el) {
    this.model = model;
    this.rows = [];
    this.began = null;
    this.root = element("div", "claude-lab cl-stairs", { role: "group", "aria-label": model.get("title") || "Race" }, el);
    element("div", "cl-title", {}, element("div", "cl-head", {}, this.root)).textContent = model.get("title");
    this.axis = element("div", "cl-axis", { style: `max-width:${WIDE}px` }, this.root);
    element("span", "", {}, this.axis).textContent = "0 s";
    this.end = element("span", "", {}, this.axis);
    const known = model.get("snapshot"); // of a page that is loaded again
    if (known?.rows.length) this.take(known);
  }

  take({ now, rows, over }) {
    this.began = performance.now() / 1000 - now;
    this.over = over;
    rows.forEach((row, index) => {
      const known = (this.rows[index] ??= this.add(row));
      known.path.style.stroke = row.color;
      if (row.from > known.points.length) this.lost();
      else known.points.splice(row.from, Infinity, ...row.points);
    });
    this.schedule();
  }

  lost() { // frames went by before this view stood
    if (performance.now() - (this.asked ?? -Infinity) < 500) return;
    this.asked = performance.now();
    this.tell("snapshot");
  }

  tell(word) {
    this.model.send({ word, page });
    post(`${this.model.get("bell")}/${word}`);
  }

  add({ label }) {
    const name = element("div", "cl-status", {});
    const svg = document.createElementNS(SVG, "svg");
    for (const [key, value] of Object.entries({ viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label })) svg.setAttribute(key, value);
    svg.style.cssText = `display:block;width:100%;max-width:${WIDE}px;border-bottom:1px solid var(--cl-line)`;
    this.axis.before(name, svg);
    const path = shape("path", { fill: "none", "stroke-width": 1.6 }, svg);
    return { label, name, points: [], path };
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  paint() {
    if (this.began === null) return;
    const now = this.over ? 0 : performance.now() / 1000 - this.began;
    const end = Math.max(now, 0.001, ...this.rows.map((row) => row.points.at(-1)?.[0] ?? 0));
    const most = Math.max(1, ...this.rows.map((row) => row.points.at(-1)?.[1] ?? 0));
    for (const { label, name, path, points } of this.rows) {
      path.setAttribute("d", stairPath(points, end, most));
      name.textContent = `${label}: ${points.length ? `first token ${points[0][0].toFixed(2)} s` : "no token yet"}`;
    }
    this.end.textContent = `${end.toFixed(1)} s`;
  }
}

export default {
  render({ model, el }) {
    const view = new Stairs(model, el);
    const hear = (message) => view.take(message);
    model.on("msg:custom", hear);
    const timer = setInterval(() => view.over || view.schedule(), 100); // flat is news too
    view.tell("ready");
    view.lost();
    return () => {
      clearInterval(timer);
      cancelAnimationFrame(view.frame);
      model.off("msg:custom", hear);
    };
  },
};
