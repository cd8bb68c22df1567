"""What Ollama's own client for Python must be able to do, unchanged. The model server speaks OpenAI and answers
`re <prompt> 1 2`."""

import check
import ollama

client = ollama.Client(host=check.URL, headers={"Authorization": "Bearer secret"})
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def ask(prompt, **more):
    return client.chat(model="m", messages=[{"role": "user", "content": prompt}], **more)


@check.that
def a_chat_is_answered_whole_and_streamed():
    answer = ask("hello")
    assert (answer.message.content, answer.done, answer.done_reason, answer.eval_count) == ("re hello 1 2", True, "stop", 3)
    chunks = list(ask("hello", stream=True))
    assert "".join(chunk.message.content for chunk in chunks) == "re hello 1 2"
    assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True] and chunks[-1].eval_count == 3


@check.that
def a_text_is_generated():
    assert client.generate(model="m", prompt="hello").response == "re hello 1 2"
    assert "".join(chunk.response for chunk in client.generate(model="m", prompt="hello", stream=True)) == "re hello 1 2"


@check.that
def tools_are_called_whole_and_streamed():
    streamed = [call for chunk in ask("tool", tools=[WEATHER], stream=True) for call in chunk.message.tool_calls or []]
    for calls in [ask("tool", tools=[WEATHER]).message.tool_calls, streamed]:
        assert [(call.function.name, call.function.arguments) for call in calls] == [("weather", {"city": "Oslo"})]


@check.that
def embeddings_and_models_are_there():
    assert client.embed(model="m", input="x").embeddings == [[0.5, -0.5]]
    assert client.embeddings(model="m", prompt="x").embedding == [0.5, -0.5]
    assert "m" in [model.model.removesuffix(":latest") for model in client.list().models]
    assert client.show("m") is not None and client.ps() is not None


@check.that
def errors_have_the_status_that_says_what_is_wrong():
    wrong = ollama.Client(host=check.URL, headers={"Authorization": "Bearer wrong"})
    for status, ask_it in [
        (404, lambda: client.chat(model="no-such", messages=[{"role": "user", "content": "x"}])),
        (401, lambda: wrong.chat(model="m", messages=[{"role": "user", "content": "x"}])),
        (400, lambda: ask("refuse 400")),
        (502, lambda: ask("refuse 500")),
        (501, lambda: client.delete("m")),
    ]:
        error = check.raises(ollama.ResponseError, ask_it)
        assert error.status_code == status and error.error, (status, error.status_code, error)
    check.raises(ollama.ResponseError, lambda: list(ask("cut", stream=True)))


@check.that
def a_client_that_leaves_takes_its_job_with_it():
    stream = ask("endless lines", stream=True)
    next(stream)
    stream.close()
    check.until(lambda: check.gone("endless lines") == 1, "the model server is left alone")


check.done()
