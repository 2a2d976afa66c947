// #s/words: all features, or those that words find; and texts that hold the words.

const SORTS = {
  match: ['best match', null],
  score: ['label score', latent => -(column('label_auroc_lo', latent) ?? column('label_auroc', latent) ?? -1)],
  density: ['most frequent', latent => -features.n_texts[latent]],
  rare: ['least frequent', latent => features.n_texts[latent] || 1e12],
  cohesion: ['most coherent', latent => -(column('cohesion', latent) ?? -1)],
  name: ['name', null],
  latent: ['number', latent => latent],
}
const listState = {sort: 'score', show: index.first.length ? 'labelled' : 'all', family: ''}

let lowered = null
const loweredTexts = () => lowered ??= corpus.texts ? corpus.texts.map(text => text.toLowerCase()) : []
let loweredNames = null
const wordsOf = query => [...new Set(query.toLowerCase().normalize('NFC').split(/\s+/).filter(Boolean))]

// How well the name, keywords and patterns of a feature match: every word of the query counts by the best
// place where it is found, a rare word more than a frequent one
const nameMatch = (latent, words, worth) => {
  loweredNames ??= features.label.map((label, i) => [label ?? '', features.keywords[i] ?? '', (features.direction_words?.[i] ?? []).join(' ')]
    .map(text => ` ${text.toLowerCase().replace(/[,*]/g, ' ')} `))
  const own = (ownLabel(latent) ?? '').toLowerCase()
  const [label, keywords, near] = loweredNames[latent]
  let sum = 0
  const add = (word, by) => { sum += by * worth.get(word) }
  for (const word of words) {
    const whole = text => text.includes(` ${word} `)
    const starts = text => text.includes(` ${word}`)
    if (own.includes(word)) add(word, 4)
    else if (whole(label)) add(word, 3)
    else if (starts(label)) add(word, 2.5)
    else if (label.includes(word)) add(word, 2)
    else if (whole(keywords)) add(word, 1.6)
    else if (keywords.includes(word)) add(word, 1.2)
    else if (features.patterns[latent].some(pattern => word.length > 2 && alike(pattern, word))) add(word, .8)
    else if (near.includes(word)) add(word, .4)
  }
  return sum
}

const searchTexts = words => {
  const found = []
  loweredTexts().forEach((text, place) => { if (words.every(word => text.includes(word))) found.push(place) })
  return found
}

// How much each word weighs: all weights add up to 1
const weights = words => {
  const texts = loweredTexts()
  const found = words.map(word => Math.log(1 + (texts.length + 1) / (1 + texts.reduce((n, text) => n + text.includes(word), 0))))
  const sum = found.reduce((a, b) => a + b, 0) || 1
  return new Map(words.map((word, i) => [word, found[i] / sum]))
}

// Features that fire on these texts more often than elsewhere: by how much
const firingOnAll = places => {
  const hits = new Map()
  for (const place of places) {
    for (let e = corpus.starts[place]; e < corpus.starts[place + 1]; e++) hits.set(corpus.active[e], (hits.get(corpus.active[e]) ?? 0) + 1)
  }
  return new Map([...hits].filter(([, n]) => n > 1 || places.length < 5).map(([latent, n]) =>
    [latent, {n, more: Math.max(0, n / places.length - density(latent))}]))
}

const search = query => {
  const words = wordsOf(query)
  const number = /^#?\d+$/.test(query.trim()) ? Number(query.trim().replace('#', '')) : -1
  const places = words.length ? searchTexts(words) : []
  const on = words.length ? firingOnAll(places) : new Map()
  const wanted = {
    labelled: latent => ownLabel(latent) || features.label[latent], all: () => true, own: latent => kept.own[latent],
    silent: latent => !features.label[latent],
  }[listState.show]
  let found = [...Array(N).keys()].filter(latent => words.length || wanted(latent))
  if (listState.family !== '') found = found.filter(latent => features.family[latent] === Number(listState.family))
  const match = new Map()
  const worth = weights(words)
  if (words.length) {
    for (const latent of found) {
      const score = nameMatch(latent, words, worth) + 2 * (on.get(latent)?.more ?? 0) + (latent === number ? 9 : 0)
      if (score > .2) match.set(latent, score)
    }
    found = found.filter(latent => match.has(latent))
  }
  const sort = words.length && listState.sort === 'score' ? 'match' : listState.sort
  if (sort === 'name') found.sort((a, b) => nameOf(a).localeCompare(nameOf(b)))
  else {
    const key = sort === 'match' ? latent => -(match.get(latent) ?? 0) : SORTS[sort][1]
    found.sort((a, b) => key(a) - key(b) || a - b)
  }
  return {words, places, on, found, sort}
}

const featureRecord = latent => ({
  latent, label: features.label[latent], own_label: ownLabel(latent), note: ownNote(latent) || null, keywords: features.keywords[latent],
  label_auroc: column('label_auroc', latent), label_auroc_lo: column('label_auroc_lo', latent), label_auroc_hi: column('label_auroc_hi', latent),
  n_texts: features.n_texts[latent], density: density(latent), family: features.family[latent],
})
const textRecord = place => ({
  row: corpus.rows[place], text: textAt(place), cut: isCut(place),
  latents: firingOn(place).map(([latent]) => latent), activations: firingOn(place).map(([latent, step]) => Number(fixed(activation(latent, step), 3))),
})

const list = query => {
  const {words, places, on, found, sort} = search(query)
  const choose = (name, label, options) => {
    const select = h('select', {'aria-label': label, onchange: () => { listState[name] = select.value; render() }},
      options.map(([value, title]) => h('option', {value, selected: value === (name === 'sort' ? sort : listState[name])}, title)))
    return select
  }
  const families = [...familyHues().keys()].slice(0, 200)
  const rows = growing(found, latent => featureRow(latent, [
    words.length > 0 && on.has(latent) && h('span', {class: 'num soft', title: 'Texts with these words on which it fires'}, `${count(on.get(latent).n)}/${count(places.length)}`),
    h('span', {class: 'num'}, scoreOf(latent)),
    h('span', {class: 'num soft wide', title: `fires on ${count(features.n_texts[latent])} texts`}, percent(density(latent)))]), query ? 30 : 100, 'ul', {class: 'plain-list keys'})
  return [
    h('h1', {dir: 'auto'}, query ? `“${query}”` : 'Features'),
    note(query ? `${plural(found.length, 'feature')} by name or by the texts that hold these words; ${plural(places.length, 'text')} in this page.`
      : 'Names are words that a feature’s texts have in common; the number is how well they tell its texts (AUROC), then how many texts it fires on.'),
    h('div', {class: query ? 'split even' : ''},
      h('section', {class: 'card'}, h('div', {class: 'head'}, h('h2', {}, plural(found.length, 'feature')),
        h('span', {class: 'controls'},
          choose('sort', 'Order', Object.entries(SORTS).filter(([name]) => name !== 'match' || query).map(([name, [title]]) => [name, title])),
          !query && choose('show', 'Which', [['labelled', 'with a label'], ['all', 'all'], ['silent', 'without a label'], ['own', 'with my notes']]),
          families.length > 0 && choose('family', 'Family', [['', 'all families'], ...families.map(head => [String(head), nameOf(head)])]),
          exportButtons('features', () => found.map(featureRecord)))), rows, live && query && meaningPart(query)),
      query && h('section', {class: 'card'}, h('div', {class: 'head'}, h('h2', {}, plural(places.length, 'text')), exportButtons('texts', () => places.map(textRecord))),
        growing(places, place => textEntry(place, {patterns: words, others: 3}), 20, 'ul', {class: 'plain-list'}))),
  ]
}
