"""Says which compiler is missing before pip drowns it in pydensecrf2's build log.

Everything else about the package is in pyproject.toml.
"""

import os
import shutil
import sys

from setuptools import setup

COMPILERS = ("c++", "g++", "clang++", "x86_64-linux-gnu-g++", "cl")
REMEDY = """

rustvid: no C++ compiler found. pydensecrf2, the CRF, is built from source and needs one:
    Debian, Ubuntu    sudo apt-get install g++ python3-dev
    Fedora            sudo dnf install gcc-c++ python3-devel
    macOS             xcode-select --install
    Windows           Visual Studio Build Tools, "Desktop development with C++"
If pydensecrf2 is installed already, set RUSTVID_HAVE_CRF=1 and install again.
"""

if not (
    os.environ.get("RUSTVID_HAVE_CRF")
    or os.environ.get("CXX")
    or sys.platform == "win32"  # its compiler is found by setuptools, not on the PATH
    or any(map(shutil.which, COMPILERS))
):
    raise SystemExit(REMEDY)

setup()
