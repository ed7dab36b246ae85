#!/bin/sh
# Installs the project and all that it needs, at the tested versions, into the virtual environment named as the first
# argument; the second one names the extras, where not those of a run. pip's pages go to the log beside it.
set -eu

venv=$1
extras=${2:-spark,connect,dev}
log=$venv/setup.log

say() { printf 'set-up: %s\n' "$*" >&2; }

install() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install -c constraints.txt "$@" >>"$log" 2>&1
}

case $extras in
notebooks) size="to test the notebooks: some 40 small ones" ;;
*) size="the first time some minutes, and over half a gigabyte" ;;
esac
say "installing the packages ($size; log: $log)"
# The pip of the oldest Pythons can't install this project in place; any later one is left as it is.
if install 'pip>=22.3' && install -e ".[$extras]"; then exit 0; fi
tail -n 15 "$log" >&2
say "pip could not install the packages (its last lines are above): with a network, or PIP_INDEX_URL naming a mirror, type the same make again"
exit 1
