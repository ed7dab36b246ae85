#!/bin/sh
# Installs the project and all that it needs, at the tested versions, into the virtual environment named as the first
# argument. pip's pages go to the log beside it.
set -eu

venv=$1
log=$venv/setup.log

say() { printf 'set-up: %s\n' "$*" >&2; }

install() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install -c constraints.txt "$@" >>"$log" 2>&1
}

say "installing the packages (the first time some minutes, and over half a gigabyte; log: $log)"
# The pip of the oldest Pythons can't install this project in place; any later one is left as it is.
if install 'pip>=22.3' && install -e '.[spark,connect,dev]'; then exit 0; fi
tail -n 15 "$log" >&2
say "pip could not install the packages (its last lines are above): with a network, or PIP_INDEX_URL naming a mirror, type the same make again"
exit 1
