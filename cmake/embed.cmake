# candor_embed(TARGET NAME FILE …): puts files into the program as strings, with the SHA-256 that a page's content
# security policy names. src/cli/embedded.h declares each NAME as `extern const EmbeddedFile NAME`.
function(candor_embed target)
  set(arguments ${ARGN})
  while(arguments)
    list(POP_FRONT arguments name file)
    set(generated ${CMAKE_BINARY_DIR}/embedded/${name}.cpp)
    add_custom_command(
      OUTPUT ${generated}
      COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DFILE=${file} -DOUT=${generated} -P ${CMAKE_SOURCE_DIR}/cmake/embed_file.cmake
      DEPENDS ${file} ${CMAKE_SOURCE_DIR}/cmake/embed_file.cmake
      COMMENT "Embedding ${file}" VERBATIM)
    target_sources(${target} PRIVATE ${generated})
  endwhile()
endfunction()
