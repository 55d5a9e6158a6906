#!/bin/sh
# Runs Acuity as a module of mercure, which sends the *.dcm at the top of the output folder and nothing below it: after
# a success, series/T1/0001.dcm becomes series_T1_0001.dcm. The exit code is the application's.
set -eu
: "${MERCURE_OUT_DIR:?is not set; mercure sets it for its modules}"
application=${ACUITY_ENTRYPOINT:-/var/holoscan/entrypoint.py}

child= stopped=
stop() {
    stopped=yes
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || :
}
trap stop TERM INT
"$application" "$@" &
child=$!
[ -z "$stopped" ] || stop # by a signal that came before the application's number was known
code=0
wait "$child" || code=$?
# A signal ends the waiting before it has ended the application.
while kill -0 "$child" 2>/dev/null; do
    code=0
    wait "$child" || code=$?
done
[ "$code" -eq 0 ] || exit "$code"

cd "$MERCURE_OUT_DIR"
# Names without a blank, a quote or a line break: they are Acuity's own. Hidden folders are none of a complete run.
find . -mindepth 2 -type f -name '*.dcm' ! -path '*/.*' | sed 's|^\./||' | while read -r file; do
    mv "$file" "$(printf %s "$file" | tr / _)"
done
