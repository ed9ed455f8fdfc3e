"""`python -m rustvid` is the same as `rustvid`."""

from rustvid.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
