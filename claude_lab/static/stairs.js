// Several routes' arrivals on one clock, as they come: characters against seconds, one staircase a route.

const SVG = "http://www.w3.org/2000/svg";
const [WIDE, HIGH] = [640, 56];
const COLORS = ["#0072b2", "#d1500a", "#117733", "#a04e86", "#8a6d00", "#555a63"]; // those of the still

function shape(tag, attributes, parent) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent.append(made);
  return made;
}

// The path of a staircase: flat from each point to the next one's time, then up.
export function stairPath(points, end, most) {
  const x = (at) => ((at / end) * WIDE).toFixed(1);
  const y = (height) => (HIGH - 2 - (height / most) * (HIGH - 6)).toFixed(1);
  return `M0 ${y(0)}${points.map(([at, height]) => `H${x(at)}V${y(height)}`).join("")}H${WIDE}`;
}

class Stairs {
  constructor(model, el) {
    this.model = model;
    this.rows = [];
    this.began = null;
    this.root = element("div", "claude-lab cl-stairs", { role: "group", "aria-label": model.get("title") || "Race" }, el);
    element("div", "cl-title", {}, this.root).textContent = model.get("title");
    this.axis = element("div", "cl-readout", {}, this.root);
  }

  take({ now, rows }) {
    this.began = performance.now() / 1000 - now;
    rows.forEach((row, index) => {
      const known = (this.rows[index] ??= this.add(row.label, index));
      if (row.from > known.points.length) this.lost();
      else known.points.splice(row.from, Infinity, ...row.points);
    });
    this.schedule();
  }

  lost() { // frames went by before this view stood
    if (performance.now() - (this.asked ?? -Infinity) < 500) return;
    this.asked = performance.now();
    post(`${this.model.get("bell")}/snapshot`);
  }

  add(label, index) {
    const color = label === "sent" ? "var(--cl-soft)" : COLORS[index % COLORS.length];
    const name = element("div", "cl-status", {});
    const svg = document.createElementNS(SVG, "svg");
    for (const [key, value] of Object.entries({ viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label })) svg.setAttribute(key, value);
    svg.style.cssText = `display:block;width:100%;max-width:${WIDE}px;border-bottom:1px solid var(--cl-line)`;
    this.axis.before(name, svg);
    return { label, name, svg, points: [], path: shape("path", { fill: "none", stroke: color, "stroke-width": 1.6 }, svg) };
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  paint() {
    if (this.began === null) return;
    const end = Math.max(performance.now() / 1000 - this.began, 0.001, ...this.rows.map((row) => row.points.at(-1)?.[0] ?? 0));
    const most = Math.max(1, ...this.rows.map((row) => row.points.at(-1)?.[1] ?? 0));
    for (const { label, name, path, points } of this.rows) {
      path.setAttribute("d", stairPath(points, end, most));
      name.textContent = `${label}: ${points.length ? `first token ${points[0][0].toFixed(2)} s` : "no token yet"}`;
    }
    this.axis.textContent = `${end.toFixed(1)} s`;
  }
}

export default {
  render({ model, el }) {
    const view = new Stairs(model, el);
    const hear = (message) => view.take(message);
    model.on("msg:custom", hear);
    const timer = setInterval(() => view.schedule(), 100); // flat is news too
    view.lost();
    return () => {
      clearInterval(timer);
      cancelAnimationFrame(view.frame);
      model.off("msg:custom", hear);
    };
  },
};
