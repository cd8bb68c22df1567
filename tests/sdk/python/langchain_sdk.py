"""What `langchain-openai` makes of it."""

import openai
import check
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

chat = ChatOpenAI(model="m", base_url=check.URL + "/v1", api_key="secret", max_retries=0)


@tool
def weather(city: str) -> str:
    """Tells the weather."""
    return "rain"


def sum_of(chunks):
    whole = None
    for chunk in chunks:
        whole = chunk if whole is None else whole + chunk
    return whole


@check.that
def a_chat_is_answered_whole_and_streamed():
    assert chat.invoke("hello").content == "re hello 1 2"
    assert "".join(chunk.text if isinstance(chunk.text, str) else chunk.text() for chunk in chat.stream("hello")) == "re hello 1 2"
    assert chat.invoke("hello").usage_metadata["total_tokens"] == 10


@check.that
def tools_are_called():
    for answer in [chat.bind_tools([weather]).invoke("tool"), sum_of(chat.bind_tools([weather]).stream("tool"))]:
        assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("weather", {"city": "Oslo"})]


@check.that
def many_are_asked_at_once():
    assert [answer.content for answer in chat.batch([str(n) for n in range(8)])] == [f"re {n} 1 2" for n in range(8)]


@check.that
def embeddings_are_vectors():
    vectors = OpenAIEmbeddings(model="m", base_url=check.URL + "/v1", api_key="secret", check_embedding_ctx_length=False)
    assert vectors.embed_query("x") == [0.5, -0.5]


@check.that
def errors_are_openais():
    check.raises(openai.NotFoundError, lambda: ChatOpenAI(model="no-such", base_url=check.URL + "/v1", api_key="secret").invoke("x"))


check.done()
