# cmake -DNAME=kFoo -DFILE=foo.js -DOUT=kFoo.cpp -P embed_file.cmake: writes FILE as a C++ string literal with its
# SHA-256 in base64, the form of a content security policy.
file(READ ${FILE} content)
file(SHA256 ${FILE} hex)
if(content MATCHES "\\)=embed=\"")
  message(FATAL_ERROR "${FILE} holds the end mark of the raw string literal")
endif()

set(alphabet "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
set(padded "${hex}00")  # 32 bytes and one of padding are 11 groups of 3 bytes = 44 characters, the last one "="
set(base64 "")
foreach(group RANGE 0 10)
  math(EXPR begin "${group} * 6")
  string(SUBSTRING ${padded} ${begin} 6 digits)
  foreach(shift 18 12 6 0)
    math(EXPR index "(0x${digits} >> ${shift}) & 63")
    string(SUBSTRING ${alphabet} ${index} 1 character)
    string(APPEND base64 ${character})
  endforeach()
endforeach()
string(SUBSTRING ${base64} 0 43 base64)

file(WRITE ${OUT} "// Made by cmake/embed_file.cmake.
#include \"cli/embedded.h\"
const candor::cli::EmbeddedFile candor::cli::${NAME} = {R\"=embed=(${content})=embed=\", \"${base64}=\"};
")
