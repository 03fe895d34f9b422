#!/usr/bin/env bash
# Pins every dependency of pyproject.toml into requirements.lock, naming no host.
# CUDA's own packages are left out: they come with the build of PyTorch that a machine takes.
set -euo pipefail
cd "$(dirname "$0")/.."
links=${PIP_FIND_LINKS:-$(.venv/bin/python -m pip config get global.find-links 2>/dev/null || true)}
# Pins that still fit stay as they are: delete requirements.lock first to move all of them.
if [ -f requirements.lock ]; then cp requirements.lock .requirements.partial; fi
.venv/bin/uv pip compile --quiet --universal --python-version 3.11 ${links:+--find-links "$links"} \
  --extra dev --no-header --no-annotate pyproject.toml --output-file .requirements.partial
grep -vE '^(nvidia-|cuda-|triton)' .requirements.partial |
  sed -E 's/^torch==([0-9.]+).*/torch==\1/' | awk '!seen[$0]++' > requirements.lock
rm .requirements.partial
