#compdef candor
# Completion of candor in zsh. Words come from the program's own --help, so they are those of the version installed.
#   source <(candor completion zsh)

_candor() {
  local program=$words[1]
  if (( CURRENT == 2 )); then
    local -a verbs
    verbs=(${(f)"$($program --help 2>/dev/null | sed -n 's/^  \([a-z_]\{1,\}\) .\{0,32\}  \(.*\)/\1:\2/p')"})
    _describe verb verbs
  elif [[ $PREFIX == -* ]]; then
    local -a options
    options=(${(fu)"$($program $words[2] --help 2>/dev/null | grep -oE -- '--[a-z][a-z0-9_-]*')"})
    compadd -- $options --help
  else
    _files
  fi
}
(( $+functions[compdef] )) && compdef _candor candor
