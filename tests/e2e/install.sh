#!/bin/sh
# Installs the official Node client into DIRECTORY, unless it is there. Usage: install.sh DIRECTORY
set -eu
directory=$1
here=$(dirname "$0")
! cmp -s "$here/package-lock.json" "$directory/installed-lock.json" || exit 0
mkdir -p "$directory"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$directory"
(cd "$directory" && npm ci --no-audit --no-fund --loglevel=error)
cp "$here/package-lock.json" "$directory/installed-lock.json"
