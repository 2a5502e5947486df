"""The console script and ``python -m vidfer``: so small that Ctrl-C gets its one line while all else is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from vidfer.cli.app import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.stderr.write("vidfer: error: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
