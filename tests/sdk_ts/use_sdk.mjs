// Uses the official TypeScript SDK as its users do: one JSON line in, one JSON line out, until stdin ends.
// The fake's address comes from ANTHROPIC_BASE_URL alone.

import { createInterface } from "node:readline";
import Anthropic, * as all from "@anthropic-ai/sdk";

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// What a program can learn from an error: its class, and what the API said.
function learned(error) {
  const { status = null, type = null, apiMessage = null, requestID = null, cause } = error;
  const name = error.constructor.name;
  const lineage = Object.keys(all).filter((key) => /Error$/.test(key) && error instanceof all[key]);
  return { name, lineage, status, type, apiMessage, requestID, message: error.message, cause: cause ? `${cause}` : null };
}

const plays = {
  async whole(client, job) {
    const message = await client.messages.create(job.body);
    return { message, request: message._request_id };
  },

  async stream(client, job, told) {
    const stream = client.messages.stream(job.body);
    Object.assign(told, { text: "", thinking: "", events: [] });
    stream.on("text", (text) => (told.text += text));
    stream.on("thinking", (text) => (told.thinking += text));
    stream.on("streamEvent", (event) => told.events.push(event.type));
    const message = await stream.finalMessage();
    return { ...told, message, request: stream.request_id };
  },

  async events(client, job, told) {
    const stream = await client.messages.create({ ...job.body, stream: true });
    Object.assign(told, { text: "", events: [] });
    for await (const event of stream) {
      told.events.push(event.type);
      if (event.delta?.type === "text_delta") told.text += event.delta.text;
    }
    return told;
  },

  // The loop of every agent: ask, run the tools it calls, tell the results, ask again.
  async tools(client, job) {
    const messages = [...job.body.messages];
    const calls = [];
    for (;;) {
      const message = await client.messages.stream({ ...job.body, messages }).finalMessage();
      messages.push({ role: "assistant", content: message.content });
      if (message.stop_reason !== "tool_use") return { message, calls };
      const asked = message.content.filter((block) => block.type === "tool_use");
      calls.push(...asked.map(({ name, input }) => ({ name, input })));
      const results = asked.map(({ id }) => ({ type: "tool_result", tool_use_id: id, content: job.result }));
      messages.push({ role: "user", content: results });
    }
  },

  async count(client, job) {
    return client.messages.countTokens(job.body);
  },

  async models(client, job) {
    const ids = [];
    for await (const model of client.models.list({ limit: job.limit })) ids.push(model.id);
    const one = await client.models.retrieve(ids[0]);
    return { ids, one };
  },

  // Leaves after the first words, by `stream.abort()` or by breaking out of the loop.
  async leave(client, job, told) {
    told.text = "";
    if (job.how === "break") {
      for await (const event of await client.messages.create({ ...job.body, stream: true })) {
        told.text += event.delta?.text ?? "";
        if (told.text) break;
      }
      return told;
    }
    const stream = client.messages.stream(job.body);
    stream.on("text", (text) => {
      told.text += text;
      stream.abort();
    });
    await stream.finalMessage();
    return told;
  },

  async batches(client, job) {
    let batch = await client.messages.batches.create({ requests: job.requests });
    const states = [batch.processing_status];
    for (; batch.processing_status !== "ended"; await pause(20)) {
      batch = await client.messages.batches.retrieve(batch.id);
      states.push(batch.processing_status);
    }
    const results = {};
    for await (const { custom_id, result } of await client.messages.batches.results(batch.id)) results[custom_id] = result;
    const listed = [];
    for await (const { id } of client.messages.batches.list()) listed.push(id);
    const deleted = await client.messages.batches.delete(batch.id);
    return { id: batch.id, states, counts: batch.request_counts, results, listed, deleted };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  const told = {};
  const answer = await plays[job.play](new Anthropic(job.options), job, told).catch((error) => ({
    ...told,
    error: learned(error),
  }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
