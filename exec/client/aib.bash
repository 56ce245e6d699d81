# bash completion of aib(1): commands, their options, and mount points from `aib status`.
_aib() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		words='mount umount status exec read write edit ls glob grep job session mcp config runtime doctor prune help --help --version'
	else
		case ${COMP_WORDS[1]},$prev in
		mount,-c | mcp,-c | runtime,-c | *,check)
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
			;;
		mount,-[ro] | mcp,-[ro]) return ;;
		mcp,--mount | mcp,-w)
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -d -- "$cur")
			return
			;;
		mcp,*) words='--mount -c -r -o -w --max-requests --max-message --max-result --help' ;;
		grep,--mode) words='content files count' ;;
		glob,--sort) words='path mtime' ;;
		config,config) words='check show' ;;
		job,job) words='ls logs wait kill rm --help' ;;
		job,*)
			case ${COMP_WORDS[2]} in
			ls) words='--json' ;;
			logs) words='-f --stdout --stderr' ;;
			kill) words='-TERM -KILL -INT -HUP -USR1 -USR2' ;;
			esac
			[ "${COMP_WORDS[2]}" = ls ] || words="$words $(aib job ls 2>/dev/null | sed 's/ .*//')"
			;;
		session,session) words='get release ls status rm cleanup shutdown' ;;
		session,release | session,status | session,rm | session,get)
			words="--json --help $(aib session ls 2>/dev/null | sed 's/ .*//')" ;;
		session,*) words='--owner --idle-timeout --runtime --image --env --volume --workspace --mount --json --help' ;;
		runtime,runtime) words='ls show build rm prune' ;;
		runtime,show | runtime,build | runtime,rm) words=$(aib runtime ls 2>/dev/null | sed '1d; s/ .*//') ;;
		runtime,-o | runtime,--engine) return ;;
		runtime,*) words='-c -o --engine --json --dry-run --help' ;;
		help,*) words='mount umount status exec read write edit ls glob grep job session mcp config runtime doctor prune' ;;
		mount,*) words='-c -r -o -f --supervise --help' ;;
		umount,*) words="--lazy --force --help $(aib status 2>/dev/null | sed -n 's|^\(/[^ ]*\)  .*|\1|p')" ;;
		prune,*) words='--dry-run --help' ;;
		status,* | doctor,*) words='--json --help' ;;
		read,*) words='--offset --limit --raw --json --help' ;;
		write,*) words='--content --expect --json --help' ;;
		edit,*) words='--old --new --replace-all --expect --json --help' ;;
		ls,*) words='--json --help' ;;
		glob,*) words='--hidden --gitignore --sort --max --json --help' ;;
		grep,*) words='--ignore-case --glob --mode --max --gitignore --json --help' ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	case ${COMP_WORDS[1]} in
	read | write | edit | ls | glob | grep)
		if [ "${cur#-}" = "$cur" ] && [ ${#COMPREPLY[@]} = 0 ]; then
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		fi
		;;
	esac
	if [ "${COMP_WORDS[1]}" = mount ] && [ "${cur#-}" = "$cur" ] && [ "$COMP_CWORD" -gt 1 ]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
	fi
}
complete -F _aib aib
