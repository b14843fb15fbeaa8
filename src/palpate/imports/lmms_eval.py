"""The sample logs of lm-evaluation-harness and lmms-eval (``--log_samples``): JSON lines, one file per model and task.

The log holds the question, the right answer and the model's words; not the model, nor what the question asserts. The task is
in the file's name: ``samples_TASK_TIME.jsonl`` (lm-evaluation-harness) or ``TIME_samples_TASK.jsonl`` (lmms-eval).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from palpate.imports.own import json_lines
from palpate.imports.rows import Faults, Row

TASK = (re.compile(r"^samples_(.+)_\d{4}-\d\d-\d\dT.*$"), re.compile(r"^.*\d_samples_(.+)$"), re.compile(r"^samples_(.+)$"))


class SampleLogFormat:
    """``resps`` is taken, the model's own words, not ``filtered_resps``: what a filter cut away cannot be read."""

    name: ClassVar[str] = "lmms-eval"
    about: ClassVar[str] = "samples of lmms-eval or lm-evaluation-harness (JSON lines)"
    own_questions: ClassVar[bool] = True

    def fits(self, path: Path) -> bool:
        """JSON lines whose first object has the fields of a sample log."""
        if path.suffix.lower() != ".jsonl":
            return False
        first = next(json_lines(path, "", Faults()), None)
        return first is not None and "doc_id" in first[1] and bool({"resps", "filtered_resps"} & set(first[1]))

    def rows(self, path: Path, label: str, faults: Faults) -> Iterator[Row]:
        """One row per answer; a question with several answers gives repeats."""
        task = next((found[1] for pattern in TASK if (found := pattern.match(path.stem))), None)
        seen: set[Any] = set()
        for line, record in json_lines(path, label, faults):
            # The harness writes a sample once for each of its filters; the model's words are the same in all of them.
            again = (json.dumps(record.get("doc_id")), record.get("doc_hash"))
            if record.get("filter") is not None and again in seen:
                continue
            seen.add(again)
            arguments = _arguments(record)
            common = {"task": task, "case": record.get("doc_id"), "prompt": _prompt(record, arguments)}
            given, unfit = _answers(record, arguments)
            values = {**common, "target": _target(record, arguments)}
            if not given:
                yield Row(label, line, {**values, "response": None}, record, unfit)
            for repeat, text in enumerate(given):
                yield Row(label, line, {**values, "response": text, "repeat": repeat}, record, unfit)


def _arguments(record: Mapping[str, Any]) -> list[list[Any]]:
    """The requests made for one sample, each as its list of arguments; the two harnesses write them in three ways."""
    given = record.get("arguments")
    if isinstance(given, Mapping):  # {"gen_args_0": {"arg_0": …, "arg_1": …}}
        return [list(v.values()) if isinstance(v, Mapping) else [v] for v in given.values()]
    if isinstance(given, list):
        return [a if isinstance(a, list) else [a] for a in given]
    return []


def _prompt(record: Mapping[str, Any], arguments: list[list[Any]]) -> Any:
    given = record.get("input", arguments[0][0] if arguments and arguments[0] else None)
    while isinstance(given, list) and len(given) == 1:
        given = given[0]
    return given if given is None or isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _answers(record: Mapping[str, Any], arguments: list[list[Any]]) -> tuple[list[str], str]:
    """(the texts, why it does not fit). Likelihoods of offered continuations give the likelier one."""
    given = record.get("resps", record.get("filtered_resps"))
    if _likelihoods(given):
        values = [float(pair[0][0] if isinstance(pair[0], list) else pair[0]) for pair in given]
        if len(values) != 2:
            return [""], f"offers {len(values)} answers, not two"
        chosen = values.index(max(values))
        return [str(arguments[chosen][1]).strip()] if len(arguments) == 2 and len(arguments[chosen]) > 1 else [], ""
    return list(_texts(given)), ""


def _likelihoods(given: Any) -> bool:
    """[[[-0.3, True]], [[-1.2, False]]], or without the inner list: a log-likelihood and whether it is the greedy one."""
    if not isinstance(given, list) or len(given) < 2:
        return False
    pairs = [g[0] if isinstance(g, list) and len(g) == 1 else g for g in given]
    return all(isinstance(p, list) and len(p) == 2 and str(p[1]) in ("True", "False") for p in pairs)


def _texts(given: Any) -> Iterator[str]:
    if isinstance(given, str):
        yield given
    elif isinstance(given, list):
        for inner in given:
            yield from _texts(inner)


def _target(record: Mapping[str, Any], arguments: list[list[Any]]) -> Any:
    """The right answer; of likelihoods its number, which stands for that continuation."""
    target = record.get("target")
    if isinstance(target, list) and len(target) == 1:
        target = target[0]
    offered = [str(a[1]).strip() for a in arguments if len(a) > 1]
    numbered = str(target) in ("0", "1") and len(offered) == len(arguments) == 2
    return offered[int(str(target))] if numbered else target
