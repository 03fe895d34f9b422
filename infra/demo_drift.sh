#!/usr/bin/env bash
# Drift and recovery, by the real commands, in a clone under .perpetune/ so that your own data,
# registry and settings stay as they are.
#
# Smaller than the default, so that two rounds take a few minutes: four trials, fewer examples. Fewer
# examples measure less sharply, so that "no worse on any benchmark" allows 0.1 instead of 0.05 nats a
# token.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
demo=$root/.perpetune/demo-drift
smaller=(
  --set sweep.trials=4
  --set 'sweep.space={tune.method.rank: [8, 32], tune.learning_rate: [0.001, 0.003]}'
  --set evaluate.max_examples=256
  --set evaluate.max_generations=16
  --set evaluate.few_shot=0
  --set evaluate.gates.no_regression.loss=0.1
)
rm -rf "$demo"
mkdir -p "$root/.perpetune/models"
git clone --quiet "$root" "$demo"
cd "$demo"
mkdir .perpetune
ln -s "$root/.venv" .venv
ln -s "$root/.perpetune/models" .perpetune/models
export PATH="$root/.venv/bin:$PATH"

echo "== A first champion"
perpetune run --auto-approve --reason "the first champion" "${smaller[@]}"
echo
echo "== Its traffic: windows without drift, then one that drifted; drift starts a round"
perpetune watch --retrain --json "${smaller[@]}" > watched.json
python benchmarks/drift_recovery.py watched.json .perpetune/drift-and-recovery.png
