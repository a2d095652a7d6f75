#!/bin/sh
# Makes the screenshots of the README anew. They change when the picture does, not with every kernel: commit them then.
set -eu
cd "$(dirname "$0")/../.."

alloc='echo 1024 > /sys/kernel/debug/cma/cma-reserved/alloc'

shot() {
    cargo run -q -- --icount --quiet --timeout 600 --screenshot "docs/memory/$1.png" --exec "$2; fb mode 640x480-32"
}

shot boot 'fb'
shot cma-before 'memhog 100M'
shot cma-after "memhog 100M; $alloc"
shot fragmented 'memhog 60M; selftest mm::pages_and_interrupts; memhog 30M'
