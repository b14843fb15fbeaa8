"""A model behind an endpoint: what is sent, in what order, what is found out about the server, and when it is given up."""

from __future__ import annotations

import json
import threading
import time
from asyncio import CancelledError
from collections.abc import Iterator
from concurrent.futures import CancelledError as Cancelled
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chat_server import ChatServer, first_time
from palpate.errors import ModelError
from palpate.models import _api_ask
from palpate.nouns import Answer, Block, Case, Form, Perturbation, Polarity, Price, Prompt, Status, Stimulus, Trial
from palpate.parts import BUDGET_SPENT, Allowance, Destination, ModelSpec, ServedModel
from palpate.registry import part

pytest.importorskip("openai")

DESCRIBE = Prompt("d", "Describe this image.", Form.DESCRIBE, Polarity.POSITIVE, "describe")


def prompts(count: int) -> tuple[Prompt, ...]:
    return tuple(Prompt(f"p{i}", f"Is it shown? Wording {i}.", Form.YES_NO, Polarity.POSITIVE, "target") for i in range(count))


def stimulus(seed: int, asked: tuple[Prompt, ...] = prompts(4), image: bool = True) -> Stimulus:
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 12, 3), dtype=np.uint8)
    case = Case(f"c{seed}", 0, f"g{seed}", f"{seed:032x}", image=None)  # type: ignore[arg-type]
    trials = tuple(Trial(f"{seed:016x}{i:016x}", "m", "t", case.id, Perturbation(), p) for i, p in enumerate(asked))
    return Stimulus(Block("m", "t", case, Perturbation(), trials), Image.fromarray(pixels) if image else None)


@contextmanager
def asked(server: ChatServer, **options: Any) -> Iterator[ServedModel]:
    model = part("models", "endpoint").build(ModelSpec("mine", "endpoint", {"base_url": server.url, **options}))
    try:
        yield model
    finally:
        model.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api_ask, "BACKOFF", 0.01)


def flat(answers: list[list[Answer]]) -> list[Answer]:
    return [answer for found in answers for answer in found]


# ---------------------------------------------------------------- what is sent


def test_a_request_and_its_answer() -> None:
    with (
        ChatServer(answer=lambda image, question: "No").running() as server,
        asked(server, model="org/vlm", system="Be brief.") as m,
    ):
        ((answer,),) = m.ask([stimulus(0, prompts(1))])
    (body,) = server.bodies
    image = body["messages"][1]["content"][0]["image_url"]
    assert image["url"].startswith("data:image/png;base64,")
    assert body == {
        "model": "org/vlm",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "image_url", "image_url": image}, {"type": "text", "text": prompts(1)[0].text}]},
        ],
        "max_tokens": 32,
        "temperature": 0.0,
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert server.headers[0]["path"] == "/v1/chat/completions"
    assert (answer.status, answer.text, answer.tokens_in, answer.tokens_out) == (Status.OK, "No", 55, 1)
    assert answer.margin is not None
    assert answer.margin < 0
    assert answer.seconds is not None
    assert 0 < answer.seconds < 5


def test_the_pixels_arrive_as_they_are() -> None:
    given = stimulus(3, prompts(2))
    with ChatServer().running() as server, asked(server) as m:
        m.ask([given])
        again = stimulus(3, prompts(1))
        assert given.image is not None
        assert again.image is not None
        again.image.putpixel((0, 0), (1, 2, 3))
        m.ask([again])
    seen = [event.image for event in server.events if event.what == "asked"]
    assert len({*seen[:2]}) == 1  # the server decodes the PNG and hashes its pixels
    assert seen[2] not in seen[:2]


def test_open_questions_may_be_longer_and_have_no_log_probabilities() -> None:
    with ChatServer().running() as server, asked(server, stream=False) as m:
        m.ask([stimulus(0, (DESCRIBE, *prompts(1)))])
    first, second = server.bodies
    assert (first["max_tokens"], "logprobs" in first) == (256, False)
    assert (second["max_tokens"], second["logprobs"]) == (32, True)


def test_a_question_without_an_image_is_plain_text() -> None:
    with ChatServer().running() as server, asked(server) as m:
        (answers,) = m.ask([stimulus(0, prompts(3), image=False)])
    assert [b["messages"] for b in server.bodies] == [[{"role": "user", "content": p.text}] for p in prompts(3)]
    assert [a.text for a in answers] == ["No"] * 3
    assert not any("stream" in b for b in server.bodies)


def test_draws_are_seeded_by_the_trial() -> None:
    with ChatServer().running() as server, asked(server, temperature=0.7, top_p=0.9) as m:
        for _ in range(2):
            m.ask([stimulus(0, prompts(3))])
    seeds = [b["seed"] for b in server.bodies]
    assert sorted(seeds[:3]) == sorted(seeds[3:])
    assert len(set(seeds)) == 3
    assert {(b["temperature"], b["top_p"]) for b in server.bodies} == {(0.7, 0.9)}


def test_further_fields_and_a_schema() -> None:
    schema = {"type": "object", "properties": {"answer": {"enum": ["yes", "no"]}}}
    with ChatServer().running() as server, asked(server, extra={"reasoning_effort": "minimal"}, json_schema=schema) as m:
        m.ask([stimulus(0, prompts(1), image=False)])
    (body,) = server.bodies
    assert body["reasoning_effort"] == "minimal"
    assert body["response_format"]["json_schema"]["schema"] == schema


# ---------------------------------------------------------------- in what order


def test_prime_then_fan_out() -> None:
    """An image's other questions go out once its first has a first token, and before it has ended; images overlap."""
    with ChatServer(delay=0.05).running() as server, asked(server, concurrency=8) as m:
        m.ask([stimulus(seed, prompts(5)) for seed in range(4)])
    by_image: dict[str, list[Any]] = {}
    for event in server.events:
        by_image.setdefault(event.image, []).append(event)
    assert len(by_image) == 4
    for events in by_image.values():
        what = [e.what for e in events]
        assert what[:2] == ["asked", "first"]  # one goes alone, streamed, until its first token
        assert [e.streamed for e in events if e.what == "asked"] == [True, False, False, False, False]
        assert what.count("asked") == 5
        assert what.count("answered") == 5
    (first, *others) = by_image.values()
    ended = next(e.at for e in first if e.what == "answered")
    assert any(e.at < ended for e in first[2:] if e.what == "asked") or len(others) == 3
    assert server.most_at_once > 2  # several images under way together
    assert server.most_at_once <= 8


def test_siblings_follow_before_their_first_question_has_ended() -> None:
    with ChatServer(delay=0.5).running() as server, asked(server, concurrency=4) as m:
        m.ask([stimulus(0, prompts(1))])  # the very first goes alone in any case
        server.events.clear()
        m.ask([stimulus(1, prompts(3))])
    what = [e.what for e in server.events]
    assert what[:4] == ["asked", "first", "asked", "asked"]
    assert what[4] == "answered"


def test_without_streaming_siblings_follow_the_whole_answer() -> None:
    with ChatServer(delay=0.02).running() as server, asked(server, stream=False) as m:
        m.ask([stimulus(1, prompts(3))])
    what = [e.what for e in server.events]
    assert what[:3] == ["asked", "answered", "asked"]
    assert (what.count("asked"), what.count("answered")) == (3, 3)
    assert not any(e.streamed for e in server.events)


@pytest.mark.parametrize("limit", [1, 3])
def test_never_more_at_once_than_allowed(limit: int) -> None:
    with ChatServer(delay=0.005).running() as server, asked(server, concurrency=limit) as m:
        m.ask([stimulus(seed, prompts(4)) for seed in range(5)])
    assert min(limit, 2) <= server.most_at_once <= limit


def test_several_threads_share_one_limit_and_one_first_question() -> None:
    with ChatServer(delay=0.01).running() as server, asked(server, concurrency=3) as m:
        found: dict[int, list[list[Answer]]] = {}
        threads = [threading.Thread(target=lambda s=s: found.update({s: m.ask([stimulus(s)])})) for s in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert server.most_at_once <= 3
    assert len(flat([row for rows in found.values() for row in rows])) == 32
    assert [e.what for e in server.events[:3]] == ["asked", "first", "answered"]


# ---------------------------------------------------------------- what the server understands


def answers_of(server: ChatServer, **options: Any) -> tuple[list[Answer], dict[str, Any]]:
    with server.running(), asked(server, **options) as m:
        found = flat(m.ask([stimulus(seed) for seed in range(3)]))
        return found, dict(m.observed())


def test_log_probabilities_are_used_where_they_come() -> None:
    answers, observed = answers_of(ChatServer())
    assert all(a.margin is not None and (a.margin > 0) == (a.text == "Yes") for a in answers)
    assert all(a.mass == pytest.approx(0.85) for a in answers)
    assert observed == {"answered_as": ["served-model fp"], "logprobs": "returned"}


def test_log_probabilities_dropped_in_silence_are_not_asked_for_again() -> None:
    server = ChatServer(logprobs=False)
    answers, observed = answers_of(server)
    assert all((a.margin, a.mass) == (None, None) for a in answers)
    assert observed["logprobs"] == "not returned"
    assert ["logprobs" in b for b in server.bodies] == [True] + [False] * 11


@pytest.mark.parametrize("blindly", [False, True])
@pytest.mark.parametrize(
    ("refused", "noted"),
    [
        (("logprobs",), "logprobs"),
        (("stream_options",), "stream_options"),
        (("stream",), "stream"),
        (("max_tokens",), "max_tokens"),
        (("logprobs", "stream_options"), "logprobs"),
    ],
)
def test_a_field_that_is_turned_down_is_left_away(refused: tuple[str, ...], noted: str, blindly: bool) -> None:
    server = ChatServer(refuses=refused, refuses_blindly=blindly)
    answers, observed = answers_of(server)
    assert {a.status for a in answers} == {Status.OK}
    assert noted in observed["turned_down"]
    assert not any(name in server.bodies[-1] for name in refused)
    if not blindly and refused == ("stream_options",):
        assert observed["turned_down"] == ["stream_options"]
        assert all(a.margin is not None for a in answers)
    if refused == ("max_tokens",):
        assert server.bodies[-1]["max_completion_tokens"] == 32


def test_fewer_likely_tokens_where_twenty_are_too_many() -> None:
    server = ChatServer()

    class Five(ChatServer):
        async def _respond(self, writer: Any, number: int, body: dict[str, Any], headers: dict[str, str]) -> bool:
            self.refuses = ("top_logprobs",) if body.get("top_logprobs", 0) > 5 else ()
            return await super()._respond(writer, number, body, headers)

    server = Five()
    answers, observed = answers_of(server)
    assert all(a.margin is not None for a in answers)
    assert server.bodies[-1]["top_logprobs"] == 5
    assert observed["turned_down"] == ["more than 5 top_logprobs"]


def test_a_server_that_ignores_streaming_is_read_whole() -> None:
    server = ChatServer(ignores_stream=True)
    answers, observed = answers_of(server)
    assert {a.status for a in answers} == {Status.OK}
    assert observed["turned_down"] == ["stream"]
    assert sum("stream" in b for b in server.bodies) == 1


def test_a_schema_that_is_not_understood_falls_back() -> None:
    server = ChatServer(refuses=("response_format",))
    answers, observed = answers_of(server, json_schema={"type": "object"})
    assert {a.status for a in answers} == {Status.OK}
    assert observed["turned_down"] == ["json_schema", "json_object"]


def test_a_server_that_takes_no_temperature_says_what_to_type() -> None:
    with ChatServer(refuses=("temperature",)).running() as server, asked(server) as m:
        with pytest.raises(ModelError, match="temperature = 'default'"):
            m.ask([stimulus(0)])
        assert len(server.bodies) == 1
    with ChatServer(refuses=("temperature",)).running() as server, asked(server, temperature="default") as m:
        assert {a.status for a in flat(m.ask([stimulus(0)]))} == {Status.OK}


def test_what_answers_under_a_name_may_not_change_unseen() -> None:
    _, observed = answers_of(ChatServer(model=lambda number: "v1" if number < 6 else "v2"))
    assert observed["answered_as"] == ["v1 fp", "v2 fp"]
    assert observed["warnings"] == ["what answers under this name changed during the run: v1 fp, then v2 fp"]
    json.dumps(observed)


# ---------------------------------------------------------------- failing


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("429", "http 429"),
        ("500", "http 500"),
        ("503", "http 503"),
        ("reset", "the connection was lost"),
        ("hang", "timed out"),
        ("truncated", "malformed JSON"),
        ("schema", "not the shape of a chat completion"),
        ("empty-choices", "not the shape of a chat completion"),
        ("html", "malformed JSON"),
        ("cut", "the connection was lost"),
        ("error-in-200", "an error in place of an answer"),
    ],
)
def test_each_failure_has_its_name_and_is_tried_again(fault: str, cause: str) -> None:
    one, limit = prompts(2)[1:], 1.0 if fault == "hang" else 60.0
    with ChatServer(fault=first_time({"Wording 1": fault})).running() as server, asked(server, timeout=limit) as m:
        m.ask([stimulus(9, prompts(1))])
        ((answer,),) = m.ask([stimulus(0, one)])
        assert (answer.status, answer.asked) == (Status.OK, True)
        assert m.observed()["failed_tries"] == {cause: 1}
    with ChatServer(fault=lambda n, b: fault if n else None).running() as server, asked(server, timeout=limit, tries=2) as m:
        m.ask([stimulus(9, prompts(1))])
        ((answer,),) = m.ask([stimulus(0, one)])
        assert answer == Answer(Status.ERROR, error=cause)
        assert len(server.bodies) == 3


def test_a_cut_stream_is_read_whole_the_next_time() -> None:
    cuts = iter(["cut"])
    with ChatServer(fault=lambda n, b: next(cuts, None) if n and b.get("stream") else None).running() as server, asked(server) as m:
        m.ask([stimulus(9)])
        answers = flat(m.ask([stimulus(0)]))
        assert {a.status for a in answers} == {Status.OK}
        assert all(a.text != "Ye" for a in answers)
        assert m.observed()["failed_tries"] == {"the stream was cut": 1}
    assert [b.get("stream", False) for b in server.bodies[4:6]] == [True, False]


@pytest.mark.parametrize("fault", ["filtered", "filtered-400"])
def test_a_content_filter_blocks(fault: str) -> None:
    with ChatServer(fault=first_time({"Wording 2": fault})).running() as server, asked(server) as m:
        (answers,) = m.ask([stimulus(0)])
    assert [a.status for a in answers] == [Status.OK, Status.OK, Status.BLOCKED, Status.OK]
    assert answers[2].text == ""
    assert len(server.bodies) == 4  # never asked again in the hope of another verdict


def test_the_wait_a_server_asks_for_is_kept_by_all() -> None:
    server = ChatServer(fault=first_time({"Wording 1": "429"}), retry_after="0.4")
    with server.running(), asked(server, stream=False, concurrency=1) as m:
        m.ask([stimulus(0)])
    limited = next(e.at for e in server.events if e.what == "429")
    later = [e for e in server.events if e.what == "asked" and e.at > limited]
    assert len(later) == 3
    assert min(e.at for e in later) - limited >= 0.39
    assert later[0].question != "Is it shown? Wording 1."  # another one, and it waited as well


def test_a_request_refused_for_itself_is_an_error_of_its_question_alone() -> None:
    class Strict(ChatServer):
        async def _respond(self, writer: Any, number: int, body: dict[str, Any], headers: dict[str, str]) -> bool:
            self.refuses = ("model",) if "Wording 2" in str(body["messages"]) else ()
            return await super()._respond(writer, number, body, headers)

    with Strict().running() as server, asked(server, concurrency=1) as m:
        (answers,) = m.ask([stimulus(0)])
    assert [a.error for a in answers] == [None, None, "http 400 invalid_request_error", None]
    assert len(server.bodies) == 4


# ---------------------------------------------------------------- giving up


def test_nothing_there_is_said_at_once() -> None:
    with ChatServer().running() as server:
        pass
    with asked(server, tries=2) as m, pytest.raises(ModelError, match="nothing answers there") as fault:
        m.ask([stimulus(0)])
    assert server.url in str(fault.value)
    assert "a base_url that ends in /v1" in fault.value.expected


def test_a_server_that_never_answers_is_given_up_soon() -> None:
    with ChatServer(fault=lambda n, b: "500").running() as server, asked(server, tries=2) as m:
        with pytest.raises(ModelError, match="http 500: fell over"):
            m.ask([stimulus(0), stimulus(1)])
        assert len(server.bodies) <= 3 * 2 * 2  # three questions, two tries, once more without what it might not know


def test_a_server_that_goes_away_leaves_the_rest_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api_ask, "GIVE_UP", 3)
    with ChatServer(fault=lambda n, b: "reset" if n >= 6 else None).running() as server, asked(server, tries=2, concurrency=1) as m:
        answers = flat(m.ask([stimulus(seed) for seed in range(3)]))
        assert [a.status for a in answers].count(Status.OK) == 6
        assert [a.error for a in answers].count("the connection was lost") == 2  # failed for good before it was believed
        assert [a.error for a in answers if not a.asked] == ["the server no longer answers: the connection was lost"] * 4
        # Three were tried twice; of the rest some were tried once while those waited for their second time, and none twice.
        assert 6 + 3 * 2 <= len(server.bodies) <= 6 + 3 * 2 + 3
        with pytest.raises(ModelError, match="what was answered is kept"):
            m.ask([stimulus(3)])


def test_an_account_without_quota_stops_at_once() -> None:
    class Poor(ChatServer):
        async def _fail(self, writer: Any, fault: str, streamed: bool, body: dict[str, Any]) -> bool:
            from chat_server import _send

            return await _send(writer, 429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}})

    with Poor(fault=lambda n, b: "429" if n >= 2 else None).running() as server, asked(server, concurrency=1) as m:
        answers = flat(m.ask([stimulus(0)]))
        assert [a.asked for a in answers] == [True, True, False, False]
        assert len(server.bodies) == 3
        with pytest.raises(ModelError, match="no quota left"):
            m.ask([stimulus(1)])


# ---------------------------------------------------------------- rate and budget


def test_requests_a_minute_are_spread() -> None:
    with ChatServer().running() as server, asked(server, requests_per_minute=1200) as m:  # twenty a second
        m.ask([stimulus(seed, prompts(3)) for seed in range(3)])
    at = [e.at for e in server.events if e.what == "asked"]
    assert at[-1] - at[0] >= 8 * 0.05 * 0.9


def test_tokens_a_minute_hold_back() -> None:
    options = {"tokens_per_minute": 6000, "tokens_per_image": 0, "max_new_tokens": 1}
    with ChatServer().running() as server, asked(server, **options) as m:
        m.ask([stimulus(seed, prompts(1), image=False) for seed in range(4)])  # a short run fits into the first minute's worth
    assert len(server.bodies) == 4


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("limit", ["tokens", "money"])
def test_a_budget_is_never_exceeded(limit: str, counts: bool) -> None:
    server = ChatServer(delay=0.002, tokens_per_image=100, counts_tokens=counts)
    options = {"tokens_per_image": 130, "max_new_tokens": 4, "concurrency": 8}
    price = Price(1.0, 1.0)
    with server.running(), asked(server, **options) as m:
        m.allow(Allowance(tokens=3000) if limit == "tokens" else Allowance(money=3000e-6, price=price))
        answers = flat(m.ask([stimulus(seed) for seed in range(20)]))
        again = flat(m.ask([stimulus(99)]))
        assert server.tokens <= 3000
        assert server.tokens > (2500 if counts else 1800)  # and well used
        assert {a.error for a in answers if not a.asked} == {BUDGET_SPENT}
        assert 0 < sum(a.asked for a in answers) < 80
        assert not any(a.asked for a in again)
        sent = len(server.bodies)
        m.allow(Allowance(tokens=1000))
        assert any(a.asked for a in flat(m.ask([stimulus(98)])))
        assert len(server.bodies) > sent


def test_what_failed_tries_may_have_cost_is_counted() -> None:
    server = ChatServer(fault=lambda n, b: "hang" if n else None)
    with server.running(), asked(server, timeout=0.4, tries=50, tokens_per_image=100) as m:
        m.allow(Allowance(tokens=1000))
        answers = flat(m.ask([stimulus(0)]))
    assert [a.asked for a in answers].count(True) >= 1
    assert any(a.error == BUDGET_SPENT for a in answers)
    assert len(server.bodies) < 12


# ---------------------------------------------------------------- the protocol


def test_it_says_where_it_goes_and_sends_nothing_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    build = part("models", "endpoint").build
    assert build(ModelSpec("m", "endpoint")).destination() == Destination("api.openai.com", True, ("OPENAI_API_KEY",))
    for url in ("http://localhost:1/v1", "http://127.0.0.1:8000/v1", "http://[::1]:8000/v1", "http://127.3.2.1/v1"):
        assert not build(ModelSpec("m", "endpoint", {"base_url": url})).destination().remote
    for url in ("http://192.168.0.7:8000/v1", "https://127.0.0.1.example.org/v1", "http://hospital:8000/v1"):
        assert build(ModelSpec("m", "endpoint", {"base_url": url})).destination().remote


def test_closing_ends_what_is_under_way_and_it_can_be_asked_again() -> None:
    with ChatServer(fault=lambda n, b: "hang" if n == 1 else None).running() as server, asked(server) as m:
        m.ask([stimulus(0, prompts(1))])
        failed: list[BaseException] = []

        def waiting() -> None:
            try:
                m.ask([stimulus(1, prompts(1))])
            except (CancelledError, Cancelled) as fault:
                failed.append(fault)

        thread = threading.Thread(target=waiting)
        thread.start()
        while len(server.bodies) < 2:
            time.sleep(0.01)
        m.close()
        thread.join(5)
        assert not thread.is_alive()
        assert failed
        assert m.observed()["answered_as"] == ["served-model fp"]  # what was seen is not forgotten
        assert flat(m.ask([stimulus(2, prompts(1))]))[0].status is Status.OK


def test_azure_speaks_to_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sk-azure")
    server = ChatServer(refuses=("max_tokens",))
    with server.running():
        options = {
            "base_url": f"http://127.0.0.1:{server.port}",
            "azure": True,
            "api_version": "2024-10-21",
            "model": "my-deployment",
        }
        model = part("models", "endpoint").build(ModelSpec("mine", "endpoint", options))
        ((answer,),) = model.ask([stimulus(0, prompts(1))])
        model.close()
    assert answer.text in ("Yes", "No")
    assert server.headers[0]["path"] == "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    assert server.headers[0]["api-key"] == "sk-azure"
    assert server.bodies[0]["max_completion_tokens"] == 32


def test_nothing_of_openais_environment_goes_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "hidden-value")
    monkeypatch.setenv("MY_TEAM", "radiology")
    server = ChatServer()
    with server.running(), asked(server, headers_env={"X-Team": "MY_TEAM"}) as m:
        m.ask([stimulus(0, prompts(1))])
    assert server.headers[0]["x-team"] == "radiology"
    assert "hidden-value" not in str(server.headers)
