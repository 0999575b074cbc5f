/** What the app does, as a drawing: a spot under a lens, where the model looked, and its bars. */

export function Lens() {
  return (
    <svg class="lens" viewBox="0 0 360 320" aria-hidden="true" focusable="false">
      <defs>
        <radialGradient id="lens-skin" cx="0.42" cy="0.36" r="0.75">
          <stop offset="0" stop-color="#f6dcc9" />
          <stop offset="1" stop-color="#dba888" />
        </radialGradient>
        <radialGradient id="lens-spot" cx="0.45" cy="0.45" r="0.6">
          <stop offset="0" stop-color="#6b3c29" />
          <stop offset="1" stop-color="#9a6147" />
        </radialGradient>
        <radialGradient id="lens-heat">
          <stop offset="0" stop-color="#ffe07a" stop-opacity="0.95" />
          <stop offset="0.4" stop-color="#f59a3c" stop-opacity="0.6" />
          <stop offset="1" stop-color="#f0603c" stop-opacity="0" />
        </radialGradient>
        <clipPath id="lens-glass">
          <circle cx="158" cy="148" r="124" />
        </clipPath>
      </defs>
      <g clip-path="url(#lens-glass)">
        <rect width="320" height="300" fill="url(#lens-skin)" />
        <g fill="none" stroke="#c08c6e" stroke-width="1.5" stroke-linecap="round" opacity="0.5">
          <path d="M40 92q34-22 62-6M52 214q22 16 46 10M214 52q26 6 44 28M206 244q26-8 38-28M96 44q16-8 30-6M262 128q10 20 6 42" />
        </g>
        <path
          fill="url(#lens-spot)"
          d="M92 148c-4-38 22-70 62-72 32-2 44 16 66 32 24 18 22 52 4 74-20 24-48 34-78 28-32-6-50-28-54-62Z"
        />
        <g fill="#4f2a1c" opacity="0.75">
          <circle cx="126" cy="128" r="7" />
          <circle cx="148" cy="172" r="9" />
          <circle cx="190" cy="186" r="5" />
          <circle cx="118" cy="160" r="5" />
          <circle cx="202" cy="140" r="7" />
          <circle cx="160" cy="104" r="6" />
        </g>
        <circle cx="176" cy="136" r="62" fill="url(#lens-heat)" />
        <path
          d="M70 84C98 46 150 32 190 42"
          fill="none"
          stroke="#fff"
          stroke-width="7"
          stroke-linecap="round"
          opacity="0.45"
        />
      </g>
      <circle cx="158" cy="148" r="124" class="lens-ring" />
      <g class="lens-card">
        <rect x="190" y="212" width="154" height="94" rx="14" class="lens-paper" />
        <rect x="206" y="230" width="122" height="9" rx="4.5" class="lens-track" />
        <rect x="206" y="230" width="92" height="9" rx="4.5" class="lens-bar" />
        <rect x="206" y="255" width="122" height="9" rx="4.5" class="lens-track" />
        <rect x="206" y="255" width="34" height="9" rx="4.5" class="lens-alert" />
        <rect x="206" y="280" width="122" height="9" rx="4.5" class="lens-track" />
        <rect x="206" y="280" width="14" height="9" rx="4.5" class="lens-bar" />
      </g>
    </svg>
  );
}
