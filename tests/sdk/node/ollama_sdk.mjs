// What Ollama's own client for JavaScript must be able to do, unchanged.
import assert from "node:assert/strict";
import { Ollama } from "ollama";
import { gone, rejects, run, until, URL } from "./check.mjs";

const client = new Ollama({ host: URL, headers: { Authorization: "Bearer secret" } });
const request = (content, more = {}) => ({ model: "m", messages: [{ role: "user", content }], ...more });
const tools = [{ type: "function", function: { name: "weather", description: "", parameters: { type: "object", properties: {} } } }];

await run({
  async a_chat_is_answered_whole_and_streamed() {
    const whole = await client.chat(request("hello"));
    assert.deepEqual([whole.message.content, whole.done_reason], ["re hello 1 2", "stop"]);
    let text = "";
    for await (const chunk of await client.chat(request("hello", { stream: true }))) text += chunk.message.content;
    assert.equal(text, "re hello 1 2");
  },

  async tools_are_called() {
    const { message } = await client.chat(request("tool", { tools }));
    assert.deepEqual(message.tool_calls.map((call) => [call.function.name, call.function.arguments]), [["weather", { city: "Oslo" }]]);
  },

  async embeddings_and_models_are_there() {
    assert.deepEqual((await client.embed({ model: "m", input: "x" })).embeddings, [[0.5, -0.5]]);
    assert((await client.list()).models.some((model) => model.name.startsWith("m")));
  },

  async errors_say_what_is_wrong() {
    const error = await rejects(Error, () => client.chat({ ...request("x"), model: "no-such" }));
    assert.equal(error.status_code, 404);
    await rejects(Error, async () => {
      for await (const _ of await client.chat(request("cut", { stream: true })));
    });
  },

  async a_client_that_leaves_takes_its_job_with_it() {
    const stream = await client.chat(request("endless", { stream: true }));
    await rejects(Error, async () => {
      for await (const _ of stream) stream.abort();
    });
    await until(async () => (await gone("endless")) === 1, "the model server is left alone");
  },
});
