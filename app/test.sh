#!/usr/bin/env bash
# Every test of the app: types, unit tests, and a real browser. Needs no network once its packages are installed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/node.sh
use_node
install_app
cd app
npm run --silent check
npm run --silent test:unit
npm run --silent test:browser
