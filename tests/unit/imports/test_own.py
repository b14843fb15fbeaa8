"""A table of one's own: every kind of file gives the same answers, and everything wrong is named by line and column."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palpate.errors import SourceError
from palpate.imports.answers import Answers, read_answers
from palpate.imports.rows import COLUMNS, Fill
from palpate.nouns import Form, Perturbation, Polarity, Status

BASE = {
    "model": "m",
    "task": "pneumonia_cxr",
    "case": "i1",
    "group": "p1",
    "label": "1",
    "prompt": "Is there pneumonia?",
    "form": "yes-no",
    "polarity": "positive",
    "cell": "target",
    "response": "Yes",
}
Rows = Sequence[Mapping[str, Any]]


def row(**changes: Any) -> dict[str, Any]:
    return {**BASE, **changes}


def lettered(**changes: Any) -> dict[str, Any]:
    return row(**{"prompt": "Which?", "form": "A-B", "options": "Pneumonia|Normal", "response": "A", **changes})


def write(path: Path, rows: Rows) -> Path:
    columns = list(dict.fromkeys(c for r in rows for c in r))
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([{c: r.get(c) for c in columns} for r in rows]), path)
    else:
        text = io.StringIO()
        delimiter = "\t" if path.suffix == ".tsv" else ","
        writer = csv.DictWriter(text, columns, delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


def read(tmp_path: Path, rows: Rows, name: str = "a.csv", **how: Any) -> Answers:
    return read_answers([write(tmp_path / name, rows)], **how)


def faults(tmp_path: Path, rows: Rows, name: str = "a.csv", **how: Any) -> str:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, rows, name, **how)
    return str(caught.value)


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_every_kind_of_file_gives_the_same(tmp_path: Path, name: str) -> None:
    rows = [row(), row(case="i2", label="0", response='No,\n"clear".'), row(case="i3", response="")]
    found = read(tmp_path, rows, name)
    assert [a.answer.text for a in found.answers] == ["Yes", 'No,\n"clear".', ""]
    assert [a.answer.status for a in found.answers] == [Status.OK] * 3  # an empty text is an answer
    assert [c.label for c in found.cases["pneumonia_cxr"].values()] == [1, 0, 1]
    assert found.models == ("m",)
    assert found.conditions == (Perturbation(),)
    (prompt,) = found.prompts["pneumonia_cxr"].values()
    assert (prompt.form, prompt.polarity, prompt.cell, prompt.options) == (Form.YES_NO, Polarity.POSITIVE, "target", None)


def test_a_table_with_semicolons_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(";".join(BASE) + "\n" + ";".join(BASE.values()) + "\n", encoding="utf-8-sig")
    assert len(read_answers([path]).answers) == 1


def test_numbers_of_json_and_parquet_are_numbers(tmp_path: Path) -> None:
    rows = [row(label=1, case=7, repeat=0, margin=1.5, mass=0.9, seconds=0.25), row(label=0, case=8, margin=-0.5)]
    for name in ("a.jsonl", "a.parquet"):
        first, second = read(tmp_path, rows, name).answers
        assert (first.case, first.answer.margin, first.answer.mass, first.answer.seconds) == ("7", 1.5, 0.9, 0.25)
        assert (second.answer.margin, second.answer.mass) == (-0.5, None)


def test_the_first_named_option_is_a_in_both_orders(tmp_path: Path) -> None:
    rows = [
        lettered(),
        lettered(prompt="Which, then?", form="B-A", options="Normal|Pneumonia", polarity="negative", response="B"),
    ]
    ab, ba = read(tmp_path, rows).prompts["pneumonia_cxr"].values()
    assert (ab.form, ab.polarity, ab.options) == (Form.AB, Polarity.POSITIVE, ("Pneumonia", "Normal"))
    assert (ba.form, ba.polarity, ba.options) == (Form.BA, Polarity.NEGATIVE, ("Normal", "Pneumonia"))


@pytest.mark.parametrize(
    ("made", "label"),
    [
        (row(label="", target="yes"), 1),
        (row(label="", target="No."), 0),
        (row(label="", target="Yes", polarity="negative"), 0),
        (row(label="", target="no", polarity="negative"), 1),
        (lettered(label="", target="A"), 1),
        (lettered(label="", target="b"), 0),
        (lettered(label="", target="normal"), 0),
        (lettered(label="", target="A", polarity="negative", options="Normal|Pneumonia"), 0),
        (row(label="1.0"), 1),
    ],
)
def test_a_label_or_the_right_answer(tmp_path: Path, made: dict[str, Any], label: int) -> None:
    (case,) = read(tmp_path, [made]).cases["pneumonia_cxr"].values()
    assert case.label == label


def test_errors_stay_errors(tmp_path: Path) -> None:
    rows = [
        row(status="error", error="timed out", response="I cannot"),
        row(case="i2", error="HTTP 500"),
        row(case="i3", status="error"),
        row(case="i4", status="blocked", response=""),
        row(case="i5", status="truncated", response="The ima"),
    ]
    found = read(tmp_path, rows)
    assert [(a.answer.status, a.answer.text, a.answer.error) for a in found.answers] == [
        ("error", "", "timed out"),
        ("error", "", "HTTP 500"),
        ("error", "", "no cause given"),
        ("blocked", "", None),
        ("truncated", "The ima", None),
    ]
    assert found.n_errors == 3


def test_conditions_repeats_factors_and_names(tmp_path: Path) -> None:
    made = {"factor.suffix": "none", "name": "plain"}
    rows = [row(**made, repeat=r, condition=c) for r in ("1", "2") for c in ("", "no_image")]
    found = read(tmp_path, rows)
    assert found.conditions == (Perturbation(), Perturbation("no_image"))
    assert sorted({a.repeat for a in found.answers}) == [0, 1]
    assert found.repeats == 2
    assert any("repeats are numbered 1, 2" in note for note in found.notes)
    (prompt,) = found.prompts["pneumonia_cxr"].values()
    assert (prompt.name, dict(prompt.factors)) == ("plain", {"suffix": "none"})


def test_prompts_have_names_of_their_own(tmp_path: Path) -> None:
    texts = ["formal", "Is there, or is there not?", "x" * 40, "formal."]
    found = read(tmp_path, [row(prompt=text) for text in texts])
    assert [p.name for p in found.prompts["pneumonia_cxr"].values()] == ["formal", "p2", "p3", "formal."]


def test_set_and_map_fill_what_a_file_does_not_say(tmp_path: Path) -> None:
    rows = [{"image": "i1", "who": {"patient": "p9"}, "answer": "Yes", "truth": "yes", "q": "Is there?"}]
    fill = Fill(
        {"model": "m", "task": "t", "form": "yes-no", "polarity": "positive", "cell": "target"},
        {"case": "image", "group": "who.patient", "response": "answer", "target": "truth", "prompt": "q"},
    )
    found = read(tmp_path, rows, "a.jsonl", fill=fill)
    (case,) = found.cases["t"].values()
    assert (case.name, case.group, case.label) == ("i1", "p9", 1)
    assert found.answers[0].answer.text == "Yes"


def test_several_files_are_one_import(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{m}.csv", [row(model=m)]) for m in ("a", "b")]
    assert read_answers(paths).models == ("a", "b")
    write(paths[1], [row(model="b", label="0")])
    with pytest.raises(SourceError, match=r"b\.csv line 2, column 'label': case 'i1' has 0 here and 1 in a\.csv line 2"):
        read_answers(paths)


def test_what_a_reader_should_know_is_said(tmp_path: Path) -> None:
    made = row(scanner="A")
    del made["group"]
    notes = read(tmp_path, [made]).notes
    assert any("every case counts as a patient of its own" in n for n in notes)
    assert "columns not used: scanner" in notes


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (row(label="2"), "line 2, column 'label': '2' is neither 1 nor 0"),
        (row(label=""), "column 'label': is empty, and there is no target"),
        (row(form="yes"), "column 'form': 'yes' is not one of yes-no, A-B, B-A, open, describe"),
        (row(polarity=""), "column 'polarity': '' is not one of positive, negative"),
        (row(cell=" "), "column 'cell': is empty"),
        (row(model=""), "column 'model': is empty"),
        (row(repeat="-1"), "column 'repeat': '-1' is no whole number from 0"),
        (row(repeat="1.5"), "column 'repeat'"),
        (row(condition="no_imag"), "column 'condition': no perturbation is called 'no_imag'"),
        (row(condition="gaussian_noise-99"), "column 'condition': 'gaussian_noise-99'"),
        (row(status="fine"), "column 'status': 'fine' is not one of ok, truncated, blocked, error"),
        (row(margin="high"), "column 'margin': 'high' is no number"),
        (row(margin="nan"), "column 'margin': 'nan' is no number"),
        (row(mass="1.2"), "column 'mass': '1.2' is no number from 0 to 1"),
        (row(seconds="-1"), "column 'seconds': '-1' is no number from 0"),
        (lettered(options=""), "column 'options': is needed for a lettered question"),
        (lettered(options="one"), "column 'options': 'one' is not first|second"),
        (lettered(options="same|Same"), "column 'options'"),
        (row(label="", target="maybe"), "column 'target': 'maybe' is neither yes nor no"),
    ],
)
def test_a_bad_value_is_named_by_line_and_column(tmp_path: Path, made: dict[str, Any], told: str) -> None:
    shown = faults(tmp_path, [made])
    assert told in shown
    assert "1 fault, nothing was imported" in shown


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"label": "0", "prompt": "Other?"}, "label"),
        ({"group": "p2", "prompt": "Other?"}, "group"),
        ({"group": "", "prompt": "Other?"}, "group"),
        ({"case": "i2", "polarity": "negative"}, "polarity"),
        ({"case": "i2", "form": "open"}, "form"),
        ({"case": "i2", "cell": "abnormal"}, "cell"),
        ({"case": "i2", "factor.suffix": "one-word"}, "factors"),
    ],
)
def test_a_contradiction_names_both_lines(tmp_path: Path, changes: dict[str, str], column: str) -> None:
    shown = faults(tmp_path, [row(**{"factor.suffix": ""}), row(**{"factor.suffix": "", **changes})])
    assert f"line 3, column {column!r}" in shown
    assert "in line 2" in shown


def test_the_same_answer_twice_is_a_fault(tmp_path: Path) -> None:
    shown = faults(tmp_path, [row(), row(response="No")])
    assert "line 3: the same model, task, case, prompt, condition and repeat as line 2" in shown
    assert len(read(tmp_path, [row(), row(repeat="1"), row(condition="blank"), row(model="n")]).answers) == 4


def test_twenty_faults_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    shown = faults(tmp_path, [row(case=f"i{i}", label="?") for i in range(57)])
    assert "57 faults" in shown
    assert "… and 37 more" in shown
    assert shown.count("column 'label'") == 20


def test_a_fault_hides_no_other(tmp_path: Path) -> None:
    shown = faults(tmp_path, [row(label="?", form="?", repeat="?")])
    assert all(f"column {c!r}" in shown for c in ("label", "form", "repeat"))


def test_a_missing_column_is_said_once_with_what_to_type(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row(case=f"i{i}").items() if k not in ("cell", "polarity")} for i in range(30)]
    shown = faults(tmp_path, rows)
    assert "no column 'polarity', 'cell'" in shown
    assert "--set polarity=VALUE" in shown
    assert shown.count("\n") == 2


def test_null_is_no_answer(tmp_path: Path) -> None:
    rows = [row(), row(case="i2", response=None)]
    assert "line 2, column 'response': is missing" in faults(tmp_path, rows, "a.jsonl")
    assert "line 2, column 'response': is missing" in faults(tmp_path, rows, "a.parquet")


def test_questions_without_two_answers_are_left_out_on_request_only(tmp_path: Path) -> None:
    rows = [row(label="", target="yes"), row(case="i2", label="", target="left lung")]
    assert "--skip-unfit" in faults(tmp_path, rows)
    found = read(tmp_path, rows, skip_unfit=True)
    assert len(found.answers) == 1
    assert found.left_out["pneumonia_cxr"][0].name == "line 3, case i2"
    assert any("1 rows left out" in note for note in found.notes)


def test_broken_files_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text, told in [
        ("", "is empty"),
        ("a,a\n1,2\n", "column 'a' is there twice"),
        (",".join(BASE) + "\n", "holds no answer"),
        (",".join(BASE) + '\n"open', "line 2"),
        (",".join(BASE) + "\nm,t\n", "line 2: 2 values for 10 columns"),
    ]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SourceError, match=told):
            read_answers([path])
    path.write_bytes(b"model\n\xff\n")
    with pytest.raises(SourceError, match="not UTF-8"):
        read_answers([path])
    (tmp_path / "a.jsonl").write_text('{"model": 1\n[1]\n', encoding="utf-8")
    with pytest.raises(SourceError, match="line 2: is no JSON object"):
        read_answers([tmp_path / "a.jsonl"])
    (tmp_path / "a.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(SourceError, match="not a readable Parquet file"):
        read_answers([tmp_path / "a.parquet"])
    for name, told in [("none.csv", "no such file"), (".", "is a folder"), ("a.docx", "no format")]:
        if name == "a.docx":
            (tmp_path / name).write_text("x", encoding="utf-8")
        with pytest.raises(SourceError, match=told):
            read_answers([tmp_path / name])


def test_an_unknown_column_to_set_is_an_error(tmp_path: Path) -> None:
    assert "no column is called 'modle'" in faults(tmp_path, [row()], fill=Fill({"modle": "m"}))
    assert set(COLUMNS) > set(BASE)


def test_a_question_for_every_case_asks_for_a_template(tmp_path: Path) -> None:
    rows = [row(case=f"i{i}", prompt=f"Is there {i}?") for i in range(1500)]
    assert "{question}" in faults(tmp_path, rows)
    assert len(read(tmp_path, [{**r, "question": r["prompt"], "prompt": "{question}"} for r in rows]).answers) == 1500


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(COLUMNS)), st.text(max_size=12) | st.none() | st.integers() | st.floats(), max_size=12)
)
def test_no_value_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    path.write_text(json.dumps({**BASE, **changes}) + "\n", encoding="utf-8")
    fault = None
    try:
        found = read_answers([path])
    except SourceError as error:
        fault = str(error)
    assert len(found.answers) == 1 if fault is None else "line 1" in fault or "no column" in fault


def test_a_long_table_is_read_row_by_row_and_names_are_kept_once(tmp_path: Path) -> None:
    """A million rows must not each hold their own copy of the model, the case and the question."""
    made = [row(case=f"i{i // 4}", prompt=f"Is there pneumonia? {i % 4}") for i in range(400)]
    found = read_answers([write(tmp_path / "a.csv", made)])
    assert len({id(a.prompt) for a in found.answers}) == 4
    assert len({id(a.case) for a in found.answers}) == 100
    assert len({id(a.model) for a in found.answers}) == len({id(a.condition) for a in found.answers}) == 1
    assert "400 rows" in found.notes[0]


def test_a_repeated_question_names_the_line_of_the_first_in_its_file(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.csv", [row(), row(case="i2")]), write(tmp_path / "b.csv", [row(case="i3"), row(case="i2")])
    with pytest.raises(SourceError, match=r"b\.csv line 3: the same model.* as a\.csv line 3"):
        read_answers([first, second])
