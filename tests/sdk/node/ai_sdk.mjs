// What the AI SDK makes of it, with its provider for all that speak OpenAI.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, jsonSchema, streamText, tool } from "ai";
import { gone, rejects, run, until, URL } from "./check.mjs";

const yard = createOpenAICompatible({ name: "pullyard", baseURL: `${URL}/v1`, apiKey: "secret", includeUsage: true });
const model = yard("m");
const schema = jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] });
const tools = { weather: tool({ description: "Tells the weather.", inputSchema: schema }) };

await run({
  async a_text_is_generated_whole_and_streamed() {
    const { text, usage, finishReason } = await generateText({ model, prompt: "hello" });
    assert.deepEqual([text, usage.totalTokens, finishReason], ["re hello 1 2", 10, "stop"]);
    const streamed = streamText({ model, prompt: "hello" });
    let all = "";
    for await (const piece of streamed.textStream) all += piece;
    assert.deepEqual([all, (await streamed.usage).outputTokens], ["re hello 1 2", 3]);
  },

  async tools_are_called_whole_and_streamed() {
    const whole = await generateText({ model, prompt: "tool", tools });
    const streamed = streamText({ model, prompt: "tool", tools });
    for (const calls of [whole.toolCalls, await streamed.toolCalls]) {
      assert.deepEqual(calls.map((call) => [call.toolName, call.input]), [["weather", { city: "Oslo" }]]);
    }
  },

  async embeddings_are_vectors() {
    const { embeddings } = await embedMany({ model: yard.embeddingModel("m"), values: ["x"] });
    assert.deepEqual(embeddings, [[0.5, -0.5]]);
  },

  async errors_say_what_is_wrong() {
    const error = await rejects(APICallError, () => generateText({ model: yard("no-such"), prompt: "x", maxRetries: 0 }));
    assert.equal(error.statusCode, 404);
    assert.match(error.message, /no-such/);
    const parts = [];
    for await (const part of streamText({ model, prompt: "cut", maxRetries: 0, onError() {} }).fullStream) parts.push(part.type);
    assert(parts.includes("error"), parts.join());
  },

  async a_client_that_leaves_takes_its_job_with_it() {
    const leave = new AbortController();
    const streamed = streamText({ model, prompt: "endless", abortSignal: leave.signal, onError() {} });
    for await (const _ of streamed.textStream) break;
    leave.abort();
    await until(async () => (await gone("endless")) === 1, "the model server is left alone");
  },
});
