// The map of features: what lies together has like directions. Drag to move, buttons or keys to zoom.

const GREY = -1
let hues = null // by family

const familyHues = () => {
  if (hues) return hues
  const sizes = new Map()
  features.family.forEach(family => family >= 0 && sizes.set(family, (sizes.get(family) ?? 0) + 1))
  const ordered = [...sizes].sort((a, b) => b[1] - a[1] || a[0] - b[0])
  hues = new Map(ordered.map(([family], rank) => [family, rank * 137.508 % 360]))
  return hues
}

const COLOURS = {
  family: ['family', latent => familyHues().get(features.family[latent]) ?? GREY],
  score: ['label score', latent => column('label_auroc', latent) === null ? GREY : 20 + 200 * Math.min(1, Math.max(0, (column('label_auroc', latent) - .5) / .5))],
  density: ['density', latent => features.n_texts[latent] === 0 ? GREY : 220 - 200 * Math.min(1, Math.sqrt(density(latent) / .05))],
}

// Features as they are drawn, the frequent first, and as they are named, those whose labels hold best first
let ordered = null
const mapOrder = () => {
  if (ordered) return ordered
  const order = [...Array(N).keys()].filter(latent => features.n_texts[latent] > 0).sort((a, b) => features.n_texts[b] - features.n_texts[a])
  const worth = order.map(latent => [latent, (column('label_auroc_lo', latent) ?? column('label_auroc', latent) ?? 0) + Math.min(.2, Math.sqrt(density(latent)))])
  const named = worth.filter(([latent]) => features.label[latent]).sort((a, b) => b[1] - a[1]).map(([latent]) => latent)
  ordered = {order, named}
  return ordered
}

const featureMap = ({chosen = null, onhover = () => {}} = {}) => {
  const canvas = h('canvas', {
    class: 'map', tabindex: 0, role: 'application',
    'aria-label': `Map of ${count(N)} features. Arrow keys move it, plus and minus zoom, Enter opens the feature in the middle. The list of features holds the same.`,
  })
  const tip = h('div', {class: 'tip', hidden: true})
  const view = {x: .5, y: .5, zoom: 1}
  let colour = 'family'
  let over = chosen
  const where = latent => {
    const size = Math.min(canvas.clientWidth, canvas.clientHeight) - 24
    return [
      canvas.clientWidth / 2 + (latents.x[latent] / 65535 - view.x) * size * view.zoom * stretch(),
      canvas.clientHeight / 2 + (latents.y[latent] / 65535 - view.y) * size * view.zoom,
    ]
  }
  const stretch = () => Math.min(1.6, Math.max(1, canvas.clientWidth / canvas.clientHeight))
  const radius = latent => (1.2 + 14 * Math.sqrt(Math.min(.2, density(latent)))) * Math.min(2.2, view.zoom ** .4)
  const {order, named} = mapOrder()

  const draw = () => {
    const dpr = window.devicePixelRatio || 1
    const [width, height] = [canvas.clientWidth, canvas.clientHeight]
    if (!width) return
    if (canvas.width !== Math.round(width * dpr)) { canvas.width = Math.round(width * dpr); canvas.height = Math.round(height * dpr) }
    const style = getComputedStyle(canvas)
    const dark = style.getPropertyValue('--dark').trim() === '1'
    const pen = canvas.getContext('2d')
    pen.setTransform(dpr, 0, 0, dpr, 0, 0)
    pen.clearRect(0, 0, width, height)
    for (const latent of order) {
      const [x, y] = where(latent)
      if (x < -20 || y < -20 || x > width + 20 || y > height + 20) continue
      const hue = COLOURS[colour][1](latent)
      pen.fillStyle = hue === GREY ? (dark ? 'rgb(148 163 184 / .35)' : 'rgb(100 116 139 / .3)') : `hsl(${hue} 65% ${dark ? 62 : 46}% / .75)`
      pen.beginPath()
      pen.arc(x, y, radius(latent), 0, 7)
      pen.fill()
    }
    pen.font = '11.5px system-ui, sans-serif'
    pen.textAlign = 'center'
    pen.lineJoin = 'round'
    const taken = []
    let left = Math.round(width * height / 16000)
    for (const latent of over === null ? named : [over, ...named]) {
      if (!left) break
      const [x, y] = where(latent)
      if (x < 0 || y < 12 || x > width || y > height) continue
      const name = nameOf(latent)
      const text = name.length > 30 ? `${name.slice(0, 28)}…` : name
      const half = pen.measureText(text).width / 2 + 4
      const middle = Math.min(width - half, Math.max(half, x))
      const top = y - radius(latent) - 4
      if (taken.some(([a, b, c]) => Math.abs(a - middle) < half + c && Math.abs(b - top) < 15)) continue
      taken.push([middle, top, half])
      left--
      pen.strokeStyle = style.getPropertyValue('--card')
      pen.lineWidth = 3.5
      pen.strokeText(text, middle, top)
      pen.fillStyle = style.getPropertyValue(latent === over ? '--accent' : '--ink')
      pen.fillText(text, middle, top)
    }
    if (over !== null) {
      const [x, y] = where(over)
      pen.strokeStyle = style.getPropertyValue('--ink')
      pen.lineWidth = 2
      pen.beginPath()
      pen.arc(x, y, radius(over) + 3, 0, 7)
      pen.stroke()
    }
  }
  let asked = 0
  const redraw = () => { asked ||= requestAnimationFrame(() => { asked = 0; draw() }) }

  const nearest = (x, y, reach) => {
    let [best, distance] = [null, reach]
    for (const latent of order) {
      const [a, b] = where(latent)
      const apart = Math.hypot(a - x, b - y) - radius(latent)
      if (apart < distance) [best, distance] = [latent, apart]
    }
    return best
  }
  const place = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top] }
  const zoom = (factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) => {
    const size = Math.min(canvas.clientWidth, canvas.clientHeight) - 24
    const before = view.zoom
    view.zoom = Math.min(40, Math.max(1, view.zoom * factor))
    view.x += (x - canvas.clientWidth / 2) / (size * stretch()) * (1 / before - 1 / view.zoom)
    view.y += (y - canvas.clientHeight / 2) / size * (1 / before - 1 / view.zoom)
    redraw()
  }
  const move = (dx, dy) => {
    const size = Math.min(canvas.clientWidth, canvas.clientHeight) - 24
    view.x -= dx / (size * view.zoom * stretch())
    view.y -= dy / (size * view.zoom)
    redraw()
  }
  const point = (latent, x = 0, y = 0) => {
    if (latent === null) tip.hidden = true
    else {
      fill(tip, h('b', {dir: 'auto'}, nameOf(latent)), h('span', {}, `${percent(density(latent))} of texts · AUROC ${fixed(column('label_auroc', latent))}`))
      tip.hidden = false
      tip.style.left = `${Math.min(x + 12, canvas.clientWidth - tip.offsetWidth - 4)}px`
      tip.style.top = `${Math.min(y + 14, canvas.clientHeight - tip.offsetHeight - 4)}px`
    }
    if (over !== (latent ?? chosen)) { over = latent ?? chosen; onhover(latent); redraw() }
  }

  let drag = null
  canvas.addEventListener('pointerdown', event => { drag = {at: place(event), moved: 0}; canvas.setPointerCapture(event.pointerId) })
  canvas.addEventListener('pointermove', event => {
    const [x, y] = place(event)
    if (!drag) return point(nearest(x, y, 8), x, y)
    const [dx, dy] = [x - drag.at[0], y - drag.at[1]]
    drag.moved += Math.abs(dx) + Math.abs(dy)
    drag.at = [x, y]
    if (drag.moved > 4) { tip.hidden = true; move(dx, dy) }
  })
  canvas.addEventListener('pointerup', event => {
    const [x, y] = place(event)
    const found = drag && drag.moved <= 4 ? nearest(x, y, 10) : null
    drag = null
    if (found !== null) location.hash = `#f/${found}`
  })
  canvas.addEventListener('pointercancel', () => { drag = null })
  canvas.addEventListener('pointerleave', () => point(null))
  canvas.addEventListener('wheel', event => {
    if (!event.ctrlKey && document.activeElement !== canvas) return
    event.preventDefault()
    zoom(Math.exp(-event.deltaY / 300), ...place(event))
  }, {passive: false})
  canvas.addEventListener('keydown', event => {
    const steps = {ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40]}
    if (steps[event.key]) move(...steps[event.key])
    else if (event.key === '+' || event.key === '=') zoom(1.4)
    else if (event.key === '-') zoom(1 / 1.4)
    else if (event.key === 'Enter') { const found = nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, 1e9); if (found !== null) location.hash = `#f/${found}` }
    else return
    event.preventDefault()
    event.stopPropagation()
    const middle = nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, 40)
    if (middle !== null) { over = middle; say(nameOf(middle)); redraw() }
  })
  new ResizeObserver(redraw).observe(canvas)
  addEventListener('themechange', redraw)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw)

  const choose = h('select', {'aria-label': 'Colour of the map', onchange: () => { colour = choose.value; redraw() }},
    Object.entries(COLOURS).map(([name, [title]]) => h('option', {value: name}, `colour: ${title}`)))
  const tools = h('div', {class: 'tools'}, choose,
    h('button', {type: 'button', 'aria-label': 'Zoom in', onclick: () => zoom(1.6)}, '+'),
    h('button', {type: 'button', 'aria-label': 'Zoom out', onclick: () => zoom(1 / 1.6)}, '−'),
    h('button', {type: 'button', onclick: () => { Object.assign(view, {x: .5, y: .5, zoom: 1}); redraw() }}, 'reset'))
  return h('div', {class: 'mapbox'}, canvas, tip, tools)
}
