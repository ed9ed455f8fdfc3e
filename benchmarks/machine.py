"""What a result was measured on and with, from the checkout that this file lies in.

python benchmarks/machine.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rustvid.bench.machine import facts, file_digest, write_json

ROOT = Path(__file__).resolve().parents[1]
__all__ = ["ROOT", "facts", "file_digest", "write_json"]

if __name__ == "__main__":
    print(json.dumps(facts(), indent=1, ensure_ascii=False))
