// What the person at the page keeps: labels and notes of their own, pinned features, the theme. In this browser alone.

const KEY = `sae-kedro:${index.sae_sha256}`
const kept = (() => {
  try { return JSON.parse(localStorage.getItem(KEY)) ?? {} } catch { return {} }
})()
kept.own ??= {}
kept.pins ??= []

const keep = () => {
  try { localStorage.setItem(KEY, JSON.stringify(kept)) } catch { say('This browser does not keep notes: its storage is closed or full') }
  drawTop()
}

const ownLabel = latent => kept.own[latent]?.label || null
const ownNote = latent => kept.own[latent]?.note || ''

const keepOwn = (latent, label, note) => {
  if (label || note) kept.own[latent] = {label: label || null, note: note || null, at: new Date().toISOString()}
  else delete kept.own[latent]
  keep()
}

const isPinned = latent => kept.pins.includes(latent)
const togglePin = latent => {
  kept.pins = isPinned(latent) ? kept.pins.filter(pin => pin !== latent) : [...kept.pins, latent]
  say(`${nameOf(latent)} is ${isPinned(latent) ? 'pinned' : 'no longer pinned'}`)
  keep()
}

// The file that `interpret` reads back
const ownLabels = () => Object.entries(kept.own).map(([latent, own]) =>
  JSON.stringify({sae_sha256: index.sae_sha256, latent: Number(latent), ...own})).join('\n') + '\n'

const downloadOwn = () => download('own_labels.jsonl', 'application/x-ndjson', ownLabels())

const THEMES = ['auto', 'light', 'dark']
const themeKey = 'sae-kedro:theme'
const theme = () => { try { return localStorage.getItem(themeKey) ?? 'auto' } catch { return 'auto' } }
const setTheme = name => {
  if (name === 'auto') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = name
  try { localStorage.setItem(themeKey, name) } catch { /* it holds for this visit */ }
  window.dispatchEvent(new Event('themechange'))
}
