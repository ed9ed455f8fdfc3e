"""Run RustVid from a checkout: `python rustvid.py …` is the same as `rustvid …`."""

from rustvid.cli import main

if __name__ == "__main__":  # worker processes import this file again
    raise SystemExit(main())
