"""What Anthropic's own client for Python must be able to do, unchanged. The model server speaks OpenAI and answers
`re <prompt> 1 2`."""

import anthropic
import check
from anthropic import Anthropic

client = Anthropic(base_url=check.URL, api_key="secret", max_retries=0)
WEATHER = {"name": "weather", "description": "Tells the weather.", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


def request(prompt, **more):
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": prompt}], **more}


def ask(prompt, client=client, **more):
    return client.messages.create(**request(prompt, **more))


@check.that
def a_message_is_answered_whole_and_streamed():
    answer = ask("hello", system="Be brief.")
    assert (answer.content[0].text, answer.stop_reason, answer.usage.output_tokens) == ("re hello 1 2", "end_turn", 3)
    assert answer._request_id.startswith("req_")
    with client.messages.stream(**request("hello")) as stream:
        assert "".join(stream.text_stream) == "re hello 1 2"
        whole = stream.get_final_message()
    assert (whole.content[0].text, whole.stop_reason, whole.usage.output_tokens) == ("re hello 1 2", "end_turn", 3)


@check.that
def tools_are_called_and_their_results_are_heard():
    with client.messages.stream(**request("tool", tools=[WEATHER])) as stream:
        streamed = stream.get_final_message()
    for answer in [ask("tool", tools=[WEATHER]), streamed]:
        call = answer.content[-1]
        assert (answer.stop_reason, call.type, call.name, call.input) == ("tool_use", "tool_use", "weather", {"city": "Oslo"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    told = client.messages.create(model="m", max_tokens=100, tools=[WEATHER], messages=[
        {"role": "user", "content": "tool"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": "weather", "input": call.input}]},
        {"role": "user", "content": [result]},
    ])
    assert told.content[0].text == "re rain 1 2"


@check.that
def models_are_listed_and_tokens_counted():
    assert "m" in {model.id for model in client.models.list()}
    assert client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "hello"}]).input_tokens > 0


@check.that
def errors_are_of_the_right_class():
    for kind, ask_it in [
        (anthropic.NotFoundError, lambda: client.messages.create(**{**request("x"), "model": "no-such"})),
        (anthropic.AuthenticationError, lambda: ask("x", client=client.with_options(api_key="wrong"))),
        (anthropic.BadRequestError, lambda: ask("x", extra_body={"band": "loud"})),
        (anthropic.BadRequestError, lambda: ask("refuse 400")),
        (anthropic.InternalServerError, lambda: ask("refuse 500")),
    ]:
        error = check.raises(kind, ask_it)
        assert error.body["type"] == "error" and error.body["error"]["message"], error.body

    def cut():
        with client.messages.stream(**request("cut")) as stream:
            stream.get_final_message()

    check.raises(anthropic.APIError, cut)


@check.that
def a_client_that_leaves_takes_its_job_with_it():
    with client.messages.stream(**request("endless message")) as stream:
        next(iter(stream.text_stream))
    check.until(lambda: check.gone("endless message") == 1, "the model server is left alone")


check.done()
