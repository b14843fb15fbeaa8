"""Reading what a chat-completions server sends: statuses, margins from listed tokens, and every shape that is none."""

from __future__ import annotations

import math
from typing import Any

import pytest

from palpate.models._api_faults import CUT, MALFORMED, NOTHING_STREAMED, SCHEMA, Failed
from palpate.models._api_reply import Pieces, answer_from, margin_and_mass, reply_from
from palpate.nouns import Form, Polarity, Prompt, Status

ASKED = Prompt("p", "Is it?", Form.YES_NO, Polarity.POSITIVE, "target")
DENIED = Prompt("n", "Is it normal?", Form.YES_NO, Polarity.NEGATIVE, "target")
OPEN = Prompt("o", "What is it?", Form.OPEN, Polarity.POSITIVE, "target")


def body(content: Any = "Yes", finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return {"model": "m-1", "system_fingerprint": "fp", "choices": [choice | more], "usage": USAGE}


USAGE = {"prompt_tokens": 11, "completion_tokens": 2}


def listed(**shares: float) -> dict[str, Any]:
    top = [{"token": token.replace("_", " "), "logprob": math.log(p)} for token, p in shares.items()]
    return {"content": [{**top[0], "top_logprobs": top}]}


def place(token: str, top: list[tuple[str, float]] | None) -> dict[str, Any]:
    likely = None if top is None else [{"token": t, "logprob": math.log(p)} for t, p in top]
    return {"token": token, "logprob": -0.1, "top_logprobs": likely}


# ---------------------------------------------------------------- statuses


@pytest.mark.parametrize(
    ("finish", "status"),
    [("stop", Status.OK), ("length", Status.TRUNCATED), ("content_filter", Status.BLOCKED), (None, Status.OK), ("eos", Status.OK)],
)
def test_how_it_ended(finish: str | None, status: Status) -> None:
    answer = answer_from(reply_from(body("Yes, it", finish)), ASKED, 0.5)
    assert (answer.status, answer.text, answer.tokens_in, answer.tokens_out, answer.seconds) == (status, "Yes, it", 11, 2, 0.5)
    assert answer.error is None


@pytest.mark.parametrize("content", ["", None, []])
def test_an_empty_answer_is_an_answer(content: Any) -> None:
    answer = answer_from(reply_from(body(content)), ASKED, 0.1)
    assert (answer.status, answer.text, answer.error) == (Status.OK, "", None)


def test_white_space_around_an_answer_is_none_of_it() -> None:
    assert answer_from(reply_from(body(" Yes, it\n is. \n")), ASKED, 0.1).text == "Yes, it\n is."


def test_text_in_parts_and_a_refusal_in_its_own_field() -> None:
    assert reply_from(body([{"type": "text", "text": "Y"}, {"type": "text", "text": "es"}])).text == "Yes"
    refused = {"role": "assistant", "content": None, "refusal": "I cannot help."}
    assert reply_from(body(message=refused)).text == "I cannot help."


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ([], SCHEMA),
        (None, SCHEMA),
        (7, SCHEMA),
        ({}, SCHEMA),
        ({"choices": []}, SCHEMA),
        ({"choices": "Yes"}, SCHEMA),
        ({"choices": ["Yes"]}, SCHEMA),
        ({"choices": [{"text": "Yes"}]}, SCHEMA),
        ({"choices": [{"message": "Yes"}]}, SCHEMA),
        ({"choices": [{"message": {"role": "assistant"}}]}, SCHEMA),
        ({"choices": [{"message": {"content": 7}}]}, SCHEMA),
        ({"choices": [{"message": {"content": [{"image": 1}]}}]}, SCHEMA),
        ("<html>", MALFORMED),
        ('{"choices": [', MALFORMED),
        ('"Yes"', SCHEMA),
        ({"error": {"message": "x"}}, "an error in place of an answer"),
    ],
)
def test_what_is_no_chat_completion_is_no_answer(data: object, cause: str) -> None:
    with pytest.raises(Failed) as fault:
        reply_from(data)
    assert fault.value.cause == cause
    assert fault.value.again


def test_a_tool_call_is_no_answer() -> None:
    with pytest.raises(Failed, match="tool") as fault:
        reply_from(body(message={"content": None, "tool_calls": [{"id": "1"}]}))
    assert not fault.value.again


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "11"}, {"prompt_tokens": True}, {"prompt_tokens": -1}, 3])
def test_tokens_that_were_not_counted_are_none(usage: Any) -> None:
    reply = reply_from({**body(), "usage": usage})
    assert (reply.tokens_in, reply.tokens_out) == (None, None)


# ---------------------------------------------------------------- streams


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}


def test_a_stream_is_put_together() -> None:
    pieces = Pieces()
    pieces.add({"choices": [], "prompt_filter_results": []})  # as Azure begins
    pieces.add(chunk({"role": "assistant", "content": ""}))
    assert not pieces.begun
    pieces.add(chunk({"content": "Y"}, logprobs=listed(Yes=0.7, No=0.2)))
    assert pieces.begun
    pieces.add(chunk({"content": "es"}, logprobs=listed(no=0.7)))
    pieces.add(chunk({}, "stop"))
    pieces.add({"choices": [], "usage": USAGE})
    reply = pieces.reply()
    assert (reply.text, reply.finish, reply.tokens_in, reply.tokens_out) == ("Yes", "stop", 11, 2)
    assert reply == reply_from({**body(logprobs=listed(Yes=0.7, No=0.2)), "system_fingerprint": ""})


@pytest.mark.parametrize("upto", [0, 1, 2])
def test_a_stream_without_its_end_is_no_answer(upto: int) -> None:
    pieces = Pieces()
    for piece in [chunk({"content": "Yes"}), chunk({"content": ", it is"})][:upto]:
        pieces.add(piece)
    with pytest.raises(Failed) as fault:
        pieces.reply()
    assert fault.value.cause == (CUT if upto else NOTHING_STREAMED)


@pytest.mark.parametrize("piece", ["x", {}, {"choices": {}}, {"choices": ["x"]}, {"choices": [{"delta": "x"}]}])
def test_a_piece_of_another_shape(piece: Any) -> None:
    with pytest.raises(Failed) as fault:
        Pieces().add(piece)
    assert fault.value.cause == SCHEMA


# ---------------------------------------------------------------- margins


def first(**shares: float) -> Any:
    return reply_from(body(logprobs=listed(**shares))).first


def test_spellings_are_summed_with_and_without_a_space() -> None:
    seen = first(Yes=0.4, _Yes=0.1, yes=0.05, No=0.2, _no=0.1, Maybe=0.1)
    margin, mass, bounded = margin_and_mass(seen, ASKED)
    assert margin == pytest.approx(math.log(0.55 / 0.3))
    assert mass == pytest.approx(0.85)
    assert not bounded
    assert margin_and_mass(seen, DENIED)[:2] == (pytest.approx(-margin), pytest.approx(mass))
    assert margin_and_mass(seen, OPEN) == (None, None, False)


def test_tokenizers_own_signs_for_a_space() -> None:
    margin, mass, _ = margin_and_mass((("▁Yes", math.log(0.6)), ("ĠNo", math.log(0.3))), ASKED)
    assert (margin, mass) == (pytest.approx(math.log(2)), pytest.approx(0.9))


def test_letters() -> None:
    prompt = Prompt("ab", "A) x B) y", Form.AB, Polarity.NEGATIVE, "target")
    margin, mass, _ = margin_and_mass(first(A=0.5, B=0.25, _a=0.1, Answer=0.1), prompt)
    assert (margin, mass) == (pytest.approx(math.log(0.25 / 0.6)), pytest.approx(0.85))


def test_a_side_that_is_not_listed_is_bounded_by_what_is() -> None:
    seen = first(Yes=0.9, The=0.05, It=0.001)
    margin, mass, bounded = margin_and_mass(seen, ASKED)
    assert bounded
    assert margin == pytest.approx(math.log(0.9 / 0.003))  # three spellings, each below the least one listed
    assert mass == pytest.approx(0.9)
    # All that the list leaves over may be less than that.
    margin, _, _ = margin_and_mass((("Yes", math.log(0.899)), ("The", math.log(0.1))), ASKED)
    assert margin == pytest.approx(math.log(0.899 / 0.001), abs=1e-6)


@pytest.mark.parametrize("prompt", [ASKED, DENIED])
def test_a_bounded_margin_never_exceeds_the_true_one(prompt: Prompt) -> None:
    tail = {"Yes": 0.7, "The": 0.1, "It": 0.08, "An": 0.05, "No": 0.04, "no": 0.02, "NO": 0.01}
    true, _, _ = margin_and_mass(tuple((t, math.log(p)) for t, p in tail.items()), prompt)
    bound, _, bounded = margin_and_mass(tuple((t, math.log(p)) for t, p in list(tail.items())[:4]), prompt)
    assert true is not None
    assert bound is not None
    assert bounded
    assert 0 <= bound / true <= 1 + 1e-9


def test_neither_side_listed_or_nothing_listed_is_no_margin() -> None:
    assert margin_and_mass(first(The=0.9, It=0.1), ASKED) == (None, None, False)
    assert margin_and_mass(None, ASKED) == (None, None, False)


@pytest.mark.parametrize(
    "logprobs", [None, {}, {"content": None}, {"content": []}, {"tokens": ["Yes"]}, "x", {"content": [7]}, {"content": [{"a": 1}]}]
)
def test_log_probabilities_of_another_shape_are_none(logprobs: Any) -> None:
    assert reply_from(body(logprobs=logprobs)).first is None


def test_white_space_before_the_answer_is_not_its_first_token() -> None:
    content = [place("\n", [("\n", 0.9), ("No", 0.1)]), place("Yes", [("Yes", 0.6), ("No", 0.3)])]
    seen = reply_from(body(logprobs={"content": content})).first
    assert margin_and_mass(seen, ASKED)[0] == pytest.approx(math.log(2))


def test_the_chosen_token_alone_still_says_something() -> None:
    seen = reply_from(body(logprobs={"content": [place("Yes", None) | {"logprob": math.log(0.8)}]})).first
    margin, mass, bounded = margin_and_mass(seen, ASKED)
    assert (mass, bounded) == (pytest.approx(0.8), True)
    assert margin == pytest.approx(math.log(0.8 / 0.2))


def test_a_log_probability_that_is_no_number_is_left_out() -> None:
    content = [
        {"token": "Yes", "logprob": None, "top_logprobs": [{"token": "Yes", "logprob": -math.inf}, {"token": "No", "logprob": -1}]}
    ]
    assert reply_from(body(logprobs={"content": content})).first == (("No", -1.0),)
