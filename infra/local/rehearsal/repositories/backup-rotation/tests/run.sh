#!/bin/sh
# Runs all tests; exit status 1 when one failed.
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
failures=0

# check NAME KEEP EXPECTED: five backups, rotated to KEEP, must leave EXPECTED.
check() {
    folder=$(mktemp -d)
    for day in 01 02 03 04 05; do
        : >"$folder/2026-03-$day.tar"
    done
    sh "$here/rotate.sh" "$folder" "$2" >/dev/null
    left=$(cd "$folder" && ls | tr '\n' ' ')
    rm -r "$folder"
    if [ "$left" = "$3" ]; then
        echo "ok: $1"
    else
        echo "FAILED: $1: left '$left', expected '$3'"
        failures=1
    fi
}

check "keeps three of five" 3 "2026-03-03.tar 2026-03-04.tar 2026-03-05.tar "
check "keeps one of five" 1 "2026-03-05.tar "
# more tests above this line

exit "$failures"
