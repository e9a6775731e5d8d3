"""``python -m flows.cli`` is ``ato``."""

from flows.cli import main

if __name__ == "__main__":
    main()
