"""A whole study through an endpoint that fails three times in ten: nothing lost, nothing twice, the same numbers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat_server import FAULTS, ChatServer, at_random
from faults_found import survived
from palpate import pipeline
from palpate.errors import ModelError, StudyError
from palpate.models import _api_ask
from palpate.nouns import Panel, Status
from palpate.parts import MeasureSettings
from palpate.registry import parts
from palpate.results import Results, plan_summary
from palpate.stages.measure import panels
from palpate.store.folder import RunFolder
from palpate.study import Study
from small import STUDY, Cli, write_study

pytest.importorskip("openai")

SERVED = """
[[models]]
name = "served"
kind = "endpoint"
base_url = "{url}"
timeout = {timeout}
concurrency = 6
tokens_per_image = 60
max_new_tokens = 4
{options}
"""
KEY = "sk-proj-3f9a7c1e5b2d4680-never-to-be-seen"
TRIALS = 12 * 12
HANGING = 2.5
"""Seconds: a time limit far above what an answer takes, where a server hangs now and then."""
NO_ANSWER = tuple(f for f in FAULTS if not f.startswith(("filtered", "slow")))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api_ask, "BACKOFF", 0.01)


def study(folder: Path, server: ChatServer, options: str = "", more: str = "", timeout: float = 60) -> Path:
    folder.mkdir(exist_ok=True)
    rest = STUDY[STUDY.index("[[tasks]]") : STUDY.index("[[pairs]]")]
    head = STUDY[: STUDY.index("[[models]]")]
    return write_study(
        folder, head + SERVED.format(url=server.url, timeout=timeout, options=options) + rest + "[measure]\ndraws = 200\n" + more
    )


def recorded(
    run: Path,
) -> tuple[Study, dict[bytes, tuple[Status, str]], dict[bytes, tuple[int, bool]], dict[str, str], list[Panel]]:
    results = Results.open(run)
    with RunFolder(run).ledger() as ledger:
        texts = {key: text for key, _, status, text in ledger.texts() if status != "error"}
        return results.study, ledger.ended(), ledger.attempts(), texts, list(panels(results.study, ledger))


def numbers(table: list[Panel], run: Study) -> list[Any]:
    settings = MeasureSettings(run.lineages, run.seed, run.level, run.draws, run.thresholds)
    return [e for m in parts("measures").values() for e in m.measure(table, settings)]


def test_three_in_ten_requests_fail_and_every_trial_is_answered(tmp_path: Path) -> None:
    with ChatServer().running() as sound:
        whole = study(tmp_path / "sound", sound)
        pipeline.run(Study.load(whole), tmp_path / "sound" / "run")
    with ChatServer(fault=at_random(0.3, 1, (*NO_ANSWER, "slow"))).running() as failing:
        broken = study(tmp_path / "failing", failing, timeout=HANGING)
        pipeline.run(Study.load(broken), tmp_path / "failing" / "run")
    _, ended, attempts, texts, table = recorded(tmp_path / "failing" / "run")
    run, *_, expected_texts, expected = recorded(tmp_path / "sound" / "run")
    assert len(failing.bodies) > TRIALS * 1.2
    assert len(ended) == TRIALS
    assert {status for status, _ in ended.values()} == {Status.OK}
    assert texts == expected_texts
    assert numbers(table, run) == numbers(expected, run)
    given = Counter((e.image, e.question) for e in failing.events if e.what == "answered")
    assert len(given) == TRIALS
    assert set(given.values()) == {1}  # nothing that was answered was asked again
    assert set(attempts.values()) == {(1, False)}
    survived("endpoint", sum(failing.count(fault) for fault in NO_ANSWER))


def test_where_tries_run_out_each_trial_ends_with_its_cause_and_the_rest_measures_the_same(tmp_path: Path) -> None:
    once = "\n[ask]\nattempts = 1\n"
    with ChatServer().running() as sound:
        pipeline.run(Study.load(study(tmp_path / "sound", sound)), tmp_path / "sound" / "run")
    with ChatServer(fault=at_random(0.3, 2, (*NO_ANSWER, "slow"))).running() as failing:
        broken = study(tmp_path / "failing", failing, "tries = 1", once, HANGING)
        pipeline.run(Study.load(broken), tmp_path / "failing" / "run")
        run, ended, _, texts, table = recorded(tmp_path / "failing" / "run")
        *_, expected_texts, expected = recorded(tmp_path / "sound" / "run")
        lost = {k for k, (status, _) in ended.items() if status is Status.ERROR}
        assert len(ended) == TRIALS
        assert TRIALS * 0.15 < len(lost) < TRIALS * 0.45
        causes = {cause for status, cause in ended.values() if status is Status.ERROR}
        assert causes >= {"http 429", "http 500", "http 503", "malformed JSON", "not the shape of a chat completion", "timed out"}
        assert texts == {k: t for k, t in expected_texts.items() if bytes.fromhex(k) not in lost}
        # The sound run, with the very same trials taken out, gives the very same numbers.
        assert [int((p.outcome < 0).sum()) for p in table] == [len(lost)]
        masked = [
            replace(
                whole,
                outcome=np.where(left.outcome < 0, np.int8(-1), whole.outcome),
                margin=np.where(left.outcome < 0, np.nan, whole.margin),
                mass=np.where(left.outcome < 0, np.nan, whole.mass),
                n_errors=left.n_errors,
            )
            for left, whole in zip(table, expected, strict=True)
        ]
        assert str(numbers(table, run)) == str(numbers(masked, run))
        # Run again, it asks what failed, and only that.
        failing.fault = lambda number, body: None
        before = len(failing.bodies)
        pipeline.run(Study.load(broken), tmp_path / "failing" / "run")
    assert len(failing.bodies) - before == len(lost)
    assert recorded(tmp_path / "failing" / "run")[3] == expected_texts


def test_a_content_filter_is_a_refusal_not_an_error(tmp_path: Path) -> None:
    with ChatServer(fault=at_random(0.3, 3, ("filtered", "filtered-400"))).running() as server:
        results = pipeline.run(Study.load(study(tmp_path, server)), tmp_path / "run")
    _, ended, *_ = recorded(tmp_path / "run")
    statuses = Counter(status for status, _ in ended.values())
    assert set(statuses) == {Status.OK, Status.BLOCKED}
    assert TRIALS * 0.15 < statuses[Status.BLOCKED] < TRIALS * 0.45
    assert len(server.bodies) == TRIALS
    assert results.view().counts.blocked == statuses[Status.BLOCKED]


# ---------------------------------------------------------------- budget


def test_a_budget_stops_cleanly_and_raising_it_goes_on(tmp_path: Path, cli: Cli) -> None:
    with ChatServer(tokens_per_image=50).running() as server:
        prices = "[prices.served]\ninput = 10\noutput = 20\ncurrency = 'EUR'\n"
        file = study(tmp_path, server, more=prices + "[budget]\nmoney = 0.04\n")
        said = cli("plan", file, "--out", tmp_path / "run").output
        assert "12 images for served, served on this machine: 144 questions" in " ".join(said.split())
        assert "EUR" in said
        first = cli("run", file, "--out", tmp_path / "run")
        assert "the budget is spent" in first.stderr
        assert "raise [budget] in the study file and run the same command again" in first.stderr
        _, ended, _, texts, _ = recorded(tmp_path / "run")
        assert 0 < len(ended) < TRIALS
        assert {status for status, _ in ended.values()} == {Status.OK}
        spent = server.tokens
        (cost,) = Results.open(tmp_path / "run").view().costs
        assert cost.tokens_in + cost.tokens_out == spent
        assert cost.money is not None
        assert 0.03 < cost.money <= 0.04
        assert f"{TRIALS - len(ended)} of {TRIALS} questions were not asked" in first.stderr
        cli("run", file, "--out", tmp_path / "run")  # the same budget: spent over all sittings, nothing more is asked
        assert server.tokens == spent
        file.write_text(file.read_text(encoding="utf-8").replace("money = 0.04", "money = 4"), encoding="utf-8")
        last = cli("run", file, "--out", tmp_path / "run")
    assert "the budget is spent" not in last.stderr
    assert recorded(tmp_path / "run")[3].items() >= texts.items()
    given = Counter((e.image, e.question) for e in server.events if e.what == "answered")
    assert set(given.values()) == {1}
    assert len(given) == TRIALS
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "asked of served" in report
    assert "144 answers" in report
    assert "EUR" in last.output


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ("[budget]\nmoney = 1\n", "budget.money"),
        ("[budget]\nmoney = 0\n", "budget.money"),
        ("[budget]\ntokens = 0\n", "budget.tokens"),
        ("[budget]\nbucks = 1\n", "budget.bucks"),
    ],
)
def test_budgets_that_cannot_be(tmp_path: Path, more: str, where: str) -> None:
    with ChatServer().running() as server, pytest.raises(StudyError) as fault:
        Study.load(study(tmp_path, server, more=more))
    assert where in str(fault.value)


def test_a_budget_in_money_needs_the_price_of_every_remote_model(tmp_path: Path) -> None:
    remote = '[[models]]\nname = "far"\nkind = "endpoint"\nbase_url = "https://vlm.example.org/v1"\n'
    with ChatServer().running() as server:
        file = study(tmp_path, server, options=remote, more="[prices.served]\ninput = 1\noutput = 1\n[budget]\nmoney = 1\n")
        with pytest.raises(StudyError, match=r"'far', at vlm\.example\.org, has no price"):
            pipeline.run(Study.load(file), tmp_path / "run")
    assert server.bodies == []


# ---------------------------------------------------------------- consent and secrets


def test_what_leaves_the_machine_is_said_first_even_quietly(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAR_KEY", raising=False)
    remote = '[[models]]\nname = "far"\nkind = "endpoint"\nbase_url = "https://vlm.example.org/v1"\napi_key_env = "FAR_KEY"\n'
    with ChatServer().running() as server:
        file = study(tmp_path, server, options=remote)
        for verb in ("run", "ask"):
            result = cli(verb, file, "--out", tmp_path / verb, "--quiet", exit_code=2)
            said = " ".join(result.stderr.split())
            assert "12 images will leave this machine for vlm.example.org, to be shown to far: 144 questions, about" in said
            assert "; what FAR_KEY holds is sent along" in said
        assert said.index("will leave") < said.index("FAR_KEY is not set")
        (near, far) = plan_summary(Study.load(file)).sendings
    assert (near.remote, far.remote, far.host) == (False, True, "vlm.example.org")


def test_no_file_and_no_word_holds_the_key(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    options = 'api_key_env = "MY_KEY"\nheaders_env = { "X-Second" = "MY_KEY" }'
    with caplog.at_level("DEBUG"), ChatServer(key=KEY, fault=at_random(0.3, 4)).running() as server:
        good = cli("run", study(tmp_path, server, options, timeout=HANGING), "--out", tmp_path / "run")
        server.key = "another"  # and now the server turns it down, repeating it
        bad = cli("run", study(tmp_path / "2", server, options), "--out", tmp_path / "2" / "run", exit_code=2)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "the server refuses the key" in bad.stderr
    assert "the key is taken from MY_KEY" in bad.stderr
    files = [f for f in tmp_path.rglob("*") if f.is_file()]
    assert {"ledger.sqlite", "report.html", "study.toml"} <= {f.name for f in files}
    for secret in (KEY, KEY[8:24]):
        assert not [f.name for f in files if secret.encode() in f.read_bytes()]
        assert secret not in good.output + good.stderr + bad.output + bad.stderr + caplog.text


# ---------------------------------------------------------------- what is recorded


def test_what_was_found_out_is_in_the_ledger_and_changes_no_key(tmp_path: Path) -> None:
    with ChatServer(logprobs=False).running() as server:
        file = study(tmp_path, server)
        pipeline.run(Study.load(file), tmp_path / "run")
        with RunFolder(tmp_path / "run").ledger() as ledger:
            identity, environment = ledger.models()["served"]
        assert environment["logprobs"] == "not returned"
        assert environment["answered_as"] == ["served-model fp"]
        assert "logprobs" not in json.dumps(identity)
        pipeline.run(Study.load(file), tmp_path / "run")
    assert len(server.bodies) == TRIALS


def test_workers_change_nothing_for_what_is_served(tmp_path: Path) -> None:
    with ChatServer(delay=0.002).running() as server:
        pipeline.run(Study.load(study(tmp_path, server, more="[ask]\nworkers = 3\n")), tmp_path / "run")
    assert 2 <= server.most_at_once <= 6
    assert len(recorded(tmp_path / "run")[1]) == TRIALS


def test_a_server_that_goes_away_ends_the_run_and_keeps_what_it_said(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_api_ask, "GIVE_UP", 5)
    with ChatServer(fault=lambda n, b: "reset" if n >= 60 else None).running() as server:
        file = study(tmp_path, server, "tries = 2")
        said = cli("run", file, "--out", tmp_path / "run", exit_code=2).stderr
        assert "the connection was lost" in said
        assert "run the same command again" in said
        with RunFolder(tmp_path / "run").ledger() as ledger:
            kept = dict(ledger.ended())
        answered = [k for k, (status, _) in kept.items() if status is Status.OK]
        assert len(answered) == server.count("answered") == 60
        server.fault = lambda number, body: None
        cli("run", file, "--out", tmp_path / "run")
    assert server.count("answered") == TRIALS
    with pytest.raises(ModelError, match="nothing answers"):
        pipeline.run(Study.load(study(tmp_path / "3", server)), tmp_path / "3" / "run")


JUDGED = STUDY[: STUDY.index('[[models]]\nname = "tuned"')] + STUDY[STUDY.index("[[tasks]]") : STUDY.index("[[pairs]]")]
JUDGE = (
    '[[readings]]\nname = "judge"\nmodel = {{ name = "far", kind = "endpoint", base_url = "{url}", concurrency = 4, tries = 2 }}\n'
)


def test_a_judge_behind_an_endpoint_reads_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api_ask, "GIVE_UP", 3)
    server = ChatServer(
        answer=lambda image, question: '{"reading": "NEGATIVE", "quote": ""}', fault=lambda n, b: "reset" if n >= 5 else None
    )
    with server.running():
        text = JUDGED.replace("seed = 3", 'seed = 3\nreading = "judge"') + JUDGE.format(url=server.url)
        file = write_study(tmp_path, text)
        with pytest.raises(ModelError, match="the connection was lost"):
            pipeline.run(Study.load(file), tmp_path / "run")
        server.fault = lambda number, body: None
        results = pipeline.run(Study.load(file), tmp_path / "run")
    assert results.unread() == {}
    assert {code for p in results.panels for code in p.outcome.ravel().tolist()} == {1}  # NEGATIVE, all of them
    assert all(isinstance(b["messages"][-1]["content"], str) for b in server.bodies)  # no image goes to a judge
    assert all(b["response_format"]["json_schema"]["schema"]["required"] == ["reading", "quote"] for b in server.bodies)
    answered = [e.question for e in server.events if e.what == "answered"]
    assert 1 < len(answered) == len(set(answered)) < TRIALS  # the same question is asked once, whatever answers raise it
