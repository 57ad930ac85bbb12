#!/bin/sh
# Usage: rotate.sh FOLDER KEEP - deletes all but the KEEP newest *.tar files of FOLDER.
set -eu

folder=$1
keep=$2

cd "$folder"
for backup in *.tar; do
    [ -e "$backup" ] && printf '%s\n' "$backup"
done | sort -r | tail -n "+$keep" | while IFS= read -r old; do
    rm -- "$old"
    printf 'deleted %s\n' "$old"
done
