// Two readers of one stream: one that takes chunks for events, and one that does not.

// Splits every chunk on blank lines and parses what begins with "data:". A chunk that ends in the middle of an event
// breaks it; one that ends in the middle of a character garbles it.
export class PerChunk {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.decoder = new TextDecoder();
  }

  feed(chunk) {
    const text = this.decoder.decode(chunk);
    for (const line of text.split("\n\n").filter((each) => each.startsWith("data:"))) {
      this.onEvent(JSON.parse(line.slice(6)));
    }
  }
}

// Keeps bytes of an unfinished character in the decoder, and an unfinished block until its blank line.
export class PerEvent {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.decoder = new TextDecoder("utf-8", { ignoreBOM: false });
    this.rest = "";
  }

  feed(chunk) {
    const text = this.rest + this.decoder.decode(chunk, { stream: true });
    const held = text.endsWith("\r") ? 1 : 0; // it may be half of a CR LF
    const blocks = text.slice(0, text.length - held).replace(/\r\n?/g, "\n").split("\n\n");
    this.rest = blocks.pop() + text.slice(text.length - held);
    for (const block of blocks) {
      const lines = block.split("\n").filter((line) => line.startsWith("data:"));
      if (lines.length) this.onEvent(JSON.parse(lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n")));
    }
  }
}

export class Pane {
  constructor(Reader) {
    this.text = "";
    this.error = "";
    this.ended = false;
    this.reader = new Reader((event) => this.take(event));
  }

  take(event) {
    if (event.type === "delta") this.text += event.text;
    if (event.type === "error") this.error ||= `${event.error}: ${event.message}`;
    if (event.type === "done" || event.type === "error") this.ended = true;
  }

  feed(chunk) {
    if (this.broken) return; // an exception ends its loop
    try {
      this.reader.feed(chunk);
    } catch (error) {
      this.broken = true;
      this.error = `${error.name}: ${error.message}`;
    }
  }
}

function why(url, error) {
  const local = new URL(url).hostname === "127.0.0.1";
  return local
    ? `This page cannot reach ${url} (${error}). The kernel must run on this machine, and the page must not be https.`
    : `This page cannot reach the kernel's port through ${url} (${error}). Install jupyter-server-proxy beside JupyterLab.`;
}

function paneIn(parent, title) {
  const box = element("section", "", { "aria-label": title }, parent);
  element("h4", "", {}, box).textContent = title;
  const told = element("div", "cl-status", { role: "status" }, box);
  const wrong = element("div", "cl-error", {}, box);
  const text = element("div", "cl-text", { role: "region", tabindex: "0", "aria-label": `Answer, ${title}` }, box);
  return { told, wrong, text };
}

function render({ model, el }) {
  const root = element("div", "claude-lab cl-browser", { role: "group", "aria-label": "Browser clients" }, el);
  const bar = element("div", "cl-bar", {}, root);
  const message = element("input", "", { type: "text", "aria-label": "Message" }, bar);
  message.value = model.get("message");
  const label = element("label", "", {}, bar);
  label.append("cut into ");
  const cut = element("input", "", { type: "number", min: 0, max: 65536, step: 1, placeholder: "uncut" }, label);
  label.append(" bytes");
  cut.value = model.get("cut_bytes") ?? "";
  const send = element("button", "", { type: "button" }, bar);
  send.textContent = "Send";
  const note = element("div", "cl-note", { role: "status" }, root);
  note.textContent = `reads ${model.get("target")}`;
  const panes = element("div", "cl-panes", {}, root);
  const shown = [paneIn(panes, "takes chunks for events"), paneIn(panes, "waits for whole events")];
  let running = null;

  const paint = (readers, chunks, done) => {
    readers.forEach((reader, i) => {
      shown[i].text.textContent = reader.text;
      shown[i].wrong.textContent = reader.error;
      const lost = readers[1].text.length - reader.text.length;
      const told = [`${reader.text.length} characters from ${chunks} chunks`];
      if (done && lost > 0) told.push(`${lost} lost`);
      if (done && !reader.ended) told.push("never saw the end");
      shown[i].told.textContent = told.join(" · ");
    });
    root.dataset.done = String(done);
  };

  const run = async () => {
    running = new AbortController();
    send.textContent = "Stop";
    note.textContent = `reads ${model.get("target")}`;
    const readers = [new Pane(PerChunk), new Pane(PerEvent)];
    const [url] = roads(model.get("relay_url"));
    let chunks = 0;
    paint(readers, chunks, false);
    try {
      const answer = await fetch(url, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "text/event-stream", ...xsrf() },
        body: JSON.stringify({ message: message.value }),
        signal: running.signal,
      });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      const reader = answer.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        chunks += 1;
        for (const each of readers) each.feed(value);
        paint(readers, chunks, false);
      }
    } catch (error) {
      note.textContent = error.name === "AbortError" ? "Stopped." : why(url, error.message);
    }
    paint(readers, chunks, true);
    send.textContent = "Send";
    running = null;
  };

  send.addEventListener("click", () => (running ? running.abort() : run()));
  message.addEventListener("keydown", (event) => event.key === "Enter" && !running && run());
  cut.addEventListener("change", () => {
    model.set("cut_bytes", Number(cut.value) || null);
    model.save_changes();
  });
  return () => running?.abort();
}

export default { render };
