#!/bin/sh
# Runs one file of end-to-end tests. Usage: run.sh PROGRAM DIRECTORY FILE
# PROGRAM is the built `tael`; the client is installed once, into DIRECTORY.
set -eu
program=$1 directory=$2 file=$3
"$(dirname "$0")/install.sh" "$directory"
export TAEL_PROGRAM="$program"
export NODE_PATH="$directory/node_modules"
exec node --test-reporter=tap "$file"
