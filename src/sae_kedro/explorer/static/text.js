// #t/45: what a text is made of; #t/45~77: why two are close. Numbers are rows of the corpus.

const termName = term => term.latent === null || term.latent === undefined ? KINDS[term.kind] : nameOf(term.latent)
const named = terms => terms.map(term => ({...term, name: termName(term)}))

// Bars of the largest shares, the rest together, and what they add up to
const sumBars = (terms, total, {few = 12, ...more} = {}) => {
  const ofLatents = terms.filter(term => term.latent !== null && term.latent !== undefined)
  const others = terms.filter(term => term.latent === null || term.latent === undefined)
  const place = h('div')
  const redraw = all => {
    const rest = all ? [] : ofLatents.slice(few)
    const shown = [...named(all ? ofLatents : ofLatents.slice(0, few))]
    if (rest.length) shown.push({name: plural(rest.length, 'more feature'), kind: 'rest', latent: null, value: rest.reduce((sum, term) => sum + term.value, 0)})
    shown.push(...named(others))
    fill(place, signedBars(shown, more),
      h('p', {class: 'total'}, h('span', {}, 'They add up to'), h('b', {class: 'num'}, fixed(total, 3))),
      rest.length > 0 && h('button', {type: 'button', class: 'wide-button', onclick: () => redraw(true)}, `Show all ${count(ofLatents.length)}`))
  }
  redraw(false)
  return place
}

const accuracy = exact => exact
  ? note(`From embeddings in 8 bits: a cosine is off by ${index.error.cosine.toFixed(4)} at most, a share by ${index.error.share.toFixed(4)} (100 pairs were measured). What is left over is put down as not explained, so that the bars add up.`)
  : note(`An embedding of these is not in this page, which holds ${count(index.n_vectors)}: what its features add up to stands in, so nothing is left unexplained and a cosine is a guess. Exact: `, h('code', {}, 'kedro sae explain'), '.')

const missing = row => !Number.isInteger(row) ? [h('h1', {}, 'No such text')] : [h('h1', {}, `Text ${row}`), note(row < index.n_texts
  ? `It is not among the ${count(index.n_shown)} texts in this page.` : `The corpus has rows 0 to ${count(index.n_texts - 1)}.`),
row < index.n_texts && h('p', {}, h('code', {}, `kedro sae explain --corpus --row ${row}`), ' tells what it is made of.')]

// A text in which the words of a latent are marked while the pointer or the focus is on its bar
const markedText = place => {
  const box = h('p', {class: 'reading'})
  const show = latent => fill(box, cutText(textAt(place), part => h('span', {dir: 'auto', class: 'text'},
    pieces(part, latent === null ? firingOn(place).slice(0, 8).flatMap(([other]) => features.patterns[other]) : features.patterns[latent])
      .map(([piece, hit]) => hit ? h('mark', {class: latent === null ? 'some' : ''}, piece) : piece)), 1200))
  show(null)
  return {box, show}
}

const cutNote = place => isCut(place) && note(`The first ${count(index.longest)} of ${count(corpus.cut[place])} characters.`)

const text = row => {
  const place = corpus.places.get(row)
  if (place === undefined) return missing(row)
  const marked = markedText(place)
  const firing = firingOn(place)
  const bars = growing(firing, ([latent, step]) => h('li', {
    class: 'bar-row', onmouseenter: () => marked.show(latent), onfocusin: () => marked.show(latent),
    onmouseleave: () => marked.show(null), onfocusout: () => marked.show(null),
  }, h('span', {class: 'bar-name'}, featureLink(latent)),
  h('span', {class: 'track'}, h('i', {class: 'for', style: {width: `${step / 2.55}%`}})),
  h('b', {class: 'num'}, fixed(activation(latent, step)))), 12, 'ul', {class: 'bars keys'})
  const sums = h('div', {class: 'await'}, wait())
  const near = h('div', {}, wait())
  loadVectors().then(() => {
    if (!index.linear) {
      fill(sums, note('This SAE decodes by no sum over latents, so nothing adds up to the text.'))
    } else {
      const {cosine, terms, exact} = explainPlaces(place, place)
      fill(sums, sumBars(terms, cosine, {onpoint: term => marked.show(term?.latent ?? null)}), accuracy(exact))
    }
    const own = sumOf(place)
    fill(near, h('ul', {class: 'plain-list'}, nearestTo(own.total, 10, place).map(([other, cosine]) => textEntry(other, {
      right: h('span', {class: 'why'}, h('b', {class: 'num'}, fixed(cosine)), index.linear && h('a', {href: `#t/${row}~${corpus.rows[other]}`}, 'why')),
    }))), note(`Nearest among the ${count(index.n_vectors)} texts whose embedding is in this page.`, !own.exact && ' Its own is not: what its features add up to stands in.'))
  })
  return [
    h('div', {class: 'head'}, h('h1', {}, `Text ${row}`), h('span', {class: 'controls'}, exportButtons(`text-${row}`, () => [textRecord(place)]))),
    card(null, marked.box, cutNote(place)),
    h('div', {class: 'split even'},
      h('div', {class: 'stack'},
        card(`${plural(firing.length, 'feature')} ${firing.length === 1 ? 'fires' : 'fire'}`, note('Activation; a bar is full at the largest that its feature reaches anywhere. Point at one to see its keywords in the text.'), bars),
        card('What they add up to', note('The text’s embedding has length 1. Each feature’s share of that:'), sums)),
      card('Nearest texts', near)),
  ]
}

const pairText = (place, row) => h('div', {class: 'grow'}, h('h2', {}, h('a', {href: `#t/${row}`}, `Text ${row}`)), textBody(textAt(place)), cutNote(place))

const why = (first, second) => {
  const [a, b] = [corpus.places.get(first), corpus.places.get(second)]
  if (a === undefined || b === undefined) return live ? whyLive(first, second) : missing(a === undefined ? first : second)
  const sums = h('div', {class: 'await'}, wait())
  loadVectors().then(() => {
    if (!index.linear) return fill(sums, note('This SAE decodes by no sum over latents, so a cosine cannot be shared out.'))
    const {cosine, terms, exact} = explainPlaces(a, b)
    fill(sums, whyBars(cosine, terms), accuracy(exact), live && exactLater(sums, first, second))
  })
  return [
    h('h1', {}, 'Why these two are close'),
    h('div', {class: 'card two'}, pairText(a, first), pairText(b, second)),
    h('div', {class: 'card'}, sums),
  ]
}

const whyBars = (cosine, terms) => [
  h('h2', {}, `Cosine ${fixed(cosine, 3)}: what it is made of`),
  note('A feature’s share is what it adds to the product of both embeddings: what it has in common with all of the other text. Blue speaks for closeness, orange against it.'),
  sumBars(terms, cosine, {few: 15, describe: term => term.kind in KINDS && term.latent !== null && term.latent !== undefined ? h('small', {class: 'kind'}, KINDS[term.kind]) : null}),
]
