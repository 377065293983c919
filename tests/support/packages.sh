# need_packages NAME...: installs the Debian packages that are missing, or says which are and why it cannot.
# Sourced by tests/run and tests/suites/run.
need_packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "The tests need ${missing[*]} (Debian's names). There is no apt-get here: install them by hand and run again." >&2
        return 1
    fi
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "The tests need ${missing[*]}, and installing packages needs root. Run: apt-get install ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "Installing ${missing[*]}"
    # A mirror may fail once, and another program may be at the packages for a while.
    local patient=(-o Acquire::Retries=5 -o DPkg::Lock::Timeout=600)
    "${as_root[@]}" apt-get "${patient[@]}" update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${patient[@]}" install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# python_environment FOLDER PACKAGE==VERSION...: a virtual environment in FOLDER/venv with these packages of PyPI, and what they need in
# the versions of tests/support/python-versions.txt. It is made once; several tests may come here at once. Options of the environment
# and of pip stand in the arrays venv_options and pip_options, which Python in `python`. The working folder is the top folder.
python_environment() {
    local folder=$1 versions=tests/support/python-versions.txt wanted lock try
    shift
    wanted="$* $(cksum <"$versions")"
    mkdir -p "$folder"
    exec {lock}>"$folder/lock"
    flock "$lock"
    if [ "$(cat "$folder/installed" 2>/dev/null)" != "$wanted" ]; then
        "$python" -c 'import ensurepip' 2>/dev/null || need_packages python3 python3-venv
        echo "Installing $1"
        rm -f "$folder/installed"
        "$python" -m venv --clear "${venv_options[@]}" "$folder/venv"
        # An index may fail for a while; pip itself goes on after a connection that broke, not after a file that came cut.
        for try in 1 2 3 4; do
            if "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --retries 10 --timeout 60 \
                --constraint "$versions" "${pip_options[@]}" "$@"; then
                echo "$wanted" >"$folder/installed"
                break
            fi
            [ "$try" -lt 4 ] || { echo "$* could not be installed (pip install)." >&2; return 1; }
            sleep $((try * 10))
        done
    fi
    exec {lock}>&-
}
python=python3
venv_options=()
pip_options=()

# need_guest_kernel FOLDER: unpacks the distribution's kernel for virtual machines to FOLDER/vmlinuz, and of its modules the one for TPMs
# that a program answers for, as far as it is in the same package. It is not installed: no boot loader hears of it.
need_guest_kernel() {
    local folder=$1 name='' meta work
    # The list of what there was is the last that is written.
    [ ! -e "$folder/contents" ] || return 0
    find_guest_kernel() {
        for meta in linux-image-cloud-amd64 linux-image-virtual; do
            name=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p;T;q')
            [ -z "$name" ] || return 0
        done
        return 1
    }
    if ! find_guest_kernel; then
        if [ "$(id -u)" -eq 0 ]; then apt-get update -qq; else sudo apt-get update -qq; fi
        find_guest_kernel || { echo "No package linux-image-cloud-amd64 or linux-image-virtual: put a kernel at $folder/vmlinuz." >&2; return 1; }
    fi
    echo "Unpacking the kernel of $name"
    work=$(mktemp -d)
    if ! (cd "$work" && apt-get -o Acquire::Retries=5 download -qq "$name" 2>/dev/null && dpkg-deb --extract ./*.deb files); then
        echo "$name could not be downloaded (apt-get download $name)." >&2
        rm -rf "$work"
        return 1
    fi
    mkdir -p "$folder"
    cp "$work"/files/boot/vmlinuz-* "$folder/vmlinuz"
    find "$work/files" -name 'tpm_vtpm_proxy.ko*' -exec cp {} "$folder" \;
    if [ -e "$folder/tpm_vtpm_proxy.ko.xz" ]; then
        need_packages xz-utils
        xz --decompress --force "$folder/tpm_vtpm_proxy.ko.xz"
    fi
    ls "$folder" > "$work/contents"
    mv "$work/contents" "$folder/contents"
    rm -rf "$work"
}
