#!/usr/bin/env bash
# Brings a backup back, into empty databases and buckets only.
#
#     bash restore.sh FOLDER/20261127T020000Z
#
# Stop worker, Prefect and MLflow first, and start them afterwards. Then `perpetune audit` says
# whether decision log, registry and files agree. The environment is that of backup.sh;
# OBJECTS="" leaves the object store as it is.
set -euo pipefail

backup=${1:?usage: restore.sh BACKUP}
if [ ! -f "$backup/MANIFEST" ]; then
  echo "restore: $backup is not a whole backup (no MANIFEST)" >&2
  exit 2
fi
(cd "$backup" && sha256sum --quiet --check MANIFEST)
objects=${OBJECTS-$(dirname "$backup")/objects}

for dump in "$backup"/databases/*.dump; do
  database=$(basename "$dump" .dump)
  tables=$(psql --no-psqlrc --tuples-only --no-align --dbname="$database" --command \
    "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
  if [ "$tables" != 0 ]; then
    echo "restore: database $database is not empty ($tables tables): make a new one of that name" >&2
    exit 2
  fi
done
# Artifacts first: whatever a database names is then there.
if [ -n "$objects" ] && [ -d "$objects" ]; then
  for path in "$objects"/*/; do
    bucket=$(basename "$path")
    rclone mkdir "store:$bucket"
    if [ -n "$(rclone lsf --max-depth 1 "store:$bucket" | head -n 1)" ]; then
      echo "restore: bucket $bucket is not empty: empty it, or make a new one of that name" >&2
      exit 2
    fi
  done
  for path in "$objects"/*/; do
    bucket=$(basename "$path")
    echo "restore: bucket $bucket"
    rclone copy --quiet --checksum "$path" "store:$bucket"
  done
fi
for dump in "$backup"/databases/*.dump; do
  database=$(basename "$dump" .dump)
  owner=$(psql --no-psqlrc --tuples-only --no-align --dbname="$database" --command \
    "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
  echo "restore: database $database"
  pg_restore --exit-on-error --single-transaction --no-owner --no-privileges \
    --role="$owner" --dbname="$database" "$dump"
done
echo "restore: done; now start the servers and run \`perpetune audit\`"
