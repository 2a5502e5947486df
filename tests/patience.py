"""How long tests wait: machines that run them have other work, and only what hangs takes so long."""

import time

PATIENCE_S = 200.0


def until(is_so, what="it happened", step_s=0.01):
    """Wait until something is so; gives what it is."""
    end = time.monotonic() + PATIENCE_S
    while not (found := is_so()):
        assert time.monotonic() < end, f"waited for {PATIENCE_S:g} s until {what}"
        time.sleep(step_s)
    return found
