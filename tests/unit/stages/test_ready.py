"""What a study needs and is not installed: all of it is named at once, with what to type, before an image is opened."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import palpate
from palpate.errors import StudyError
from palpate.extras import absent
from palpate.parts import ModelSpec, ReadingSpec
from palpate.pipeline import run
from palpate.registry import offered
from palpate.results import plan_summary
from palpate.stages.inspect import inspect_study
from palpate.stages.plan import plan
from palpate.stages.ready import Lack, lacks, to_install
from palpate.study import Study
from small import Cli

Edit = Callable[[str, str], Path]
Without = Callable[..., None]
SCRIPTED = 'kind = "scripted"\naccuracy = 0.7\nrefusal_rate = 0.05'
ENDPOINT = 'kind = "endpoint"\nbase_url = "http://127.0.0.1:9/v1"'
FOLDER = """source = { kind = "folder", path = "images", group_regex = "(person\\\\d+)" }"""


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Without:
    """``without("openai")``: as on an installation that lacks these modules, whatever this one has, and lacks no other."""

    def lacking(*modules: str) -> None:
        monkeypatch.setattr("palpate.stages.ready.absent", lambda module: module in modules)

    return lacking


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images may not even be looked for."""
    for source in offered("cases").values():
        monkeypatch.setattr(type(source), "load", lambda *_, **__: pytest.fail("images were looked for"))


def test_nothing_is_missing_where_the_study_needs_nothing(small_study: Path, without: Without) -> None:
    without("torch", "openai", "pydicom", "ray")
    study = Study.load(small_study)
    assert lacks(study) == ()
    assert to_install(lacks(study)) == ""
    assert plan_summary(study).lacks == ()


@pytest.mark.usefixtures("untouched")
def test_run_and_ask_name_it_before_an_image_is_touched(edited: Edit, cli: Cli, without: Without, tmp_path: Path) -> None:
    without("openai", "tenacity", "aiolimiter", "torch")
    study = edited(SCRIPTED, ENDPOINT)
    for verb in ("run", "ask"):
        told = cli(verb, study, "--out", tmp_path / "out", exit_code=2).stderr
        assert f"{study}: needs what is not installed here: openai, tenacity, aiolimiter (for models[0], kind endpoint)" in told
        assert "try: pip install 'palpate[api]'" in told
    assert not (tmp_path / "out").exists()
    with pytest.raises(StudyError, match="tenacity"):
        run(Study.load(study), tmp_path / "out")


def test_the_plan_goes_on_where_only_a_model_needs_it_and_says_so(edited: Edit, cli: Cli, without: Without) -> None:
    without("tenacity")
    study = edited(SCRIPTED, ENDPOINT)
    told = " ".join(cli("plan", study).stdout.split())
    said = "Not installed here: tenacity (for models[0], kind endpoint). Before `palpate run`: pip install 'palpate[api]'"
    assert said in told
    assert "288 questions" in told
    machine = json.loads(cli("plan", study, "--format", "json").stdout)
    assert machine["install"] == "pip install 'palpate[api]'"
    without()
    assert "Not installed" not in cli("plan", study).stdout
    assert json.loads(cli("plan", study, "--format", "json").stdout)["lacks"] == []


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("look", [plan, palpate.plan, inspect_study])
def test_what_images_need_stops_every_look_at_them_and_the_rest_is_named_too(
    look: Callable[[Study], object], edited: Edit, without: Without
) -> None:
    edited(FOLDER, 'source = { kind = "dicom", path = "images", labels = "labels.csv" }')
    study = Study.load(edited(SCRIPTED, ENDPOINT))
    without("pydicom", "openai")
    with pytest.raises(StudyError) as fault:
        look(study)
    assert "openai (for models[0], kind endpoint); pydicom (for tasks[0].source, kind dicom)" in fault.value.problem
    assert fault.value.hint == "pip install 'palpate[api,dicom]'"


def test_a_run_that_was_begun_goes_on_without_what_it_no_longer_needs(small_study: Path, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    study = Study.load(small_study)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(offered("models")["scripted"]), "needs", lambda *_: ("no_such_module",), raising=False)
        assert [str(lack) for lack in lacks(study)] == [f"no_such_module (for models[{i}], kind scripted)" for i in (0, 1)]
        with pytest.raises(StudyError, match="no_such_module"):
            run(study, tmp_path / "new")
        assert run(study, tmp_path / "run").estimates


@pytest.mark.parametrize(
    ("kind", "options", "needs"),
    [
        ("dicom", {}, ("pydicom",)),
        ("nifti", {}, ("nibabel",)),
        ("table", {}, ()),
        ("table", {"region": True}, ("tiffslide",)),
        ("hub", {"id": "org/name"}, ("datasets",)),
        ("hub", {"path": "copy.parquet"}, ()),
    ],
)
def test_what_each_source_needs(kind: str, options: dict[str, object], needs: tuple[str, ...]) -> None:
    assert offered("cases")[kind].needs(options) == needs


@pytest.mark.parametrize(
    ("kind", "options", "needs"),
    [
        ("hf", {}, ("torch", "transformers")),
        ("hf", {"quantized": "nf4"}, ("torch", "transformers", "bitsandbytes")),
        ("hf", {"attn_implementation": "sdpa", "vision_attention": "eager"}, ("torch", "transformers")),
        ("hf", {"attn_implementation": "flash_attention_2"}, ("torch", "transformers", "flash_attn")),
        ("hf", {"attn_implementation": "flash_attention_3"}, ("torch", "transformers", "flash_attn_interface")),
        ("bundled", {"vision_attention": "flash_attention_4"}, ("torch", "transformers", "flash_attn.cute")),
        (
            "hf",
            dict.fromkeys(("attn_implementation", "vision_attention"), "flash_attention_2"),
            ("torch", "transformers", "flash_attn"),
        ),
        ("bundled", {}, ("torch", "transformers")),
        ("endpoint", {}, ("openai", "tenacity", "aiolimiter")),
    ],
)
def test_what_each_kind_of_model_needs(kind: str, options: dict[str, object], needs: tuple[str, ...]) -> None:
    assert offered("models")[kind].needs(options) == needs


def test_on_a_cluster_models_are_the_workers_to_load_but_a_served_one_is_asked_from_here(edited: Edit, without: Without) -> None:
    old = 'kind = "scripted"\naccuracy = 0.9'
    text = edited(SCRIPTED, ENDPOINT).read_text(encoding="utf-8")
    study = Study.load(edited(old, 'kind = "hf"\npath = "."')) if old in text else pytest.fail("the small study is another")
    without("ray", "torch", "openai")
    here = [lack.modules for lack in lacks(study)]
    there = [lack.modules for lack in lacks(replace(study, ask=replace(study.ask, executor="ray")))]
    assert here == [("openai",), ("torch",)]
    assert there == [("ray",), ("openai",)]


def test_a_judge_and_a_picture_need_theirs(small_study: Path, without: Without) -> None:
    without("torch", "umap")
    judge = ModelSpec("phantom-reader", "bundled", {"checkpoint": "phantom-reader"}, 0)
    made = (ReadingSpec("a", "judge", judge, part_of="both"), ReadingSpec("b", "judge", judge, part_of="both"))
    study = replace(Study.load(small_study), readings=made)
    assert lacks(study) == (Lack(("torch",), "the reading 'both', kind bundled"),)


@pytest.mark.usefixtures("untouched")
def test_a_way_of_attending_whose_package_is_missing_is_named_before_an_image_is_touched(
    edited: Edit, cli: Cli, without: Without, tmp_path: Path
) -> None:
    without("flash_attn.cute", "flash_attn")
    study = edited(
        SCRIPTED, 'kind = "hf"\npath = "."\nvision_attention = "flash_attention_4"\nattn_implementation = "flash_attention_2"'
    )
    told = cli("run", study, "--out", tmp_path / "out", exit_code=2).stderr
    assert "needs what is not installed here: flash-attn, flash-attn-4 (for models[0], kind hf)" in told
    assert "try: pip install flash-attn flash-attn-4" in told


@pytest.mark.parametrize(
    ("installed", "lacking"),
    [
        ((), ["flash_attn", "flash_attn.cute", "flash_attn_interface"]),
        (("flash-attn",), ["flash_attn.cute", "flash_attn_interface"]),
        (("flash-attn-4",), ["flash_attn", "flash_attn_interface"]),
        (("flash-attn-3",), ["flash_attn", "flash_attn.cute"]),
        (("kernels",), []),
    ],
)
def test_packages_that_share_a_module_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], lacking: list[str]
) -> None:
    """Both flash-attn and flash-attn-4 are imported as flash_attn, and neither is imported to find out."""

    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("palpate.extras.version", version)
    monkeypatch.setattr("palpate.extras.find_spec", lambda name: "found" if name in installed else None)
    assert [m for m in ("flash_attn", "flash_attn.cute", "flash_attn_interface") if absent(m)] == lacking


def test_absent_is_what_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert absent("no_such_module")
    assert not absent("json")
    assert not absent("colorsys"), "of Python, and not imported yet"
    monkeypatch.setitem(sys.modules, "json", None)
    assert absent("json")
