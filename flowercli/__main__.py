"""Let ``python -m flowercli`` do what ``flowers`` does."""

import sys

from flowercli.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
