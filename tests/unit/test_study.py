"""Study files: a wrong one gives one error that names file and key; a right one says in full what it stands for."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import tomli_w

from palpate.conditions import parse_condition
from palpate.errors import ModelError, PalpateError, StudyError
from palpate.nouns import Form, Lineage, Perturbation, Polarity, Price
from palpate.parts import Sample, Thresholds
from palpate.study import Study, model_presets
from palpate.study_file import VerdictsFile
from palpate.task import load_task
from small import STUDY, Cli, write_study

Edit = Callable[[str, str], Path]

# ---------------------------------------------------------------- wrong studies
# (what is replaced, by what, the key the error names, what the error says)

TOP = 'prompts = "reference"'
SOURCE = 'source = { kind = "folder", path = "images", group_regex = "(person\\\\d+)" }'
GATE = "[measure]\ndraws = 200"

BROKEN: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    # --- a name mistyped, in every table
    "top-level key": (TOP, 'promts = "reference"', "promts", ("unknown key", "did you mean prompts or")),
    "top-level table": ("[measure]", "[mesure]", "mesure", ("unknown key", "did you mean measure or")),
    "key of sample": (GATE, "[sample]\nper_clas = 3", "sample.per_clas", ("did you mean per_class?",)),
    "key of measure": ("draws = 200", "drws = 200", "measure.drws", ("did you mean draws?",)),
    "key of verdicts": (GATE, "[verdicts]\nrobst = 0.04", "verdicts.robst", ("did you mean robust?",)),
    "a spread that is fragile and robust": (
        GATE,
        "[verdicts]\nfragile = 0.05",
        "verdicts.fragile",
        ("fragile is 0.05 and robust is 0.05", "less than verdicts.robust"),
    ),
    "a margin that cannot be": (GATE, "[verdicts]\nequivalence = 0.0", "verdicts.equivalence", ("greater than 0",)),
    "key of ask": (GATE, "[ask]\nworker = 2", "ask.worker", ("did you mean workers?",)),
    "key of report": (GATE, "[report]\nimage = true", "report.image", ("did you mean images?",)),
    "key of gate": (GATE, '[gate]\ncondition = ["x"]', "gate.condition", ("did you mean conditions?",)),
    "key of a pair": ('relation = "parent"', 'relatin = "parent"', "pairs[0].relatin", ("did you mean relation?",)),
    "key of a task": (SOURCE, SOURCE.replace("source", "sorce"), "tasks[0].sorce", ("did you mean source?",)),
    "key of labels": (SOURCE, SOURCE + "\nlabels = { postive = ['a'] }", "tasks[0].labels.positive", ("is missing",)),
    "key of a wording": (
        SOURCE,
        SOURCE + "\nwordings = [{ name = 'w', text = 'x?', form = 'open', pol = 'positive' }]",
        "tasks[0].wordings[0].pol",
        ("unknown key", "polarity"),
    ),
    "option of a model": ("accuracy = 0.9", "acuracy = 0.9", "models[1]", ("no option 'acuracy'", "did you mean 'accuracy'?")),
    # --- a name that nothing has
    "unknown kind of model": ('kind = "scripted"', 'kind = "scriptd"', "models[0].kind", ("did you mean 'scripted'",)),
    "unknown model": ('kind = "scripted"\naccuracy = 0.7\nrefusal_rate = 0.05', "", "models[0].name", ("'base'", "or a `kind`")),
    "unknown task": ("pneumonia_cxr", "pneumonia_crx", "tasks[0].name", ("did you mean 'pneumonia_cxr'",)),
    "unknown task under an own name": (
        'name = "pneumonia_cxr"',
        'name = "chest"\ntask = "pneumonia-cxr"',
        "tasks[0].task",
        ("did you mean 'pneumonia_cxr'",),
    ),
    "unknown prompt set": (TOP, 'prompts = "refrence"', "tasks[0].prompts", ("did you mean 'reference'?", "core")),
    "unknown prompt set of a task": (SOURCE, SOURCE + '\nprompts = "cor"', "tasks[0].prompts", ("did you mean 'core'?",)),
    "unknown perturbation": (
        TOP,
        'perturbations = ["none", "gausian_noise-3"]',
        "perturbations[1]",
        ("did you mean 'gaussian_noise'",),
    ),
    "unknown severity": (TOP, 'perturbations = ["gaussian_noise-9"]', "perturbations[0]", ("no such severity", "gaussian_noise-5")),
    "missing severity": (TOP, 'perturbations = ["gaussian_noise"]', "perturbations[0]", ("no such severity",)),
    "severity in words": (TOP, 'perturbations = ["gaussian_noise-high"]', "perturbations[0]", ("no such severity",)),
    "severity of what has none": (TOP, 'perturbations = ["blank-2"]', "perturbations[0]", ("no such severity", "one of blank")),
    "unknown source": ('kind = "folder"', 'kind = "foldr"', "tasks[0].source.kind", ("did you mean 'folder'?",)),
    "unknown reading": (TOP, TOP + '\nreading = "rule"', "reading", ("did you mean 'rules'?",)),
    "unknown base": ('base = "base"', 'base = "bas"', "pairs[0].base", ("did you mean 'base'?",)),
    "unknown tuned": ('tuned = "tuned"', 'tuned = "tuend"', "pairs[0].tuned", ("did you mean 'tuned'?",)),
    "price of an unknown model": (GATE, "[prices.tund]\ninput = 1\noutput = 2", "prices.tund", ("did you mean 'tuned'?",)),
    "key of a price": (
        GATE,
        "[prices.tuned]\ninput = 1\noutput = 2\ncurency = 'EUR'",
        "prices.tuned.curency",
        ("did you mean currency?",),
    ),
    "price below nothing": (GATE, "[prices.tuned]\ninput = -1\noutput = 2", "prices.tuned.input", ("greater than or equal to 0",)),
    "half a price": (GATE, "[prices.tuned]\ninput = 1.5", "prices.tuned.output", ("is missing",)),
    "unknown relation": ('relation = "parent"', 'relation = "mother"', "pairs[0].relation", ("'mother'", "parent")),
    "unknown form": (
        SOURCE,
        SOURCE + "\nwordings = [{ name = 'w', text = 'x?', form = 'yes/no' }]",
        "tasks[0].wordings[0].form",
        ("'yes/no'", "yes-no"),
    ),
    # --- conditions
    "unknown measure": (GATE, '[gate]\nconditions = ["ba_al.low >= 0.8"]', "gate.conditions[0]", ("did you mean 'ba_all'",)),
    "no condition": (GATE, '[gate]\nconditions = ["be good"]', "gate.conditions[0]", ("is no condition", "ba_all.low >= 0.8")),
    "unknown quantity": (
        GATE,
        '[gate]\nconditions = ["ba_all.lower >= 0.8"]',
        "gate.conditions[0]",
        ("value, low, high or verdict",),
    ),
    "verdict against a number": (GATE, '[gate]\nconditions = ["ba_all.verdict >= 1"]', "gate.conditions[0]", ("compares verdict",)),
    "number against a word": (GATE, "[gate]\nconditions = [\"ba_all.low == 'x'\"]", "gate.conditions[0]", ("compares low",)),
    "bound that is no number": (GATE, '[gate]\nconditions = ["ba_all.low >= 0.8.1"]', "gate.conditions[0]", ("is no number",)),
    "half a selection": (GATE, '[gate]\nconditions = ["ba_all >= 0.8 for task"]', "gate.conditions[0]", ("selects nothing",)),
    # --- a wrong type or an impossible value
    "text for a number": ("seed = 3", 'seed = "3"', "seed", ("'3' is not accepted", "a whole number")),
    "negative seed": ("seed = 3", "seed = -3", "seed", ("greater than or equal to 0",)),
    "fraction for a whole number": (TOP, TOP + "\nrepeats = 1.5", "repeats", ("1.5", "a whole number")),
    "no repeats": (TOP, TOP + "\nrepeats = 0", "repeats", ("greater than or equal to 1",)),
    "word for true": (TOP, TOP + '\ndescribe = "no"', "describe", ("'no' is not accepted", "true or false")),
    "value for a table": (GATE, "", "sample", ("5 is not accepted", "a table")),
    "table for a list": ("[[tasks]]", "[tasks]", "tasks", ("a list",)),
    "text for a list": (TOP, TOP + '\nperturbations = "none"', "perturbations", ("a list, in square brackets",)),
    "no perturbation": (TOP, TOP + "\nperturbations = []", "perturbations", ("at least 1",)),
    "no image per class": (GATE, "[sample]\nper_class = 0", "sample.per_class", ("greater than or equal to 1",)),
    "level of 95": (GATE, "[measure]\nlevel = 95", "measure.level", ("95", "less than 1")),
    "too few draws": ("draws = 200", "draws = 10", "measure.draws", ("greater than or equal to 100",)),
    "no workers": (GATE, "[ask]\nworkers = 0", "ask.workers", ("greater than or equal to 1",)),
    "accuracy above 1": ("accuracy = 0.9", "accuracy = 9", "models[1]", ("a number from 0 to 1",)),
    "text for an option": ("accuracy = 0.9", 'accuracy = "high"', "models[1]", ("'high'", "a number from 0 to 1")),
    "letters without options": (
        SOURCE,
        SOURCE + "\nwordings = [{ name = 'w', text = 'x?', form = 'A-B' }]",
        "tasks[0].wordings[0].options",
        ("options are missing", "Normal"),
    ),
    # --- missing
    "no name": ('name = "small"', "", "name", ("is missing",)),
    "empty name": ('name = "small"', 'name = ""', "name", ("at least 1 character",)),
    "no source": (SOURCE, "", "tasks[0]", ("has no images of its own", 'kind = "folder"', "palpate list sources")),
    "source without kind": (SOURCE, 'source = { path = "images" }', "tasks[0].source.kind", ("is missing",)),
    "pair with one model": ('tuned = "tuned"\nrelation', "relation", "pairs[0].tuned", ("is missing",)),
    # --- given twice
    "model twice": ('name = "tuned"', 'name = "base"', "models", ("the model 'base' is given twice",)),
    "task twice": (
        "[[pairs]]",
        f'[[tasks]]\nname = "pneumonia_cxr"\n{SOURCE}\n[[pairs]]',
        "tasks",
        ("'pneumonia_cxr' is given twice",),
    ),
    "perturbation twice": (TOP, 'perturbations = ["none", "none"]', "perturbations", ("'none' is given twice",)),
    "prompt twice": (
        SOURCE,
        SOURCE + "\nwordings = [{ name = 'normal.none', text = 'x?', form = 'open' }]",
        "tasks[0].wordings",
        ("the prompt 'normal.none' is given twice",),
    ),
    "text of a prompt twice": (
        SOURCE,
        SOURCE + "\nwordings = [{ name = 'w', text = 'Is this image normal?', form = 'yes-no' }]",
        "tasks[0].wordings",
        ("'Is this image normal?' is given twice",),
    ),
    "model with itself": ('tuned = "tuned"', 'tuned = "base"', "pairs[0]", ("compares 'base' with itself",)),
    "pair twice": ("[measure]", '[[pairs]]\nbase = "base"\ntuned = "tuned"\n[measure]', "pairs", ("is given twice",)),
    "task and file": ('name = "pneumonia_cxr"', 'name = "x"\ntask = "pneumonia_cxr"\nfile = "x.toml"', "tasks[0]", ("both",)),
    # --- paths
    "task and definition": (
        'name = "pneumonia_cxr"',
        'name = "x"\ntask = "pneumonia_cxr"\ndefinition = { twin_of = "pneumonia_cxr" }',
        "tasks[0]",
        ("both `task` and `definition`",),
    ),
    "twin of what is not there": (
        'name = "pneumonia_cxr"',
        'name = "x"\ndefinition = { twin_of = "pneumonia" }',
        "tasks[0].definition: twin_of",
        ("did you mean 'pneumonia_cxr'",),
    ),
    "half a definition": (
        'name = "pneumonia_cxr"',
        'name = "x"\ndefinition = { title = "X" }',
        "tasks[0].definition: modality",
        ("is missing",),
    ),
    "no such task file": (
        'name = "pneumonia_cxr"',
        'name = "x"\nfile = "stdy.toml"',
        "tasks[0].file",
        ("no task file", "study.toml"),
    ),
    "folder for a task file": ('name = "pneumonia_cxr"', 'name = "x"\nfile = "images"', "tasks[0].file", ("no task file",)),
    "home of nobody": ('path = "images"', 'path = "~nobody-at-all/x"', "tasks[0].source.path", ("can be no path",)),
    "no model folder": ('kind = "scripted"\naccuracy = 0.9', 'kind = "hf"\npath = "./nowhere"', "models[1]", ("nowhere",)),
    "model without path": ('kind = "scripted"\naccuracy = 0.9', 'kind = "hf"', "models[1]", ("no path", "org/name")),
    "no images folder": ('path = "images"', 'path = "imags"', "tasks[0].source", ("there is no folder", "did you mean", "images")),
    "file for a folder": ('path = "images"', 'path = "study.toml"', "tasks[0].source", ("is a file", 'kind = "table"')),
    "folder for a table": (
        '"folder", path = "images", group_regex = "(person\\\\d+)"',
        '"table", path = "images"',
        "tasks[0].source",
        (),
    ),
    "option of a source": ("group_regex", "group_regx", "tasks[0].source", ("unknown option", "did you mean 'group_regex'?")),
    "pattern that is none": ("(person\\\\d+)", "(person", "tasks[0].source", ("is not a pattern",)),
    "pattern that fits nothing": ("(person\\\\d+)", "(patient\\\\d+)", "tasks[0].source", ("fits none of 12 files",)),
    "label folders not known": (
        SOURCE,
        SOURCE + "\nlabels = { positive = ['flu'], negative = ['well'] }",
        "tasks[0].source",
        ("'normal' (6), 'pneumonia' (6)", "positive flu", "labels = {"),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_wrong_study(case: str, edited: Edit, cli: Cli, tmp_path: Path) -> None:
    old, new, key, says = BROKEN[case]
    study = edited(old, new)
    if case == "value for a table":
        study.write_text("sample = 5\n" + study.read_text(encoding="utf-8"), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    result = cli("run", study, "--out", tmp_path / "out", exit_code=2)
    first, *rest = result.stderr.splitlines()
    located = f"palpate: {study}: {key}"
    assert first.startswith((f"{located}: ", f"{located} ")), result.stderr
    assert not [s for s in says if s not in result.stderr], result.stderr
    assert all(line.startswith("  ") for line in rest)  # one error
    assert len(rest) <= 2
    assert result.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before  # nothing was written


def test_the_table_of_wrong_studies_is_long_and_its_base_is_right(small_study: Path) -> None:
    assert len(BROKEN) >= 70
    Study.load(small_study)


@pytest.mark.parametrize("verb", ["run", "plan", "ask"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        ("folder", "is a folder"),
        ("name = ", "not valid TOML"),
        ("a: 1", "not valid TOML"),
        ("", "name: is missing"),
    ],
)
def test_what_is_no_study_file(cli: Cli, tmp_path: Path, verb: str, content: str | None, says: str) -> None:
    target = tmp_path / "my.toml"
    if content == "folder":
        target.mkdir()
    elif content is not None:
        target.write_text(content, encoding="utf-8")
    result = cli(verb, target, "--out", tmp_path / "out", exit_code=2)
    assert result.stderr.startswith(f"palpate: {target}: ")
    assert says in result.stderr
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- right studies

FULL = """
name = "full"
seed = 5
prompts = "core"
describe = true
perturbations = ["none", "blank", "gaussian_noise-3"]
repeats = 2
reading = "rules"

[sample]
per_class = 4

[[models]]
name = "one"
kind = "scripted"
d_prime = 1.5
criterion = 0.1
prompt_shift = { "suffix=one-word" = -0.1 }
refusal_rate = { positive = 0.1, negative = 0.0 }

[[models]]
name = "two"
kind = "scripted"
blind = true

[[models]]
name = "three"
kind = "hf"
path = "checkpoint"

[[models]]
name = "four"
kind = "hf"
path = "some-org/some-model"
max_new_tokens = 8

[[tasks]]
name = "chest"
task = "pneumonia_cxr"
prompts = "reference"
labels = { positive = ["ill"], negative = ["well", "normal"] }

[tasks.source]
kind = "table"
path = "tables/chest.csv"
root = "images"
image = "file"
metadata = ["age", "sex"]

[[tasks.wordings]]
name = "mine"
text = "Which is it?\\nA) Pneumonia\\nB) Normal"
form = "A-B"
options = ["Pneumonia", "Normal"]
factors = { own = "yes" }

[[tasks.wordings]]
name = "free"
text = "What is seen?"
form = "open"
polarity = "negative"
cell = "abnormal"

[[tasks]]
name = "wrist"
file = "tasks/wrist.toml"

[[pairs]]
base = "one"
tuned = "two"
relation = "sibling"

[prices.four]
input = 2
output = 8.5
currency = "EUR"

[measure]
level = 0.9
draws = 500

[verdicts]
equivalence = 0.03
chance_small = 500

[ask]
workers = 2
attempts = 5

[report]
images = true
examples = 7

[gate]
conditions = [" ba_all.low >= 0.8 for task=chest, model=one ", 'ba_all.verdict != "at chance"', "refusal_rate <= 2e-2"]
"""

WRIST = 'twin_of = "pneumonia_cxr"\n[source]\nkind = "folder"\npath = "wrists"\n'


@pytest.fixture
def full(tmp_path: Path) -> Path:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "wrist.toml").write_text(WRIST, encoding="utf-8")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}", encoding="utf-8")
    path = tmp_path / "full.toml"
    path.write_text(FULL, encoding="utf-8")
    return path


def test_every_setting_arrives(full: Path) -> None:
    study = Study.load(full)
    assert (study.name, study.seed, study.repeats, study.reading) == ("full", 5, 2, "rules")
    assert study.perturbations == (Perturbation(), Perturbation("blank"), Perturbation("gaussian_noise", 3))
    assert study.sample == Sample(4, 5)
    assert study.lineages == (Lineage("one", "two", "sibling"),)
    assert (study.level, study.draws) == (0.9, 500)
    assert study.thresholds == Thresholds(equivalence=0.03, chance_small=500)
    assert (study.ask.workers, study.ask.attempts) == (2, 5)
    assert (study.report.images, study.report.examples) == (True, 7)
    assert [m.seed for m in study.models] == [5] * 4
    chest, wrist = study.tasks
    assert chest.labels.negative == ("well", "normal")
    assert len(chest.prompts) == 14 + 2
    assert (chest.prompts[-2].form, chest.prompts[-2].polarity, chest.prompts[-2].cell) == (Form.AB, Polarity.POSITIVE, "target")
    assert (chest.prompts[-1].form, chest.prompts[-1].polarity, chest.prompts[-1].cell) == (
        Form.OPEN,
        Polarity.NEGATIVE,
        "abnormal",
    )
    assert (wrist.name, len(wrist.prompts)) == ("wrist", 50)
    first, second, third = study.conditions
    assert (first.measure, first.quantity, first.operator, first.bound) == ("ba_all", "low", ">=", 0.8)
    assert first.where == {"task": "chest", "model": "one"}
    assert (second.quantity, second.bound) == ("verdict", "at chance")
    assert (third.quantity, third.bound, third.where) == ("value", 0.02, {})


def test_a_bound_of_a_verdict_has_one_usual_value_wherever_it_is_set() -> None:
    assert VerdictsFile().thresholds == Thresholds()
    assert set(VerdictsFile.model_fields) == {f.name for f in fields(Thresholds)}


def test_paths_are_taken_from_the_study_files_folder(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for given in (full, Path("full.toml"), Path("tasks/../full.toml")):
        study = Study.load(given)
        chest, wrist = (t.source for t in study.tasks)
        assert chest is not None
        assert wrist is not None
        assert (chest.options["path"], chest.options["root"]) == (str(tmp_path / "tables" / "chest.csv"), str(tmp_path / "images"))
        assert wrist.options["path"] == str(tmp_path / "tasks" / "wrists")
        assert study.models[2].options["path"] == str(tmp_path / "checkpoint")
        assert study.models[3].options["path"] == "some-org/some-model"  # a hub id


def test_the_text_loads_to_an_equal_study(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.load(full)
    elsewhere = tmp_path / "elsewhere" / "study.toml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(study.to_toml(), encoding="utf-8")
    monkeypatch.chdir("/")
    again = Study.load(elsewhere)
    assert again == study
    assert again.to_toml() == study.to_toml()
    for one, other in zip(again.models + again.tasks, study.models + study.tasks, strict=True):
        assert one == other


def test_prices_are_kept_and_reckoned_with(full: Path) -> None:
    study = Study.load(full)
    assert study.prices == {"four": Price(2.0, 8.5, "EUR")}
    assert study.prices["four"].of(1_000_000, 200_000) == pytest.approx(2 + 1.7)


def test_the_text_needs_no_other_file(full: Path, tmp_path: Path) -> None:
    study = Study.load(full)
    (tmp_path / "again.toml").write_text(study.to_toml(), encoding="utf-8")
    (tmp_path / "tasks" / "wrist.toml").unlink()
    assert Study.load(tmp_path / "again.toml") == study
    assert "wrist.toml" not in study.to_toml()


def test_the_text_leaves_nothing_to_default(small_study: Path) -> None:
    text = tomllib.loads(Study.load(small_study).to_toml())
    assert set(text) >= {"name", "seed", "prompts", "describe", "perturbations", "repeats", "reading", "sample", "models", "tasks"}
    assert set(text) >= {"pairs", "measure", "ask", "report", "gate"}
    assert text["measure"] == {"level": 0.95, "draws": 200}
    assert text["ask"] == {"attempts": 3, "executor": "local", "cpus": 1.0}
    assert text["tasks"][0]["prompts"] == "reference"
    assert "normal" in text["tasks"][0]["labels"]["negative"]
    assert Path(text["tasks"][0]["source"]["path"]).is_absolute()


def test_small_study_round_trips(small_study: Path, tmp_path: Path) -> None:
    study = Study.load(small_study)
    (tmp_path / "again.toml").write_text(study.to_toml(), encoding="utf-8")
    assert Study.load(tmp_path / "again.toml") == study


def test_a_preset_is_given_by_name_alone(tmp_path: Path) -> None:
    for kind, name, preset in model_presets():
        assert "about" in preset
        text = STUDY.replace('name = "base"\nkind = "scripted"\naccuracy = 0.7\nrefusal_rate = 0.05', f'name = "{name}"')
        path = write_study(tmp_path, text.replace('base = "base"', f'base = "{name}"'), per_class=1)
        study = Study.load(path, with_models=False)
        assert study.models[0].kind == kind.name
        assert study.models[0].options == {k: v for k, v in preset.items() if k != "about"}
        (tmp_path / "again.toml").write_text(study.to_toml(), encoding="utf-8")
        assert Study.load(tmp_path / "again.toml", with_models=False) == study


def test_known_pairs_are_compared_where_the_study_names_none(tmp_path: Path) -> None:
    names = [name for _, name, _ in model_presets()]
    assert {"phantom-llava", "phantom-llava-med"} <= set(names)
    models = "".join(f'[[models]]\nname = "{n}"\n' for n in ("phantom-llava-med", "phantom-llava", "phantom-gemma"))
    text = f'name = "x"\n{models}[[tasks]]\nname = "pneumonia_cxr"\nsource = {{ kind = "folder", path = "images" }}\n'
    study = Study.load(write_study(tmp_path, text, 1), with_models=False)
    assert study.lineages == (Lineage("phantom-llava", "phantom-llava-med", "parent"),)
    none = Study.load(write_study(tmp_path, "pairs = []\n" + text, 1), with_models=False)
    assert none.lineages == ()


def test_a_run_is_looked_at_without_its_models(edited: Edit) -> None:
    path = edited('kind = "scripted"\naccuracy = 0.9', 'kind = "hf"\npath = "/gone/away"')
    with pytest.raises(ModelError, match="gone/away"):
        Study.load(path)
    assert Study.load(path, with_models=False).models[1].name == "tuned"


def test_equality_is_of_what_is_asked_not_of_the_file(small_study: Path, tmp_path: Path) -> None:
    study = Study.load(small_study)
    copy = tmp_path / "copy.toml"
    copy.write_text("# a comment\n" + small_study.read_text(encoding="utf-8"), encoding="utf-8")
    assert Study.load(copy) == study
    assert Study.load(copy).origin != study.origin
    assert replace(study, seed=4) != study


# ---------------------------------------------------------------- conditions


@pytest.mark.parametrize("operator", [">=", "<=", "==", "!=", ">", "<"])
def test_every_operator_is_understood(operator: str) -> None:
    assert parse_condition(f"ba_all.high{operator}.5").operator == operator


@pytest.mark.parametrize(
    ("text", "bound", "where"),
    [
        ("ba_all >= -0.5", -0.5, {}),
        ("ba_all >= 1e-3", 0.001, {}),
        ("ba_all.value>0 for cell=target", 0.0, {"cell": "target"}),
        ("ba_all > 0 for task = \"a b\" , model='m'", 0.0, {"task": "a b", "model": "m"}),
        ("ba_all.verdict == 'helped'", "helped", {}),
    ],
)
def test_conditions(text: str, bound: float | str, where: dict[str, str]) -> None:
    found = parse_condition(text)
    assert (found.bound, dict(found.where)) == (bound, where)


@pytest.mark.parametrize(
    "text", ["", "ba_all", "ba_all >=", ">= 0.5", "ba_all => 0.5", "ba_all >= 0.5 for", "ba_all >= 0.5; rm", "ba_all.low.x > 1"]
)
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(PalpateError):
        parse_condition(text)


def test_no_condition_says_what_one_looks_like() -> None:
    with pytest.raises(StudyError, match=r"ba_all\.low >= 0\.8 for task=pneumonia_cxr"):
        parse_condition("accuracy above 90 %")


def test_what_a_run_writes_down_of_its_study_holds_no_salt(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    salted = path.read_text(encoding="utf-8").replace("group_regex = ", 'salt = "SECRET-17", group_regex = ')
    path.write_text(salted, encoding="utf-8")
    study = Study.load(path)
    assert study.tasks[0].source is not None
    assert study.tasks[0].source.options["salt"] == "SECRET-17"
    assert "SECRET-17" not in study.to_toml()
    (tmp_path / "again.toml").write_text(study.to_toml(), encoding="utf-8")
    assert Study.load(tmp_path / "again.toml").to_toml() == study.to_toml()


def test_a_tasks_own_definition_holds_no_salt_either(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    text = path.read_text(encoding="utf-8")
    task = tomllib.loads((Path(load_task.__code__.co_filename).parent / "tasks" / "pneumonia_cxr.toml").read_text(encoding="utf-8"))
    task["source"] = {"kind": "folder", "path": str(tmp_path / "images"), "salt": "SECRET-17"}
    (tmp_path / "own.toml").write_text(tomli_w.dumps(task), encoding="utf-8")
    found = tomllib.loads(text)
    found["tasks"] = [{"name": "mine", "definition": task}, {"name": "other", "file": "own.toml"}]
    path.write_text(tomli_w.dumps(found), encoding="utf-8")
    study = Study.load(path)
    assert [t.source.options["salt"] for t in study.tasks if t.source] == ["SECRET-17"] * 2
    assert "SECRET-17" not in study.to_toml()
