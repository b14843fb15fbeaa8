"""How often each fault was provoked, and what came of it: kept as counts and shown in ``docs/reliability.md``.

A test calls ``survived`` when all its assertions have held. With ``PALPATE_RECORD=1`` (as ``make faults`` sets it) the counts go
to ``docs/reliability.json`` and the page is written anew from them; without, they are printed alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

DOCS = Path(__file__).parents[1] / "docs"
GOLDEN = "tests/golden/"
START, END = "<!-- The table is made by tests/faults_found.py. -->\n", "<!-- The table ends here. -->\n"


@dataclass(frozen=True)
class Fault:
    """``least``: how often it must have been provoked for its row to stand in the page."""

    title: str
    how: str
    test: str
    least: int


KILLS, FAULTS_TEST = GOLDEN + "test_kill_and_resume.py::", GOLDEN + "test_faults.py::"
FAULTS = {
    "driver": Fault(
        "the driver is killed",
        "`kill -9` of the process group at random moments, one or two workers, then run again",
        KILLS + "test_killed_at_random_moments",
        100,
    ),
    "stages": Fault(
        "the driver is killed at a named stage",
        "`kill -9` when the folder is made, the first block is committed, the answers are read, measured, reported …",
        KILLS + "test_killed_at_every_stage_in_one_folder",
        8,
    ),
    "worker": Fault(
        "a worker is killed",
        "`kill -9` of one of two worker processes at random moments: it is replaced, the run goes on",
        KILLS + "test_workers_killed_at_random_moments",
        100,
    ),
    "ray": Fault(
        "a Ray worker is killed",
        "`kill -9` of an actor's process while it answers: it is replaced, the run goes on",
        GOLDEN + "test_same_numbers_on_ray.py::test_workers_that_are_killed_are_replaced_and_nothing_is_lost",
        1,
    ),
    "stopped": Fault(
        "Ctrl-C",
        "SIGINT to the group or to the driver alone, one or two workers, then run again",
        KILLS + "test_stopped_by_hand",
        4,
    ),
    "power": Fault(
        "power cut",
        "the write-ahead log is cut inside the last transaction: around every frame's border and between (slow: at every byte)",
        GOLDEN + "test_damage.py::test_a_power_cut_in_the_last_transaction",
        100,
    ),
    "full": Fault(
        "full disk",
        "a disk of 32 to 400 kB that runs full in the ledger, the case list or the report; then it has room",
        GOLDEN + "test_full_disk.py::test_a_full_disk",
        6,
    ),
    "readonly": Fault(
        "read-only disk",
        "a disk with a half-done or a finished run is mounted read-only: one message, still readable; then writable again",
        FAULTS_TEST + "test_a_disk_that_may_only_be_read",
        2,
    ),
    "clock": Fault(
        "the clock jumps",
        "the wall clock of the process goes forward and back by up to ten years, at every reading of it",
        FAULTS_TEST + "test_a_clock_that_jumps_changes_nothing",
        2,
    ),
    "two": Fault(
        "two runs on one ledger",
        "a second `palpate run` on the same folder at random moments: refused with one message, the first goes on",
        FAULTS_TEST + "test_two_runs_at_once",
        20,
    ),
    "page": Fault(
        "corrupt ledger page",
        "each page of the file in turn is overwritten with random bytes: found, what is whole is saved, and run on from there",
        GOLDEN + "test_damage.py::test_any_broken_page_is_found_and_the_rest_is_saved",
        30,
    ),
    "edited": Fault(
        "a row edited by hand",
        "a letter, a margin, a status, a label's case, a plan … is changed in the file: named by `palpate check`",
        GOLDEN + "test_damage.py::test_what_was_edited_by_hand_is_found",
        10,
    ),
    "image": Fault(
        "an image is changed or deleted",
        "overwritten or deleted after planning, and between two sittings: an error, or a new case and a note; no other's answer",
        FAULTS_TEST + "test_images_that_change_under_a_run",
        4,
    ),
    "model": Fault(
        "the model folder changes",
        "one byte of weights, template or config between two sittings: refused with what differs; put back, it goes on",
        FAULTS_TEST + "test_a_model_that_changed_between_two_sittings_is_refused",
        3,
    ),
    "memory": Fault(
        "GPU out of memory",
        "`torch.OutOfMemoryError` whenever more than so many questions are asked together: halved, all answered the same",
        GOLDEN + "test_faults_in_models.py::test_a_device_that_runs_out_of_memory_loses_no_question",
        3,
    ),
    "nan": Fault(
        "NaN logits",
        "a weight that is not a number: every question an error with its cause, no text, no reading; put right, asked again",
        GOLDEN + "test_faults_in_models.py::test_logits_that_are_no_numbers_are_errors_and_are_asked_again",
        2,
    ),
    "instead": Fault(
        "a self-test fails",
        "a planted fault in asking together (bfloat16), `kill -9` before the first answer and after the first batch, then run on:"
        " asked one by one as another model, like a study that asks so, and never again the way that failed",
        GOLDEN + "test_asked_instead.py::test_a_killed_run_goes_on_with_what_was_decided",
        2,
    ),
    "endpoint": Fault(
        "an endpoint fails",
        "three requests in ten end as 429, 500, 503, reset, hanging, cut or malformed replies",
        GOLDEN + "test_endpoint_study.py::test_three_in_ten_requests_fail_and_every_trial_is_answered",
        30,
    ),
    "served": Fault(
        "an endpoint serves another model",
        "model or system fingerprint changes during a run, and between two sittings: recorded, warned of in the report",
        FAULTS_TEST + "test_an_endpoint_that_serves_another_model_is_warned_of",
        2,
    ),
}
Counts = dict[str, dict[str, dict[str, int]]]
"""Fault → part of its test → tried, survived, lost."""


def survived(fault: str, tried: int, *, lost: int = 0, part: str = "") -> None:
    """A test has provoked ``fault`` so often, and after each all was as it should be. ``lost``: answers gone; ``part``: of a test
    that is run in several."""
    assert fault in FAULTS
    print(f"{FAULTS[fault].title}: tried {tried}, survived {tried}, lost {lost}")
    if os.environ.get("PALPATE_RECORD") != "1":
        return
    with FileLock(DOCS / ".reliability.lock"):
        kept = DOCS / "reliability.json"
        found: Counts = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        if tried < sum(part["tried"] for part in found.get(fault, {}).values()) and not part:
            return  # the short version of a test whose long one stands there
        found.setdefault(fault, {})[part] = {"tried": tried, "survived": tried, "lost": lost}
        kept.write_text(json.dumps(dict(sorted(found.items())), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        text = (DOCS / "reliability.md").read_text(encoding="utf-8")
        (DOCS / "reliability.md").write_text(page(text, found), encoding="utf-8")


def page(text: str, found: Counts) -> str:
    """The page's ``text`` with its table made of the counts."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    assert rest
    assert after
    return before + START + table(found) + END + after


def table(found: Counts) -> str:
    """One row a fault that was provoked."""
    rows = ["| fault | how it is provoked | tried | survived | lost | test |", "|---|---|---|---|---|---|"]
    for name, fault in FAULTS.items():
        if name in found:
            tried, well, lost = (sum(part[what] for part in found[name].values()) for what in ("tried", "survived", "lost"))
            file, _, test = fault.test.removeprefix("tests/").partition("::")
            rows.append(f"| {fault.title} | {fault.how} | {tried:,} | {well:,} | {lost} | `{file}` `{test}` |")
    return "\n".join(rows) + "\n"
