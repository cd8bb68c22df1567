"""What OpenAI's own client for Python must be able to do, unchanged. The model server answers `re <prompt> 1 2`."""

import asyncio
import json
import time

import openai
import check
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion

client = OpenAI(base_url=check.URL + "/v1", api_key="secret", max_retries=0)


def ask(prompt="x", client=client, **more):
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": prompt}], **more)


@check.that
def a_chat_is_answered_and_says_what_became_of_it():
    raw = client.chat.completions.with_raw_response.create(model="m", messages=[{"role": "user", "content": "hello"}])
    answer = raw.parse()
    assert answer.choices[0].message.content == "re hello 1 2" and answer.usage.total_tokens == 10
    assert answer._request_id == raw.headers["x-request-id"] and raw.headers["x-pullyard-model"] == "m"


@check.that
def a_stream_comes_in_chunks_with_its_usage():
    chunks = list(ask("hello", stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "re hello 1 2"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 3
    assert all(c.usage is None for c in chunks[:-1])
    with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "hello"}]) as stream:
        assert stream.get_final_completion().choices[0].message.content == "re hello 1 2"


@check.that
def tools_are_called_whole_and_streamed():
    weather = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    call = ask("tool", tools=[weather]).choices[0]
    assert call.finish_reason == "tool_calls"
    assert (call.message.tool_calls[0].function.name, call.message.tool_calls[0].function.arguments) == ("weather", '{"city": "Oslo"}')
    with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "tool"}], tools=[weather]) as stream:
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert call.id == "call_1" and call.function.arguments == '{"city": "Oslo"}'
    told = client.chat.completions.create(model="m", tools=[weather], messages=[
        {"role": "user", "content": "tool"},
        {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ])
    assert told.choices[0].message.content == "re rain 1 2"


@check.that
def completions_embeddings_and_models_are_there():
    assert client.completions.create(model="m", prompt="x").choices
    # The client asks for base64 and the server says floats.
    assert client.embeddings.create(model="m", input="x").data[0].embedding == [0.5, -0.5]
    assert {model.id for model in client.models.list()} >= {"m", "auto"}
    assert client.models.retrieve("m").owned_by == "pullyard"


@check.that
def errors_are_of_the_right_class():
    for kind, code, ask_it in [
        (openai.NotFoundError, "model_not_found", lambda: client.chat.completions.create(model="no-such", messages=[{"role": "user", "content": "x"}])),
        (openai.AuthenticationError, "invalid_api_key", lambda: client.with_options(api_key="wrong").models.list()),
        (openai.BadRequestError, None, lambda: ask(extra_body={"band": "loud"})),
        (openai.BadRequestError, None, lambda: ask("refuse 400")),
        (openai.InternalServerError, None, lambda: ask("refuse 500")),
    ]:
        error = check.raises(kind, ask_it)
        assert error.code == code and error.request_id.startswith("req_"), (error.code, error)
    error = check.raises(openai.APIError, lambda: list(ask("cut", stream=True)))
    assert type(error) is openai.APIError and error.message


@check.that
def an_error_that_no_retry_can_help_is_not_retried():
    """The broker has tried what could help; a client that tried again would only double the work."""
    before = check.seen("refuse 500")
    eager = client.with_options(max_retries=3)
    check.raises(openai.InternalServerError, lambda: ask("refuse 500", client=eager))
    assert check.seen("refuse 500") - before == 3, "the broker's own three attempts"


@check.that
def a_full_queue_is_tried_again_when_it_says():
    """The other broker has one slot, and room for one job that waits behind what it has offered."""
    narrow = OpenAI(base_url=check.NARROW_URL + "/v1", api_key="secret", max_retries=0)
    running = check.submit("hold")
    check.until(lambda: check.seen("hold") == 1, "the slot is taken")
    waiting = check.submit_until_full()
    error = check.raises(openai.RateLimitError, lambda: ask("third", client=narrow))
    assert error.code == "rate_limit_exceeded" and int(error.response.headers["retry-after"]) >= 1
    check.later(0.3, check.release)
    begun = time.monotonic()
    assert ask("third", client=narrow.with_options(max_retries=5)).choices[0].message.content == "re third 1 2"
    assert time.monotonic() - begun >= 1, "it waited as long as it was told"
    check.ended(running, *waiting)


@check.that
def a_client_that_leaves_takes_its_job_with_it():
    stream = ask("endless", stream=True)
    next(iter(stream))
    stream.close()
    check.until(lambda: check.gone("endless") == 1, "the model server is left alone")

    async def cancelled():
        asking = asyncio.create_task(AsyncOpenAI(base_url=check.URL + "/v1", api_key="secret").chat.completions.create(
            model="m", messages=[{"role": "user", "content": "endless again"}]))
        while check.seen("endless again") == 0:
            await asyncio.sleep(0.01)
        asking.cancel()

    asyncio.run(cancelled())
    check.until(lambda: check.gone("endless again") == 1, "nor without a stream")


@check.that
def a_request_that_is_sent_again_with_its_key_is_one_job():
    once = {"extra_headers": {"Idempotency-Key": "greeting-1"}}
    before = check.seen("only once")
    assert ask("only once", **once).id == ask("only once", **once).id
    assert check.seen("only once") - before == 1


@check.that
def responses_are_made_streamed_and_gone_on_behind():
    answer = client.responses.create(model="m", input="hello", instructions="Be brief.")
    assert (answer.output_text, answer.status, answer.usage.total_tokens) == ("re hello 1 2", "completed", 10)
    assert client.responses.retrieve(answer.id) == answer
    with client.responses.stream(model="m", input="hello") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert text == stream.get_final_response().output_text == "re hello 1 2"
    behind = client.responses.create(model="m", input="and now", previous_response_id=answer.id)
    items = client.responses.input_items.list(behind.id, order="asc")
    assert [(item.role, item.content[0].text) for item in items] == [("user", "hello"), ("assistant", "re hello 1 2"), ("user", "and now")]
    assert client.responses.input_tokens.count(model="m", input="hello").input_tokens > 0


@check.that
def a_response_calls_tools_and_hears_their_results():
    weather = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
    with client.responses.stream(model="m", input="tool", tools=[weather]) as stream:
        stream.until_done()
        streamed = stream.get_final_response()
    for answer in [client.responses.create(model="m", input="tool", tools=[weather]), streamed]:
        call = answer.output[-1]
        assert (call.type, call.name, call.arguments) == ("function_call", "weather", '{"city": "Oslo"}')
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
        told = client.responses.create(model="m", input=[result], tools=[weather], previous_response_id=answer.id)
        assert told.output_text == "re rain 1 2"


@check.that
def a_background_response_is_polled_cancelled_and_deleted():
    before = check.seen("hold")
    waiting = client.responses.create(model="m", input="hold", background=True)
    assert waiting.status in ("queued", "in_progress") and waiting.output == []
    check.until(lambda: check.seen("hold") == before + 1, "it runs")
    check.release()
    check.until(lambda: client.responses.retrieve(waiting.id).status == "completed", "the response's end")
    done = client.responses.retrieve(waiting.id)
    told = list(client.responses.retrieve(waiting.id, stream=True, starting_after=0))
    assert told[0].sequence_number == 1 and told[-1].response == done and done.output_text == "re hold 1 2"

    endless = client.responses.create(model="m", input="endless response", background=True)
    check.until(lambda: check.seen("endless response") == 1, "it runs")
    assert client.responses.cancel(endless.id).status == "cancelled"
    check.until(lambda: check.gone("endless response") == 1, "the model server is left alone")
    client.responses.delete(endless.id)
    check.raises(openai.NotFoundError, lambda: client.responses.retrieve(endless.id))


@check.that
def what_is_wrong_with_a_response_is_of_the_right_class():
    respond = client.responses.create
    for kind, code, param, ask_it in [
        (openai.NotFoundError, "model_not_found", "model", lambda: respond(model="no-such", input="x")),
        (openai.BadRequestError, "previous_response_not_found", "previous_response_id", lambda: respond(model="m", input="x", previous_response_id="resp_1")),
        (openai.BadRequestError, None, "conversation", lambda: respond(model="m", input="x", conversation="conv_1")),
        (openai.BadRequestError, None, "tools[0].type", lambda: respond(model="m", input="x", tools=[{"type": "web_search"}])),
        (openai.BadRequestError, None, None, lambda: respond(model="m", input="refuse 400")),
        (openai.InternalServerError, None, None, lambda: respond(model="m", input="refuse 500")),
    ]:
        error = check.raises(kind, ask_it)
        assert (error.code, error.param) == (code, param), (error.code, error.param)
    last = list(respond(model="m", input="cut", stream=True))[-1]
    assert (last.type, last.response.error.code) == ("response.failed", "server_error"), last


def uploaded(*prompts):
    body = lambda prompt: {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    lines = [{"custom_id": prompt, "method": "POST", "url": "/v1/chat/completions", "body": body(prompt)} for prompt in prompts]
    return client.files.create(file=("in.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")


def begun(file):
    return client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"team": "a"})


def by_name(file):
    return {line["custom_id"]: line for line in map(json.loads, client.files.content(file).text.splitlines())}


@check.that
def a_batch_is_uploaded_run_and_fetched():
    file = uploaded("line 1", "line 2", "refuse 400")
    assert client.files.retrieve(file.id) == file and file.id in {one.id for one in client.files.list(purpose="batch")}
    batch = begun(file)
    check.until(lambda: client.batches.retrieve(batch.id).status == "completed", "the batch's end")
    batch = client.batches.retrieve(batch.id)
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (3, 2, 1) and batch.metadata == {"team": "a"}
    output, errors = by_name(batch.output_file_id), by_name(batch.error_file_id)
    answer = ChatCompletion.model_validate(output["line 2"]["response"]["body"])
    assert answer.choices[0].message.content == "re line 2 1 2" and set(output) == {"line 1", "line 2"}
    assert errors["refuse 400"]["response"]["status_code"] == 400 and set(errors) == {"refuse 400"}
    assert batch.id in {one.id for one in client.batches.list(limit=1)}
    assert client.files.delete(file.id).deleted
    check.raises(openai.NotFoundError, lambda: client.files.content(file.id))


@check.that
def a_batch_is_cancelled_and_a_wrong_one_is_refused():
    batch = begun(uploaded("endless line"))
    check.until(lambda: check.seen("endless line") == 1, "it runs")
    assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    check.until(lambda: client.batches.retrieve(batch.id).status == "cancelled", "the batch's end")
    check.until(lambda: check.gone("endless line") == 1, "the model server is left alone")
    check.raises(openai.NotFoundError, lambda: client.batches.retrieve("batch_1"))
    check.raises(openai.BadRequestError, lambda: client.files.create(file=("x", b"x"), purpose="fun"))
    twice = begun(uploaded("a", "a"))
    check.until(lambda: client.batches.retrieve(twice.id).status == "failed", "the refusal")
    assert client.batches.retrieve(twice.id).errors.data[0].line == 2


check.done()
