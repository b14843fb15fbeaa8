"""A real server, `transformers serve` with a bundled checkpoint, answers a whole study with the texts of the local path."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from palpate import pipeline
from palpate.models.bundled import FOLDER
from palpate.nouns import Status
from palpate.store.folder import RunFolder
from palpate.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.local]
pytest.importorskip("openai")
pytest.importorskip("transformers")
pytest.importorskip("fastapi", reason="needs transformers[serving]")

CHECKPOINT = FOLDER / "phantom-llava"
STUDY = """
name = "served"
seed = 1
describe = true
[sample]
per_class = 3
[[models]]
name = "phantom-llava"
{model}
max_new_tokens = 12
max_new_tokens_open = 40
[[tasks]]
name = "pneumonia_phantom"
[measure]
draws = 200
"""
SERVED = 'kind = "endpoint"\nbase_url = "{url}"\nmodel = "{checkpoint}"\nconcurrency = 2'
SECONDS = 180


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that runs as long as the tests do."""
    if not (CHECKPOINT / "config.json").exists():
        pytest.skip("the weights are not in this installation")
    home = tmp_path_factory.mktemp("hf")
    (home / "hub").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
    flags = ["serve", str(CHECKPOINT), "--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    log = (home / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-c", command, *flags],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        until = time.monotonic() + SECONDS
        while not _listens(port):
            assert server.poll() is None, (home / "log").read_text()
            assert time.monotonic() < until, "the server did not come up"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _listens(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def texts(folder: Path, model: str) -> tuple[dict[tuple[str, str], tuple[Status, str]], dict[str, object]]:
    """(case, question) → how it ended and the text; and the model's recorded environment."""
    folder.mkdir()
    file = folder / "study.toml"
    file.write_text(STUDY.format(model=model), encoding="utf-8")
    results = pipeline.run(Study.load(file), folder / "run")
    found = {}
    with RunFolder(folder / "run").ledger() as ledger:
        for key, *_ in ledger.texts():
            trial = results.trial(key)
            last = trial.responses[-1].answer
            found[trial.trial.case, trial.trial.prompt.name] = (last.status, last.text)
        return found, ledger.models()["phantom-llava"][1]


def test_the_same_texts_as_the_local_path(url: str, tmp_path: Path) -> None:
    here, _ = texts(tmp_path / "here", f'kind = "hf"\npath = "{CHECKPOINT}"\nthreads = 1')
    there, environment = texts(tmp_path / "there", SERVED.format(url=url, checkpoint=CHECKPOINT))
    assert len(here) >= 6 * 13
    assert here.keys() == there.keys()
    assert {status for status, _ in there.values()} <= {Status.OK, Status.TRUNCATED}
    assert {k: t for k, (_, t) in there.items()} == {k: t for k, (_, t) in here.items()}
    assert there == here  # how each ended, too
    assert len({text for _, text in here.values()}) > 3
    assert environment["logprobs"] == "not returned"  # accepted, and dropped without a word
    assert "failed_tries" not in environment


def test_a_model_that_is_not_served_there_is_one_clear_error(url: str, tmp_path: Path) -> None:
    from palpate.errors import ModelError

    with pytest.raises(ModelError, match="http 4"):
        texts(tmp_path / "x", SERVED.format(url=url, checkpoint="org/other"))
