#!/bin/bash
# Runs crun. Debian bookworm's (1.8.1) refuses bundles of a later version of the specification than it knows, although it
# leaves alone what it does not know: so the version is set to the first before a container is made of the bundle.
set -o errexit -o nounset -o pipefail

bundle=. makes=
previous=
for arg in "$@"; do
  case $previous in -b | --bundle) bundle=$arg ;; esac
  case $arg in
  create | run) makes=yes ;;
  --bundle=*) bundle=${arg#--bundle=} ;;
  esac
  previous=$arg
done
if [ -n "$makes" ] && [ -f "$bundle/config.json" ]; then
  sed -i '0,/"ociVersion": *"[^"]*"/s//"ociVersion":"1.0.0"/' "$bundle/config.json"
fi
exec crun "$@"
