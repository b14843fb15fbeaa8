"""palpate inspect: any source by what is there, in a study and in a run; faults warn or stop, and nothing is named unasked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_files import dataset, hospital, ramp, write
from palpate.errors import SourceError, StudyError
from palpate.inspection.card import cards_from_json
from palpate.pipeline import ask, run
from palpate.results import Results
from palpate.stages.inspect import (
    built_in_labels,
    inspect_plan,
    inspect_source,
    inspect_study,
    kind_of,
    option_value,
    refuse_faults,
    warnings_of,
)
from palpate.stages.plan import plan
from palpate.store.folder import RunFolder
from palpate.store.keys import secret_group
from palpate.study import Study
from small import STUDY, Cli, make_images, write_study


def faulty(folder: Path, text: str = STUDY) -> Path:
    """The small study, one of whose images is a copy of another under the other label."""
    study = write_study(folder, text)
    source = next((folder / "images" / "normal").glob("*.png"))
    shutil.copy(source, folder / "images" / "pneumonia" / "person9999_0.png")
    return study


# ---------------------------------------------------------------- what is there


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        ("pictures", "folder"),
        ("empty", "folder"),
        ("dicom", "dicom"),
        ("unnamed dicom", "dicom"),
        ("nifti", "nifti"),
        ("saved", "hub"),
        ("parquet files", "hub"),
        ("x.npz", "medmnist"),
        ("x.csv", "table"),
        ("x.tsv", "table"),
        ("x.arrow", "hub"),
    ],
)
def test_a_source_is_told_by_what_is_there(tmp_path, made, kind):
    root = tmp_path / "source"
    root.mkdir()
    if made == "pictures":
        make_images(root)
    elif made == "dicom":
        hospital(root)
    elif made == "unnamed dicom":
        write(root / "normal" / "IM0001", dataset(ramp()))
    elif made == "nifti":
        (root / "a.nii.gz").write_bytes(b"x")
    elif made == "saved":
        (root / "state.json").write_text("{}")
    elif made == "parquet files":
        (root / "train-00000-of-00001.parquet").write_bytes(b"x")
    elif made != "empty":
        root = root / made
        root.write_bytes(b"x")
    assert kind_of(root) == kind


def test_a_parquet_file_of_images_is_no_table_of_paths(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [{"bytes": b"x", "path": "a"}], "label": [0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"file": ["a.png"], "label": [0]}), tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"damaged")
    assert kind_of(tmp_path / "a.parquet") == "hub"
    assert kind_of(tmp_path / "b.parquet") == "table"
    assert kind_of(tmp_path / "c.parquet") == "table"


def test_nothing_there(tmp_path):
    with pytest.raises(SourceError, match="there is nothing at"):
        kind_of(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("3", 3),
        ("[40, 400]", [40, 400]),
        ('["age", "sex"]', ["age", "sex"]),
        ('"quoted"', "quoted"),
        ("patient", "patient"),
        (r"(person\d+)_", r"(person\d+)_"),
        ("a = b", "a = b"),
    ],
)
def test_options_as_a_person_types_them(text, value):
    assert option_value(text) == value


def test_labels_of_the_built_in_tasks():
    every = built_in_labels()
    assert every.of("pneumonia") == every.of("malignant") == every.of("tumor") == 1
    assert every.of("normal") == every.of("benign") == 0
    assert not set(every.positive) & set(every.negative)
    assert built_in_labels("pneumonia_cxr").of("malignant") is None


def test_a_source_by_itself(tmp_path):
    made = inspect_source(make_images(tmp_path / "images"), options={"group_regex": r"(person\d+)"})
    assert (made.card.task, made.card.n_cases, made.card.n_groups, made.card.largest_group) == ("images", 12, 6, 2)
    assert len(inspect_source(tmp_path / "images", per_class=2).found.cases) == 4


# ---------------------------------------------------------------- studies and runs


def test_the_tasks_of_a_study(tmp_path):
    study = Study.load(faulty(tmp_path))
    (made,) = inspect_study(study)
    assert made.card.task == "pneumonia_cxr"
    assert {f.kind for f in made.card.faults} >= {"duplicates", "duplicates-across-labels"}
    assert inspect_study(study, ["pneumonia_cxr"])[0].card == made.card
    with pytest.raises(StudyError, match="has no task 'chest'"):
        inspect_study(study, ["chest"])


def test_a_run_keeps_its_card_and_shows_it(tmp_path):
    told: list[str] = []
    results = run(Study.load(faulty(tmp_path)), tmp_path / "run", on_cards=lambda cards: told.extend(warnings_of(cards)))
    assert any("1 set of the same image under both labels" in line for line in told)
    (card,) = cards_from_json((tmp_path / "run" / "data.json").read_text())
    assert results.view().data == (card,)
    for name in ("report.html", "report.md"):
        text = (tmp_path / "run" / name).read_text(encoding="utf-8")
        assert "the same image under both labels" in text
        assert "person9999" not in text
    assert Results.open(tmp_path / "run").view().data == (card,)


def test_a_study_may_stop_on_faults_and_then_leaves_nothing_behind(tmp_path):
    study = Study.load(faulty(tmp_path, STUDY + '\n[data]\non_fault = "stop"\n'))
    with pytest.raises(SourceError, match="the images of task 'pneumonia_cxr' have faults") as fault:
        run(study, tmp_path / "run")
    assert "palpate inspect" in fault.value.hint
    assert not (tmp_path / "run").exists()


def test_a_study_without_faults_does_not_stop(tmp_path):
    study = Study.load(write_study(tmp_path, STUDY + '\n[data]\non_fault = "stop"\n'))
    assert inspect_study(study)[0].card.faults == ()
    assert len(run(study, tmp_path / "run").view().data) == 1


def test_a_study_may_look_at_nothing(tmp_path):
    study = Study.load(faulty(tmp_path, STUDY + "\n[data]\ninspect = false\n"))
    assert run(study, tmp_path / "run").view().data == ()
    assert not (tmp_path / "run" / "data.json").exists()


def test_the_settings_are_explicit_in_the_runs_study(tmp_path):
    study = Study.load(write_study(tmp_path))
    assert '[data]\ninspect = true\non_fault = "warn"' in study.to_toml()


@pytest.mark.parametrize("wrong", ['on_fault = "ignore"', 'inspect = "yes"', "on_faults = 1"])
def test_wrong_settings_are_named(tmp_path, wrong):
    with pytest.raises(StudyError, match="data"):
        Study.load(write_study(tmp_path, STUDY + f"\n[data]\n{wrong}\n"))


def test_the_same_images_are_not_looked_at_again(tmp_path, monkeypatch):
    planned = plan(Study.load(write_study(tmp_path)))
    (card,) = inspect_plan(planned)

    def fail(*_):
        raise AssertionError("looked at again")

    monkeypatch.setattr("palpate.stages.inspect.examine", fail)
    assert inspect_plan(planned, (card,)) == (card,)
    with pytest.raises(AssertionError, match="again"):
        inspect_plan(planned)


def test_drawn_phantoms_are_not_looked_at(tmp_path):
    text = STUDY.replace(
        'name = "pneumonia_cxr"\nsource = { kind = "folder", path = "images", group_regex = "(person\\\\d+)" }', ""
    )
    text = text.replace("[[tasks]]\n", '[[tasks]]\nname = "pneumonia_phantom"\n') + "\n[sample]\nper_class = 2\n"
    assert inspect_plan(plan(Study.load(write_study(tmp_path, text)))) == ()


def test_a_warning_stops_nothing(tmp_path):
    study = Study.load(faulty(tmp_path))
    refuse_faults([made.card for made in inspect_study(study)], study)


def test_a_card_of_another_version_is_made_anew(tmp_path):
    study = Study.load(write_study(tmp_path))
    run(study, tmp_path / "run")
    (tmp_path / "run" / "data.json").write_text('[{"task": "old"}]')
    assert Results.open(tmp_path / "run").view().data == ()
    run(study, tmp_path / "run")
    assert len(cards_from_json((tmp_path / "run" / "data.json").read_text())) == 1


# ---------------------------------------------------------------- patients under the run's own secret


def dicom_study(folder: Path) -> Study:
    hospital(folder / "files")
    text = STUDY.replace('kind = "folder", path = "images", group_regex = "(person\\\\d+)"', 'kind = "dicom", path = "files"')
    return Study.load(write_study(folder, text))


def groups(run_folder: Path) -> set[str]:
    with RunFolder(run_folder).ledger() as ledger:
        return {group for _, _, group, _ in ledger.cases("pneumonia_cxr").values()}


def test_patients_of_dicom_files_are_under_a_secret_of_the_runs_own(tmp_path):
    study = dicom_study(tmp_path)
    ask(plan(study), RunFolder(tmp_path / "a"))
    ask(plan(study), RunFolder(tmp_path / "b"))
    first, other = groups(tmp_path / "a"), groups(tmp_path / "b")
    assert len(first) == len(other) == 6
    assert not first & other
    plain = {case.group for case in plan(study).cases["pneumonia_cxr"].cases}
    assert not first & plain
    secret = (tmp_path / "a" / ".secret").read_text()
    assert first == {secret_group(group, secret) for group in plain}
    assert (tmp_path / "a" / ".secret").stat().st_mode & 0o077 == 0


def test_the_secret_is_in_no_file_of_the_run_but_its_own(tmp_path):
    run(dicom_study(tmp_path), tmp_path / "run")
    secret = (tmp_path / "run" / ".secret").read_bytes()
    for path in (tmp_path / "run").iterdir():
        assert path.name == ".secret" or secret not in path.read_bytes()
    shown = b"".join(p.read_bytes() for p in (tmp_path / "run").iterdir() if p.name not in ("cases.csv", "study.toml"))
    for identifier in (b"person0", b"Doe^", b"20240229", b"19700101"):
        assert identifier not in shown


def test_the_run_goes_on_with_the_same_patients(tmp_path):
    study = dicom_study(tmp_path)
    ask(plan(study), RunFolder(tmp_path / "run"))
    before = groups(tmp_path / "run")
    tally = ask(plan(study), RunFolder(tmp_path / "run"))
    assert tally.reused == tally.total
    assert groups(tmp_path / "run") == before


def test_a_damaged_secret_is_an_error(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.secret() == folder.secret()
    (tmp_path / ".secret").write_text("short")
    with pytest.raises(Exception, match="holds no secret"):
        folder.secret()


# ---------------------------------------------------------------- as a person types it


def test_inspect_a_folder(cli: Cli, tmp_path: Path):
    shown = cli("inspect", make_images(tmp_path / "images"), "--set", r"group_regex=(person\d+)").stdout
    assert "12 images: 6 with the condition, 6 without" in shown
    assert "6 patients or slides, 2 images of one at most" in shown
    assert "all 12 × 12 pixels" in shown
    assert "fewer than 10" in shown


def test_inspect_a_study_names_files_in_the_terminal_only(cli: Cli, tmp_path: Path):
    study = faulty(tmp_path)
    assert "person9999_0.png" in cli("inspect", study).stdout
    text = cli("inspect", study, "--format", "json", "--html", tmp_path / "card.html").stdout
    assert "person" not in text
    assert json.loads(text)[0]["task"] == "pneumonia_cxr"
    page = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "person" not in page
    assert "default-src" in page
    named = cli("inspect", study, "--format", "json", "--names", "--html", tmp_path / "card.html").stdout
    assert "person9999_0.png" in named
    assert "person9999_0.png" in (tmp_path / "card.html").read_text(encoding="utf-8")


def test_a_sheet_is_written_only_where_it_is_asked_for(cli: Cli, tmp_path: Path):
    images = make_images(tmp_path / "images")
    cli("inspect", images)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images"]
    cli("inspect", images, "--sheet", tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert np.asarray(sheet).std() > 10
    assert "cannot be written" in cli("inspect", images, "--sheet", tmp_path / "no" / "x.png", exit_code=2).stderr


def test_own_labels(cli: Cli, tmp_path: Path):
    images = make_images(tmp_path / "images", labels=("sick", "well"))
    assert "'sick'" in cli("inspect", images, exit_code=2).stderr
    assert "6 with the condition" in cli("inspect", images, "--positive", "sick", "--negative", "well").stdout
    assert "missing" in cli("inspect", images, "--positive", "sick", exit_code=2).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kind", "folders"], "folders"),
        (["--set", "no_such=1"], "no_such"),
        (["--set", "no_such"], "no key or no value"),
        (["--task", "chest"], "chest"),
        (["--task", "idc_histology", "--task", "pneumonia_cxr"], "several tasks"),
    ],
)
def test_faulty_flags_are_exit_2(cli: Cli, tmp_path: Path, words: list[str], said: str):
    assert said in cli("inspect", make_images(tmp_path / "images"), *words, exit_code=2).stderr


def test_a_run_warns_even_where_it_is_quiet(cli: Cli, tmp_path: Path):
    result = cli("run", faulty(tmp_path), "--out", tmp_path / "run", "--quiet")
    assert "warning: pneumonia_cxr: 1 set of the same image under both labels" in result.stderr
    result = cli("ask", tmp_path / "study.toml", "--out", tmp_path / "run2", "--quiet")
    assert "warning: pneumonia_cxr" in result.stderr
