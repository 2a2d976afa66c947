// Parts that several views are made of.

const featureLink = (latent, name = nameOf(latent)) => h('a', {href: `#f/${latent}`, class: 'feature', dir: 'auto'}, name)

const textBody = (text, patterns = []) => cutText(text, part => h('span', {dir: 'auto', class: 'text'},
  patterns.length ? pieces(part, patterns).map(([piece, hit]) => hit ? h('mark', {}, piece) : piece) : part))

// A text of the corpus as an entry of a list: how strongly a latent fires, the text, what else fires
const textEntry = (place, {latent = null, step = null, patterns = [], right = null, others = 0} = {}) => h('li', {class: 'entry'},
  step !== null && h('span', {class: 'strength', title: `activation ${fixed(activation(latent, step))}`},
    h('i', {style: {width: `${step / 2.55}%`}}), h('b', {}, fixed(activation(latent, step)))),
  h('div', {class: 'grow'},
    textBody(textAt(place), patterns), ' ',
    h('a', {href: `#t/${corpus.rows[place]}`, class: 'open', 'aria-label': `Open text ${corpus.rows[place]}`}, 'open'),
    others > 0 && otherBars(place, latent, others)),
  right)

const otherBars = (place, latent, n) => {
  const others = firingOn(place).filter(([other]) => other !== latent).slice(0, n)
  return h('ul', {class: 'others', 'aria-label': 'What else fires here'}, others.map(([other, step]) => h('li', {},
    h('i', {class: 'mini', style: {'--w': `${step / 2.55}%`}, title: `${Math.round(step / 2.55)} % of its largest`}), featureLink(other))))
}

const card = (title, ...children) => h('section', {class: 'card'}, title && h('h2', {}, title), ...children)
const note = (...children) => h('p', {class: 'soft'}, ...children)
const pinButton = latent => {
  const button = h('button', {type: 'button', 'aria-pressed': String(isPinned(latent)), onclick: () => {
    togglePin(latent)
    button.setAttribute('aria-pressed', String(isPinned(latent)))
    button.textContent = isPinned(latent) ? 'Pinned' : 'Pin'
  }}, isPinned(latent) ? 'Pinned' : 'Pin')
  return button
}

const scoreOf = latent => {
  const score = column('label_auroc', latent)
  if (score === null) return h('span', {class: 'soft'}, {dead: 'dead', rare: 'rare', wordless: 'no words'}[features.status[latent]] ?? '–')
  const [low, high] = [column('label_auroc_lo', latent), column('label_auroc_hi', latent)]
  return h('span', {title: low === null ? 'AUROC of its label' : `AUROC of its label; 95 % interval ${fixed(low)} to ${fixed(high)}`}, fixed(score))
}

const rowOf = (latent, name, keywords, right) => h('li', {class: 'frow'},
  h('div', {class: 'grow'}, featureLink(latent, name), h('span', {class: 'soft words', dir: 'auto'}, keywords ?? '')), right)

const featureRow = (latent, right) => rowOf(latent, nameOf(latent), features.keywords[latent],
  right ?? [h('span', {class: 'num'}, scoreOf(latent)), h('span', {class: 'num soft wide'}, percent(density(latent)))])

const sampled = () => index.n_shown < index.n_texts
  ? `${count(index.n_shown)} of ${plural(index.n_texts, 'text')} are in this page, taken so that each tenth of a feature's texts has some; counts and histograms are of all.`
  : `All ${plural(index.n_texts, 'text')} are in this page.`

// Details that are drawn when they are opened for the first time
const later = (given, title, draw) => {
  const details = h('details', given, h('summary', {}, title), given.open && draw())
  details.addEventListener('toggle', () => { if (details.open && details.childElementCount === 1) details.append(...solid([draw()])) })
  return details
}

const wait = () => h('p', {class: 'soft'}, 'Reading…')

// A list of which the first rows are drawn, and more on demand
const growing = (items, draw, step = 50, tag = 'ul', given = {}) => {
  const list = h(tag, given)
  let shown = 0
  const button = h('button', {type: 'button', class: 'wide-button', onclick: () => grow()})
  const grow = () => {
    list.append(...items.slice(shown, shown + step).map(draw))
    shown = Math.min(items.length, shown + step)
    button.textContent = `Show more (${count(shown)} of ${count(items.length)})`
    button.hidden = shown >= items.length
  }
  grow()
  return [list, button]
}
