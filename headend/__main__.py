"""Run the command ``headend``, also with ``python -m headend``."""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command with this process's arguments, and exit."""
    try:
        from headend.app.cli import main as run  # takes long enough for a Ctrl-C
    except KeyboardInterrupt:
        print("headend: interrupted (Ctrl-C); run the same command again to continue", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
