// #o: what the SAE is worth, what the corpus is, and a map of features.

const scoreCard = ({title, explained, values}) => h('section', {class: 'card score'}, h('h2', {}, title),
  values.map(value => h('div', {class: 'pair'}, h('span', {}, value.label),
    h('span', {}, h('b', {}, value.text), value.bounds && h('small', {}, ` ${value.bounds}`)),
    h('span', {class: 'meter'}, h('i', {class: value.own ? 'own' : '', style: {width: `${value.width}%`}})))),
  h('details', {open: values.length === 0}, h('summary', {}, 'what this is'), h('p', {class: 'soft'}, explained)))

// Metrics of one number, such as L0, are told in a line
const single = () => index.metrics.filter(({values}) => values.length === 1).map(({title, explained, values: [value]}) =>
  h('span', {title: explained}, ` · ${title} `, h('b', {}, value.text), value.bounds && ` (${value.bounds})`))

const labelCard = () => {
  const told = index.summary
  if (told.label_auroc === null || told.label_auroc === undefined) {
    return {title: 'Labels', explained: 'No latent has a label: those need texts.', values: []}
  }
  const bounds = told.label_auroc_ci95 ? `${fixed(told.label_auroc_ci95[0], 3)} to ${fixed(told.label_auroc_ci95[1], 3)}` : null
  const meter = (label, value, own, spread = null) => ({label, text: fixed(value, 3), bounds: spread, own, width: 100 * Math.max(0, 2 * value - 1)})
  return {
    title: 'Labels (AUROC)',
    explained: `Mean AUROC with which labels tell the texts of their latent from others, on texts that made no label: .5 is chance, 1 is perfect. ${count(told.n_labelled)} of ${count(N)} latents have one.`,
    values: [meter('its own label', told.label_auroc, true, bounds), meter('label of the nearest latent', told.nearest_auroc, false), meter('label of another latent', told.floor_auroc, false)],
  }
}

const facts = () => [
  index.top_k && `k ${index.top_k}`,
  index.model_name && `embeddings of ${index.model_name}`,
  index.dataset_path && `texts of ${index.dataset_path}`,
].filter(Boolean).join(' · ')

const nameless = () => [[index.summary.n_dead, 'never fire on these texts'], [index.summary.n_rare, 'fire on too few texts for a label'], [index.summary.n_wordless, 'have no word that holds']]
  .filter(([n]) => n > 0).map(([n, what]) => `${plural(n, 'feature')} ${what}`).join(', ')

const overview = () => {
  const list = index.first.map(({latent, label, keywords, label_auroc: score, n_texts: n}) => features ? featureRow(latent) : rowOf(latent, label, keywords, [
    h('span', {class: 'num'}, fixed(score)), h('span', {class: 'num soft wide'}, percent(n / index.n_texts))]))
  return [
    h('h1', {}, `${index.name}: what ${plural(index.n_texts, 'text')} are made of`),
    note(`${count(N)} features · ${facts()}`, single()),
    h('div', {class: 'cards'}, [...index.metrics.filter(({values}) => values.length > 1), labelCard()].map(scoreCard)),
    live && ownTextCard(),
    h('div', {class: 'split'},
      h('section', {class: 'card'}, h('h2', {}, 'Map of features'),
        note('What lies together points the same way. A dot is as large as its feature is frequent.'),
        features ? featureMap() : h('div', {class: 'mapbox'})),
      h('section', {class: 'card'}, h('h2', {}, 'Features whose labels hold best'),
        h('ul', {class: 'plain-list', id: 'best'}, list), h('a', {href: '#s/', class: 'wide-button'}, `All ${count(N)} features`))),
    card('What this page cannot know',
      h('ul', {class: 'soft'},
        h('li', {}, sampled()),
        index.has_texts && h('li', {}, `A text is cut behind ${count(index.longest)} characters.`),
        nameless() && h('li', {}, `${nameless()}: a number is all their name is.`),
        h('li', {}, 'A label is made of words that its texts have in common. It is evidence as far as its score goes, and its interval is wide where texts are few.'),
        index.linear && h('li', {}, `The embeddings of ${plural(index.n_vectors, 'text')} are here, in 8 bits: a cosine is off by ${index.error.cosine.toFixed(4)} at most, a share by ${index.error.share.toFixed(4)}, measured on 100 pairs. Exact: `, h('code', {}, 'kedro sae explain'), '.'))),
  ]
}
