// The browser's half of the live view. A Store hears the frames of one model; each View paints it.
// Offsets and lengths count UTF-16 units, as JavaScript strings do.

const NODE = 512; // units after which a text node is full
const BLOCK = 2048; // units after which the next line begins a new block of text
const SLACK = 512; // units more after which a line that the page wrapped begins one
const MOST_BLOCKS = 64; // older blocks leave the page; the still has the whole text
const SPEAK_MS = 4000; // a screen reader hears one sentence in so many ms at most
const stores = new Map();

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
    this.resized = new ResizeObserver(() => this.refit());
    this.resized.observe(this.text);
    this.reset();
    this.paint();
  }

  reset() { // what is shown stays until the next frame shows what takes its place
    this.anew = true;
    this.waiting = this.store.text;
  }

  empty() {
    this.text.replaceChildren();
    this.note.textContent = "";
    this.block = null;
    this.left = 0;
    this.wrapped = 0;
    this.anew = false;
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  paint() {
    const { store } = this;
    const follows = this.waiting && this.atEnd; // asked first and obeyed last: one layout a frame
    const { anew } = this;
    const { scrollTop } = anew ? this.text : {};
    if (anew) this.empty();
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
    this.text.hidden = Boolean(error && !store.text); // nothing was answered: the error says why
    if (store.ended) {
      this.text.setAttribute("aria-busy", "false");
      this.root.dataset.whole = String(store.whole);
      clearInterval(this.timer);
    }
    this.strip.paint();
    this.speaker.speak();
    if (follows) this.toEnd();
    else if (anew) this.text.scrollTop = scrollTop;
  }

  toEnd() {
    this.text.scrollTop = this.text.scrollHeight;
  }

  get atEnd() {
    return this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 24;
  }

  append(text) {
    text = this.latest(text);
    while (text) {
      if (!this.block) this.begin();
      const end = Math.max(0, BLOCK - this.filled);
      const line = text.indexOf("\n", end);
      const take = Math.min(line < 0 ? text.length : line, end + SLACK);
      this.write(text.slice(0, take));
      text = text.slice(take);
      if (take === line) {
        text = text.slice(1);
        this.block = null;
      } else if (this.filled >= BLOCK + SLACK) this.wrap();
      this.drop();
    }
  }

  latest(text) { // of a long answer only what will stay on the page
    const from = text.length - MOST_BLOCKS * BLOCK;
    if (this.block || from <= 0) return text;
    const start = text.indexOf("\n", from) + 1 || from;
    this.left += start;
    return text.slice(start);
  }

  begin() {
    this.block = element("div", "", {}, this.text);
    this.filled = 0;
  }

  write(text) { // short nodes: what has been laid out in the others is used again
    const last = this.block.lastChild;
    if (last && last.length < NODE) last.appendData(text);
    else this.block.append(text);
    this.filled += text.length;
  }

  wrap() { // a paragraph too long to lay out again and again: its last wrapped line begins a block
    const found = lastLine(this.block);
    if (!found) {
      if (!this.text.clientWidth) this.wrapped = -1; // not in the page yet: `refit` breaks the line once it is
      return;
    }
    const { block } = this;
    const rest = found.at ? found.node.splitText(found.at) : found.node;
    block.dataset.wrapped = "true";
    this.wrapped = this.text.clientWidth;
    this.begin();
    while (rest.nextSibling) this.block.prepend(block.lastChild);
    this.block.prepend(rest);
    this.filled = this.block.textContent.length;
  }

  refit() { // at another width the lines wrap elsewhere
    if (!this.wrapped || this.wrapped === this.text.clientWidth || !this.text.clientWidth) return;
    const { atEnd, left } = this;
    const { scrollTop } = this.text;
    this.empty();
    this.left = left;
    this.append(this.store.text.slice(left));
    this.waiting = "";
    if (atEnd) this.toEnd();
    else this.text.scrollTop = scrollTop;
  }

  drop() {
    while (this.text.childElementCount > MOST_BLOCKS) {
      const { textContent, dataset } = this.text.firstElementChild;
      this.left += textContent.length + (dataset.wrapped ? 0 : 1);
      this.text.firstElementChild.remove();
    }
    if (this.left) this.note.textContent = `… ${this.left.toLocaleString("en")} characters above; all of them are in .text`;
  }

  close() {
    clearInterval(this.timer);
    cancelAnimationFrame(this.frame);
    this.resized.disconnect();
    this.strip.close();
  }
}

// Where the last line begins that the page wrapped, as a text node and a place in it; nothing when there is but one.
function lastLine(block) {
  const range = document.createRange();
  const top = (node, at) => {
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    return range.getClientRects()[0]?.top ?? -Infinity; // a line's end may have no place
  };
  const last = block.lastChild;
  const line = top(last, last.length - 1) - 4; // a letter of another font may stand a little higher
  if (line === -Infinity) return null; // nothing is laid out
  let node = last;
  while (node && top(node, 0) >= line) node = node.previousSibling;
  if (!node) return null;
  let [low, high] = [0, node.length]; // the first place in this node that is on the line, or its end
  while (low + 1 < high) {
    const middle = (low + high) >> 1;
    if (top(node, middle) >= line) high = middle;
    else low = middle;
  }
  return high < node.length ? { node, at: high } : { node: node.nextSibling, at: 0 };
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
