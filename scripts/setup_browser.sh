#!/usr/bin/env bash
# Find or install Chromium for the browser tests (Debian and Ubuntu; elsewhere install it yourself).
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
if ! command -v apt-get >/dev/null 2>&1; then
  echo "the browser tests need Chromium; install it and run this again" >&2
  exit 1
fi
echo "installing Chromium for the browser tests"
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends chromium >/dev/null
