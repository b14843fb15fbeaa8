"""An endpoint's options: what is refused, what belongs to the identity, and that no secret is ever seen."""

from __future__ import annotations

from typing import Any

import pytest

from palpate.errors import ModelError
from palpate.models._api_settings import Secrets, expected_tokens, secrets_from, settings_from
from palpate.models.openai_api import EndpointKind
from palpate.nouns import Form, Polarity, Prompt
from palpate.parts import ModelSpec
from palpate.store.keys import model_digest

LOCAL = "http://127.0.0.1:8000/v1"


def spec(**options: Any) -> ModelSpec:
    return ModelSpec("mine", "endpoint", options, seed=3)


def test_what_holds_unless_said_otherwise() -> None:
    s = settings_from(spec())
    assert (s.base_url, s.model, s.api_key_env, s.max_new_tokens) == (
        "https://api.openai.com/v1",
        "mine",
        "OPENAI_API_KEY",
        (32, 256),
    )
    assert (s.temperature, s.concurrency, s.logprobs, s.stream, s.azure) == (0.0, 16, True, True, False)


def test_openais_key_goes_to_openai_alone() -> None:
    assert settings_from(spec(base_url=LOCAL)).api_key_env is None
    assert settings_from(spec(base_url="https://other.example/v1")).api_key_env is None
    assert settings_from(spec(base_url=LOCAL, api_key_env="MY_KEY")).api_key_env == "MY_KEY"
    azure = settings_from(spec(base_url="https://x.openai.azure.com", azure=True, api_version="2024-10-21"))
    assert azure.api_key_env == "AZURE_OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_url": "127.0.0.1:8000"}, "an address such as"),
        ({"base_url": "ftp://host/v1"}, "an address such as"),
        ({"base_url": "http://host:port/v1"}, "an address such as"),
        ({"base_url": 8000}, "text"),
        ({"azure": True}, "Azure resource"),
        ({"azure": True, "base_url": "https://x.openai.azure.com"}, "api_version"),
        ({"temperature": -1}, "a number from 0 to 100"),
        ({"temperature": "cold"}, "a number from 0 to 100"),
        ({"concurrency": 0}, "a whole number from 1"),
        ({"timeout": 0}, "a number from 0.01"),
        ({"tries": 0}, "a whole number from 1"),
        ({"requests_per_minute": 0}, "a number from 0.001"),
        ({"detail": "huge"}, "'auto' or 'low' or 'high'"),
        ({"extra": "x"}, "further fields"),
        ({"json_schema": 1}, "JSON schema"),
        ({"headers_env": ["X"]}, "environment variable"),
        ({"api_key": "sk-secret"}, "api_key_env"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match="mine") as fault:
        settings_from(spec(**options))
    assert words in str(fault.value)
    assert "sk-secret" not in str(fault.value)


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "https://user:sk-hidden@host/v1"},
        {"base_url": "https://sk-hidden@host/v1"},
        {"base_url": "https://host/v1?api-key=sk-hidden"},
        {"base_url": "https://host/v1#sk-hidden"},
        {"api_key_env": "sk-hidden"},
        {"api_key_env": "sk-hidden", "base_url": LOCAL},
        {"headers_env": {"Authorization": "Bearer sk-hidden"}},
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(options: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as fault:
        settings_from(spec(**options))
    assert "hidden" not in str(fault.value)


def test_secrets_come_from_the_environment_and_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_from(spec(base_url=LOCAL, api_key_env="MY_KEY", headers_env={"X-Team": "MY_TEAM"}))
    monkeypatch.delenv("MY_KEY", raising=False)
    monkeypatch.setenv("MY_TEAM", "team-hidden")
    with pytest.raises(ModelError, match="MY_KEY is not set") as fault:
        secrets_from(settings, "mine")
    assert "export MY_KEY" in fault.value.hint
    monkeypatch.setenv("MY_KEY", " sk-hidden\n")
    found = secrets_from(settings, "mine")
    assert (found.key, found.headers) == ("sk-hidden", {"X-Team": "team-hidden"})
    assert "hidden" not in repr(found)
    assert found.redact("Bearer sk-hidden of team-hidden") == "Bearer [secret] of [secret]"
    assert Secrets(None, {}).redact("as it was") == "as it was"


def digest(**options: Any) -> str:
    return model_digest(EndpointKind().build(spec(**options)).fingerprint().identity)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"base_url": "http://elsewhere:8000/v1"},
        {"revision": "abc123"},
        {"system": "Be brief."},
        {"detail": "low"},
        {"temperature": 0.5},
        {"temperature": "default"},
        {"max_new_tokens": 8},
        {"extra": {"reasoning_effort": "low"}},
        {"json_schema": {"type": "object"}},
    ],
)
def test_what_can_change_an_answer_is_identity(change: dict[str, Any]) -> None:
    assert digest(**{"base_url": LOCAL, **change}) != digest(base_url=LOCAL)


@pytest.mark.parametrize(
    "change",
    [
        {"base_url": "http://localhost:9999/v1"},
        {"concurrency": 2},
        {"timeout": 1.5},
        {"tries": 2},
        {"logprobs": False},
        {"stream": False},
        {"api_key_env": "OTHER"},
        {"requests_per_minute": 5},
        {"tokens_per_image": 7},
    ],
)
def test_what_cannot_is_not(change: dict[str, Any]) -> None:
    assert digest(**{"base_url": LOCAL, **change}) == digest(base_url=LOCAL)


def test_a_revision_is_the_same_wherever_it_is_served() -> None:
    assert digest(base_url=LOCAL, revision="v1") == digest(base_url="https://elsewhere/v1", revision="v1")


def test_the_environment_holds_the_address_and_no_variable() -> None:
    found = EndpointKind().build(spec(base_url=LOCAL, headers_env={"X-Team": "MY_TEAM"})).fingerprint()
    assert found.environment["base_url"] == LOCAL
    assert "MY_TEAM" not in str(found)


def test_tokens_are_reckoned_before_anything_is_sent() -> None:
    prompt = Prompt("p", "x" * 300, Form.YES_NO, Polarity.POSITIVE, "target")
    settings = settings_from(spec(base_url=LOCAL, system="y" * 30, tokens_per_image=576))
    assert expected_tokens(settings, prompt, image=True) == (110 + 16 + 576, 32)
    assert expected_tokens(settings, prompt, image=False) == (110 + 16, 32)
