"""The logs of other programs: what is in them is taken as it is, what is not must be said."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from palpate.errors import SourceError
from palpate.imports.answers import Answers, read_answers
from palpate.imports.formats import FORMATS, format_of
from palpate.imports.rows import Fill
from palpate.nouns import Form, Status

ASSERTS = {"form": "yes-no", "polarity": "positive", "cell": "target"}


def lines(path: Path, records: list[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def read(path: Path, how: Mapping[str, str], fields: Mapping[str, str] | None = None, **more: Any) -> Answers:
    return read_answers([path], fill=Fill(how, fields or {}), **more)


# ---------------------------------------------------------------- lmms-eval, lm-evaluation-harness


def sample(doc: int, question: str, target: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"doc_id": doc, "doc": {"image_id": f"p{doc // 2}"}, "target": target, "input": question, "resps": [answer],
            "filtered_resps": [answer.lower()], "doc_hash": f"h{doc}"} | more  # fmt: skip


def test_lmms_eval_samples(tmp_path: Path) -> None:
    path = lines(tmp_path / "20260101_120000_samples_vqa_rad.jsonl", [
        sample(0, "is there a mass?", "yes", "Yes."), sample(1, "is it normal?", "no", "Yes, it is"),
    ])  # fmt: skip
    assert format_of(path).name == "lmms-eval"
    found = read(path, {"model": "llava", **ASSERTS}, {"group": "doc.image_id"})
    assert [a.answer.text for a in found.answers] == ["Yes.", "Yes, it is"]  # unfiltered
    assert [(c.name, c.label, c.group, c.question) for c in found.cases["vqa_rad"].values()] == [
        ("0", 1, "p0", "is there a mass?"),
        ("1", 0, "p0", "is it normal?"),
    ]
    (prompt,) = found.prompts["vqa_rad"].values()
    assert prompt.text == "{question}, as asked by vqa_rad"
    assert any("2 different questions, one to a case" in n for n in found.notes)


def test_what_the_log_does_not_say_is_asked_for(tmp_path: Path) -> None:
    path = lines(tmp_path / "samples_t_2026-01-01T10-00-00.123.jsonl", [sample(0, "q?", "yes", "Yes")])
    with pytest.raises(SourceError, match="no column 'model', 'form', 'polarity', 'cell'"):
        read_answers([path])


def test_the_harness_writes_requests_as_tables_and_once_per_filter(tmp_path: Path) -> None:
    def made(doc: int, kind: str) -> dict[str, Any]:
        return {"doc_id": doc, "target": "yes", "arguments": {"gen_args_0": {"arg_0": "Is it there?", "arg_1": {"until": []}}},
                "resps": [["Yes, it is", "No"]], "filtered_resps": ["yes"], "filter": kind, "doc_hash": str(doc)}  # fmt: skip

    path = lines(tmp_path / "samples_t_2026-01-01T10-00-00.123.jsonl", [made(d, k) for d in (0, 1) for k in ("strict", "loose")])
    found = read(path, {"model": "m", **ASSERTS})
    assert [(a.task, a.case, a.repeat, a.answer.text) for a in found.answers] == [
        ("t", "0", 0, "Yes, it is"), ("t", "0", 1, "No"), ("t", "1", 0, "Yes, it is"), ("t", "1", 1, "No"),
    ]  # fmt: skip
    assert list(found.prompts["t"]) == ["Is it there?"]  # one question for all cases is the wording itself


@pytest.mark.parametrize("nested", [True, False])
def test_likelihoods_of_two_continuations(tmp_path: Path, nested: bool) -> None:
    pairs: list[Any] = [["-2.5", "False"], ["-0.3", "True"]]
    record = {"doc_id": 0, "target": "0", "arguments": [["Is it there?", " yes"], ["Is it there?", " no"]],
              "resps": [[p] for p in pairs] if nested else pairs}  # fmt: skip
    found = read(lines(tmp_path / "samples_t.jsonl", [record]), {"model": "m", **ASSERTS})
    assert found.answers[0].answer.text == "no"
    assert found.cases["t"]["0"].label == 1


def test_four_continuations_do_not_fit(tmp_path: Path) -> None:
    record = {"doc_id": 0, "target": 2, "arguments": [["q", f" {c}"] for c in "abcd"], "resps": [[[-1.0, False]]] * 4}
    path = lines(tmp_path / "samples_t.jsonl", [record, sample(1, "q", "yes", "Yes")])
    with pytest.raises(SourceError, match="offers 4 answers, not two"):
        read(path, {"model": "m", **ASSERTS})
    assert len(read(path, {"model": "m", **ASSERTS}, skip_unfit=True).answers) == 1


def test_several_questions_to_a_case_are_wordings(tmp_path: Path) -> None:
    path = lines(tmp_path / "samples_t.jsonl", [
        sample(d, q, "yes", "Yes", doc_hash=f"{d}{q}") for d in (0, 1) for q in ("Is it?", "Is it there?")
    ])  # fmt: skip
    assert list(read(path, {"model": "m", **ASSERTS}).prompts["t"]) == ["Is it?", "Is it there?"]


def test_a_sample_without_an_answer_is_a_fault(tmp_path: Path) -> None:
    path = lines(tmp_path / "samples_t.jsonl", [sample(0, "q", "yes", "Yes", resps=[]), sample(1, "q", "yes", "Yes")])
    with pytest.raises(SourceError, match="line 1, column 'response': is missing"):
        read(path, {"model": "m", **ASSERTS})


# ---------------------------------------------------------------- Inspect


def inspected(number: int, target: Any, content: Any, epoch: int = 1, **more: Any) -> dict[str, Any]:
    answer = {"message": {"role": "assistant", "content": content}, "stop_reason": "stop"}
    question = [{"type": "image", "image": "x"}, {"type": "text", "text": "Is it there?"}]
    asked = [{"role": "system", "content": "s"}, {"role": "user", "content": question}]
    output = {"model": "x", "choices": [answer], "completion": content, "time": 1.5}
    known = {"id": number, "epoch": epoch, "input": asked, "target": target, "choices": None}
    return known | {"output": output, "metadata": {"patient": "p1"}} | more


HEADER = {"version": 2, "status": "success", "eval": {"task": "mine/pneumonia_cxr", "model": "openai/gpt-4o"}}


def eval_log(path: Path, samples: list[dict[str, Any]], header: str = "header.json") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as log:
        log.writestr(header, json.dumps(HEADER))
        log.writestr("summaries.json", "[]")
        for s in samples:
            log.writestr(f"samples/{s['id']}_epoch_{s['epoch']}.json", json.dumps(s))
    return path


SAMPLES = [
    inspected(10, ["no"], "No."),
    inspected(9, "yes", [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Yes."}]),
    inspected(9, "yes", "Yes", epoch=2),
]


def test_inspect_logs(tmp_path: Path) -> None:
    path = eval_log(tmp_path / "log.eval", SAMPLES)
    found = read(path, ASSERTS, {"group": "metadata.patient"})
    assert [(a.model, a.task, a.case, a.repeat, a.answer.text) for a in found.answers] == [
        ("openai/gpt-4o", "pneumonia_cxr", "9", 0, "Yes."),
        ("openai/gpt-4o", "pneumonia_cxr", "9", 1, "Yes"),
        ("openai/gpt-4o", "pneumonia_cxr", "10", 0, "No."),
    ]
    assert list(found.prompts["pneumonia_cxr"]) == ["Is it there?"]
    assert {c.group for c in found.cases["pneumonia_cxr"].values()} == {"p1"}
    assert found.answers[0].answer.seconds == 1.5
    plain = tmp_path / "log.json"
    plain.write_text(json.dumps({**HEADER, "samples": [SAMPLES[1], SAMPLES[2], SAMPLES[0]]}), encoding="utf-8")
    assert read(plain, ASSERTS, {"group": "metadata.patient"}).answers == found.answers


def test_inspect_errors_and_cut_answers(tmp_path: Path) -> None:
    failed = inspected(1, "yes", "", error={"message": "time-out", "traceback": "t"}, output={"model": "x", "choices": []})
    cut, blocked = inspected(2, "yes", "The im"), inspected(3, "no", "")
    cut["output"]["choices"][0]["stop_reason"] = "max_tokens"
    blocked["output"]["choices"][0]["stop_reason"] = "content_filter"
    found = read(eval_log(tmp_path / "l.eval", [failed, cut, blocked]), ASSERTS)
    assert [(a.answer.status, a.answer.error) for a in found.answers] == [
        (Status.ERROR, "time-out"), (Status.TRUNCATED, None), (Status.BLOCKED, None),
    ]  # fmt: skip


def test_inspect_choices(tmp_path: Path) -> None:
    two = inspected(1, "B", "ANSWER: B", choices=["Pneumonia", "Normal"])
    four = inspected(2, "D", "D", choices=["a", "b", "c", "d"])
    found = read(eval_log(tmp_path / "l.eval", [two, four]), {**ASSERTS, "form": "A-B"}, skip_unfit=True)
    (prompt,) = found.prompts["pneumonia_cxr"].values()
    assert (prompt.form, prompt.options) == (Form.AB, ("Pneumonia", "Normal"))
    assert found.cases["pneumonia_cxr"]["1"].label == 0
    assert found.left_out["pneumonia_cxr"][0].reason == "offers 4 answers, not two"


def test_an_unfinished_log_is_read_and_a_broken_one_is_not(tmp_path: Path) -> None:
    assert len(read(eval_log(tmp_path / "l.eval", SAMPLES, "_journal/start.json"), ASSERTS).answers) == 3
    (tmp_path / "no.eval").write_bytes(b"PK no")
    with zipfile.ZipFile(tmp_path / "empty.eval", "w") as log:
        log.writestr("x", "y")
    with zipfile.ZipFile(tmp_path / "bad.eval", "w") as log:
        log.writestr("header.json", "{")
    with zipfile.ZipFile(tmp_path / "packed.eval", "w", zipfile.ZIP_BZIP2) as log:
        log.writestr("header.json", json.dumps(HEADER))
    (tmp_path / "no.json").write_text("{}", encoding="utf-8")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    for name, told in [("no.eval", "no zip"), ("empty.eval", "holds no header"), ("bad.eval", "header.json cannot be read"),
                       ("packed.eval", "packed in a way"), ("no.json", "no log of Inspect"), ("bad.json", "not JSON")]:  # fmt: skip
        with pytest.raises(SourceError, match=told):
            read(tmp_path / name, ASSERTS)


# ---------------------------------------------------------------- VLMEvalKit

KIT = [
    {"index": 0, "question": "Is there a mass?", "answer": "Yes", "prediction": "Yes, there is."},
    {"index": 1, "question": "Is it large?", "answer": "No", "prediction": ""},
    {"index": 2, "question": "Is it round?", "answer": "No", "prediction": "Failed to obtain answer via API. "},
]


def spreadsheet(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".tsv":
        text = "\t".join(rows[0]) + "\n" + "".join("\t".join(str(v) for v in r.values()) + "\n" for r in rows)
        path.write_text(text, encoding="utf-8")
        return path
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(list(rows[0]))
    for r in rows:
        book.active.append([v if v != "" else None for v in r.values()])
    book.save(path)
    return path


@pytest.mark.parametrize("ending", [".xlsx", ".tsv"])
def test_vlmevalkit_tables(tmp_path: Path, ending: str) -> None:
    path = spreadsheet(tmp_path / f"LLaVA_VQARAD{ending}", KIT)
    found = read(path, {"model": "LLaVA", "task": "VQARAD", **ASSERTS})
    assert [(a.answer.status, a.answer.text) for a in found.answers] == [("ok", "Yes, there is."), ("ok", ""), ("error", "")]
    assert [c.label for c in found.cases["VQARAD"].values()] == [1, 0, 0]


def test_vlmevalkit_options(tmp_path: Path) -> None:
    rows = [
        {"index": 0, "question": "Which?", "A": "Mass", "B": "None", "C": "", "answer": "A", "prediction": "A"},
        {"index": 1, "question": "Which?", "A": "Mass", "B": "None", "C": "Both", "answer": "C", "prediction": "C"},
    ]
    how = {"model": "m", "task": "t", **ASSERTS, "form": "A-B"}
    found = read(spreadsheet(tmp_path / "a.tsv", rows), how, skip_unfit=True)
    assert [p.options for p in found.prompts["t"].values()] == [("Mass", "None")]
    assert len(found.answers) == 1


def test_a_spreadsheet_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no column 'index'"):
        read(spreadsheet(tmp_path / "a.xlsx", [{"a": 1}]), ASSERTS)
    (tmp_path / "b.xlsx").write_bytes(b"no")
    with pytest.raises(SourceError, match="is no zip archive"):
        read(tmp_path / "b.xlsx", ASSERTS)


def test_a_tsv_of_ones_own_is_no_spreadsheet_of_the_kit(tmp_path: Path) -> None:
    assert format_of(spreadsheet(tmp_path / "a.tsv", [{"model": "m", "case": 1}])).name == "own"
    assert format_of(spreadsheet(tmp_path / "b.tsv", KIT)).name == "vlmevalkit"
    assert len({f.name for f in FORMATS}) == len(FORMATS)
    with pytest.raises(SourceError, match="no format is called"):
        format_of(tmp_path / "a.tsv", "exel")
