"""A process of rounds.py: `python -m rustvid.bench.child JOB.json ANSWER.json`.

The pipeline's workers import this file again, so it loads nothing unless it is the main one.
"""

import sys

if __name__ == "__main__":
    from rustvid.bench.jobs import do

    do(*sys.argv[1:])
