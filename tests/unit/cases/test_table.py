"""The table source: columns, rows that are refused, labels, Parquet."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from palpate.cases.table import TableSource
from palpate.errors import SourceError
from palpate.parts import Labels, Sample, Source
from small import make_images

LABELS = Labels(("1", "sick"), ("0", "well"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for n in range(8):
        Image.new("L", (20, 10), 20 * n).save(tmp_path / "images" / f"{n}.png")
    return tmp_path


def write(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def rows(n: int = 8) -> str:
    return "".join(f"images/{i}.png,{'sick' if i % 2 else 'well'},p{i // 4},{30 + i},f\n" for i in range(n))


HEADER = "file,label,patient,age,sex\n"


def load(path: Path, sample: Sample = Sample(), **options):  # noqa: B008 — frozen
    return TableSource().load({"path": str(path), **options}, LABELS, sample)


def test_rows_become_cases(folder):
    found = load(write(folder, HEADER + rows()), group="patient", metadata=["age", "sex"])
    assert isinstance(TableSource(), Source)
    assert [case.label for case in found.cases] == [0, 1] * 4
    assert len({case.group for case in found.cases}) == 2
    assert found.cases[3].metadata == {"age": "33", "sex": "f"}
    assert found.cases[3].image.open().getpixel((0, 0)) == (60, 60, 60)
    assert found.names[found.cases[3].id] == "images/3.png"


def test_only_listed_columns_are_taken_and_no_identifier_is_kept(folder):
    for case in load(write(folder, HEADER + rows()), group="patient").cases:
        assert case.metadata == {}
        assert "p0" not in case.group
        assert case.group.startswith("g-")


def test_without_a_group_column_every_image_stands_alone(folder):
    assert len({case.group for case in load(write(folder, HEADER + rows())).cases}) == 8


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ","), ("a.csv", ";"), ("a.csv", "\t"), ("a.csv", "|"), ("a.tsv", "\t")])
def test_delimiters_are_found(folder, name, mark):
    path = write(folder, "\ufeff" + (HEADER + rows() + "\n").replace(",", mark), name)
    assert len(load(path, group="patient").cases) == 8
    word = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}[mark]
    assert len(load(path, delimiter=word).cases) == len(load(path, delimiter=mark).cases) == 8


def test_quoted_values_may_hold_the_delimiter(folder):
    Image.new("L", (9, 9)).save(folder / "a,b.png")
    assert load(write(folder, 'path,label\n"a,b.png",sick\n')).names.popitem()[1] == "a,b.png"


def test_parquet_gives_the_same_cases(folder):
    table = pa.table(
        {
            "image": [f"images/{i}.png" for i in range(8)],
            "label": [float(i % 2) for i in range(7)] + [None],
            "patient": [f"p{i // 4}" for i in range(8)],
            "age": [30 + i for i in range(8)],
            "pixels": [b"never read"] * 8,
        }
    )
    pq.write_table(table, folder / "t.parquet")
    found = load(folder / "t.parquet", group="patient", metadata=["age"])
    text = load(write(folder, HEADER + rows(7)), group="patient")
    assert [(c.id, c.label, c.group) for c in found.cases] == [(c.id, c.label, c.group) for c in text.cases]
    assert found.cases[0].metadata == {"age": 30}
    assert [(out.name, out.reason) for out in found.left_out] == [("images/7.png", "line 8 has no label")]


def test_parquet_with_images_inside_is_refused_by_name(folder):
    pq.write_table(pa.table({"image": [{"bytes": b"x", "path": "a"}], "label": ["sick"]}), folder / "t.parquet")
    with pytest.raises(SourceError, match="column 'image' holds struct"):
        load(folder / "t.parquet")
    write(folder, "no parquet", "u.parquet")
    with pytest.raises(SourceError, match="not a readable Parquet file"):
        load(folder / "u.parquet")


@pytest.mark.parametrize("path", ["../secret.png", "images/../../secret.png", "/etc/passwd", "C:\\secret.png", "a\0b.png", ""])
def test_a_path_that_leaves_the_root_is_refused_by_row(folder, path):
    Image.new("L", (9, 9)).save(folder.parent / "secret.png")
    table = pa.table({"file": ["images/1.png", path], "label": ["sick", "well"]})
    pq.write_table(table, folder / "t.parquet")
    found = load(folder / "t.parquet")
    assert len(found.cases) == 1
    assert found.left_out[0].reason.startswith("line 2 names")


def test_an_absolute_path_below_the_root_is_followed(folder):
    path = write(folder, f"file,label\n{folder}/images/1.png,sick\nimages/./2.png,well\n")
    assert sorted(load(path).names.values()) == ["images/1.png", "images/2.png"]


def test_root_is_where_paths_start(folder):
    path = write(folder, "file,label\n1.png,sick\n")
    assert len(load(path, root=str(folder / "images")).cases) == 1
    with pytest.raises(SourceError, match=r"none of its 1 images is below .* no 1\.png there"):
        load(path)


def test_missing_and_broken_images_are_left_out(folder):
    (folder / "images" / "2.png").write_bytes(b"")
    found = load(write(folder, HEADER + rows() + "images/9.png,sick,p9,1,m\nimages/5b.png,,p9,1,m\n"))
    assert [(out.name, out.reason) for out in found.left_out] == [
        ("images/2.png", "the file is empty"),
        ("images/5b.png", "line 11 has no label"),
        ("images/9.png", "cannot be read: No such file or directory"),
    ]


def test_the_sample_does_not_depend_on_the_order_of_rows(folder):
    lines = rows().splitlines(keepends=True)
    one = load(write(folder, HEADER + "".join(lines), "a.csv"), Sample(2, seed=3))
    two = load(write(folder, HEADER + "".join(reversed(lines)), "b.csv"), Sample(2, seed=3))
    assert [case.id for case in one.cases] == [case.id for case in two.cases]
    assert sorted(case.label for case in one.cases) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (HEADER + rows() + "images/./1.png,well,p,1,m\n", {}, "lines 3 and 10, column 'file': both name images/1.png"),
        (HEADER + rows() + "images/9.png,covid,p,1,m\n" * 2, {}, r"column 'label': rows without a known label: 'covid' \(2\)"),
        (HEADER + "images/1.png,sick\n", {}, "line 2: 2 values for 5 columns"),
        (HEADER + '"images/1.png,sick,p,1,m\n', {}, "line"),
        ("file,label,label\na,b,c\n", {}, "column 'label' appears 2 times"),
        ("name,label\na.png,sick\n", {}, "no column file, image"),
        (HEADER + rows(), {"image": "foto"}, "no column 'foto', named by image"),
        (HEADER + rows(), {"label": "diagnosis"}, "no column 'diagnosis', named by label"),
        (HEADER + rows(), {"group": "Patient"}, "no column 'Patient', named by group"),
        (HEADER + rows(), {"metadata": ["weight"]}, "no column 'weight', named by metadata"),
        (HEADER + rows(), {"metadata": "age"}, "no list of columns"),
        (HEADER + rows(), {"metadata": ["patient"], "group": "patient"}, "'patient' names images or patients"),
        (HEADER + rows(), {"delimiter": "dot dot"}, "no single character"),
        (HEADER + rows(), {"root": "nowhere"}, "there is no folder nowhere"),
        (HEADER + rows(), {"column": "x"}, "unknown option 'column'"),
        (HEADER, {}, "no row can be used"),
        ("", {}, "a header line"),
        ("file,label\n,sick\n", {}, "no row can be used: line 2 names no image"),
    ],
)
def test_a_wrong_table_is_one_clear_error(folder, text, options, says):
    with pytest.raises(SourceError, match=says) as raised:
        load(write(folder, text), **options)
    assert "Traceback" not in str(raised.value)


def test_a_table_that_is_not_text_is_named(folder):
    (folder / "latin.csv").write_bytes("file,label\nä,sick\n".encode("latin-1"))
    with pytest.raises(SourceError, match="not UTF-8"):
        load(folder / "latin.csv")
    with pytest.raises(SourceError, match='kind = "folder"'):
        load(folder / "images")


DATA = Path(os.environ.get("PALPATE_DATA", Path(__file__).parents[4] / "shared" / "data")) / "images"


@pytest.mark.skipif(not DATA.is_dir(), reason="clinical images are not in the repository: set PALPATE_DATA")
def test_skin_lesions_from_their_table():
    path = DATA / "skin_ham10000_200x150" / "labels.csv"
    labels = Labels(("mel", "bcc", "akiec"), ("nv", "bkl", "vasc", "df"))
    options = {"path": str(path), "label": "dx", "group": "lesion_id", "metadata": ["age", "sex"]}
    found = TableSource().load(options, labels, Sample(50, seed=1))
    assert len(found.cases) == len({case.group for case in found.cases}) == 100
    assert set(found.cases[0].metadata) <= {"age", "sex"}
    assert not any("HAM_" in f"{case.group}{case.metadata}" for case in found.cases)


@pytest.mark.parametrize("cell", ["a.png;b.png", "a.png|b.png", "['a.png', 'b.png']", "a.png, b.jpg"])
def test_several_images_to_a_case_are_refused(tmp_path, cell):
    (tmp_path / "x.csv").write_text(f'file,label\n"{cell}",normal\n')
    with pytest.raises(SourceError, match=r"several images to a case, a\.png and 1 more") as fault:
        TableSource().load({"path": str(tmp_path / "x.csv")}, Labels(("pneumonia",), ("normal",)), Sample())
    assert "a case is one image" in str(fault.value)


def test_a_name_with_a_semicolon_is_one_image(tmp_path):
    make_images(tmp_path, 2)
    (tmp_path / "normal" / "person1000_0.png").rename(tmp_path / "normal" / "one; two.png")
    (tmp_path / "x.csv").write_text("file,label\nnormal/one; two.png,normal\n")
    found = TableSource().load({"path": str(tmp_path / "x.csv")}, Labels(("pneumonia",), ("normal",)), Sample())
    assert len(found.cases) == 1


def test_a_parquet_column_of_lists_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"file": [["a.png", "b.png"]], "label": ["normal"]}), tmp_path / "x.parquet")
    with pytest.raises(SourceError, match="several images to a case"):
        TableSource().load({"path": str(tmp_path / "x.parquet")}, Labels(("pneumonia",), ("normal",)), Sample())


def test_paths_out_of_the_root_only_where_the_study_allows_them(tmp_path):
    make_images(tmp_path / "images", 2)
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables" / "x.csv"
    absolute = (tmp_path / "images" / "pneumonia" / "person0000_0.png").as_posix()
    path.write_text(f"file,label\n../images/normal/person1000_0.png,normal\n{absolute},pneumonia\n")
    labels = Labels(("pneumonia",), ("normal",))
    with pytest.raises(SourceError, match="outside"):
        TableSource().load({"path": str(path)}, labels, Sample())
    assert len(TableSource().load({"path": str(path), "outside": True}, labels, Sample()).cases) == 2
    with pytest.raises(SourceError, match="neither true nor false"):
        TableSource().load({"path": str(path), "region": "yes"}, labels, Sample())
