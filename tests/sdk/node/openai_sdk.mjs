// What OpenAI's own client for JavaScript must be able to do, unchanged. The model server answers `re <prompt> 1 2`.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { gone, rejects, run, seen, until, URL } from "./check.mjs";

const client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: "secret", maxRetries: 0 });
const request = (content, more = {}) => ({ model: "m", messages: [{ role: "user", content }], ...more });
const ask = (content, more) => client.chat.completions.create(request(content, more));
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }];

await run({
  async a_chat_is_answered_and_says_what_became_of_it() {
    const { data, response, request_id } = await client.chat.completions.create(request("hello")).withResponse();
    assert.equal(data.choices[0].message.content, "re hello 1 2");
    assert.equal(response.headers.get("x-pullyard-model"), "m");
    assert.match(request_id, /^req_/);
  },

  async a_stream_comes_in_chunks_with_its_usage() {
    let text = "";
    let usage;
    for await (const chunk of await ask("hello", { stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, "re hello 1 2");
    assert.equal(usage.completion_tokens, 3);
    const whole = await client.chat.completions.stream(request("hello")).finalChatCompletion();
    assert.equal(whole.choices[0].message.content, "re hello 1 2");
  },

  async tools_are_called_whole_and_streamed() {
    const whole = await ask("tool", { tools });
    const streamed = await client.chat.completions.stream(request("tool", { tools })).finalChatCompletion();
    for (const { choices: [choice] } of [whole, streamed]) {
      assert.equal(choice.finish_reason, "tool_calls");
      assert.equal(choice.message.tool_calls[0].function.name, "weather");
      assert.deepEqual(JSON.parse(choice.message.tool_calls[0].function.arguments), { city: "Oslo" });
    }
  },

  async completions_embeddings_and_models_are_there() {
    assert((await client.completions.create({ model: "m", prompt: "x" })).choices.length > 0);
    assert.deepEqual([...(await client.embeddings.create({ model: "m", input: "x" })).data[0].embedding], [0.5, -0.5]);
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert(ids.includes("m") && ids.includes("auto"));
  },

  async errors_are_of_the_right_class() {
    assert.equal((await rejects(OpenAI.NotFoundError, () => client.models.retrieve("no-such"))).code, "model_not_found");
    await rejects(OpenAI.AuthenticationError, () => client.withOptions({ apiKey: "wrong" }).models.list());
    await rejects(OpenAI.BadRequestError, () => ask("x", { band: "loud" }));
    await rejects(OpenAI.InternalServerError, () => ask("refuse 500"));
    await rejects(OpenAI.APIError, async () => {
      for await (const _ of await ask("cut", { stream: true }));
    });
  },

  async an_error_that_no_retry_can_help_is_not_retried() {
    const before = await seen("refuse 500");
    const eager = client.withOptions({ maxRetries: 3 });
    await rejects(OpenAI.InternalServerError, () => eager.chat.completions.create(request("refuse 500")));
    assert.equal((await seen("refuse 500")) - before, 3, "the broker's own three attempts");
  },

  async a_client_that_leaves_takes_its_job_with_it() {
    const stream = await ask("endless", { stream: true });
    for await (const _ of stream) break;
    stream.controller.abort();
    await until(async () => (await gone("endless")) === 1, "the model server is left alone");
    const leave = new AbortController();
    const asking = client.chat.completions.create(request("endless again"), { signal: leave.signal });
    await until(async () => (await seen("endless again")) === 1, "it is asked");
    leave.abort();
    await rejects(OpenAI.APIUserAbortError, () => asking);
    await until(async () => (await gone("endless again")) === 1, "nor without a stream");
  },
});
