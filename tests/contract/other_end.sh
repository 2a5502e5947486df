#!/bin/sh
# Runs the tracking contract with the oldest numpy and the newest Norfair that vidfer allows, in an environment of its own:
# these two pin each other, and pyarrow 26 needs numpy 2, so they cannot share one with the rest.
#
#   tests/contract/other_end.sh [FOLDER OF THE ENVIRONMENT]      PYTHON names the interpreter (3.11)
set -eu
repository=$(cd "$(dirname "$0")/../.." && pwd)
environment=${1:-"$repository/build/other_end"}
"${PYTHON:-python3.11}" -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
    "numpy==1.26.4" "norfair==2.3.0" "opencv-python-headless>=4.10,<4.12" "pytest>=8.3" "hypothesis>=6.100"
cd "$repository"
PYTHONPATH=$repository exec "$environment/bin/python" -m pytest -q -p no:cacheprovider tests/contract/test_tracking.py
