"""The command line: flags and exit codes. Each verb calls one function of the library.

Exit codes: 0 done (or the gate passes), 1 the gate fails, 2 the user can put it right (or the gate could not be
evaluated), 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import click

from palpate import __version__
from palpate.cli import asking, exporting, importing, inspecting, labelling, looking, results, viewing


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
