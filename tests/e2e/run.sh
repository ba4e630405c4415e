#!/bin/sh
# Runs one file of end-to-end tests. Usage: run.sh PROGRAM DIRECTORY FILE
# PROGRAM is the built `tael`; the client is installed once, into DIRECTORY.
set -eu
program=$1 directory=$2 file=$3
here=$(dirname "$0")

if ! cmp -s "$here/package-lock.json" "$directory/installed-lock.json"; then
    mkdir -p "$directory"
    cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$directory"
    (cd "$directory" && npm ci --no-audit --no-fund --loglevel=error)
    cp "$here/package-lock.json" "$directory/installed-lock.json"
fi
export TAEL_PROGRAM="$program"
export NODE_PATH="$directory/node_modules"
exec node --test-reporter=tap "$file"
