#!/usr/bin/env bash
# Drift and recovery, by the real commands, in a clone under .perpetune/ so that your own data,
# registry and settings stay as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
demo=$root/.perpetune/demo-drift
rm -rf "$demo"
mkdir -p "$root/.perpetune/models"
git clone --quiet "$root" "$demo"
cd "$demo"
mkdir .perpetune
ln -s "$root/.venv" .venv
ln -s "$root/.perpetune/models" .perpetune/models
export PATH="$root/.venv/bin:$PATH"

echo "== A first champion"
perpetune run --auto-approve --reason "the first champion"
echo
echo "== Its traffic: windows without drift, then one that drifted; drift starts a round"
perpetune watch --retrain
