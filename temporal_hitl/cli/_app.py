"""The commands of `temporal-hitl`, in the order of its help."""

from __future__ import annotations

import typer

from temporal_hitl.cli._answers import answer, confirm, edit, reject, report, retry, select, skip
from temporal_hitl.cli._approvals import approvals
from temporal_hitl.cli._command import command, shared
from temporal_hitl.cli._dev import dev
from temporal_hitl.cli._doctor import doctor
from temporal_hitl.cli._runs import cancel, list_, run, runs, show
from temporal_hitl.cli._serving import worker
from temporal_hitl.cli._watch import watch
from temporal_hitl.cli._web import api, token

HELP = """Start runs, see what waits for a person, answer it, and serve pipelines.

Exit codes: 0 done; 1 the run ended badly, or doctor found something; 2 what was typed does not do;\
 3 no such run or requirement; 4 the answer does not fit; 5 somebody was first; 6 no server or no\
 worker answers; 70 unexpected; 130 Ctrl-C."""

app = typer.Typer(name="temporal-hitl", no_args_is_help=True, pretty_exceptions_enable=False)
shared(app, HELP)
for each in (list_, show, confirm, reject, answer, select, edit, report, retry, skip):
    command(app, each)
for each in (approvals, run, runs, watch, cancel, doctor, worker, api):
    command(app, each)
for each in (token, dev):
    command(app, each, connects=False)
