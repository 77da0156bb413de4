"""``python -m headend`` is the command ``headend``."""

from headend.app.cli import main

if __name__ == "__main__":
    main()
