"""Let ``python -m flowercli`` do what ``flowers`` does."""

from flowercli.cli.main import run

if __name__ == "__main__":
    run()
