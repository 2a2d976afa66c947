// Which view an address asks for, what stands above all of them, and keys.

const VIEWS = {
  o: {draw: overview, needs: 0},
  s: {draw: rest => list(rest), needs: 2},
  f: {draw: rest => feature(Number(rest)), needs: 2},
  t: {draw: rest => { const [a, b] = rest.split('~').map(Number); return b === undefined ? text(a) : why(a, b) }, needs: 2},
  g: {draw: groupsView, needs: 2},
  c: {draw: rest => compare(rest.split('~').map(Number)), needs: 2},
  p: {draw: pins, needs: 2},
  h: {draw: help, needs: 0},
  ...(live ? {x: {draw: ownText, needs: 2}, q: {draw: steer, needs: 2}} : {}),
}
let ready = 0 // 1: features are there, 2: texts, too
let failed = null
let current = ['o', '']

const address = () => {
  const [, view, rest] = location.hash.match(/^#([a-z])(?:\/(.*))?$/s) ?? [null, 'o', '']
  let words = rest ?? ''
  try { words = decodeURIComponent(words) } catch { /* as it is */ }
  return view in VIEWS ? [view, words] : ['o', '']
}

const drawTop = () => {
  const [view] = current
  const link = (name, title, href = `#${name}`) => h('a', {href, 'aria-current': view === name ? 'page' : null}, title)
  byId('top').querySelector('nav')?.replaceWith(h('nav', {'aria-label': 'Views'},
    link('o', 'Overview'), link('s', 'Features', '#s/'), link('g', 'Groups'), live && link('q', 'Steering', '#q/'),
    link('p', kept.pins.length ? `Pins (${kept.pins.length})` : 'Pins'), link('h', 'Help')))
}

let typing = 0
const buildTop = () => {
  const field = h('input', {type: 'search', id: 'search', placeholder: 'Search features and texts', 'aria-label': 'Search features and texts', dir: 'auto', autocomplete: 'off', spellcheck: 'false',
    oninput: () => { clearTimeout(typing); typing = setTimeout(() => go(`#s/${encodeURIComponent(field.value.trim())}`, current[0] === 's'), 80) },
    onkeydown: event => {
      if (event.key === 'Escape') { field.value = ''; field.blur(); event.stopPropagation() }
      if (event.key === 'ArrowDown' || event.key === 'Enter') { event.preventDefault(); document.querySelector('#main .keys a')?.focus() }
    }})
  const toggle = h('button', {type: 'button', class: 'theme', onclick: () => { setTheme(THEMES[(THEMES.indexOf(theme()) + 1) % 3]); nameTheme() }})
  const nameTheme = () => { toggle.textContent = {auto: '◐', light: '☀', dark: '☾'}[theme()]; toggle.setAttribute('aria-label', `Theme: ${theme()}`); toggle.title = `Theme: ${theme()}` }
  nameTheme()
  byId('top').append(h('div', {class: 'bar'}, h('a', {href: '#o', class: 'brand', title: index.name}, index.name), h('nav'), h('search', {}, field), toggle))
}

const go = (hash, replace) => {
  if (!replace) { location.hash = hash; return }
  history.replaceState(history.state, '', hash)
  render(false)
}

const TITLES = {o: 'Overview', s: 'Features', t: 'Text', g: 'Groups', c: 'Compare', p: 'Pins', h: 'Help', x: 'Own text', q: 'Steering'}

const render = (moved = false) => {
  current = address()
  const [view, rest] = current
  const {draw, needs} = VIEWS[view]
  const start = performance.now()
  const field = byId('search')
  if (document.activeElement !== field) field.value = view === 's' ? rest : ''
  drawTop()
  const shown = failed ? [h('h1', {}, 'This page cannot be read'), h('p', {role: 'alert'}, failed)] : ready >= needs ? draw(rest) : wait()
  fill(byId('main'), shown)
  document.title = `${view === 'f' && ready ? nameOf(Number(rest)) : rest && 'st'.includes(view) ? `${TITLES[view]} ${rest.slice(0, 60)}` : TITLES[view]} · ${index.name}`
  if (moved) {
    scrollTo(0, history.state?.seen ? scrolled.get(location.hash) ?? 0 : 0) // where it was, on the way back
    history.replaceState({seen: true}, '')
    byId('main').focus({preventScroll: true})
  }
  document.documentElement.dataset.drawn = `${view} ${(performance.now() - start).toFixed(1)}`
}

const scrolled = new Map()
addEventListener('hashchange', event => {
  scrolled.set(new URL(event.oldURL).hash, scrollY)
  const typed = document.activeElement === byId('search')
  render(!typed)
})

addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return
  const field = event.target.closest?.('input, textarea, select')
  if (field) { if (event.key === 'Escape') field.blur(); return }
  const [view, rest] = current
  const at = Number(rest)
  const keys = {
    '/': () => byId('search').focus(), o: () => { location.hash = '#o' }, '?': () => { location.hash = '#h' }, Escape: () => { location.hash = '#o' },
    ArrowLeft: () => view === 'f' ? location.hash = `#f/${(at - 1 + N) % N}` : null,
    ArrowRight: () => view === 'f' ? location.hash = `#f/${(at + 1) % N}` : null,
    p: () => { if (view === 'f') { togglePin(at); render() } },
  }
  const list = event.target.closest?.('.keys')
  if (list && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
    const links = [...list.querySelectorAll(':scope > li > .grow > a.feature, :scope > li > .bar-name > a')]
    const next = links[links.indexOf(event.target) + (event.key === 'ArrowDown' ? 1 : -1)]
    event.preventDefault()
    ;(next ?? (event.key === 'ArrowUp' ? byId('search') : event.target)).focus()
  } else if (keys[event.key]) {
    event.preventDefault()
    keys[event.key]()
  }
})

setTheme(theme())
buildTop()
render()

const start = async () => {
  if (!('DecompressionStream' in window)) {
    failed = 'This browser does not inflate data (DecompressionStream); browsers since 2023 do.'
    return render()
  }
  try {
    await loadFeatures()
    ready = 1
    if (current[0] === 'o') render()
    await loadCorpus()
    ready = 2
    if (VIEWS[current[0]].needs > 1) render()
    document.documentElement.dataset.ready = performance.now().toFixed(0)
  } catch (error) {
    failed = `Its data is damaged: ${error.message}`
    render()
    throw error
  }
}
document.readyState === 'loading' ? addEventListener('DOMContentLoaded', start) : start()
