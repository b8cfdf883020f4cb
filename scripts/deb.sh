#!/bin/sh
# Builds bin/gameserverd_VERSION_ARCH.deb. The same commit gives the same bytes:
# all times in it are SOURCE_DATE_EPOCH, by default the commit's.
set -eu
cd "$(dirname "$0")/.."

go=${GO:-go}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
DEB_ARCH=$($go env GOARCH)
version=${VERSION:-$(git describe --tags --always --dirty)}
# v1.2.3-4-gabc becomes 1.2.3+4.gabc; without a tag there is only the commit.
case $version in
v[0-9]*) DEB_VERSION=$(echo "${version#v}" | sed 's/-/+/; s/-/./g') ;;
*) DEB_VERSION=0.0.0+$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M%S).$(echo "$version" | tr - .) ;;
esac
STAGE=$(mktemp -d)
trap 'rm -rf "$STAGE"' EXIT
export SOURCE_DATE_EPOCH DEB_ARCH DEB_VERSION STAGE

# Without cgo it needs no library of the system it runs on.
CGO_ENABLED=0 $go build -trimpath -ldflags "-s -w -X main.version=$version" -o "$STAGE/gameserverd" ./cmd/gameserverd
"$STAGE/gameserverd" man | gzip -9n >"$STAGE/gameserverd.1.gz"
for shell in bash zsh fish; do
	"$STAGE/gameserverd" completion $shell >"$STAGE/$shell"
done
gzip -9nc CHANGELOG.md >"$STAGE/changelog.gz"

mkdir -p bin
# nfpm takes all times from SOURCE_DATE_EPOCH.
$go -C tools/nfpm build -o ../../bin/nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm
package=bin/gameserverd_${DEB_VERSION}_${DEB_ARCH}.deb
bin/nfpm package --config deploy/nfpm.yaml --packager deb --target "$package" >/dev/null
echo "$package"
