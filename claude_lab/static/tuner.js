// Sliders for a retry setting. One question is under way at a time; the last turn of a knob always gets its answer.

const IDLE_MS = 120;
const KNOBS = [
  { name: "max_retries", label: "MAX_RETRIES", min: 0, max: 12, step: 1, show: (value) => `${value}` },
  { name: "base_delay", label: "BASE_DELAY", min: -7, max: 4, step: 0.5, show: (value) => `${Number(value.toPrecision(2))} s`,
    from: (position) => Number((2 ** position).toPrecision(2)), to: (value) => Math.log2(value) },
  { name: "jitter", label: "JITTER", options: ["none", "full", "equal", "decorrelated", "sdk"] },
  { name: "limit", label: "limit", min: 5, max: 200, step: 5, show: (value) => `${value} requests/min` },
  { name: "load", label: "load", min: 0.1, max: 2, step: 0.02, show: (value) => `${Math.round(value * 100)} % of the limit` },
];

function control(knob, value, grid, key, turned) {
  const id = `${key}-${knob.name}`;
  element("label", "", { for: id }, grid).textContent = knob.label;
  if (knob.options) {
    const select = element("select", "", { id }, grid);
    for (const option of knob.options) select.append(new Option(option, option, false, option === value));
    element("output", "", {}, grid);
    select.addEventListener("input", () => turned(knob.name, select.value));
    return (chosen) => { select.value = chosen; };
  }
  const input = element("input", "", { id, type: "range", min: knob.min, max: knob.max, step: knob.step }, grid);
  const output = element("output", "", { for: id }, grid);
  const show = (shown) => {
    output.textContent = knob.show(shown);
    input.setAttribute("aria-valuetext", knob.show(shown));
  };
  const move = (chosen) => {
    input.value = knob.to ? knob.to(chosen) : chosen;
    show(chosen);
  };
  move(value);
  input.addEventListener("input", () => {
    const chosen = knob.from ? knob.from(input.valueAsNumber) : input.valueAsNumber;
    show(chosen);
    turned(knob.name, chosen);
  });
  return move;
}

export default {
  render({ model, el }) {
    const key = `cl-${Math.random().toString(36).slice(2)}`;
    const root = element("div", "claude-lab cl-tuner", { role: "group", "aria-label": "Retry settings" }, el);
    const grid = element("div", "cl-knobs", {}, root);
    const pictures = element("div", "cl-pictures", {}, root);
    const [waits, success] = [element("div", "", {}, pictures), element("div", "", {}, pictures)];
    const told = element("div", "cl-told", { role: "status" }, root);
    const env = element("pre", "cl-env", { tabindex: "0", "aria-label": "The setting as a .env file" }, root);
    const copy = element("button", "cl-copy", { type: "button" }, root);
    copy.textContent = "Copy as .env";
    const setting = { ...model.get("setting") };
    let [turn, answered, waiting, idle] = [0, 0, false, 0];

    const draw = (drawn) => {
      waits.innerHTML = drawn.waits; // drawn by the kernel from numbers alone
      success.innerHTML = drawn.success;
      told.textContent = drawn.told;
      env.textContent = drawn.env;
    };
    const ask = () => {
      clearTimeout(idle);
      if (waiting) return;
      waiting = true;
      const turned = turn !== answered; // a sharper picture is asked of whatever the setting has become
      model.send(turned ? { key, turn, knobs: setting } : { key, turn });
    };
    const hear = (message) => {
      if (!message.pictures) return;
      if (message.key !== key) return follow(message);
      [waiting, answered] = [false, message.turn];
      root.dataset.answered = String(message.turn);
      if (message.turn === turn) draw(message.pictures);
      if (message.turn !== turn) ask();
      else if (message.more) idle = setTimeout(ask, IDLE_MS); // a sharper picture, once the knobs rest
    };
    const follow = ({ knobs, pictures }) => { // another view of the same tuner was turned
      if (turn !== answered) return; // and this one after it: its own answer comes
      Object.assign(setting, knobs);
      for (const [name, move] of Object.entries(moves)) move(knobs[name]);
      draw(pictures);
    };
    const moves = Object.fromEntries(KNOBS.map((knob) => [
      knob.name,
      control(knob, setting[knob.name], grid, key, (name, value) => {
        setting[name] = value;
        turn += 1;
        ask();
      }),
    ]));
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(env.textContent);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(env); // no clipboard without https: select it instead
        copy.textContent = "Selected: press Ctrl+C";
      }
      setTimeout(() => { copy.textContent = "Copy as .env"; }, 2000);
    });
    draw(model.get("pictures"));
    model.on("msg:custom", hear);
    ask(); // the first picture is rough
    return () => {
      clearTimeout(idle);
      model.off("msg:custom", hear);
    };
  },
};
