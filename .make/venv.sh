#!/bin/sh
# Makes the virtual environment in the folder named as the first argument with the first Python from 3.10 to 3.13 that
# there is (or the one that PYTHON names), and writes the project's folder to its file `made`: scripts and the editable
# install hold absolute paths, so a project that was moved needs another environment.
set -eu

venv=$1

say() { printf 'set-up: %s\n' "$*" >&2; }

fits() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1; }

# Debian splits the module off; the folder is only half made without it.
has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

version() { "$1" -c 'import platform; print(platform.python_version())'; }

# find_python -> prints the first that fits and can make environments; `lacking NAME` where it only fits.
find_python() {
    lacking=
    set -- python3.13 python3.12 python3.11 python3.10 python3 python
    [ -z "${PYTHON:-}" ] || set -- "$PYTHON"
    for python; do
        fits "$python" || continue
        if has_venv "$python"; then printf '%s\n' "$python" && return; fi
        lacking=${lacking:-$python}
    done
    [ -z "$lacking" ] || printf 'lacking %s\n' "$lacking"
}

stop_without_venv() {
    minor=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "$1 has no venv module. On Debian and Ubuntu type: sudo apt-get install python$minor-venv   and then the same make again"
    exit 1
}


python=$(find_python)
case $python in
'')
    if [ -n "${PYTHON:-}" ]; then
        say "PYTHON=$PYTHON is not a Python from 3.10 to 3.13: name another, or none"
    else
        cat >&2 <<TEXT
set-up: no Python from 3.10 to 3.13 found. Type the line that fits, and then the same make again:
    Debian, Ubuntu   sudo apt-get install python3 python3-venv
    macOS            brew install python@3.13
    conda            conda install python=3.13
If you have one that is not on PATH, name it: make setup PYTHON=/where/python3.12
TEXT
    fi
    exit 1
    ;;
'lacking '*) stop_without_venv "${python#lacking }" ;;
esac

if [ -e "$venv" ]; then
    [ -f "$venv/pyvenv.cfg" ] || { say "$venv is in the way and no virtual environment: move it, and type the same make again" && exit 1; }
    say "$venv was made by another tool, for another folder, or is broken: making it again"
    rm -rf "$venv"
fi
say "Python $(version "$python") ($(command -v "$python")) into $venv"
"$python" -m venv "$venv" || { rm -rf "$venv" && exit 1; }
pwd -P >"$venv/made"
