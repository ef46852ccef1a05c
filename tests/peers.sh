#!/bin/bash
# Sets up the real programs the end-to-end tests talk to. Run as root; quick when all is there.
#
# Clients, and a browser, are installed, from Debian's packages. Servers, and programs that take a log, are only unpacked into
# .peers/: Debian lets one FTP server be installed at a time, and an installed one would start to listen. Of their packages only
# the shared libraries they need are installed; of Prometheus only its two programs are unpacked. Servers from npm, and a version
# of one from PyPI that is not the one in the virtual environment, go into .peers/, too. What tests/stacks builds its servers
# with, compilers and TLS libraries, is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

CLIENT_PACKAGES=(curl lftp tnftp inetutils-ftp ncftp busybox wget netbase iproute2)
CLIENT_PROGRAMS=(curl lftp tnftp inetutils-ftp ncftpget ncftpput ncftpls busybox wget ip)
SERVER_PACKAGES=(vsftpd proftpd-core proftpd-mod-crypto pure-ftpd pure-ftpd-common ftpd-ssl haproxy nftables logrotate rsyslog)
SERVER_PROGRAMS=(
    usr/sbin/vsftpd usr/sbin/proftpd usr/sbin/pure-ftpd usr/bin/pure-pw usr/sbin/in.ftpd usr/sbin/haproxy
    usr/sbin/nft usr/sbin/logrotate usr/sbin/rsyslogd
)
SERVER_LIBRARIES=(usr/lib/proftpd/mod_tls.so)
BROWSER=chromium
# Systemd's own tools: installed, it would be the first process of a machine.
SYSTEMD_PROGRAMS=(bin/journalctl lib/systemd/systemd-journald usr/bin/systemd-analyze usr/bin/systemd-socket-activate)
PROMETHEUS_PROGRAMS=(prometheus promtool) # of Debian's package, which would bring a service and the parts of a page
# What tests/stacks builds its servers with: a package for each file.
declare -A STACK_PACKAGES=(
    [/usr/bin/javac]=default-jdk-headless
    [/usr/bin/go]=golang-go
    [/usr/bin/gcc]=gcc
    [/usr/include/stdio.h]=libc6-dev
    [/usr/include/openssl/ssl.h]=libssl-dev
    [/usr/include/gnutls/gnutls.h]=libgnutls28-dev
    [/usr/include/mbedtls/ssl.h]=libmbedtls-dev
)
NODE_SERVERS=(ftp-srv@4.6.3 @electerm/ftp-srv@1.0.5)
OLD_PYFTPDLIB=1.5.10
PAM_SERVICE=/etc/pam.d/ftpsproxy-tests
APT=(apt-get -q=2 -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o APT::Sandbox::User=root)

say() { printf 'peers: %s\n' "$*"; }

clients_ready() {
    local program
    for program in "${CLIENT_PROGRAMS[@]}"; do
        command -v "$program" >/dev/null || return 1
    done
    [[ -e /etc/services ]] # without it inetutils ftp knows no service "ftp"
}

servers_ready() {
    local file
    for file in "${SERVER_PROGRAMS[@]}" "${SERVER_LIBRARIES[@]}"; do
        [[ -s .peers/$file ]] || return 1
        if ldd ".peers/$file" 2>/dev/null | grep -q 'not found'; then return 1; fi
    done
}

missing_for_stacks() {
    local file
    for file in "${!STACK_PACKAGES[@]}"; do
        [[ -e $file ]] || command -v "${file##*/}" >/dev/null || echo "${STACK_PACKAGES[$file]}"
    done
}

update_once() {
    [[ -z ${updated:-} ]] || return 0
    local try
    for try in 1 2 3 4 5; do
        if "${APT[@]}" update >.peers/apt.log 2>&1; then
            updated=yes
            return 0
        fi
        say "apt-get update failed (try $try of 5)"
        sleep $((try * 3))
    done
    cat .peers/apt.log >&2
    return 1
}

install_packages() {
    local try
    for try in 1 2 3; do
        if "${APT[@]}" install -y --no-install-recommends "$@" >.peers/apt.log 2>&1; then return 0; fi
        say "apt-get install failed (try $try of 3)"
        sleep $((try * 3))
    done
    cat .peers/apt.log >&2
    return 1
}

# libraries_of PACKAGE...: "libacl1 (>= 2.2.23), adduser, libfoo1 | libbar1" -> libacl1 libfoo1
libraries_of() {
    local package
    for package in "$@"; do
        dpkg-deb -f "$package" Depends Pre-Depends | sed 's/^[A-Za-z-]*://' | tr ',' '\n' |
            sed 's/|.*//; s/(.*//; s/[[:space:]]//g' | grep '^lib' || true
    done
}

fetch_servers() {
    local folder=.peers/packages
    rm -rf "$folder" .peers/usr
    mkdir -p "$folder"
    local try fetched=""
    for try in 1 2 3; do
        if (cd "$folder" && "${APT[@]}" download "${SERVER_PACKAGES[@]}") >.peers/apt.log 2>&1; then
            fetched=yes
            break
        fi
        say "apt-get download failed (try $try of 3)"
        sleep $((try * 3))
    done
    if [[ -z $fetched ]]; then
        cat .peers/apt.log >&2
        return 1
    fi
    local package libraries
    for package in "$folder"/*.deb; do
        dpkg-deb -x "$package" .peers
    done
    mapfile -t libraries < <(libraries_of "$folder"/*.deb)
    install_packages libpam-modules "${libraries[@]}"
    rm -rf "$folder" .peers/usr/share .peers/etc .peers/var .peers/lib # manuals and set-up scripts
}

prometheus_ready() {
    local program
    for program in "${PROMETHEUS_PROGRAMS[@]}"; do
        [[ -x .peers/prometheus/usr/bin/$program ]] || return 1
    done
}

fetch_prometheus() {
    local folder=.peers/prometheus
    rm -rf "$folder"
    mkdir -p "$folder"
    three_times "apt-get download" bash -c 'cd "$1" && shift && "$@"' - "$folder" "${APT[@]}" download prometheus
    dpkg-deb --fsys-tarfile "$folder"/*.deb | tar -x -C "$folder" "${PROMETHEUS_PROGRAMS[@]/#/./usr/bin/}"
    rm "$folder"/*.deb
}

systemd_ready() {
    local program
    for program in "${SYSTEMD_PROGRAMS[@]}"; do
        [[ -x .peers/systemd/$program ]] || return 1
        if ldd ".peers/systemd/$program" | grep -q 'not found'; then return 1; fi
    done
}

fetch_systemd() {
    local folder=.peers/systemd libraries
    rm -rf "$folder"
    mkdir -p "$folder"
    three_times "apt-get download" bash -c 'cd "$1" && shift && "$@"' - "$folder" "${APT[@]}" download systemd
    dpkg-deb --fsys-tarfile "$folder"/*.deb | tar -x -C "$folder" "${SYSTEMD_PROGRAMS[@]/#/./}" ./lib/systemd/system
    mapfile -t libraries < <(libraries_of "$folder"/*.deb)
    install_packages "${libraries[@]}"
    rm "$folder"/*.deb
}

# three_times WHAT COMMAND...: its output only if it fails for good
three_times() {
    local what=$1 try
    shift
    for try in 1 2 3; do
        if "$@" >.peers/install.log 2>&1; then return 0; fi
        say "$what failed (try $try of 3)"
        sleep $((try * 3))
    done
    cat .peers/install.log >&2
    return 1
}

node_ready() {
    local server
    command -v node >/dev/null || return 1
    for server in "${NODE_SERVERS[@]}"; do
        grep -qF "\"version\": \"${server##*@}\"" ".peers/node/node_modules/${server%@*}/package.json" 2>/dev/null || return 1
    done
}

fetch_node() {
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        update_once
        install_packages nodejs npm
    fi
    three_times "npm install" npm install --prefix .peers/node --no-audit --no-fund --ignore-scripts "${NODE_SERVERS[@]}"
}

# The same Python that runs the tests: tests/run has put it first.
old_pyftpdlib_ready() {
    PYTHONPATH=.peers/pyftpdlib1 python3 -W ignore -c \
        "import pyftpdlib, pyftpdlib.servers; assert pyftpdlib.__ver__ == '$OLD_PYFTPDLIB'" 2>/dev/null
}

fetch_old_pyftpdlib() {
    if ! python3 -m pip --version >/dev/null 2>&1; then
        update_once
        install_packages python3-pip
    fi
    rm -rf .peers/pyftpdlib1
    three_times "pip install" python3 -m pip install --target .peers/pyftpdlib1 "pyftpdlib==$OLD_PYFTPDLIB"
}

# The oldest version of cryptography that may be installed: its OpenSSL is used by way of its binding.
OLDEST_CRYPTOGRAPHY=$(sed -n 's/.*"cryptography>=\([0-9.]*\),.*/\1/p' pyproject.toml)

oldest_cryptography_ready() {
    PYTHONPATH=.peers/cryptography-$OLDEST_CRYPTOGRAPHY python3 -c \
        "import cryptography; assert cryptography.__version__ == '$OLDEST_CRYPTOGRAPHY'" 2>/dev/null
}

fetch_oldest_cryptography() {
    local place=.peers/cryptography-$OLDEST_CRYPTOGRAPHY
    rm -rf "$place"
    three_times "pip install" python3 -m pip install --no-deps --target "$place" "cryptography==$OLDEST_CRYPTOGRAPHY"
}

# vsftpd knows users through PAM only. This service, which only the tests' vsftpd on the loopback address names, lets anyone in
# (as the system user "daemon", locked into a scratch directory); so no account has to be made.
pam_service() {
    cat <<'END'
# Made by ftpsproxy's tests/peers.sh for a test server on the loopback address; safe to delete.
auth    required pam_permit.so
account required pam_permit.so
session required pam_permit.so
END
}

mkdir -p .peers
if ! clients_ready; then
    say "installing the clients"
    update_once
    install_packages "${CLIENT_PACKAGES[@]}"
    clients_ready || { say "a client is still missing: ${CLIENT_PROGRAMS[*]}"; exit 1; }
fi
if ! servers_ready; then
    say "unpacking the servers"
    update_once
    fetch_servers
    servers_ready || { say "a server or one of its libraries is still missing"; exit 1; }
fi
if ! command -v "$BROWSER" >/dev/null; then
    say "installing a browser"
    update_once
    install_packages "$BROWSER"
fi
if ! prometheus_ready; then
    say "unpacking Prometheus"
    update_once
    fetch_prometheus
    prometheus_ready || { say "Prometheus or promtool is still missing"; exit 1; }
fi
if ! systemd_ready; then
    say "unpacking systemd's tools"
    update_once
    fetch_systemd
    systemd_ready || { say "a tool of systemd's, or a library of its, is still missing"; exit 1; }
fi
mapfile -t missing < <(missing_for_stacks)
if [[ ${#missing[@]} != 0 ]]; then
    say "installing what servers on other TLS stacks are built with"
    update_once
    install_packages "${missing[@]}"
    mapfile -t missing < <(missing_for_stacks)
    [[ ${#missing[@]} == 0 ]] || { say "still missing: ${missing[*]}"; exit 1; }
fi
if ! node_ready; then
    say "fetching the servers from npm"
    fetch_node
    node_ready || { say "a server from npm is still missing"; exit 1; }
fi
if ! old_pyftpdlib_ready; then
    say "fetching pyftpdlib $OLD_PYFTPDLIB"
    fetch_old_pyftpdlib
    old_pyftpdlib_ready || { say "pyftpdlib $OLD_PYFTPDLIB is still missing"; exit 1; }
fi
if ! oldest_cryptography_ready; then
    say "fetching cryptography $OLDEST_CRYPTOGRAPHY"
    fetch_oldest_cryptography
    oldest_cryptography_ready || { say "cryptography $OLDEST_CRYPTOGRAPHY is still missing"; exit 1; }
fi
if ! pam_service | cmp -s - "$PAM_SERVICE"; then
    mkdir -p "$(dirname "$PAM_SERVICE")"
    pam_service >"$PAM_SERVICE"
fi
