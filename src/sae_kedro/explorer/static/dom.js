// Elements, numbers and texts. Texts of a corpus reach the page as text nodes alone.

const byId = id => document.getElementById(id)

// h('a', {href, class, style: {'--w': 3}, onclick, 'aria-label'}, ...children): null and false are left out
const h = (tag, given = {}, ...children) => {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue
    if (name === 'style') Object.entries(value).forEach(([key, part]) => element.style.setProperty(key, part))
    else if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else if (name === 'value') element.value = value
    else element.setAttribute(name, value === true ? '' : value)
  }
  element.append(...solid(children))
  return element
}

const solid = children => children.flat(9).filter(child => child !== null && child !== undefined && child !== false)

// What a place shows from now on
const fill = (place, ...children) => place.replaceChildren(...solid(children))

const svg = (tag, given = {}, ...children) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
  Object.entries(given).forEach(([name, value]) => element.setAttribute(name, value))
  element.append(...children)
  return element
}

const whole = new Intl.NumberFormat('en')
const count = n => whole.format(n)
const fixed = (value, digits = 2) => value === null || value === undefined ? '–' : value.toFixed(digits)
const percent = share => share === 0 ? '0 %' : `${(100 * share).toFixed(share >= .1 ? 0 : share >= .001 ? 2 : 3)} %`
const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`

// Long texts are cut, with a button that shows the rest a piece at a time.
const FEW = 280
const STEP = 20000
const cutText = (text, draw, few = FEW) => {
  if (text.length <= few + 40) return draw(text)
  let shown = few
  const place = h('span')
  const redraw = () => {
    const end = /[\uD800-\uDBFF]/.test(text[shown - 1]) ? shown - 1 : shown
    const more = text.length > shown && h('button', {
      type: 'button', class: 'more',
      onclick: event => { event.stopPropagation(); event.preventDefault(); shown += STEP; redraw() },
    }, 'more')
    fill(place, draw(text.slice(0, end)), more && ['… ', more])
  }
  redraw()
  return place
}

const say = sentence => { byId('said').textContent = sentence }

const icon = path => {
  const drawn = svg('svg', {viewBox: '0 0 16 16', width: 16, height: 16, 'aria-hidden': 'true', class: 'icon'})
  drawn.append(svg('path', {d: path}))
  return drawn
}

const download = (name, kind, text) => {
  const url = URL.createObjectURL(new Blob([text], {type: kind}))
  const link = h('a', {href: url, download: name})
  document.body.append(link)
  link.click()
  link.remove()
  setTimeout(() => URL.revokeObjectURL(url), 10000)
  say(`${name} is saved`)
}

// A cell that a spreadsheet would take for a formula starts with an apostrophe.
const csvCell = value => {
  const text = Array.isArray(value) ? value.join('; ') : value === null || value === undefined ? '' : String(value)
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

const asCsv = rows => {
  const names = Object.keys(rows[0] ?? {})
  return [names, ...rows.map(row => names.map(name => row[name]))].map(row => row.map(csvCell).join(',')).join('\r\n') + '\r\n'
}

const exportButtons = (name, rows) => h('span', {class: 'export'},
  h('button', {type: 'button', onclick: () => download(`${name}.csv`, 'text/csv', asCsv(rows()))}, 'CSV'),
  h('button', {type: 'button', onclick: () => download(`${name}.json`, 'application/json', JSON.stringify(rows(), null, 1))}, 'JSON'))
