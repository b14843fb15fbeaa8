"""Files and names that mean harm, given to the program as a user would: one message, bounded work, nothing outside the run."""

from __future__ import annotations

import csv
import json
import os
import random
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from palpate.cases import _tables
from palpate.cases._images import Undecodable, check
from palpate.cases._tables import read_table
from palpate.errors import PalpateError, SourceError, StudyError
from palpate.imports.vlmevalkit import MOST_COLUMNS, MOST_ROWS, VLMEvalKitFormat
from palpate.results import Results
from palpate.store.folder import FORMULA, inert
from palpate.study import Study
from small import STUDY, Cli, palpate, write_study

# ---------------------------------------------------------------- spreadsheets that are read


def rows_of(path: Path) -> list[object]:
    return list(VLMEvalKitFormat().rows(path, path.name, None))  # type: ignore[arg-type]


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["index", "question", "answer", "prediction"])
    book.active.append([0, "Is it round?", "Yes", "Yes"])
    book.save(tmp_path / "sheet.xlsx")
    assert len(rows_of(tmp_path / "sheet.xlsx")) == 1
    return tmp_path / "sheet.xlsx"


def with_sheet(path: Path, xml: str) -> Path:
    """The spreadsheet with its first sheet's XML replaced."""
    made = path.with_name("made.xlsx")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, xml if name == "xl/worksheets/sheet1.xml" else old.read(name))
    return made


SPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (f'<!DOCTYPE x [<!ENTITY l0 "lol">{LAUGHS}]><worksheet {SPACE}><sheetData><row><c t="inlineStr"><is><t>&l11;</t></is></c>'
         "</row></sheetData></worksheet>", "is no readable spreadsheet"),
        (f'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><worksheet {SPACE}><sheetData><row r="1"><c r="A1" t="inlineStr">'
         "<is><t>&e;</t></is></c></row></sheetData></worksheet>", "is no readable spreadsheet"),
        (f'<worksheet {SPACE}><dimension ref="A1:XFD9"/><sheetData><row r="1"><c r="A1" t="n"><v>1</v></c></row></sheetData>'
         "</worksheet>", "columns"),
        (f'<worksheet {SPACE}><sheetData><row r="1"><c r="A1" t="n"><v>1</v></c></row><row r="999999999"><c r="A999999999" t="n">'
         "<v>1</v></c></row></sheetData></worksheet>", "rows"),
        (f"<worksheet {SPACE}><sheetData><row", "is no readable spreadsheet"),
    ],
    ids=["a billion laughs", "a file of this machine", "columns", "rows", "cut"],
)  # fmt: skip
def test_a_hostile_spreadsheet(sheet: Path, xml: str, said: str) -> None:
    before = time.process_time()
    with pytest.raises(SourceError, match=said) as fault:
        rows_of(with_sheet(sheet, xml))
    assert "root:" not in str(fault.value)
    assert time.process_time() - before < 20
    assert MOST_ROWS >= 2**20
    assert MOST_COLUMNS >= 1000


def test_a_broken_spreadsheet_is_one_error(sheet: Path) -> None:
    rng, whole = random.Random(3), sheet.read_bytes()
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(rng.randrange(1, 12)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        sheet.write_bytes(bytes(broken[: rng.choice([len(broken), rng.randrange(len(broken))])]))
        with suppress(PalpateError):  # and nothing else
            rows_of(sheet)


@pytest.mark.parametrize("name", ["header.json", "xl/workbook.xml"])
def test_an_archive_that_lies_about_its_size_is_cut_off(tmp_path: Path, sheet: Path, name: str) -> None:
    """It declares ten bytes and holds a hundred million: no more than a little is ever unpacked."""
    from palpate.imports.answers import read_answers

    path = tmp_path / "log.eval" if name == "header.json" else sheet
    with zipfile.ZipFile(path, "w" if name == "header.json" else "a", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a second file of the name
        archive.writestr(name, b"0" * 100_000_000)
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 100_000_000), struct.pack("<L", 10)))
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo(name).file_size == 10
    tracemalloc.start()
    try:
        with pytest.raises(SourceError):
            read_answers([path])
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- tables that are read


def test_a_small_parquet_file_that_unpacks_to_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"file": pa.array(["x" * 10_000] * 20_000), "label": ["a"] * 20_000}), path)
    assert path.stat().st_size < 100_000  # 200 MB of text
    monkeypatch.setattr(_tables, "MOST_BYTES", 30_000_000)
    with pytest.raises(SourceError, match="unpacks to more than"):
        read_table(path, "", lambda columns: columns)
    monkeypatch.setattr(_tables, "MOST_ROWS", 19_999)
    with pytest.raises(SourceError, match="has 20,000 rows"):
        read_table(path, "", lambda columns: columns)
    monkeypatch.setattr(_tables, "MOST_ROWS", 20_000)
    columns, rows = read_table(path, "", lambda columns: ["label"])  # only what is asked for counts
    assert columns == ["file", "label"]
    assert len(rows) == 20_000


# ---------------------------------------------------------------- images


def png(width: int, height: int) -> bytes:
    """A black PNG of a few kilobytes, whatever its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = packer.compress(bytes(min((2 + width // 8) * height, 10_000_000))) + packer.flush()
    head = struct.pack(">LLBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


LIMITED = """
import resource, sys
from pathlib import Path
from palpate.cases._images import Undecodable, check
import numpy, PIL.Image
PIL.Image.init()
used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), used + (64 << 20)))
try:
    check(Path(sys.argv[1]))
except Undecodable as fault:
    print(fault)
"""


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (8001, 8000), (100_000, 1000)])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    """In a process that has 64 MB: were it decoded, it would die of it."""
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(*size))
    assert bomb.stat().st_size < 30_000
    done = subprocess.run([sys.executable, "-c", LIMITED, bomb], capture_output=True, text=True, check=True, env={**os.environ})
    assert "million" in done.stdout


def test_a_slide_whose_tiles_unpack_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("tiffslide")
    import numpy as np

    from palpate.cases import _slides

    with tifffile.TiffWriter(tmp_path / "s.tif") as out:
        out.write(np.zeros((512, 512, 3), np.uint8), tile=(512, 512), photometric="rgb", compression="zlib")
    assert _slides.check_region(tmp_path / "s.tif", "#0,0,64,64@0").decode["region"] == "0,0,64,64@0"
    monkeypatch.setattr(_slides, "MAX_TILE", 512 * 512 * 3 - 1)
    with pytest.raises(Undecodable, match="tiles of"):
        _slides.check_region(tmp_path / "s.tif", "#0,0,64,64@0")


def test_text_hidden_in_an_image_does_not_fill_memory(tmp_path: Path) -> None:
    """A PNG's compressed text may claim gigabytes; the pixels are what is wanted."""
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("note", "x" * 20_000_000, zip=True)
    Image.new("RGB", (32, 32)).save(tmp_path / "t.png", pnginfo=info)
    assert (tmp_path / "t.png").stat().st_size < 100_000
    tracemalloc.start()
    with suppress(Undecodable):
        assert check(tmp_path / "t.png").decode["rule"] == "rgb8@1"
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert used < 10_000_000


# ---------------------------------------------------------------- study files


@pytest.mark.parametrize("text", ["a = " + "[" * 50_000, "a" + ".a" * 2_000 + " = 1", "a = " + "{a=" * 20_000])
def test_a_study_file_nested_without_end_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    with pytest.raises(StudyError):
        Study.load(tmp_path / "s.toml")


def test_a_study_file_of_anything_is_one_error(tmp_path: Path) -> None:
    rng, path = random.Random(5), write_study(tmp_path)
    whole = path.read_text(encoding="utf-8")
    pieces = ["[[", "]]", '"', "=", "\n", "\0", "true", "-1", "1e999", "nan", "[]", "{}", "..", "/", "$", "é", "\U0001f9e0", "name"]
    for _ in range(150):
        text = whole
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(pieces) + text[at + rng.randrange(4) :]
        path.write_text(text, encoding="utf-8")
        with suppress(PalpateError):  # and nothing else
            Study.load(path)


NAMES = ("../../evil", "/tmp/evil", "..", "a\\..\\b", "x" * 300)


def test_names_are_never_paths(tmp_path: Path, cli: Cli) -> None:
    """Of study, model and task: everything a run writes and exports stays in the folder that was named."""
    done = 0
    for i, name in enumerate(NAMES):
        home = tmp_path / "deep" / str(i)
        quoted = json.dumps(name)
        text = STUDY.replace('name = "small"', f"name = {quoted}").replace('"base"', quoted)
        text = text.replace('name = "pneumonia_cxr"', f'name = {quoted}\ntask = "pneumonia_cxr"').replace(
            "[measure]", "[measure]", 1
        )
        home.mkdir(parents=True)
        study = write_study(home, text, per_class=2)
        before, existed = everything(tmp_path), Path("/tmp/evil").exists()
        told = cli("run", study, "--out", home / "run", "-q", exit_code=None)
        assert told.exit_code in (0, 2), told.output  # refused is well too
        if told.exit_code == 0:
            cli("export", home / "run", "--out", home / "out")
            done += 1
        new = everything(tmp_path) - before
        assert all(p.is_relative_to(home / "run") or p.is_relative_to(home / "out") for p in new), name
        assert Path("/tmp/evil").exists() == existed
    assert done >= 3


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# ---------------------------------------------------------------- what is written for spreadsheets


@pytest.mark.parametrize("sign", FORMULA)
def test_a_cell_that_a_spreadsheet_would_run_is_put_after_an_apostrophe(sign: str) -> None:
    assert inert(f"{sign}cmd|' /C calc'!A0") == f"'{sign}cmd|' /C calc'!A0"
    assert inert(f"No{sign}") == f"No{sign}"


FORMULAS = ("=1+1", "-1+1", "\n=1", "＝1+1")


def test_no_cell_of_any_table_of_a_hostile_run_is_a_formula(tmp_path: Path, cli: Cli) -> None:
    """Answers, models, cases, patients, wordings, factors and file names that begin so, written in every table there is."""
    rows = [
        {"model": f"{f}m{i}", "task": f"{f}t{i}", "case": f"{f}{n}", "group": f"{f}g{n}", "label": n % 2, "prompt": f"{f}Is it?",
         "form": "yes-no", "polarity": "positive", "cell": f"{f}c", "response": f"{f}Yes", "factor.role": f"{f}r"}
        for i, f in enumerate(FORMULAS)
        for n in range(2)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "answers.parquet")
    cli("import", tmp_path / "answers.parquet", "--out", tmp_path / "run", "--keep-ids")
    written = Results.open(tmp_path / "run").export(
        ["trials", "readings", "estimates", "tables"], tmp_path / "out", form="csv", with_text=True
    )
    tables = [path for path, _ in written if path.suffix == ".csv"] + [tmp_path / "run" / "cases.csv"]
    assert len(tables) == 4
    seen: set[str] = set()
    for path in tables:
        with path.open(encoding="utf-8", newline="") as file:
            for cell in (cell for row in csv.reader(file) for cell in row):
                assert not cell.startswith(FORMULA) or _is_number(cell), (path.name, cell)
                seen |= {cell} if cell.startswith("'") else set()
    assert {f"'{f}Yes" for f in FORMULAS} <= seen
    assert len(seen) >= 4 * len(FORMULAS)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------- secrets

SECRETS = {
    "OPENAI_API_KEY": "sk-proj-5b1e77-never-written-anywhere",
    "AZURE_OPENAI_API_KEY": "az-9c2d40-never-written-anywhere",
    "HF_TOKEN": "hf_7d3f11neverwrittenanywhere",
    "AWS_SECRET_ACCESS_KEY": "aws-1f8a02-never-written-anywhere",
    "MY_SALT": "salt-6e4b93-never-written-anywhere",
}


def test_no_secret_of_the_environment_is_in_any_file_of_a_run(tmp_path: Path) -> None:
    """Files are searched as they are, and archives inside them unpacked; so is every word that is printed."""
    home = tmp_path / "home"
    home.mkdir()
    study = write_study(home, STUDY.replace("group_regex", 'salt_env = "MY_SALT", group_regex') + "[ask]\nworkers = 2\n")
    env = {**SECRETS, "HOME": str(home), "TMPDIR": str(home)}
    said = ""
    for words in (
        ("run", study, "--out", home / "run"),
        ("report", home / "run"),
        ("export", home / "run", "--out", home / "out", "--format", "csv", "--with-text"),
        ("check", home / "run"),
        ("run", study.with_name("none.toml"), "--out", home / "none"),
    ):
        with palpate(*words, env=env) as process:
            said += "".join(process.communicate(timeout=120))
    found = [path for path in home.rglob("*") if path.is_file()]
    assert {"ledger.sqlite", "report.html", "study.toml", "cases.csv", "estimates.json"} <= {path.name for path in found}
    for secret in (*SECRETS.values(), *(value[3:20] for value in SECRETS.values())):
        assert secret not in said
        for path in found:
            assert secret.encode() not in path.read_bytes(), path
    assert (home / "run" / "study.toml").read_text(encoding="utf-8").count(
        "MY_SALT"
    ) == 1  # the name of the variable, not its content
