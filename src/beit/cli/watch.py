"""`beit watch RUN`."""

from __future__ import annotations

import time
from collections.abc import Sequence

from beit.cli.parser import parse_job
from beit.settings.inspection import WatchJob

DESCRIPTION = (
    "Look at a run while it works: how far it is, its newest numbers and how they went, the last checkpoint, broken "
    "pictures. Ends when the run has ended, is paused, has diverged or seems to have died, and says how to continue "
    "it; or with Ctrl-C. Looks once where the output is no terminal."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, show, refresh."""
    job = parse_job(WatchJob, "beit watch", DESCRIPTION, arguments, ("run",))
    from rich.console import Console
    from rich.live import Live

    from beit.engine.run_state import open_run, state_now
    from beit.engine.watch import overview

    folder, console = open_run(job.run), Console()
    if job.once or not console.is_terminal or not state_now(folder).working:
        console.print(overview(folder))
        return 0
    try:
        with Live(overview(folder), console=console, auto_refresh=False) as live:
            while state_now(folder).working:
                time.sleep(job.every)
                live.update(overview(folder), refresh=True)
            live.update(overview(folder), refresh=True)  # it may have ended since
    except KeyboardInterrupt:
        pass  # the way to stop looking
    return 0
