// The browser's half of the live view. A Store hears the frames of one model; each View paints it.
// Offsets and lengths count UTF-16 units, as JavaScript strings do.

const NODE = 512; // units after which a text node is full
const BLOCK = 4096; // units after which the next line begins a new block of text
const MOST_BLOCKS = 32; // older blocks leave the page; the still has the whole text
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
        this.block = element("div", "", {}, this.text);
        this.filled = 0;
      }
      const line = text.indexOf("\n", Math.min(Math.max(0, BLOCK - this.filled), text.length));
      this.write(line < 0 ? text : text.slice(0, line));
      if (line < 0) break;
      text = text.slice(line + 1);
      this.block = null;
      this.drop();
    }
    if (atEnd) this.text.scrollTop = this.text.scrollHeight;
  }

  write(text) { // short nodes: what has been laid out in the others is used again
    const last = this.block.lastChild;
    if (last && last.length < NODE) last.appendData(text);
    else this.block.append(text);
    this.filled += text.length;
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
