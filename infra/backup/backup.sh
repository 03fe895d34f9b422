#!/usr/bin/env bash
# Copies PostgreSQL's databases to FOLDER/YYYYMMDDTHHMMSSZ, and the buckets of the object store to
# FOLDER/objects.
#
#     bash backup.sh FOLDER
#
# PGHOST, PGUSER, PGPASSWORD (or ~/.pgpass) lead to PostgreSQL, RCLONE_CONFIG_STORE_* to the object
# store (rclone.org/docs/#config-file). BUCKETS="" leaves the object store out, for one that has
# versions and replication of its own. KEEP copies of the databases stay.
#
# Objects are written once and have new names when they are made again, so that one copy serves all
# copies of the databases. It only grows; what was overwritten all the same goes to FOLDER/replaced.
#
# The order makes a backup usable that is taken while rounds run: the decision log before MLflow's
# database, and that before the artifacts. Whatever an earlier copy names is then in a later one.
# A copy without its last file (MANIFEST) is not a backup, and is not restored.
set -euo pipefail

folder=${1:?usage: backup.sh FOLDER}
keep=${KEEP:-14}
databases=${DATABASES:-decisions mlflow mlflow_accounts prefect}
buckets=${BUCKETS-mlflow dvc}
umask 077
name=$(date -u +%Y%m%dT%H%M%SZ)
building=$folder/.$name.partial
mkdir -p "$building/databases"
trap 'rm -rf "$building"' EXIT

for database in $databases; do
  echo "backup: database $database"
  pg_dump --format=custom --no-owner --no-privileges --dbname="$database" \
    --file="$building/databases/$database.dump"
done
for bucket in $buckets; do
  echo "backup: bucket $bucket"
  rclone copy --quiet --checksum --backup-dir "$folder/replaced/$name/$bucket" \
    "store:$bucket" "$folder/objects/$bucket"
done
(cd "$building" && find databases -type f -exec sha256sum {} + | sort -k 2) > "$building/.sums"
mv "$building/.sums" "$building/MANIFEST"
mv "$building" "$folder/$name"
trap - EXIT

# The oldest go, as many as there are more than KEEP.
find "$folder" -mindepth 2 -maxdepth 2 -name MANIFEST -printf '%h\n' | sort | head -n "-$keep" |
  while read -r old; do
    echo "backup: $old goes"
    rm -rf "$old"
  done
echo "backup: $folder/$name"
