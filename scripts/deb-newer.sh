#!/bin/sh
# deb-newer.sh PACKAGE NEWER: makes a package as PACKAGE's next version would be,
# with another configuration file.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
dpkg-deb -R "$1" "$dir"
sed -i 's/^Version: .*/&+newer/' "$dir/DEBIAN/control"
printf '\n# New in this version.\n' >>"$dir/etc/gameserverd/gameserverd.yaml"
dpkg-deb --root-owner-group -Znone -b "$dir" "$2" >/dev/null
