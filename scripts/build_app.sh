#!/usr/bin/env bash
# Build the phone app into lentigo/serving/static, with the bundles in lentigo/bundles. Quick when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/node.sh

out=lentigo/serving/static
stamp=$out/.built-from
wanted=$( (cat scripts/build_app.sh app/*.json app/*.ts app/index.html
  find app/src app/public app/build lentigo/bundles lentigo/inference/quality.json -type f 2>/dev/null | LC_ALL=C sort | xargs cat) | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then exit 0; fi

use_node
install_app
echo "building the app"
(cd app && npm run --silent build)
echo "$wanted" > "$stamp"
