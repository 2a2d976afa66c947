// #c/12~34: features side by side; #p: what is pinned and noted.

const compare = chosen => {
  const found = chosen.filter(latent => latent >= 0 && latent < N)
  if (found.length < 2) return [h('h1', {}, 'Compare features'), note('Pin two features, and they are set side by side here.')]
  const sets = found.map(latent => new Map(textsOf(latent)))
  const [a, b] = sets
  const both = [...a.keys()].filter(place => b.has(place))
  const union = a.size + b.size - both.length
  const cosine = h('b', {}, '…')
  loadVectors().then(() => {
    const [x, y] = found.map(direction)
    cosine.textContent = fixed(dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y)))
  })
  const examples = (title, places) => card(`${title}: ${count(places.length)}`, h('ul', {class: 'plain-list'}, places.slice(0, 5).map(place => textEntry(place, {patterns: found.slice(0, 2).flatMap(latent => features.patterns[latent])}))))
  const strength = place => Math.min(a.get(place) ?? 255, b.get(place) ?? 255)
  const column = latent => card(null, h('h2', {}, featureLink(latent)), note(`fires on ${plural(features.n_texts[latent], 'text')}, ${percent(density(latent))} · AUROC `, scoreOf(latent)),
    keywordChips(latent), histogram(latent), h('h3', {}, 'Strongest'), h('ul', {class: 'plain-list'}, textsOf(latent).slice(0, 5).map(([place, step]) => textEntry(place, {latent, step, patterns: features.patterns[latent]}))))
  return [
    h('h1', {}, 'Compare features'),
    h('div', {class: 'card facts'}, h('span', {}, 'Cosine of directions ', cosine), h('span', {}, 'Both fire on ', h('b', {}, plural(both.length, 'text'))),
      h('span', {}, 'of those on which either does ', h('b', {}, percent(union ? both.length / union : 0))), found.length > 2 && h('span', {class: 'soft'}, 'of the first two')),
    h('div', {class: 'columns'}, found.slice(0, 4).map(column)),
    h('div', {class: 'columns'}, examples('On both', both.sort((x, y) => strength(y) - strength(x))), examples(`Only ${nameOf(found[0])}`, [...a.keys()].filter(place => !b.has(place))), examples(`Only ${nameOf(found[1])}`, [...b.keys()].filter(place => !a.has(place)))),
  ]
}

const pins = () => {
  const noted = Object.keys(kept.own).map(Number)
  const all = [...new Set([...kept.pins, ...noted])].filter(latent => latent < N)
  return [
    h('h1', {}, 'Pinned and noted'),
    note('Kept in this browser, for this SAE.'),
    h('section', {class: 'card'}, h('div', {class: 'head'}, h('h2', {}, plural(all.length, 'feature')), h('span', {class: 'controls'},
      kept.pins.length > 1 && h('a', {class: 'button', href: `#c/${kept.pins.slice(0, 4).join('~')}`}, 'Compare'),
      exportButtons('pinned', () => all.map(featureRecord)), noted.length > 0 && h('button', {type: 'button', onclick: downloadOwn}, 'own_labels.jsonl'))),
    all.length === 0 && note('Nothing yet. Pin a feature on its page, or press p there.'),
    h('ul', {class: 'plain-list keys'}, all.map(latent => featureRow(latent, [h('span', {class: 'soft grow', dir: 'auto'}, ownNote(latent)), pinButton(latent)])))),
  ]
}
