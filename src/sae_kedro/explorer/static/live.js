// What needs `kedro sae explore`: own texts, meaning, exact shares, steering. Without a server none of it is there.

const token = document.querySelector('meta[name="sae-kedro-server"]')?.content ?? null
const live = token !== null

const api = async (name, body) => {
  let answer
  try {
    answer = await fetch(`/api/${name}`, {method: 'POST', headers: {'Content-Type': 'application/json', 'X-Sae-Kedro': token}, body: JSON.stringify(body)})
  } catch { throw new Error('the server does not answer; is `kedro sae explore` still running?') }
  const told = await answer.json().catch(() => ({error: `the server said ${answer.status}`}))
  if (!answer.ok) throw new Error(told.error ?? `the server said ${answer.status}`)
  return told
}

// Fill a place with what the server answers, or with its sentence
const filled = (name, body, draw) => {
  const place = h('div', {}, wait())
  api(name, body).then(told => fill(place, draw(told)), error => fill(place, h('p', {class: 'warn', role: 'alert'}, error.message)))
  return place
}

// A long text does not go into the address as a whole
const LONG = 2000
let typed = ''

const ownTextCard = (given = '') => {
  const field = h('textarea', {id: 'own-text', rows: 2, dir: 'auto', placeholder: 'Type or paste a text'})
  field.value = given
  return h('section', {class: 'card'}, h('form', {class: 'ask', onsubmit: event => { event.preventDefault(); typed = field.value.trim(); if (typed) location.hash = `#x/${encodeURIComponent(typed.slice(0, LONG))}` }},
    h('label', {for: 'own-text'}, 'A text of your own'), field, h('button', {type: 'submit'}, 'What is it made of?')))
}

const serverRow = (row, right, before = null) => h('li', {class: 'entry'}, before, h('div', {class: 'grow'}, row.text === null || row.text === undefined ? `row ${row.row}` : textBody(row.text), ' ',
  corpus.places.has(row.row) && h('a', {href: `#t/${row.row}`, class: 'open', 'aria-label': `Open text ${row.row}`}, 'open')), right)

const ownText = beginning => {
  const query = typed.startsWith(beginning) && beginning.length >= LONG ? typed : beginning
  return [
    h('h1', {}, 'A text of your own'), ownTextCard(query),
    query && h('div', {class: 'split even'}, h('div', {class: 'stack'},
      card('What it is made of', filled('encode', {text: query}, ({latents: found, acts, words, cut}) => {
        const pairs = found.map((latent, i) => [latent, acts[i]]).sort((a, b) => b[1] - a[1])
        const reading = h('p', {class: 'reading'}, textBody(query))
        const show = latent => {
          const told = latent === null ? null : words?.[latent]
          if (!told) return fill(reading, textBody(query))
          const top = Math.max(1e-9, ...told.map(([, value]) => value))
          fill(reading, h('span', {dir: 'auto', class: 'text'}, told.flatMap(([word, value]) => [h('span', {class: 'heat', style: {'--w': Math.max(0, value / top).toFixed(2)}, title: fixed(value)}, word), ' '])))
        }
        return [reading, cut && note('The model reads its beginning alone.'), words && note('Point at a bar to see which words switch it on.'),
          signedBars(pairs.map(([latent, value]) => ({latent, value, kind: 'both'})), {onpoint: term => show(term?.latent ?? null)}),
          h('a', {href: `#q/${encodeURIComponent(query)}`}, 'Search with it, and steer')]
      })),
      card('What they add up to', note('The text’s embedding has length 1. Each feature’s share of that:'),
        filled('explain', {a: query, b: query}, told => sumBars(told.terms, told.cosine)))),
      card('Nearest texts', filled('neighbours', {text: query, n: 10}, ({rows}) => h('ul', {class: 'plain-list'}, rows.map(row => {
        const explained = later({}, 'why', () => filled('explain', {a: query, b: row.row}, told => whyBars(told.cosine, told.terms)))
        return [serverRow(row, h('b', {class: 'num'}, fixed(row.cosine))), h('li', {class: 'under'}, explained)]
      }))))),
  ]
}

const meaningPart = query => h('div', {}, h('h3', {}, 'By meaning'), filled('meaning', {query, n: 10}, ({latents: found}) =>
  h('ul', {class: 'plain-list'}, found.map(({latent, score}) => featureRow(latent, h('span', {class: 'num'}, fixed(score)))))))

const whyLive = (first, second) => [h('h1', {}, 'Why these two are close'), card(null, filled('explain', {a: first, b: second}, told => whyBars(told.cosine, told.terms)))]

const exactLater = (place, first, second) => h('button', {type: 'button', onclick: async () => {
  try {
    const told = await api('explain', {a: first, b: second})
    fill(place, whyBars(told.cosine, told.terms), note('Exact, from the server.'))
  } catch (error) { say(error.message) }
}}, 'Exact, from the server')

const steering = {query: null, weights: {}, timer: 0}

const steer = query => {
  if (steering.query !== query) Object.assign(steering, {query, weights: {}})
  const field = h('input', {id: 'steer-query', value: query, dir: 'auto', type: 'search'})
  const results = h('div', {'aria-live': 'polite'}, query ? wait() : '')
  const sliders = h('div', {}, query ? wait() : '')
  let latest = 0
  const ask = async () => {
    const mine = ++latest
    try {
      const told = await api('steer', {query, weights: steering.weights, n: 20})
      if (mine === latest) fill(results, steered(told))
    } catch (error) { fill(results, h('p', {class: 'warn', role: 'alert'}, error.message)) }
  }
  const slider = (latent, given) => {
    const told = h('output', {for: `s${latent}`}, `× ${fixed(steering.weights[latent] ?? 1, 1)}`)
    const range = h('input', {type: 'range', id: `s${latent}`, min: 0, max: 5, step: .1, value: steering.weights[latent] ?? 1, 'aria-label': nameOf(latent), oninput: () => {
      const factor = Number(range.value)
      told.textContent = `× ${fixed(factor, 1)}`
      if (factor === 1) delete steering.weights[latent]
      else steering.weights[latent] = factor
      clearTimeout(steering.timer)
      steering.timer = setTimeout(ask, 120)
    }})
    return h('li', {class: 'slider'}, featureLink(latent), h('small', {class: 'soft'}, fixed(given)), range, told)
  }
  if (query) {
    api('encode', {text: query}).then(({latents: found, acts}) => {
      const pairs = found.map((latent, i) => [latent, acts[i]]).sort((a, b) => b[1] - a[1])
      fill(sliders, h('ul', {class: 'plain-list'}, pairs.slice(0, 16).map(([latent, value]) => slider(latent, value))),
        h('button', {type: 'button', onclick: () => { steering.weights = {}; render() }}, 'Reset'))
    }, error => fill(sliders, h('p', {class: 'warn', role: 'alert'}, error.message)))
    ask()
  }
  return [
    h('h1', {}, 'Steering'), note('Search with a text, then turn its features up, down or off, and see what moves.'),
    h('form', {class: 'ask card', onsubmit: event => { event.preventDefault(); location.hash = `#q/${encodeURIComponent(field.value.trim())}` }}, h('label', {for: 'steer-query'}, 'Search for'), field, h('button', {type: 'submit'}, 'Search')),
    query && h('div', {class: 'split even'}, card('Its features', sliders), card('Nearest texts', results)),
  ]
}

const steered = ({before, after, python}) => {
  const moved = row => {
    const rank = after.indexOf(row) + 1
    if (!Object.keys(steering.weights).length) return null
    const by = row.rank_before ? row.rank_before - rank : null
    return h('span', {class: `moved ${by > 0 ? 'up' : by < 0 ? 'down' : ''}`}, by === null ? 'new' : by > 0 ? `▲ ${by}` : by < 0 ? `▼ ${-by}` : '=')
  }
  const gone = before.filter(row => !after.some(other => other.row === row.row))
  return [
    h('ol', {class: 'plain-list'}, after.map(row => serverRow(row, h('b', {class: 'num'}, fixed(row.score)), moved(row)))
      .flatMap((item, i) => [item, after[i].terms?.length > 0 && Object.keys(steering.weights).length > 0 && h('li', {class: 'under soft'}, 'why: ', after[i].terms.slice(0, 3).map(({latent, value}) => h('span', {class: 'because'}, featureLink(latent), ` ${value > 0 ? '+' : ''}${fixed(value)}`)))])),
    gone.length > 0 && note(`${plural(gone.length, 'text')} left the list.`),
    h('details', {}, h('summary', {}, 'The same in Python'), h('pre', {tabindex: 0}, python), h('button', {type: 'button', onclick: () => navigator.clipboard.writeText(python).then(() => say('Copied'), () => say('This browser does not let the page copy'))}, 'Copy')),
  ]
}
