"""The data card for people: everything is said, everything is escaped, and no script runs."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from PIL import Image

from palpate.cases.folder import FolderSource
from palpate.inspection.card import FAULT, NOTE, DataCard, DataFinding, Probe
from palpate.nouns import Case
from palpate.parts import Labels, Sample
from palpate.report.datacard import card_html, contact_sheet, facts, opening, render_card, sets
from small import make_images

HOSTILE = "<script>document.title='owned'</script>"
CARD = DataCard(
    task="chest",
    identity="x",
    n_cases=1200,
    n_positive=700,
    n_negative=500,
    n_groups=300,
    groups_of_both_labels=4,
    largest_group=31,
    widths=(150, 224.0, 1920),
    heights=(168, 224.5, 1446),
    formats={"JPEG": 1190, "PNG": 10},
    modes={"RGB": 1100, "L": 100},
    left_out={"the file is empty": 3},
    findings=(
        DataFinding("duplicates", FAULT, "25 surplus copies", tuple((f"c-{i}", f"c-{i}-2") for i in range(9))),
        DataFinding("left-out", FAULT, "3 files were left out"),
        DataFinding("modes", NOTE, "stored in several ways"),
    ),
    probes=(
        Probe("file", ("width", "height"), 0.734, 0.001, 1000, 290, 999),
        Probe("grey levels and colour", ("level 0",), None, None, 1000, 290, reason="fewer than 10 patients"),
    ),
    notes=("org/x at revision abc",),
)
PLAIN = replace(CARD, findings=(), left_out={}, formats={}, modes={}, widths=(28, 28.0, 28), heights=(28, 28.0, 28), notes=())


def test_facts():
    assert facts(CARD) == [
        "1,200 images: 700 with the condition, 500 without",
        "300 patients or slides, 31 images of one at most, 4 with both labels",
        "150–1920 × 168–1446 pixels, median 224 × 224.5",
        "formats: JPEG 1,190, PNG 10",
        "stored as: RGB 1,100, L 100",
        "left out: the file is empty 3",
    ]
    assert facts(PLAIN)[2] == "all 28 × 28 pixels"


def test_sets_are_shortened_and_named():
    duplicates = CARD.findings[0]
    assert sets(duplicates, None)[0] == "c-0 = c-0-2"
    assert sets(duplicates, {"c-0": "a.png"})[0] == "a.png = c-0-2"
    assert sets(duplicates, None)[-1] == "… 3 more"
    assert len(sets(duplicates, None)) == 7
    assert sets(CARD.findings[1], None) == []


def test_the_terminal_shows_faults_first_and_every_probe():
    text = render_card(CARD, {"c-0": "a.png"}, [("b.png", "the file is empty")] * 8)
    assert text.index("✗ 25 surplus copies") < text.index("· stored in several ways")
    for told in (
        "a.png = c-0-2",
        "b.png: the file is empty",
        "… 2 more",
        "0.734",
        "0.001",
        "fewer than 10 patients",
        "revision abc",
    ):
        assert told in text
    assert "Nothing was found." in render_card(PLAIN)


@pytest.mark.parametrize("name", ["\x1b[31mred", "\u202eevil", "a\nb"])
def test_a_files_name_cannot_steer_the_terminal(name):
    text = render_card(CARD, {"c-0": name}, [(name, name)])
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_page_runs_no_script_and_escapes_everything():
    hostile = replace(
        CARD,
        task=HOSTILE,
        notes=(HOSTILE,),
        formats={HOSTILE: 1},
        findings=(DataFinding("x", FAULT, HOSTILE, ((HOSTILE,),)),),
        probes=(Probe(HOSTILE, (HOSTILE,), None, None, 1, 1, reason=HOSTILE),),
    )
    page = card_html([hostile], {HOSTILE: {HOSTILE: HOSTILE}})
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1] or "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    assert "http://" not in page
    assert "https://" not in page


def test_the_page_is_the_same_each_time():
    assert card_html([CARD, PLAIN]) == card_html([CARD, PLAIN])
    assert "Nothing was found." in card_html([PLAIN])


def test_what_a_report_says_first():
    assert opening([CARD]) == "The images have faults (chest: 25 surplus copies; 3 files were left out)."
    assert opening([PLAIN]) == opening([]) == ""


def test_the_sheet_shows_every_image_and_survives_one_that_is_gone(tmp_path):
    make_images(tmp_path, per_class=7, size=40)
    cases = FolderSource().load({"path": str(tmp_path)}, Labels(("pneumonia",), ("normal",)), Sample()).cases

    def tiles(of: tuple[Case, ...]) -> int:
        with Image.open(io.BytesIO(contact_sheet(of))) as sheet:
            assert sheet.format == "PNG"
            return sum(
                len(set(sheet.crop((x * 128, y * 142, x * 128 + 124, y * 142 + 120)).convert("L").get_flattened_data())) > 120
                for x in range(12)
                for y in range(sheet.height // 142)
            )

    assert tiles(cases) == 14
    next((tmp_path / "normal").glob("*.png")).unlink()
    assert tiles(cases) == 13
    assert tiles(()) == 0
