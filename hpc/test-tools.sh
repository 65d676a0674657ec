#!/usr/bin/env bash
# Install the tools for `make test-hpc`, on Debian 12, as root.
#
#   hpc/test-tools.sh FOLDER [slurm modules container easybuild jupyter reframe]
#
# Without names, all of them. Lmod, Apptainer, EasyBuild, Jupyter, ReFrame and a base for the container go to FOLDER.
# A failed download leaves FOLDER/<tool>.failed, and the tool's tests are skipped; any other problem is a failure.
set -euo pipefail
[ $# -gt 0 ] || { sed -n 's/^#   /usage: /p' "$0" >&2; exit 2; }
mkdir -p "$1"
tools=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- slurm modules container easybuild jupyter reframe
wanted=" $* "
export tools
rm -f "$tools"/*.failed
export DEBIAN_FRONTEND=noninteractive
network=(-o Acquire::http::Timeout=20 -o Acquire::Retries=1)

download() {                # download TOOL COMMAND...: report a failure
    local tool=$1
    shift
    echo "$tool: $*" | cut -c 1-120
    # In a separate bash: a shell that tests the status ignores set -e within the function.
    if ! bash -euo pipefail -c '"$@"' bash "$@" > "$tools/$tool.log" 2>&1; then
        tail -n 1 "$tools/$tool.log" | tee "$tools/$tool.failed"
        return 1
    fi
}

debian() {                  # debian TOOL PACKAGE...
    local tool=$1
    shift
    dpkg -s "$@" > /dev/null 2>&1 || download "$tool" apt-get install -y "${network[@]}" --no-install-recommends "$@"
}

[ -n "$(find /var/lib/apt/lists -name '*Packages*' -mtime -1 -print -quit)" ] || download lists apt-get "${network[@]}" -q update || true

wanted() {
    [[ $wanted == *" $1 "* ]]
}

# Debian's Lmod conflicts with environment-modules: unpack its files elsewhere and change the paths in them.
get_lmod() {
    local deb
    deb=$(mktemp -d)
    (cd "$deb" && apt-get download -o APT::Sandbox::User=root lmod)
    rm -rf "$tools/lmod"
    dpkg -x "$deb"/lmod_*.deb "$tools/lmod"
    grep -rIlZ /usr/share/lmod "$tools/lmod" | xargs -0 sed -i "s#/usr/share/lmod#$tools/lmod/usr/share/lmod#g"
    rm -r "$deb"
}
# Debian 12 has no Apptainer: take a later suite's, with the C library that it was built for.
get_apptainer() {
    local work mirror package program
    work=$(mktemp -d)
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -n 1)
    mkdir -p "$work"/lists/partial "$work"/cache/archives/partial
    touch "$work/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" > "$work/sources.list"
    local apt=(apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
               -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status"
               -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
    "${apt[@]}" update
    (cd "$work" && "${apt[@]}" download apptainer libc6 libseccomp2 libsqlite3-0)
    rm -rf "$tools/apptainer"
    dpkg -x "$work"/apptainer_*.deb "$tools/apptainer"
    mkdir "$tools/apptainer/lib" "$tools/apptainer/bin"
    for package in libc6 libseccomp2 libsqlite3-0; do
        dpkg -x "$work/$package"_*.deb "$work/$package"
        find "$work/$package" -path '*/x86_64-linux-gnu/*.so.*' -not -path '*/gconv/*' \
            -exec cp -a -t "$tools/apptainer/lib" {} +
    done
    # Its programs expect etc and var beside themselves.
    ln -s ../etc "$tools/apptainer/usr/etc"
    ln -s ../etc "$tools/apptainer/usr/lib/etc"
    mkdir -p "$tools/apptainer/usr/var/lib/apptainer/mnt/session"
    ln -s ../var "$tools/apptainer/usr/lib/var"
    for program in bin/apptainer lib/x86_64-linux-gnu/apptainer/bin/starter; do
        patchelf --set-interpreter "$tools/apptainer/lib/ld-linux-x86-64.so.2" --force-rpath \
            --set-rpath "$tools/apptainer/lib" "$tools/apptainer/usr/$program"
    done
    ln -s "$tools/apptainer/usr/bin/apptainer" "$tools/apptainer/bin/apptainer"
    rm -r "$work"
}

get_base() {                # a base for singularity.def, if no image can be pulled
    rm -rf "$tools/base.partial"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$tools/base.partial" \
        "$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -n 1)"
    find "$tools/base.partial/dev" "$tools/base.partial/var/cache/apt" -mindepth 1 -delete
    mv "$tools/base.partial" "$tools/base"
}
export -f get_lmod get_apptainer get_base

if wanted slurm; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "slurm: only root can start it" | tee "$tools/slurm.failed"
    else
        debian slurm slurmctld slurmd slurm-client munge || true
    fi
fi
if wanted modules; then
    debian environment-modules environment-modules python3-venv make || true
    if debian lmod lua5.3 lua-filesystem lua-json lua-posix lua-term tcl; then
        [ -d "$tools/lmod" ] || download lmod get_lmod || true
    fi
fi
if wanted container && debian apptainer patchelf squashfs-tools squashfuse fuse2fs uidmap debootstrap; then
    [ -x "$tools/apptainer/bin/apptainer" ] || download apptainer get_apptainer || true
    [ -d "$tools/base" ] || download base get_base || true
fi
wanted jupyter && { debian ruby ruby || true; }
for tool in easybuild jupyter reframe; do
    declare -A packages=([easybuild]="easybuild-framework easybuild-easyblocks" [jupyter]=jupyterlab [reframe]=reframe-hpc)
    wanted "$tool" || continue
    [ -d "$tools/$tool" ] || python3 -m venv "$tools/$tool"
    download "$tool" "$tools/$tool/bin/pip" install -q ${packages[$tool]} || true
done
ls "$tools"
