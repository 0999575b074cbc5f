#!/usr/bin/env bash
# The whole job on rendered phantoms, on a machine with nothing but Python and the set-up behind it.
set -euo pipefail
cd "$(dirname "$0")/.."
lentigo=.venv/bin/lentigo
out=demo
rm -rf "$out"

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
step "1/6  render phantoms (dermoscopy-like images, 7 classes)"
$lentigo data phantom "$out/phantoms" --per-class 80 --size 128
step "2/6  train MobileNetV3-CaCo on them, a few epochs"
$lentigo train phantom-demo --data "$out/phantoms" --out "$out/run"
step "3/6  judge it on lesions it never saw"
$lentigo evaluate "$out/run"
step "4/6  export one bundle, the same answer in every runtime"
$lentigo export "$out/run"
step "5/6  classify images with it"
$lentigo predict "$out/phantoms/images" --model "$out/run" --out "$out/predictions.csv" --heatmaps "$out/heatmaps"
step "6/6  classify rendered pictures with a packaged model, which was trained on photographs"
$lentigo predict "$out/phantoms/images" --model dermoscopy-7 --out "$out/dermoscopy-7.csv" --top-k 3 --quiet

cat <<EOF

Done. Open the report:

  $out/run/report/index.html

Three things to try next:

  .venv/bin/lentigo predict $out/phantoms/images --model $out/run
  .venv/bin/lentigo profile mobilenetv3_small_caco
  .venv/bin/lentigo --help

Phantoms only show that everything works; no figure on them says anything about skin.
EOF
