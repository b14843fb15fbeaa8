"""The data card: planted faults are found, clean sets are clean, and the known faults of real sets are named."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palpate.cases.folder import FolderSource
from palpate.inspection.card import FAULT, cards_from_json, cards_json
from palpate.inspection.duplicates import exact_sets, near_sets
from palpate.inspection.examine import examine, identity
from palpate.inspection.oddities import blanks, far_out, nearest
from palpate.inspection.pixels import look, perceptual_hash, thumbnail
from palpate.inspection.probe import FILE, _shuffled, cross_validated, file_features, folds, probes
from palpate.nouns import CaseSet
from palpate.parts import Labels, Sample

LABELS = Labels(("pneumonia", "yes", "malignant"), ("normal", "no", "benign"))
DATA = Path(os.environ.get("PALPATE_DATA", Path(__file__).parents[4] / "shared" / "data")) / "images"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="clinical images are not in the repository: set PALPATE_DATA")


def scene(seed: int, size: tuple[int, int] = (64, 56), *, colour: bool = False, gain: float = 1.0) -> Image.Image:
    """A smooth random picture: what its neighbours' pixels are is no accident, as in a photograph."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(30, 220 * gain if gain < 1 else 220, (7, 8, 3) if colour else (7, 8)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save(folder: Path, pictures: dict[str, Image.Image], **options) -> Path:
    for name, picture in pictures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, **options)
    return folder


def clean(folder: Path, n: int = 24) -> Path:
    """``n`` images of each label that differ in nothing but their content, one to a patient."""
    labels = enumerate(("normal", "pneumonia"))
    return save(folder, {f"{label}/p{100 * k + i:04d}_a.png": scene(1000 * k + i) for k, label in labels for i in range(n)})


def load(folder: Path, **options) -> CaseSet:
    return FolderSource().load({"path": str(folder), "group_regex": r"(p\d+)_", **options}, LABELS, Sample())


def card(folder: Path, **options):
    found = load(folder, **options)
    return examine("task", found), dict(found.names)


def kinds(made) -> set[str]:
    return {finding.kind for finding in made.findings}


def named(made, names, kind: str) -> set[frozenset[str]]:
    return {frozenset(names[c] for c in members) for f in made.findings if f.kind == kind for members in f.cases}


# ---------------------------------------------------------------- planted faults


def test_a_clean_set_has_no_fault(tmp_path):
    made, _ = card(clean(tmp_path))
    assert made.faults == ()
    assert (made.n_cases, made.n_positive, made.n_groups, made.largest_group) == (48, 24, 48, 1)
    assert made.widths == (64, 64.0, 64)
    assert dict(made.formats) == {"PNG": 48}
    assert made.probes[0].reason == "all files are alike"


def test_copies_exact_and_near(tmp_path):
    clean(tmp_path)
    one = scene(3)
    save(tmp_path, {"normal/p0900_a.png": one, "normal/p0901_a.png": one.resize((128, 112)), "normal/p0902_a.bmp": one})
    one.save(tmp_path / "normal" / "p0903_a.jpg", quality=70)
    Image.eval(one, lambda v: min(255, v + 4)).save(tmp_path / "normal" / "p0904_a.png")
    made, names = card(tmp_path)
    assert named(made, names, "duplicates") == {frozenset({"normal/p0003_a.png", "normal/p0900_a.png", "normal/p0902_a.bmp"})}
    (near,) = named(made, names, "near-duplicates")
    assert {n.split("/")[1][:5] for n in near} >= {"p0901", "p0903", "p0904"}
    assert len(near) == 4


def test_a_copy_under_both_labels_and_under_two_patients(tmp_path):
    folder = clean(tmp_path)
    for i in range(24):  # two images to a patient, so that patients are known
        scene(5000 + i).save(folder / "normal" / f"p{i:04d}_b.png")
    scene(3).save(folder / "pneumonia" / "p0100_b.png")
    scene(4).save(folder / "normal" / "p0011_c.png")
    made, names = card(folder)
    assert named(made, names, "duplicates-across-labels") == {frozenset({"normal/p0003_a.png", "pneumonia/p0100_b.png"})}
    assert frozenset({"normal/p0004_a.png", "normal/p0011_c.png"}) in named(made, names, "duplicates-across-groups")
    assert {f.severity for f in made.findings if f.kind.startswith("duplicates")} == {FAULT}


@pytest.mark.parametrize("seed", range(4))
def test_different_images_are_no_copies(tmp_path, seed):
    found = load(save(tmp_path, {f"normal/p{i}_a.png": scene(100 * seed + i) for i in range(60)}))
    facts = [look(c, {}) for c in found.cases]
    assert exact_sets(facts) == near_sets(facts) == []


def test_near_copies_are_found_however_many_rows_are_compared_at_once(tmp_path, monkeypatch):
    pictures = {f"normal/p{i}_a.png": scene(i) for i in range(30)}
    pictures["normal/p99_a.png"] = scene(0).resize((96, 84))
    facts = [look(c, {}) for c in load(save(tmp_path, pictures)).cases]
    monkeypatch.setattr("palpate.inspection.duplicates.ROWS", 7)
    assert len(near_sets(facts)) == 1


def test_blank_images(tmp_path):
    folder = save(clean(tmp_path), {"normal/p0800_a.png": Image.new("L", (64, 56), 190)})
    noisy = np.random.default_rng(0).normal(190, 3, (56, 64)).clip(0, 255).astype(np.uint8)
    save(folder, {"pneumonia/p0801_a.png": Image.fromarray(noisy)})
    made, names = card(folder)
    assert named(made, names, "blank") == {frozenset({"normal/p0800_a.png"}), frozenset({"pneumonia/p0801_a.png"})}


def test_a_colour_image_among_grey_ones(tmp_path):
    made, names = card(save(clean(tmp_path), {"normal/p0800_a.png": scene(8, colour=True)}))
    assert named(made, names, "colour") == {frozenset({"normal/p0800_a.png"})}
    assert "colour" in {f.kind for f in made.faults}


def test_a_mix_of_grey_and_colour_is_a_note(tmp_path):
    folder = clean(tmp_path)
    save(folder, {f"normal/p{800 + i:04d}_a.png": scene(900 + i, colour=True) for i in range(20)})
    made, _ = card(folder)
    assert "colour" in kinds(made)
    assert "colour" not in {f.kind for f in made.faults}


def test_an_image_with_a_white_frame_is_unlike_the_rest(tmp_path):
    framed = Image.new("L", (64, 56), 255)
    framed.paste(scene(7, (20, 20)), (20, 18))
    made, names = card(save(clean(tmp_path), {"normal/p0800_a.png": framed}))
    assert frozenset({"normal/p0800_a.png"}) in named(made, names, "unlike")


def test_a_file_that_is_not_what_its_name_says(tmp_path):
    folder = clean(tmp_path)
    out = io.BytesIO()
    scene(77).convert("RGBA").save(out, "PNG")
    (folder / "normal" / "p0800_a.jpg").write_bytes(out.getvalue())
    made, names = card(folder)
    assert named(made, names, "suffix") == {frozenset({"normal/p0800_a.jpg"})}
    assert any("1 PNG called .jpg" in f.text for f in made.findings)
    assert dict(made.modes) == {"L": 48, "RGBA": 1}


def test_what_is_left_out_is_a_fault_with_its_reasons(tmp_path):
    folder = clean(tmp_path)
    (folder / "normal" / "p0800_a.png").write_bytes(b"")
    (folder / "normal" / "p0801_a.png").write_bytes(b"nothing")
    made, _ = card(folder)
    assert sum(made.left_out.values()) == 2
    assert "the file is empty" in made.left_out
    assert "left-out" in {f.kind for f in made.faults}


def test_images_that_have_gone_since(tmp_path):
    found = load(clean(tmp_path))
    (tmp_path / "normal" / "p0003_a.png").unlink()
    made = examine("task", found)
    assert "unopened" in {f.kind for f in made.faults}


# ---------------------------------------------------------------- shortcuts


@pytest.mark.parametrize("way", ["size", "format", "quality"])
def test_classes_told_by_their_files_are_a_shortcut(tmp_path, way):
    rng = np.random.default_rng(0)
    for k, label in enumerate(("normal", "pneumonia")):
        for i in range(30):
            odd = rng.random() < (0.85 if k else 0.1)
            picture = scene(1000 * k + i, (80, 70) if way == "size" and odd else (64, 56))
            suffix = "bmp" if way == "format" and odd else "jpg" if way == "quality" else "png"
            options = {"quality": 60 if odd else 95} if way == "quality" else {}
            save(tmp_path, {f"{label}/p{100 * k + i:04d}_a.{suffix}": picture}, **options)
    made, _ = card(tmp_path)
    (shortcut,) = [f for f in made.faults if f.kind == "shortcut"]
    assert made.probes[0].auroc > 0.7
    assert "shortcut" in shortcut.text


def test_classes_told_by_grey_levels_are_a_note(tmp_path):
    folder = save(tmp_path, {f"normal/p{i:04d}_a.png": scene(i) for i in range(25)})
    save(folder, {f"pneumonia/p{100 + i:04d}_a.png": scene(i + 500, gain=0.6) for i in range(25)})
    made, _ = card(folder)
    assert "levels" in kinds(made)
    assert "shortcut" not in kinds(made)


def test_one_size_per_patient_is_no_shortcut(tmp_path):
    """Sizes go with patients, and patients with labels only by chance: 12 patients of 8 images must not look like 96 images."""
    alarms = 0
    for trial in range(5):
        rng = np.random.default_rng(trial)
        folder = tmp_path / str(trial)
        for patient in range(20):
            width = int(rng.integers(20, 60))
            label = ("normal", "pneumonia")[patient % 2]
            save(folder, {f"{label}/p{patient:04d}_{i}.png": scene(100 * patient + i, (width, 30)) for i in range(4)})
        found = load(folder)
        facts = [look(c, {}) for c in found.cases]
        (probe, _) = probes(facts, 0, permutations=39)
        alarms += probe.p <= 0.025
    assert alarms <= 1


def test_the_probe_is_scikit_learns():
    """Out-of-fold scores by scikit-learn's ridge regression on the same folds, AUROC by scikit-learn, column by column."""
    from sklearn.linear_model import Ridge
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    label = np.repeat([0, 1], 40)
    matrix = rng.normal(size=(80, 3)) + label[:, None] * [1.0, 0, 0]
    fold = folds(np.arange(80) // 2, rng)
    labels = np.stack([label, rng.permutation(label), rng.permutation(label)], axis=1)
    expected = []
    for column in labels.T:
        scores = np.zeros(80)
        for held in range(5):
            train, test = fold != held, fold == held
            centre, scale = matrix[train].mean(0), matrix[train].std(0)
            model = Ridge(alpha=0.1 * train.sum()).fit((matrix[train] - centre) / scale, column[train])
            scores[test] = (matrix[test] - centre) / scale @ model.coef_
        expected.append(roc_auc_score(column, scores))
    assert cross_validated(matrix, labels, fold) == pytest.approx(expected, abs=1e-9)


def test_no_group_is_in_two_folds():
    group = np.repeat(np.arange(30), np.arange(30) % 5 + 1)
    fold = folds(group, np.random.default_rng(0))
    assert all(len(set(fold[group == g])) == 1 for g in range(30))
    assert np.ptp(np.bincount(fold)) <= 5


def test_on_noise_the_probe_alarms_as_seldom_as_it_says():
    rng = np.random.default_rng(4)
    alarms, trials = 0, 100
    for _ in range(trials):
        group = np.repeat(np.arange(30), 3)
        label = rng.permutation(np.repeat([0, 1], 15))[group]
        matrix = rng.normal(size=(30, 4))[group] + 0.3 * rng.normal(size=(90, 4))  # images of one patient are alike
        labels = np.stack([label, *(_shuffled(label, group, rng) for _ in range(99))], axis=1)
        observed, *null = cross_validated(matrix, labels, folds(group, rng))
        alarms += (1 + sum(v >= observed for v in null)) / 100 <= 0.05
    assert alarms <= 13  # 5 expected; 14 or more by chance once in 2,000


def test_too_few_are_not_probed(tmp_path):
    made, _ = card(clean(tmp_path, 6))
    assert all(p.auroc is None and "fewer than 10" in p.reason for p in made.probes)


def test_constant_features_are_left_out(tmp_path):
    facts = [look(c, {"format": "PNG", "mode": "L"}) for c in load(clean(tmp_path, 3)).cases]
    assert file_features(facts)[0] == ()


# ---------------------------------------------------------------- the parts


def test_the_perceptual_hash_is_imagehashs(tmp_path):
    """Against scipy's cosine transform, as the hash is defined."""
    from scipy.fft import dctn

    thumb = thumbnail(scene(5).convert("RGB"))
    grey = thumb @ np.array([0.299, 0.587, 0.114])
    low = dctn(grey, type=2)[:8, :8].ravel()[1:]
    expected = "".join("1" if v > np.median(low) else "0" for v in low)
    # dctn doubles every frequency alike, but the first of a row or column by another factor of its own: the same here.
    assert f"{perceptual_hash(thumb):063b}" == expected


def test_nearest_is_hellinger_by_brute_force():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(16), 12)
    distance = [[np.sqrt(max(0.0, 1 - np.sqrt(a * b).sum())) for b in shares] for a in shares]
    expected = [np.sort([d for j, d in enumerate(row) if j != i])[:5].mean() for i, row in enumerate(distance)]
    assert nearest(shares) == pytest.approx(expected)


def test_far_out_is_tukeys_outer_fence():
    values = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 100, 17.9, 18.1])
    low, high = np.percentile(values, [25, 75])
    assert far_out(values).tolist() == (values > high + 3 * (high - low)).tolist()


def test_blank_needs_no_others():
    assert blanks([]) == []


def test_cards_survive_the_file(tmp_path):
    made, _ = card(save(clean(tmp_path), {"normal/p0800_a.png": scene(3)}))
    assert cards_from_json(cards_json((made,))) == (made,)
    for text in ("[1]", '{"a": 1}', '[{"findings": 3}]'):
        with pytest.raises(ValueError, match="card"):
            cards_from_json(text)


def test_a_card_names_no_file(tmp_path):
    made, names = card(save(clean(tmp_path), {"normal/p0800_a.png": scene(3)}))
    text = cards_json((made,))
    assert not any(name in text for name in names.values())
    assert not any(group in text for group in {c.group for c in load(tmp_path).cases})
    json.loads(text)


def test_the_identity_follows_labels_and_groups(tmp_path):
    found = load(clean(tmp_path, 3))
    again = load(tmp_path)
    assert identity(found.cases, 0) == identity(again.cases, 0)
    assert identity(found.cases, 0) != identity(load(tmp_path, salt="x").cases, 0)
    assert identity(found.cases, 0) != identity(found.cases, 1)


def ungrouped(folder: Path, **options) -> list[str]:
    return [finding.text for finding in card(folder, **options)[0].findings if finding.kind == "ungrouped"]


def test_patients_not_known_are_a_note_and_copies_do_not_hide_it(tmp_path):
    clean(tmp_path, 3)
    (told,) = ungrouped(tmp_path, group_regex="")
    assert told.startswith("no patient or slide is known: each stands alone")
    save(tmp_path, {"normal/copy_a.png": scene(0)})  # shares a group with what it copies, and no patient is known any more for it
    assert ungrouped(tmp_path, group_regex="") == [told]


def test_one_image_of_each_known_patient_is_no_note(tmp_path):
    assert ungrouped(clean(tmp_path, 3)) == []


def test_some_patients_not_known_are_counted(tmp_path):
    save(clean(tmp_path, 3), {"normal/x.png": scene(7)})
    assert ungrouped(tmp_path) == [
        "1 image has no patient or slide that the source can tell: each stands alone, identical copies together"
    ]


# ---------------------------------------------------------------- the known faults of real images


def real(name: str, **options):
    found = FolderSource().load({"path": str(DATA / name), **options}, LABELS, Sample())
    return examine(name, found), found.names


@needs_data
def test_brain_mri(tmp_path):
    made, names = real("brain_mri_yesno")
    duplicates = named(made, names, "duplicates")
    assert sum(len(members) - 1 for members in duplicates) == 25
    assert len(duplicates) == 22
    assert "duplicates-across-labels" not in kinds(made) or not any(
        len({n.split("/")[0] for n in members}) > 1 for members in duplicates
    )
    wrong = {name for (name,) in named(made, names, "suffix")}
    assert wrong == {f"no/{n}" for n in ("No15.jpg", "No17.jpg", "No18.jpg", "no 96.jpg", "no 98.jpg", "no.jpg")}
    assert made.modes["L"] == 30  # 29 JPEG and one PNG
    assert {"RGB", "RGBA"} <= set(made.modes)
    assert frozenset({"no/N1.JPG"}) in named(made, names, "unlike")  # the CT: a skull white as no MR's
    assert (made.widths[0], made.widths[2]) == (150, 1920)
    (shortcut,) = [f for f in made.faults if f.kind == "shortcut"]
    assert "AUROC 0.78, p = 0.001" in shortcut.text


@needs_data
def test_chest_radiographs():
    made, names = real("cxr_kermany_224/test", group_regex=r"(person\d+|IM-\d+)")
    assert len(named(made, names, "duplicates")) == 6
    assert made.n_groups == 404
    assert "duplicates-across-labels" not in kinds(made)
    assert made.largest_group == 9


@needs_data
def test_histology():
    made, names = real("histo_breakhis_sample", group_regex=r"([^/]+)_\d+\.png$")
    assert named(made, names, "blank") == {frozenset({f"malignant/SOB_M_DC_14-12312_{i}.png"}) for i in (0, 3)}
    assert (made.n_groups, made.largest_group) == (13, 6)
    assert all(p.reason.startswith("fewer than 10") for p in made.probes)


@needs_data
def test_skin_has_no_blank_and_no_copy():
    made, _ = real("skin_ham10000_200x150")
    assert not kinds(made) & {"blank", "duplicates", "duplicates-across-labels", "left-out", "suffix"}
    assert next(p for p in made.probes if p.name == FILE).reason == "all files are alike" or made.probes[0].p is not None
