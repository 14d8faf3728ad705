# Completion of candor in bash. Words come from the program's own --help, so they are those of the version installed.
#   source <(candor completion bash)

_candor() {
  local current=${COMP_WORDS[COMP_CWORD]} program=${COMP_WORDS[0]} words
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    words=$("$program" --help 2>/dev/null | sed -n 's/^  \([a-z_]\{1,\}\) .*/\1/p')
    mapfile -t COMPREPLY < <(compgen -W "$words --help --version" -- "$current")
    return
  fi
  case $current in
    -*)
      words=$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE -- '--[a-z][a-z0-9_-]*' | sort -u)
      mapfile -t COMPREPLY < <(compgen -W "$words --help" -- "$current")
      ;;
    *)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
  esac
}
complete -o filenames -F _candor candor
