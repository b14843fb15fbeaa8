"""The study files that come with Palpate."""

from __future__ import annotations

from pathlib import Path

import pytest

from palpate import studies, study
from palpate.errors import StudyError
from palpate.nouns import Lineage
from palpate.studies import demo_study, write_template


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the bundled weights were installed."""
    monkeypatch.setattr(study, "_check_model", lambda spec, where: None)


@pytest.mark.usefixtures("installed")
def test_the_demo_is_four_models_on_four_phantoms() -> None:
    demo = demo_study()
    assert [m.name for m in demo.models] == ["phantom-llava", "phantom-llava-med", "phantom-gemma", "phantom-medgemma"]
    assert len(demo.tasks) == 4
    assert {t.source.kind for t in demo.tasks if t.source} == {"phantom"}
    assert {len(t.prompts) for t in demo.tasks} == {12}
    assert demo.lineages == (
        Lineage("phantom-llava", "phantom-llava-med", "parent"),
        Lineage("phantom-gemma", "phantom-medgemma", "parent"),
    )
    assert demo.sample.per_class == 75
    assert demo.report.images  # phantoms are nobody's images


@pytest.mark.usefixtures("installed")
def test_the_demo_may_be_smaller() -> None:
    assert demo_study(2).sample.per_class == 2


def test_a_template_is_never_written_over_anything(tmp_path: Path) -> None:
    target = tmp_path / "study.toml"
    write_template(target)
    assert target.read_text(encoding="utf-8") == studies._text("template.toml")
    target.write_text("mine", encoding="utf-8")
    with pytest.raises(StudyError, match="there already") as fault:
        write_template(target)
    assert "study-2.toml" in fault.value.hint
    assert target.read_text(encoding="utf-8") == "mine"
    with pytest.raises(StudyError, match="cannot be written"):
        write_template(tmp_path / "none" / "study.toml")
