# bash completion of aib(1): commands, their options, and mount points from `aib status`.
_aib() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		words='mount umount status exec config runtime doctor help --help --version'
	else
		case ${COMP_WORDS[1]},$prev in
		mount,-c | runtime,-c | *,check)
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
			;;
		mount,-[ro]) return ;;
		config,config) words='check show' ;;
		runtime,runtime) words='ls show build rm prune' ;;
		runtime,show | runtime,build | runtime,rm) words=$(aib runtime ls 2>/dev/null | sed '1d; s/ .*//') ;;
		runtime,-o | runtime,--engine) return ;;
		runtime,*) words='-c -o --engine --json --dry-run --help' ;;
		help,*) words='mount umount status exec config runtime doctor' ;;
		mount,*) words='-c -r -o -f --help' ;;
		umount,*) words="--lazy --force --help $(aib status 2>/dev/null | sed -n 's|^\(/[^ ]*\)  .*|\1|p')" ;;
		status,* | doctor,*) words='--json --help' ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	if [ "${COMP_WORDS[1]}" = mount ] && [ "${cur#-}" = "$cur" ] && [ "$COMP_CWORD" -gt 1 ]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
	fi
}
complete -F _aib aib
