"""The command line: flags and exit codes. Each verb calls one function of the library.

Exit codes: 0 done (or the gate passes), 1 the gate fails, 2 the user can put it right (or the gate could not be
evaluated), 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import click

from palpate import __version__
from palpate.cli import asking, exporting, importing, inspecting, labelling, looking, results, viewing

SECTIONS = {
    "Begin": {
        "demo": "Examine four bundled models: offline, one to two minutes.",
        "init": "Write a commented study file to start from.",
        "list": "List what a study may name.",
        "inspect": "Say what images are like, and what is wrong with them.",
        "plan": "Say what a study asks, takes and can show.",
    },
    "Run": {
        "run": "Ask, read, measure, report; run again, it goes on.",
        "ask": "Only ask.",
        "read": "Only read what was answered.",
        "import": "Make a run of answers made elsewhere.",
    },
    "Look": {
        "report": "Write the report again.",
        "questions": "What a run says to the seven questions.",
        "measure": "Every number, or those you name.",
        "view": "Look inside a run, on a page of this machine.",
        "show": "List answers; tell all about one.",
        "compare": "Say what changed between two runs.",
        "label": "Read answers yourself, to judge the machine's reading.",
    },
    "Hand on": {
        "gate": "Hold a run to conditions: exit 0, 1 or 2.",
        "export": "Write rows, estimates and tables for other programs.",
        "check": "Check that a run is whole; save what is.",
    },
}
"""What ``palpate --help`` says of each verb, by what one wants; each verb's own ``--help`` says more."""


class _Verbs(click.Group):
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """By section; a verb that is in none stands at the end."""
        named = {verb for verbs in SECTIONS.values() for verb in verbs}
        others = {verb: self.commands[verb].get_short_help_str(60) for verb in sorted(set(self.commands) - named)}
        for title, verbs in {**SECTIONS, "Others": others}.items():
            if verbs:
                with formatter.section(title):
                    formatter.write_dl(list(verbs.items()), col_max=12)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="palpate")
def main() -> None:
    """Press on a medical vision-language model and see where it gives.

    A study (one TOML file) names models, tasks and wordings; a run is a folder that holds every answer and the report.
    """


for verb in (
    *asking.VERBS,
    *importing.VERBS,
    *results.VERBS,
    *exporting.VERBS,
    *labelling.VERBS,
    *inspecting.VERBS,
    *viewing.VERBS,
    *looking.VERBS,
):
    main.add_command(verb)
