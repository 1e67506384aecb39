#!/bin/sh
# Stands between cargo and rustc for the project's own crates: libraries and the
# fuzzer's program count which of their branches were taken, as libFuzzer reads
# it. Build scripts and macros run in the compiler and are left alone.
case " $* " in
*" --crate-type proc-macro "* | *" --crate-name build_script_build "*) exec "$@" ;;
*" --crate-name holdfast"*)
    exec "$@" -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$@" ;;
esac
