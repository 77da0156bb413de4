"""``python -m headend`` is the command ``headend``."""

from headend.cli import main

if __name__ == "__main__":
    main()
