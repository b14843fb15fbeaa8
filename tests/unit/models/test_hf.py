"""Options, identity and loading: what a checkpoint is does not depend on where it lies, and one that does not fit stops the run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from palpate.errors import ModelError
from palpate.models import _hf_identity as identity
from palpate.models._hf_settings import OPTIONS, settings_from
from palpate.models.hf import PARTS, HFKind
from palpate.nouns import Form
from palpate.parts import Model, ModelKind, ModelSpec
from palpate.stages.plan import plan
from palpate.study import Study
from small import STUDY, write_study

SCRIPTED = 'kind = "scripted"\naccuracy = 0.7\nrefusal_rate = 0.05'


def of(path: Path | str, **options):
    return HFKind().build(ModelSpec("mine", "hf", {"path": str(path), **options}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a checkpoint, with weights that nobody loads."""
    made = tmp_path / "made"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}))
    (made / "tokenizer.json").write_text("{}")
    (made / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "CLIPImageProcessor"}))
    (made / "chat_template.jinja").write_text("{{ messages }}")
    (made / "model.safetensors").write_bytes(bytes(range(256)) * 8)
    (made / "README.md").write_text("a card")
    return made


def identity_of(path: Path | str, **options):
    return of(path, **options).fingerprint().identity


# ---------------------------------------------------------------- options


def test_is_a_model_kind_that_makes_models(folder) -> None:
    assert isinstance(PARTS[0], ModelKind)
    assert isinstance(of(folder), Model)
    assert {pair.relation for pair in PARTS[0].lineages()} == {"sibling"}
    assert {name for pair in PARTS[0].lineages() for name in (pair.base, pair.tuned)} == set(PARTS[0].presets())
    assert all(text and "\n" not in text for text in OPTIONS.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_tokens": 5}, ["no option 'max_tokens'", "did you mean", "max_new_tokens"]),
        ({"dtype": "fp32"}, ["dtype = 'fp32'", "'float32'"]),
        ({"max_new_tokens": 0}, ["max_new_tokens = 0", "from 1"]),
        ({"max_new_tokens": 2.5}, ["whole number"]),
        ({"temperature": -1}, ["temperature = -1"]),
        ({"trust_remote_code": "yes"}, ["trust_remote_code", "false or true"]),
        ({"inference": "fast"}, ["'plain'", "'prefix'"]),
        ({"revision": 3}, ["revision = 3", "text"]),
        ({"chat_template": "no/such.jinja"}, ["no/such.jinja", "cannot be read"]),
        ({"path": ""}, ["has no path"]),
    ],
)
def test_bad_options_are_named(folder, options, words) -> None:
    with pytest.raises(ModelError) as error:
        of(**{"path": folder, **options})
    for word in (*words, "mine"):
        assert word in str(error.value)


def test_budgets_by_form() -> None:
    def budgets(**options):
        settings = settings_from(ModelSpec("m", "hf", {"path": "org/name", **options}))
        return settings.budget(Form.YES_NO), settings.budget(Form.DESCRIBE)

    assert budgets() == (32, 256)
    assert budgets(max_new_tokens=10) == (10, 10)
    assert budgets(max_new_tokens=10, max_new_tokens_open=99) == (10, 99)


# ---------------------------------------------------------------- where it lies


@pytest.mark.parametrize("written", ["{}/mad", "{}/made2/", "./no-such-folder", "no-such-folder", "a/b/c", "~/no/such/folder"])
def test_a_mistyped_folder_fails_at_once_and_names_the_nearest(folder, written) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError) as error:
        of(written.format(folder.parent))
    assert time.monotonic() - started < 1
    assert "no folder" in str(error.value)
    if "{}" in written:
        assert f"did you mean {folder}" in str(error.value)
    else:
        assert "try: " in str(error.value)


def test_a_file_is_not_a_folder(folder) -> None:
    with pytest.raises(ModelError, match="is a file"):
        of(folder / "config.json")


def test_a_folder_without_config_is_no_checkpoint(folder) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        of(folder).fingerprint()
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        of(folder).fingerprint()


@pytest.fixture
def hub_cache(folder, tmp_path, monkeypatch) -> Path:
    """A hub cache that holds org/name at one commit, and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    cache = tmp_path / "hub"
    snapshot = cache / "models--org--name" / "snapshots" / ("c0ffee" * 7)[:40]
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(folder, snapshot)
    (cache / "models--org--name" / "refs").mkdir()
    (cache / "models--org--name" / "refs" / "main").write_text(snapshot.name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_a_cached_hub_id_is_known_by_id_and_commit(hub_cache) -> None:
    fingerprint = of("org/name").fingerprint()
    assert fingerprint.identity["checkpoint"] == f"org/name@{hub_cache.name}"
    assert fingerprint.identity["architecture"] == "llava"
    assert fingerprint.environment["checkpoint"] == "org/name"
    assert identity.find(of("org/name").settings, weights=True).folder == hub_cache


def test_a_hub_id_that_cannot_be_had_is_one_clear_error(hub_cache) -> None:
    with pytest.raises(ModelError) as error:
        of("org/other").fingerprint()
    assert f"no folder org/other beside the study file or in {Path.cwd()}, so it was taken for a hub id" in error.value.problem
    assert "not in the local cache, and could not be fetched: " in error.value.problem
    gated = "where the checkpoint is gated, accept the licence on its page, then `hf auth login`, or HF_TOKEN in the environment"
    offline = "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set, and nothing is fetched: unset it"
    assert error.value.hint == f'{offline}; {gated}; or path = "./org/other" where a folder is meant'


def test_offline_is_only_spoken_of_where_it_is_set(hub_cache, monkeypatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("401 Client Error: access is restricted")

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(ModelError) as error:
        of("google/medgemma-4b-it").fingerprint()
    assert error.value.problem.endswith("401 Client Error: access is restricted")
    assert error.value.hint.startswith("where the checkpoint is gated, accept the licence on its page, then `hf auth login`")
    assert "HF_HUB_OFFLINE" not in error.value.hint


def test_a_mistyped_folder_of_two_parts_is_not_only_spoken_of_as_a_hub_id(hub_cache, tmp_path, monkeypatch) -> None:
    (tmp_path / "checkpoints" / "my-llava").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as error:
        of("checkpoints/my-lava").fingerprint()
    assert error.value.hint == "did you mean checkpoints/my-llava?"
    with pytest.raises(ModelError) as error:
        of("checkpoints/zebra").fingerprint()
    assert error.value.hint == 'path = "./checkpoints/zebra" where a folder is meant: then the hub is not asked'
    with pytest.raises(ModelError, match=r"^no folder \./checkpoints/my-lava"):
        of("./checkpoints/my-lava")


@pytest.mark.parametrize("stand", [".", "sub", "elsewhere"])
def test_the_folder_of_nearly_that_name_is_looked_for_beside_the_study_file_too(hub_cache, tmp_path, monkeypatch, stand) -> None:
    """Wherever one stands; what is beside the study and what is here are suggested together, as either is to be written."""
    beside, elsewhere = tmp_path / "sub", tmp_path / "elsewhere"
    (beside / "checkpoints" / "my-llava").mkdir(parents=True)
    (elsewhere / "checkpoints" / "my-lavas").mkdir(parents=True)
    path = write_study(beside, STUDY.replace(SCRIPTED, 'kind = "hf"\npath = "checkpoints/my-lava"'), per_class=1)
    monkeypatch.chdir(tmp_path / stand)
    with pytest.raises(ModelError) as error:
        plan(Study.load(path))
    found = {"elsewhere": "checkpoints/my-llava or checkpoints/my-lavas"}.get(stand, "checkpoints/my-llava")
    assert error.value.hint == f"did you mean {found}?"
    assert error.value.where == f"{path}: models[0]"


@pytest.mark.parametrize("kind", [".safetensors", ".bin"])
def test_what_the_cache_lacks_is_fetched_weights_last(folder, tmp_path, monkeypatch, kind) -> None:
    """A fingerprint fetches small files only; loading fetches safetensors, or, where they are allowed, bin weights."""
    hub = pytest.importorskip("huggingface_hub")
    weights = (folder / "model.safetensors").rename(folder / f"model{kind}")
    there = tmp_path / "snapshots" / "abc123"
    asked: list[list[str]] = []

    def fetch(hub_id, revision=None, local_files_only=False, allow_patterns=None) -> str:
        if local_files_only and not there.exists():
            raise hub.errors.LocalEntryNotFoundError("nothing here")
        there.mkdir(parents=True, exist_ok=True)
        asked.append(allow_patterns)
        for file in folder.iterdir():
            if any(file.match(pattern) for pattern in allow_patterns or ()):
                shutil.copy(file, there)
        return str(there)

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    assert of("org/name").fingerprint().identity["checkpoint"] == "org/name@abc123"
    assert not (there / weights.name).exists()
    pickled = of("org/name", pickled_weights=kind == ".bin")
    assert identity.find(pickled.settings, weights=True).folder == there
    assert (there / weights.name).exists()
    assert "*.bin" not in [pattern for patterns in asked for pattern in patterns or ()] or kind == ".bin"


# ---------------------------------------------------------------- identity


def test_identity_is_the_content_not_the_place(folder, tmp_path) -> None:
    before = identity_of(folder)
    assert identity_of(folder) == before
    moved = shutil.move(folder, tmp_path / "elsewhere")
    for file in Path(moved).iterdir():
        os.utime(file, (1, 1))
    assert identity_of(moved) == before
    (Path(moved) / "README.md").write_text("a longer card")
    assert identity_of(moved) == before


@pytest.mark.parametrize(
    "name", ["model.safetensors", "chat_template.jinja", "tokenizer.json", "preprocessor_config.json", "config.json"]
)
def test_one_changed_byte_is_another_model(folder, name) -> None:
    before = identity_of(folder)["checkpoint"]
    file = folder / name
    content = bytearray(file.read_bytes())
    content[-1:] = b" }" if name.endswith(".json") else bytes([content[-1] ^ 1])
    if name.endswith(".json"):
        content = bytearray(content[:-2] + b" }")
    file.write_bytes(bytes(content))
    assert identity_of(folder)["checkpoint"] != before


def test_large_weights_are_sampled_to_the_last_byte(folder, monkeypatch) -> None:
    monkeypatch.setattr(identity, "WHOLE_UP_TO", 100)
    monkeypatch.setattr(identity, "SAMPLE", 64)
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    seen = set()
    for change in (None, 0, len(content) - 1):
        changed = bytearray(content)
        if change is not None:
            changed[change] ^= 1
        weights.write_bytes(bytes(changed))
        seen.add(identity_of(folder)["checkpoint"])
    weights.write_bytes(bytes(content[:-1]))
    seen.add(identity_of(folder)["checkpoint"])
    assert len(seen) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"system": "You are a doctor."},
        {"max_new_tokens": 5},
        {"min_new_tokens": 1},
        {"temperature": 0.5},
        {"dtype": "bfloat16"},
        {"attn_implementation": "eager"},
        {"vision_attention": "eager"},
        {"chat_template": "{{ other }}"},
        {"text_only": True},
    ],
)
def test_what_could_change_an_answer_is_identity(folder, options) -> None:
    assert identity_of(folder, **options) != identity_of(folder)


@pytest.mark.parametrize(
    "options", [{"threads": 1}, {"device": "cpu"}, {"inference": "plain"}, {"images_at_once": 4}, {"top_p": 0.5}]
)
def test_what_cannot_is_not(folder, options) -> None:
    """Short of float32 the path and the batch can, and then they are."""
    assert identity_of(folder, dtype="float32", **options) == identity_of(folder, dtype="float32")
    if "inference" in options or "images_at_once" in options:
        assert identity_of(folder, dtype="bfloat16", **options) != identity_of(folder, dtype="bfloat16")


@pytest.mark.parametrize("options", [{"compiled": True}, {"attend": "unrepeated"}])
def test_what_kernels_round_is_identity_where_there_are_any(folder, options) -> None:
    """So that a run begun before a kernel changed does not go on with answers of another rounding."""
    assert "batches" in identity_of(folder, dtype="bfloat16", **options)
    assert "batches" not in identity_of(folder, dtype="bfloat16", attend="repeated")
    assert "batches" not in identity_of(folder, dtype="float32", **options)


def test_the_seed_counts_only_where_tokens_are_drawn(folder) -> None:
    def seeded(seed, **options):
        return HFKind().build(ModelSpec("mine", "hf", {"path": str(folder), **options}, seed)).fingerprint().identity

    assert seeded(0) == seeded(1)
    assert seeded(0, temperature=1.0) != seeded(1, temperature=1.0)


def test_environment_names_versions_device_and_path_but_no_folder(folder) -> None:
    environment = of(folder, device="cpu").fingerprint().environment
    assert environment["device"] == "cpu"
    assert environment["inference"] == "prefix"
    assert environment["checkpoint"] == "made"
    assert {"torch", "transformers", "tokenizers", "pillow"} <= set(environment)
    assert str(folder) not in json.dumps(dict(environment))


@pytest.mark.parametrize("where", ["chat_template.jinja", "chat_template.json", "tokenizer_config.json", "processor_config.json"])
def test_the_template_is_found_where_checkpoints_keep_it(folder, where) -> None:
    (folder / "chat_template.jinja").unlink()
    content = "{{ found }}" if where.endswith("jinja") else json.dumps({"chat_template": "{{ found }}"})
    (folder / where).write_text(content)
    assert identity.Checkpoint(folder).chat_template == "{{ found }}"


def test_fingerprint_imports_no_torch(folder) -> None:
    code = (
        "import sys; from palpate.models.hf import HFKind; from palpate.parts import ModelSpec\n"
        f"HFKind().build(ModelSpec('m', 'hf', {{'path': {str(folder)!r}, 'device': 'cpu'}})).fingerprint()\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_dtype_follows_the_device(folder) -> None:
    assert identity.dtype_of(of(folder, device="cpu").settings) == "float32"
    assert identity.dtype_of(of(folder, device="cuda:1").settings) == "bfloat16"
    assert identity.dtype_of(of(folder, device="cuda", dtype="float32").settings) == "float32"


# ---------------------------------------------------------------- loading


@pytest.mark.local
def test_identity_of_a_real_checkpoint_says_what_it_is(checkpoint) -> None:
    found = identity_of(checkpoint("gemma3"))
    assert found["architecture"] == "gemma3"
    assert found["image_processor"] == "Gemma3ImageProcessor"
    assert found["image_backend"] == "pil"
    assert found["text_only"] is False
    assert identity_of(checkpoint("reader"))["text_only"] is True


def change_weights(folder: Path, change) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    weights = safetensors.load_file(folder / "model.safetensors")
    change(weights)
    safetensors.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.local
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing", ["1 missing, and would be random", "multi_modal_projector.linear_1.weight"]),
        ("unexpected", ["1 unknown to this architecture", "extra_tower.weight", "ignore_keys"]),
        ("mismatched", ["1 of another shape, and would be random", "linear_1.weight"]),
    ],
)
def test_weights_that_do_not_fit_stop_the_run(fault, words, build, checkpoint, tmp_path, images) -> None:
    import torch

    folder = shutil.copytree(checkpoint("llava"), tmp_path / fault)

    def change(weights):
        name = next(key for key in weights if key.endswith("multi_modal_projector.linear_1.weight"))
        if fault == "unexpected":
            weights["extra_tower.weight"] = torch.zeros(3)
        elif fault == "mismatched":
            weights[name] = weights[name][:-1].clone()
        else:
            del weights[name]

    change_weights(folder, change)
    with pytest.raises(ModelError) as error:
        build(folder).ask(images(1))
    for word in (*words, str(folder)):
        assert word in str(error.value)
    if fault == "unexpected":
        answers = build(folder, ignore_keys=["^extra_tower"]).ask(images(1))
        assert [a.text for a in answers[0]] == [a.text for a in build("llava").ask(images(1))[0]]


@pytest.mark.local
@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json", "preprocessor_config.json"])
def test_a_missing_file_is_a_model_error(missing, build, checkpoint, tmp_path, images) -> None:
    folder = shutil.copytree(checkpoint("llava"), tmp_path / "torn")
    (folder / missing).unlink()
    with pytest.raises(ModelError, match="load"):
        build(folder).ask(images(1))


@pytest.mark.local
def test_loading_says_nothing_and_leaves_settings_alone(build, images, capfd) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    logging = pytest.importorskip("transformers.utils.logging")
    offline, level = constants.HF_HUB_OFFLINE, logging.get_verbosity()
    build("qwen2_vl").ask(images(1))
    assert capfd.readouterr() == ("", "")
    assert (constants.HF_HUB_OFFLINE, logging.get_verbosity()) == (offline, level)


@pytest.mark.local
def test_a_device_that_is_not_there_is_a_model_error(build, images) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    with pytest.raises(ModelError, match="cannot be put on cuda"):
        build("llava", device="cuda", dtype="float32").ask(images(1))
    with pytest.raises(ModelError, match="cannot be put on nonsense"):
        build("llava", device="nonsense").ask(images(1))


@pytest.mark.local
def test_torchvision_that_is_asked_for_and_absent_is_a_model_error(checkpoint) -> None:
    if identity.find_spec("torchvision") is not None:
        pytest.skip("needs an environment without torchvision")
    with pytest.raises(ModelError, match="torchvision is not installed"):
        of(checkpoint("llava"), image_backend="torchvision").fingerprint()
