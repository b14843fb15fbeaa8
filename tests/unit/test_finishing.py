"""Ctrl-C while questions are asked: once is heard, twice is obeyed, and where nobody can hear it nothing is changed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from palpate.cli._flags import finishing


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """The handler as a terminal has it, whatever this suite was started with; as it was afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_is_heard_the_second_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    with finishing() as pressed:
        assert not pressed()
        press()
        assert pressed()
        assert "Ctrl-C again stops at once" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_afterwards_it_is_as_before() -> None:
    with finishing():
        pass
    with pytest.raises(KeyboardInterrupt):
        press()


def test_where_it_is_ignored_it_stays_so() -> None:
    """As for `nohup palpate run … &`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with finishing() as pressed:
        press()
        assert not pressed()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_in_a_thread_nothing_is_changed() -> None:
    found: list[object] = []

    def ask() -> None:
        with finishing() as pressed:
            found.extend([pressed(), signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [False, signal.default_int_handler]
