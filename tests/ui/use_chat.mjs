// Plays scenarios with the real `useChat`: one JSON line in, one JSON line out, until stdin ends.
// Usage: node use_chat.mjs 6|7 URL, the URL of the folder that serves our scripts

import { createInterface } from "node:readline";
import { createElement, useEffect } from "react";
import { create } from "react-test-renderer";

const [version, folder] = process.argv.slice(2);
const { useChat } = await import(`chat-v${version}`);
const { DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls } = await import(`ai-v${version}`);
const asModule = (source) => `data:text/javascript;base64,${Buffer.from(source).toString("base64")}`;
const served = async (name) => (await fetch(`${folder}/${name}`)).text();
const reader = asModule(await served("reader.js"));
const { wholeFetch } = await import(asModule((await served("ui.js")).replace("./reader.js", reader)));
const EAGER = { max_retries: 3, base_delay: 0.01, max_delay: 0.05 };

const tick = () => new Promise((resolve) => setTimeout(resolve, 2));

async function until(claim) {
  for (const end = Date.now() + 10_000; !claim(); await tick()) {
    if (Date.now() > end) throw new Error(`Waited for ${claim} in vain.`);
  }
}

// Hands a response's bytes on one by one: what a network may do, done every time.
async function byteByByte(...given) {
  const response = await fetch(...given);
  if (!response.body) return response;
  const cut = new TransformStream({
    transform(chunk, sink) {
      for (const byte of chunk) sink.enqueue(Uint8Array.of(byte));
    },
  });
  return new Response(response.body.pipeThrough(cut), { status: response.status, headers: response.headers });
}

const answer = ({ messages }) => (messages.at(-1)?.role === "assistant" ? shown(messages.at(-1)) : "");
const shown = ({ parts }) => parts.filter((part) => part.type === "text").map((part) => part.text).join("");

// A page: it holds what the hook returned at the last render, and what its callbacks were told.
class Page {
  constructor(job, messages, resume = false) {
    this.data = [];
    this.finishes = [];
    this.calls = [];
    const under = job.split ? byteByByte : undefined;
    const fetch = job.whole ? wholeFetch({ policy: EAGER, fetch: under }) : under;
    const options = {
      id: job.chat,
      messages,
      resume,
      transport: new DefaultChatTransport({ api: job.api, headers: job.headers, body: job.body, fetch }),
      onData: (part) => this.data.push(part),
      onFinish: ({ isAbort, isDisconnect, isError, finishReason }) =>
        this.finishes.push({ isAbort, isDisconnect, isError, finishReason: finishReason ?? null }),
      sendAutomaticallyWhen: job.results ? lastAssistantMessageIsCompleteWithToolCalls : undefined,
      onToolCall: ({ toolCall }) => {
        this.calls.push(toolCall.toolCallId);
        if (job.results) this.chat.addToolOutput({ tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: job.results });
      },
    };
    const View = () => {
      this.chat = useChat(options);
      useEffect(() => {
        this.mounted = true; // and the hook's own effects, which come first, have subscribed it
      }, []);
      return null;
    };
    this.root = create(createElement(View));
  }

  async settled(count) {
    await until(() => this.mounted && this.finishes.length >= count && ["ready", "error"].includes(this.chat.status));
    await tick();
  }

  told() {
    const { status, error, messages } = this.chat;
    const failed = error && { name: error.name, message: error.message };
    const texts = messages.map(shown);
    return { status, error: failed ?? null, messages, texts, data: this.data, finishes: this.finishes, calls: this.calls };
  }
}

const plays = {
  // Asks, once for each text, and waits for the end.
  async ask(page, job) {
    for (const [number, text] of job.texts.entries()) {
      page.chat.sendMessage({ text });
      await page.settled((number + 1) * (job.results ? 2 : 1));
    }
    return page;
  },

  // Asks, and presses Stop once so many characters are shown; `remote`: somebody else stops the run instead.
  async stop(page, job) {
    page.chat.sendMessage({ text: job.texts[0] });
    await until(() => answer(page.chat).length >= job.after);
    const url = `${job.api}/${encodeURIComponent(job.chat)}/stream`;
    if (job.remote) await fetch(url, { method: "DELETE", headers: job.headers });
    else page.chat.stop();
    await page.settled(1);
    return page;
  },

  // Asks, and reloads the page once so many characters are shown: the new one knows the question and resumes,
  // at another server when `back` names one.
  async reload(page, job) {
    page.chat.sendMessage({ text: job.texts[0] });
    await until(() => answer(page.chat).length >= job.after);
    const kept = job.keep ? structuredClone(page.chat.messages) : page.chat.messages.slice(0, 1);
    page.root.unmount();
    await page.chat.stop();
    const next = new Page({ ...job, api: job.back ?? job.api }, kept, true);
    await next.settled(1);
    return next;
  },

  // Asks, is cut, and resumes on the same page.
  async resume(page, job) {
    page.chat.sendMessage({ text: job.texts[0] });
    await page.settled(1);
    page.broken = page.told();
    page.chat.resumeStream();
    await page.settled(2);
    return page;
  },

  // Opens a page that asks to resume, where there is nothing to resume.
  async idle(page, job) {
    const next = new Page(job, [], true);
    await until(() => next.mounted);
    await new Promise((resolve) => setTimeout(resolve, 100));
    return next;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  let result;
  try {
    const page = new Page(job, job.messages ?? []);
    await until(() => page.mounted);
    const last = await plays[job.play](page, job);
    result = { ...last.told(), broken: last.broken ?? null };
    last.root.unmount();
  } catch (error) {
    result = { failed: `${error.stack}` };
  }
  console.log(JSON.stringify(result));
}
