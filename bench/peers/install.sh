#!/bin/sh
# Installs the peers into a virtual environment: install.sh DIRECTORY, with requirements.txt beside this script.
set -eu
python3 -m venv "$1"
"$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$(dirname "$0")/requirements.txt"
