#!/usr/bin/env bash
# Installs the pinned requirements into .venv. Safe to run again; a broken run starts over.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "setup: $("$python" --version 2>&1) is too old; install Python 3.11 or newer," \
    "or name one: make setup PYTHON=python3.12" >&2
  exit 1
fi
if ! .venv/bin/python -c 'import sys' 2>/dev/null; then
  rm -rf .venv
  "$python" -m venv .venv
fi
echo "setup: installing the pinned requirements into .venv"
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

# PyTorch for this machine: pip's own find-links where configured (a mirror, say), else uv's choice
# of the build for this GPU, or for the CPU where there is none.
links=${PIP_FIND_LINKS:-$(.venv/bin/python -m pip config get global.find-links 2>/dev/null || true)}
torch=(--torch-backend auto)
if [ -n "$links" ]; then torch=(--find-links "$links"); fi

uv=(.venv/bin/uv pip install --quiet --python .venv/bin/python)
"${uv[@]}" "${torch[@]}" -r requirements.lock
# These drag in a compiler or a second framework that nobody uses here.
"${uv[@]}" --no-deps -r requirements-nodeps.lock
"${uv[@]}" --no-deps --no-build-isolation --editable .
# Imports of the tools cost several seconds each without bytecode; some files are for other Pythons.
env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true
touch .venv/ready
echo "setup: done"
