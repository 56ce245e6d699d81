# What the scripts share; sourced by bash. It knows the machine (packages, root, a terminal) and the
# places of this source tree, nothing of aib itself.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=${AIB_DEPS:-$top/.deps} # what is fetched or made once: libfuse, images, logs
cache=$deps/cache
PATH=$PATH:/usr/sbin:/sbin # dockerd, and Debian's users have no sbin

say() { printf '%s\n' "$*" >&2; }
die() {
	say "${0##*/}: $*"
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }

# step TEXT COMMAND…: run it with its output in a log, with the seconds counted on a terminal. On
# failure the end of the log is shown.
step() {
	local text=$1 log start=$SECONDS pid status=0
	shift
	mkdir -p "$deps/log"
	log=$(mktemp "$deps/log/XXXXXX")
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	if [ -t 2 ]; then
		while kill -0 $pid 2>/dev/null; do
			printf '\r  %s … %ds ' "$text" $((SECONDS - start)) >&2
			sleep 0.2
		done
		printf '\r\033[K' >&2
	fi
	wait $pid || status=$?
	if [ $status = 0 ]; then
		[ $((SECONDS - start)) -lt 2 ] || say "  $text: $((SECONDS - start))s"
		rm -f "$log"
		return 0
	fi
	say "  $text: failed (status $status). The end of its output:"
	tail -n 30 "$log" | sed 's/^/    /' >&2
	rm -f "$log"
	return $status
}

# missing TABLE: the packages of what is not there. A line is `KIND:NAME PACKAGE`; the kinds are
# cmd (a program), pc (a pkg-config module), file (a path).
missing() {
	local what package kind name
	while read -r what package; do
		[ -n "$what" ] || continue
		kind=${what%%:*} name=${what#*:}
		case $kind in
		cmd) have "$name" ;;
		pc) have pkg-config && pkg-config --exists "$name" ;;
		file) [ -e "$name" ] ;;
		esac || echo "$package"
	done <<<"$1" | sort -u
}

# install_missing TABLE: install what `missing` tells; without root or apt-get, say what to do.
install_missing() {
	local list
	list=$(missing "$1" | tr '\n' ' ')
	list=${list% }
	[ -n "$list" ] || return 0
	have apt-get || die "missing, and there is no apt-get here: $list (names of Debian packages)"
	is_root || die "packages are missing; as root: apt-get install $list"
	export DEBIAN_FRONTEND=noninteractive
	step "package lists" apt-get -q update || die "apt-get update failed"
	step "installing $list" apt-get -q install -y --no-install-recommends $list ||
		die "could not install: $list"
}

# build-asan: ASan, UBSan and the fuzz targets, whose libFuzzer is clang's.
make_asan_build() {
	CC=clang "$top/scripts/setup" --with test --with fuzz --dir build-asan -Db_sanitize=address,undefined \
		-Db_lundef=false -Dwerror=true -Dfuzz=true
}

# The mirror that this machine's apt gets Debian from.
debian_mirror() {
	apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' \
		'Component: main' 2>/dev/null | head -n 1
}
