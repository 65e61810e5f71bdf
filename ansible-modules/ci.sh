#!/bin/sh
# CI of the Ansible collection. Usage: ci.sh [venv|build|doc|lint|sanity|test|all]
# Needs python3.11 or newer with venv, git, and PyPI. Everything it installs is in .venv of the repository.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
venv=${LUSTRE_ANSIBLE_VENV:-$root/.venv}
requirements=$root/ansible-modules/requirements.txt
work=${CARGO_TARGET_DIR:-$root/target}/ansible-ci
tree=$work/ansible_collections/chandelier/lustre

say() { printf '\n== %s\n' "$*"; }

# ansible-core 2.19 runs on Python 3.11 to 3.13.
python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "ci.sh: ansible-core needs Python 3.11, 3.12 or 3.13 with venv; apt-get install python3 python3-venv, or name one in PYTHON" >&2
    return 1
}

venv() {
    if [ -n "${LUSTRE_ANSIBLE_VENV:-}" ]; then return; fi
    if cmp -s "$requirements" "$venv/requirements.installed"; then return; fi
    say "installing ansible-core and ansible-lint into $venv"
    python=$(python)
    "$python" -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet -r "$requirements" ||
        { echo "ci.sh: pip could not install $requirements; it needs PyPI or a mirror (PIP_INDEX_URL)" >&2; exit 1; }
    cp "$requirements" "$venv/requirements.installed"
}

# A copy as an installed collection: ansible-test wants it below ansible_collections, in a git repository of its own.
copy() {
    rm -rf "$tree"
    mkdir -p "$tree"
    (cd "$root/ansible-modules/collection" && tar --exclude=tests/output -cf - .) | tar -xf - -C "$tree"
    git -C "$tree" init -q
    git -C "$tree" add -A
    git -C "$tree" -c user.name=ci -c user.email=ci@localhost commit -qm collection
    export ANSIBLE_COLLECTIONS_PATH="$work"
    # Not the user's: ansible-test and ansible-lint keep caches there.
    export HOME="$work/home"
    mkdir -p "$HOME"
}

build() {
    say "the module program and the collection"
    (cd "$root" && PATH="$venv/bin:$PATH" cargo xtask stubs --check && PATH="$venv/bin:$PATH" cargo xtask ansible-collection)
}

doc() {
    say "ansible-doc"
    listed=$("$venv/bin/ansible-doc" -l chandelier.lustre)
    for file in "$tree"/plugins/modules/*.py; do
        name=$(basename "$file" .py)
        case $listed in *"chandelier.lustre.$name "*) ;; *) echo "ci.sh: ansible-doc -l does not list $name" >&2; exit 1 ;; esac
        "$venv/bin/ansible-doc" "chandelier.lustre.$name" >/dev/null
        "$venv/bin/ansible-doc" -s "chandelier.lustre.$name" >/dev/null
    done
    "$venv/bin/ansible-doc" -t role chandelier.lustre.filesystem >/dev/null
}

lint() {
    say "ansible-lint"
    (cd "$tree" && PATH="$venv/bin:$PATH" "$venv/bin/ansible-lint" --offline --strict)
    (cd "$root/examples/ansible" && PATH="$venv/bin:$PATH" "$venv/bin/ansible-lint" --offline --strict ./*.yml)
}

# ansible-test fetches get-pip.py from a site of its own; behind a mirror there is only PyPI, so pip comes from there.
get_pip() {
    cache=$HOME/.ansible/test/cache
    mkdir -p "$cache"
    cat >"$cache/get_pip_24_2.py" <<'PYTHON'
import ensurepip, os, subprocess, sys
ensurepip.bootstrap(upgrade=True)
# ensurepip sets it, so that pip reads no settings.
os.environ.pop("PIP_CONFIG_FILE", None)
wanted = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel", "--disable-pip-version-check")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "--disable-pip-version-check"] + (wanted or ["pip"])))
PYTHON
    # ansible-test starts pip without the environment's settings: proxies' certificates and mirrors go by a file.
    mkdir -p "$HOME/.config/pip"
    {
        echo "[global]"
        for setting in cert index-url extra-index-url find-links default-timeout; do
            variable=PIP_$(echo "$setting" | tr 'a-z-' 'A-Z_')
            eval "value=\${$variable:-}"
            if [ -n "$value" ]; then echo "$setting = $value"; fi
        done
    } >"$HOME/.config/pip/pip.conf"
}

sanity() {
    say "ansible-test sanity"
    get_pip
    version=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    (cd "$tree" && PATH="$venv/bin:$PATH" "$venv/bin/ansible-test" sanity --python "$version" --requirements)
}

# The same build as that of `cargo xtask ci test`, so that nothing is compiled twice.
check() {
    say "tests with the real ansible"
    (cd "$root" && cargo build --workspace --bins --locked &&
        LUSTRE_ANSIBLE_VENV="$venv" cargo nextest run --workspace --locked --no-fail-fast --run-ignored only -E 'package(lustre-modules)')
}

what=${1:-all}
venv
export PIP_DISABLE_PIP_VERSION_CHECK=1
case $what in
    venv) ;;
    build) build ;;
    doc | lint | sanity) copy && "$what" ;;
    test) build && check ;;
    all) build && check && copy && doc && lint && sanity ;;
    *) echo "usage: ci.sh [venv|build|doc|lint|sanity|test|all]" >&2; exit 2 ;;
esac
