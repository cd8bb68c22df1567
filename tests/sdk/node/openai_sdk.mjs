// What OpenAI's own client for JavaScript must be able to do, unchanged. The model server answers `re <prompt> 1 2`.
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";
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

  async responses_are_made_streamed_and_gone_on_behind() {
    const answer = await client.responses.create({ model: "m", input: "hello" });
    assert.equal(answer.output_text, "re hello 1 2");
    const stream = client.responses.stream({ model: "m", input: "hello" });
    let text = "";
    stream.on("response.output_text.delta", ({ delta }) => (text += delta));
    assert.equal((await stream.finalResponse()).output_text, "re hello 1 2");
    assert.equal(text, "re hello 1 2");
    const weather = { type: "function", name: "weather", parameters: { type: "object" }, strict: false };
    const asked = await client.responses.create({ model: "m", input: "tool", tools: [weather] });
    const call = asked.output.at(-1);
    assert.deepEqual([call.type, call.name, JSON.parse(call.arguments)], ["function_call", "weather", { city: "Oslo" }]);
    const result = { type: "function_call_output", call_id: call.call_id, output: "rain" };
    const told = await client.responses.create({ model: "m", input: [result], tools: [weather], previous_response_id: asked.id });
    assert.equal(told.output_text, "re rain 1 2");
    const wrong = { model: "m", input: "x", previous_response_id: "resp_1" };
    assert.equal((await rejects(OpenAI.BadRequestError, () => client.responses.create(wrong))).code, "previous_response_not_found");
  },

  async a_background_response_is_polled_cancelled_and_deleted() {
    const { id } = await client.responses.create({ model: "m", input: "later", background: true });
    await until(async () => (await client.responses.retrieve(id)).status === "completed", "the response's end");
    assert.equal((await client.responses.retrieve(id)).output_text, "re later 1 2");
    const endless = await client.responses.create({ model: "m", input: "endless response", background: true });
    await until(async () => (await seen("endless response")) === 1, "it runs");
    assert.equal((await client.responses.cancel(endless.id)).status, "cancelled");
    await until(async () => (await gone("endless response")) === 1, "the model server is left alone");
    await client.responses.delete(endless.id);
    await rejects(OpenAI.NotFoundError, () => client.responses.retrieve(endless.id));
  },

  async a_batch_is_uploaded_run_and_fetched() {
    const line = (content) => ({ custom_id: content, method: "POST", url: "/v1/chat/completions", body: request(content) });
    const lines = ["line 1", "line 2"].map((content) => JSON.stringify(line(content))).join("\n");
    const file = await client.files.create({ file: await toFile(Buffer.from(lines), "in.jsonl"), purpose: "batch" });
    const { id } = await client.batches.create({
      input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h",
    });
    await until(async () => (await client.batches.retrieve(id)).status === "completed", "the batch's end");
    const batch = await client.batches.retrieve(id);
    assert.deepEqual(batch.request_counts, { total: 2, completed: 2, failed: 0 });
    const output = (await (await client.files.content(batch.output_file_id)).text()).trim().split("\n").map((one) => JSON.parse(one));
    const said = output.map((one) => one.response.body.choices[0].message.content);
    assert.deepEqual(said.sort(), ["re line 1 1 2", "re line 2 1 2"]);
    assert((await client.files.delete(file.id)).deleted);
    await rejects(OpenAI.NotFoundError, () => client.files.retrieve(file.id));
  },
});
