"""What OpenAI's own client for Python must be able to do, unchanged. The model server answers `re <prompt> 1 2`."""

import asyncio
import time

import openai
import check
from openai import AsyncOpenAI, OpenAI

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


check.done()
