"""Long texts are compiled in a thread before they are needed, and then never on the event loop."""

import threading
from collections.abc import Iterator

import pytest

from domain.ahead import LONG, Ahead
from domain.errors import RateLimited, TemplateSyntaxError
from domain.markup.text import CompiledText, Compiler
from domain.template import Content, Renderer

LONG_TEXT = "{{ name }}" + "x" * LONG


@pytest.fixture
def renderer() -> Renderer:
    return Renderer()


@pytest.fixture
def ahead(renderer: Renderer) -> Iterator[Ahead]:
    made = Ahead(renderer)
    yield made
    made.close()


@pytest.fixture
def compiled_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that compiled something, in order."""
    threads: list[str] = []
    plain = Compiler.compile

    def watched(self: Compiler, source: str, *, html: bool) -> CompiledText:
        threads.append(threading.current_thread().name)
        return plain(self, source, html=html)

    monkeypatch.setattr(Compiler, "compile", watched)
    return threads


async def test_a_long_text_is_compiled_once_and_in_the_thread(
    renderer: Renderer, ahead: Ahead, compiled_in: list[str]
) -> None:
    body = Content(subject="s", html=LONG_TEXT)
    await ahead.compile([body])
    await ahead.compile([body])
    assert renderer.required(body) == {"name"}
    assert [name.startswith("compiler") for name in compiled_in] == [True, False]  # the subject is short


async def test_what_is_wrong_with_a_long_text_is_found_in_the_thread_too(
    renderer: Renderer, ahead: Ahead, compiled_in: list[str]
) -> None:
    body = Content(title=LONG_TEXT + "{% if %}")
    await ahead.compile([body])
    for _ in range(2):
        with pytest.raises(TemplateSyntaxError):
            renderer.required(body)
    assert len(compiled_in) == 1


@pytest.mark.parametrize("text", ["{{ name }}", "x" * (LONG + 1)])
async def test_what_takes_no_time_is_left_to_the_loop(ahead: Ahead, compiled_in: list[str], text: str) -> None:
    await ahead.compile([Content(subject=text)])
    assert compiled_in == []


async def test_only_so_many_may_wait(renderer: Renderer) -> None:
    ahead = Ahead(renderer, waiting=0)
    with pytest.raises(RateLimited):
        await ahead.compile([Content(subject=LONG_TEXT)])
    ahead.close()
