#!/bin/sh
# Finds the Java that Spark will run on and writes it to the file named as the first argument:
#   line 1  the folder to use as JAVA_HOME
#   line 2  what JAVA_HOME was when it was chosen
# Does nothing while that record holds. Spark 4.0 to 4.2 run on Java 17 and 21.
set -eu

record=$1
log=$(dirname "$record")/setup.log
asked=${JAVA_HOME:-}

say() { printf 'set-up: %s\n' "$*" >&2; }

still_holds() {
    [ -f "$record" ] || return 1
    { IFS= read -r chosen && IFS= read -r before; } <"$record" || return 1
    [ "$before" = "$asked" ] && [ -x "$chosen/bin/java" ]
}

# major HOME -> 17, 21, ...; 1 for Java 8; nothing where there is no Java that starts.
major() {
    [ -x "$1/bin/java" ] || return 0
    "$1/bin/java" -version 2>&1 </dev/null | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1
}

# Spark 4.2 starts the JVM with this module, which runtimes that were trimmed lack.
whole() { "$1/bin/java" --add-modules=jdk.incubator.vector -version </dev/null >/dev/null 2>&1; }

fits() {
    case $(major "$1") in
    17 | 21) whole "$1" ;;
    *) return 1 ;;
    esac
}

# on_path -> the home of the java on PATH. It is asked, because what lies on PATH is often a link or a shim.
on_path() {
    java -XshowSettings:properties -version 2>&1 </dev/null | sed -n 's/^ *java\.home = //p' | head -n 1
}

usual_places() {
    for place in \
        "${CONDA_PREFIX:-/nowhere}" "${CONDA_PREFIX:-/nowhere}"/lib/jvm \
        /usr/lib/jvm/* /usr/lib64/jvm/* /usr/java/* /opt/java /opt/java*/* /opt/java* /opt/*jdk* \
        "$HOME"/.sdkman/candidates/java/* "$HOME"/.jdks/* "$HOME"/.asdf/installs/java/* \
        "$HOME"/.local/share/mise/installs/java/* \
        /Library/Java/JavaVirtualMachines/*/Contents/Home "$HOME"/Library/Java/JavaVirtualMachines/*/Contents/Home \
        /opt/homebrew/opt/openjdk@*/libexec/openjdk.jdk/Contents/Home \
        /usr/local/opt/openjdk@*/libexec/openjdk.jdk/Contents/Home \
        /home/linuxbrew/.linuxbrew/opt/openjdk@*/libexec; do
        [ -x "$place/bin/java" ] && printf '%s\n' "$place"
    done
    if [ -x /usr/libexec/java_home ]; then
        /usr/libexec/java_home -v 17 2>/dev/null || true
        /usr/libexec/java_home -v 21 2>/dev/null || true
    fi
}

# why_not HOME -> what is wrong with a Java that was pointed at.
why_not() {
    found=$(major "$1")
    case $found in
    '') echo "has no bin/java that starts" ;;
    17 | 21) echo "lacks the module jdk.incubator.vector" ;;
    1) echo "is Java 8" ;;
    *) echo "is Java $found" ;;
    esac
}

# find -> prints the first home that fits; says which of the user's own were passed over.
find_java() {
    if [ -n "$asked" ]; then
        if fits "$asked"; then printf '%s\n' "$asked" && return; fi
        say "JAVA_HOME=$asked $(why_not "$asked"): passed over, 17 or 21 is needed"
    fi
    home=$(on_path)
    if [ -n "$home" ] && [ "$home" != "$asked" ]; then
        if fits "$home"; then printf '%s\n' "$home" && return; fi
        say "the java on PATH ($home) $(why_not "$home"): passed over, 17 or 21 is needed"
    fi
    usual_places | while IFS= read -r home; do
        if fits "$home"; then printf '%s\n' "$home" && break; fi
    done
}

# as_root COMMAND... -> runs it as root, where that asks for no password.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

# install -> Debian's own; 17 where it is offered, 21 in releases that have dropped it.
install_java() {
    say "no Java 17 or 21 found: installing Debian's OpenJDK (log: $log)"
    as_root apt-get -q -o Acquire::Retries=3 update >>"$log" 2>&1 || return 1
    # Slim images have no folder for manual pages, and the package's links into it fail then.
    as_root mkdir -p /usr/share/man/man1
    for version in 17 21; do
        LC_ALL=C apt-cache policy "openjdk-$version-jre-headless" | grep -q 'Candidate: [0-9]' || continue
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 \
            install --no-install-recommends "openjdk-$version-jre-headless" >>"$log" 2>&1 && return
    done
    return 1
}

stop() {
    cat >&2 <<TEXT
set-up: Spark needs Java 17 or 21, and there is none here. Type the line that fits, and then the same make again:
    Debian, Ubuntu   sudo apt-get install openjdk-17-jre-headless     (openjdk-21-jre-headless where 17 isn't offered)
    macOS            brew install openjdk@17
    conda            conda install -c conda-forge openjdk=17
If you have one in a place of your own, set JAVA_HOME to its folder.
TEXT
    exit 1
}

if still_holds; then exit 0; fi
home=$(find_java)
if [ -z "$home" ] && may_install; then
    install_java || { tail -n 5 "$log" >&2 && say "Debian's OpenJDK could not be installed"; }
    home=$(find_java)
fi
[ -n "$home" ] || stop
mkdir -p "$(dirname "$record")"
printf '%s\n%s\n' "$home" "$asked" >"$record.new"
mv "$record.new" "$record"
say "Java $(major "$home") at $home"
