"""Run the command ``headend`` with ``python -m headend``."""

from headend.app.cli import main

if __name__ == "__main__":
    main()
