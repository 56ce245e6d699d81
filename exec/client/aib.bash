# bash completion of aib(1): commands, their options, and mount points from `aib status`.
_aib() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		words='mount umount status exec read write edit ls glob grep config doctor help --help --version'
	else
		case ${COMP_WORDS[1]},$prev in
		mount,-c | *,check)
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
			;;
		mount,-[ro]) return ;;
		grep,--mode) words='content files count' ;;
		glob,--sort) words='path mtime' ;;
		config,config) words='check show' ;;
		help,*) words='mount umount status exec read write edit ls glob grep config doctor' ;;
		mount,*) words='-c -r -o -f --help' ;;
		umount,*) words="--lazy --force --help $(aib status 2>/dev/null | sed -n 's|^\(/[^ ]*\)  .*|\1|p')" ;;
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
