// The chat page: one conversation, read with reader.js. All text reaches the page by textContent.
import { ask } from "./reader.js";

const $ = (id) => document.getElementById(id);
const base = new URL(".", location.href).href; // a capability prefix is part of it
const history = []; // what goes along with the next question
const kept = `claude_lab ${base}`; // a reload finds the conversation there, and the run that is being read
let token = null;
let turn = null; // the one that is being answered

function element(name, className, parent, text = "") {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  parent.append(node);
  return node;
}

function say(text, warn = false) {
  $("status").textContent = text;
  $("status").classList.toggle("warn", warn);
}

const seconds = (value) => `${value.toFixed(value < 10 ? 1 : 0)} s`;
const number = (value, noun) => `${value.toLocaleString("en")} ${noun}${value === 1 ? "" : "s"}`;
const OFFLINE = "You are offline; the answer goes on when you are back";
const LOST = {
  truncated: "The connection is lost",
  timeout: "Nothing comes any more",
  network_error: "The server cannot be reached",
};
const ENDS = { stopped: "stopped", max_tokens: "max_tokens reached", refusal: "refused" };
const UNHEARD = "Stopped here. The server could not be told; it stops when nobody reads.";

class Turn {
  constructor(question, run = null) { // with a run, its answer is read on; else the question is asked
    this.question = question;
    this.from = run;
    this.leaving = new AbortController();
    $("empty").hidden = true;
    this.asked = element("p", "question", $("turns"), question);
    this.root = element("article", "answer streaming", $("turns"));
    this.root.setAttribute("aria-label", "Answer");
    this.thinking = element("details", "thinking", this.root);
    this.thinking.hidden = true;
    element("summary", "", this.thinking, "Thinking");
    this.thought = element("div", "thought", this.thinking);
    this.thought.tabIndex = 0;
    this.text = element("div", "text", this.root);
    this.began = performance.now();
  }

  async run() {
    const messages = history.length ? { messages: history } : {};
    const options = { token, signal: this.leaving.signal, run: this.from };
    this.answer = ask(base, { message: this.question, ...messages }, options);
    keep({ question: this.question, run: this.answer.run });
    say(this.from ? "Coming back" : "Asking");
    this.follow();
    try {
      for await (const frame of this.answer) {
        this.show[frame.type]?.call(this, frame);
        this.schedule();
      }
    } catch (error) {
      this.show.error.call(this, error.name === "AbortError" ? { message: UNHEARD } : error);
    }
    this.end();
  }

  show = {
    start: ({ model }) => say(model ? `${model} is answering` : "Answering"),
    retry: ({ error, attempt, wait }) => say(`Attempt ${attempt} failed (${error}); asking again in ${seconds(wait)}`, true),
    resume({ error, attempt, wait }) {
      this.away = true;
      const told = `${LOST[error] ?? error}; trying again in ${seconds(wait)} (${attempt})`;
      say(navigator.onLine === false ? OFFLINE : told, true);
    },
    reset: ({ reason }) => say(`The answer was taken up again (${reason || "restart"})`, true),
    moved: () => say("The server is moving; the answer goes on elsewhere", true),
    tool({ name, input }) {
      element("div", "note", this.root, `asks for the tool ${name} with ${JSON.stringify(input)}`);
    },
    thinking() { this.back("Thinking"); },
    delta() { this.back("Answering"); },
    done(frame) {
      this.final = frame;
      const { input_tokens: asked = 0, output_tokens: said = 0 } = frame.usage ?? {};
      const cached = frame.usage?.cache_read_input_tokens ?? 0;
      const parts = [`${number(said, "token")} out, ${asked.toLocaleString("en")} in`];
      if (cached) parts.push(`${cached.toLocaleString("en")} from the cache`);
      if (typeof frame.cost === "number") parts.push(`$${frame.cost.toPrecision(2)}`);
      if (typeof frame.ttft === "number") parts.push(`first words after ${seconds(frame.ttft)}`);
      if (ENDS[frame.stop_reason]) parts.unshift(ENDS[frame.stop_reason]);
      element("p", "meta", this.root, parts.join(" · "));
      say(frame.stop_reason === "stopped" ? "Stopped" : "Done");
    },
    error({ error, message, retry_after: after }) {
      const told = error === "truncated" ? `Cut off. ${message}` : message;
      const note = element("p", "note", this.root, after ? `${told} (wait ${seconds(after)})` : told);
      note.setAttribute("role", "alert");
      const again = element("button", "", note, "Ask again");
      again.type = "button";
      again.addEventListener("click", () => turn ?? this.again());
      say(error === "truncated" ? "The answer is not whole" : "That did not work", true);
      if (error === "auth_error" && !this.answer.reading.begun) {
        $("door").hidden = false;
        $("token").focus();
      }
    },
  };

  back(word) { // after a break, and at the first words
    if (!this.away && this.word === word) return;
    this.away = false;
    this.word = word;
    say(word);
  }

  again() {
    const last = history.at(-2)?.content === this.question && history.at(-1)?.content === this.answer.text;
    if (last) history.splice(-2);
    if ($("message").value === this.question) $("message").value = "";
    this.asked.remove();
    this.root.remove();
    start(this.question);
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.frame = null;
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 40;
    write(this.text, this.answer.text);
    write(this.thought, this.answer.thinking);
    this.thinking.hidden = !this.answer.thinking;
    if (atEnd) this.follow();
  }

  follow() {
    scrollTo(0, document.documentElement.scrollHeight);
  }

  end() {
    cancelAnimationFrame(this.frame);
    this.paint();
    this.root.classList.remove("streaming");
    if (this.answer.text.trim()) {
      history.push({ role: "user", content: this.question }, { role: "assistant", content: this.answer.text });
    } else if (!$("message").value && !this.final) {
      $("message").value = this.question;
    }
    turn = null;
    keep();
    controls();
  }

  async stop() {
    if (this.stopping) return;
    this.stopping = true;
    $("stop").disabled = true;
    say("Stopping");
    if (!(await this.answer.stop())) this.leaving.abort();
  }
}

// Brings a node's text up to date; what is there already is left alone, so that a selection stays.
function write(node, text) {
  const shown = node.firstChild?.data ?? "";
  if (text === shown) return;
  if (shown && text.startsWith(shown)) node.firstChild.appendData(text.slice(shown.length));
  else node.textContent = text;
}

function controls() {
  $("stop").hidden = !turn;
  $("stop").disabled = false;
  $("send").hidden = Boolean(turn);
  $("fresh").disabled = Boolean(turn);
}

function keep(now = {}) {
  try {
    sessionStorage.setItem(kept, JSON.stringify({ history, ...now }));
  } catch {} // full, or forbidden: the page works without
}

function recall() {
  const known = JSON.parse(sessionStorage.getItem(kept) ?? "{}");
  for (const { role, content } of known.history ?? []) {
    history.push({ role, content });
    if (role === "user") element("p", "question", $("turns"), content);
    else element("div", "text", element("article", "answer", $("turns")), content);
  }
  $("empty").hidden = Boolean(history.length);
  if (known.run) start(known.question, known.run);
}

function start(question, run) {
  turn = new Turn(question, run);
  controls();
  turn.run();
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = $("message").value.trim();
  if (!question || turn) return;
  $("message").value = "";
  fit();
  start(question);
});

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value;
  $("token").value = "";
  $("door").hidden = true;
  $("message").focus();
  say("Ask again, now with the token");
});

$("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
$("message").addEventListener("input", fit);

function fit() {
  const box = $("message");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

document.addEventListener("keydown", (event) => event.key === "Escape" && turn?.stop());
$("stop").addEventListener("click", () => (turn?.stop(), $("message").focus()));
$("fresh").addEventListener("click", () => {
  history.length = 0;
  for (const node of [...$("turns").children]) if (node.id !== "empty") node.remove();
  $("empty").hidden = false;
  keep();
  say("");
  $("message").focus();
});
addEventListener("offline", () => turn && say(OFFLINE, true));
recall();
