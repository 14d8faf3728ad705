# Completion of candor in fish. Words come from the program's own --help, so they are those of the version installed.
#   candor completion fish | source

function __candor_options
    set -l words (commandline -opc)
    $words[1] $words[2] --help 2>/dev/null | string match -rag -- '(--[a-z][a-z0-9_-]*)' | sort -u
end

complete -c candor -n 'test (count (commandline -opc)) -eq 1' -f -a "(candor --help | string replace -rf '^  ([a-z_]+) .*?  +(.*)' '\$1\t\$2')"
complete -c candor -n 'test (count (commandline -opc)) -gt 1; and string match -q -- "-*" (commandline -ct)' -f -a '(__candor_options)'
