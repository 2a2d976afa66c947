// #f/123: one feature.

const SCORES = [
  ['label_auroc', 'its label', true], ['keywords_auroc', 'its keywords'], ['label_auroc_15', 'its label, 15 keywords'], ['nearest_auroc', 'label of the nearest latent'],
  ['floor_auroc', 'label of another latent'], ['centroid_auroc', 'closeness to its texts'],
]
const SOURCES = {keywords: 'label by words', llm: `label by a language model${index.summary.llm ? `, ${index.summary.llm.model}` : ''}`, person: 'label by a person'}
const PLAIN = [
  ['precision', 'precision of the label'], ['recall', 'recall of the label'], ['f1', 'F1'], ['cohesion', 'cohesion of its texts (mean cosine)'],
  ['stability', 'stability: cosine with its nearest in another seed'],
]

const scoreTable = latent => {
  const rows = SCORES.filter(([name]) => column(name, latent) !== null)
  const [low, high] = [column('label_auroc_lo', latent), column('label_auroc_hi', latent)]
  return [
    h('h3', {}, 'AUROC on texts that made no label'),
    rows.length === 0 && note('There is none: it has no label with evidence.'),
    rows.map(([name, title, own]) => h('div', {class: 'pair'}, h('span', {}, title),
      h('span', {}, h('b', {}, fixed(column(name, latent))), own && low !== null && h('small', {}, ` ${fixed(low)} to ${fixed(high)}`)),
      h('span', {class: 'meter'}, h('i', {class: own ? 'own' : '', style: {width: `${100 * Math.max(0, 2 * column(name, latent) - 1)}%`}})))),
    column('n_scored', latent) > 0 && note(`Scored on ${plural(column('n_scored', latent), 'text')} on which it fires, against others. Bars start at chance, .5.`),
    column('auroc_by_decile', latent)?.length > 0 && note('By decile, strongest first: ', column('auroc_by_decile', latent).map(value => fixed(value)).join(' · ')),
    PLAIN.filter(([name]) => column(name, latent) !== null).map(([name, title]) => h('div', {class: 'line'}, h('span', {}, title), h('b', {}, fixed(column(name, latent))))),
  ]
}

const keywordChips = latent => {
  const [patterns, weights] = [features.patterns[latent], features.weights[latent]]
  if (!patterns.length) return note('No keywords hold.')
  const top = Math.max(...weights)
  return [h('ul', {class: 'chips'}, patterns.map((pattern, i) => h('li', {style: {'--w': `${100 * weights[i] / top}%`}, title: `weight ${weights[i]}`},
    h('a', {href: `#s/${encodeURIComponent(pattern.replaceAll('*', ''))}`, dir: 'auto'}, pattern)))),
  note('Words that part its texts from others on one half of the texts, with their weights; they are scored on the other half. A star stands for any ending or beginning.')]
}

const familyTree = latent => {
  const head = features.family[latent]
  if (head < 0) return null
  const path = []
  for (let at = latent; at >= 0 && path.length < 50; at = features.parent[at]) path.unshift(at)
  const children = []
  features.parent.forEach((parent, other) => { if (parent === latent) children.push(other) })
  children.sort((a, b) => features.n_texts[b] - features.n_texts[a])
  const size = features.family.reduce((n, family) => n + (family === head), 0)
  const item = (at, ...more) => h('li', {}, at === latent ? h('b', {'aria-current': 'true', dir: 'auto'}, nameOf(at)) : featureLink(at), h('span', {class: 'soft'}, ` ${percent(density(at))}`), ...more)
  const below = children.length > 0 && h('ul', {}, children.slice(0, 12).map(child => item(child)), children.length > 12 && h('li', {class: 'soft'}, `and ${count(children.length - 12)} more`))
  const tree = path.reduceRight((inner, at) => h('ul', {class: 'tree'}, item(at, inner || '')), below)
  return card(`Family of ${count(size)}`, tree, note('A family’s rarer features fire where its more frequent ones do.'))
}

const deciles = latent => {
  const found = textsOf(latent)
  const patterns = features.patterns[latent]
  const parts = Array.from({length: index.deciles}, () => [])
  found.forEach(pair => parts[decileOf(latent, pair[1])].push(pair))
  return card('Texts from strongest to weakest',
    note(`${plural(features.n_texts[latent], 'text')} in all, ${count(found.length)} of them here, by tenths of their activation; keywords are marked.`),
    parts.map((part, decile) => {
      const entries = decile === 0 ? part.slice(5) : part
      if (!entries.length) return null
      const open = decile === 0 || decile === 4 || decile === 9
      const draw = () => growing(entries, ([place, step]) => textEntry(place, {latent, step, patterns}), 3, 'ul', {class: 'plain-list'})
      return later({open}, [decile === 0 ? 'strongest tenth' : decile === 9 ? 'weakest tenth' : `tenth ${decile + 1}`, h('span', {class: 'soft'}, ` ${count(part.length)} here`)], draw)
    }))
}

const related = (title, rows, says, more) => rows.length > 0 && card(title,
  h('ul', {class: 'plain-list'}, rows.map(([other, value]) => featureRow(other, h('span', {class: 'num'}, value)))), note(says), more)

const ownBox = latent => {
  const label = h('input', {id: 'own-label', value: ownLabel(latent) ?? '', maxlength: 200, dir: 'auto', autocomplete: 'off'})
  const text = h('textarea', {id: 'own-note', rows: 2, maxlength: 5000, dir: 'auto'})
  text.value = ownNote(latent)
  const told = h('span', {class: 'soft'})
  const save = async () => {
    keepOwn(latent, label.value.trim(), text.value.trim())
    told.textContent = 'Kept in this browser. '
    if (live) {
      try {
        await api('label', {latent, label: label.value.trim() || null, note: text.value.trim() || null})
        told.textContent = 'Saved beside the features; interpret reads it back.'
      } catch (error) { told.textContent = `Kept in this browser alone: ${error.message}` }
    }
  }
  return card('Own label and note', h('form', {onsubmit: event => { event.preventDefault(); save() }},
    h('label', {for: 'own-label'}, 'Label'), label, h('label', {for: 'own-note'}, 'Note'), text,
    h('div', {class: 'controls'}, h('button', {type: 'submit'}, 'Keep'), h('button', {type: 'button', onclick: downloadOwn}, 'Download own_labels.jsonl'), told)),
  note('Put the file beside features.parquet, and ', h('code', {}, 'interpret'), ' takes such labels in place of its own.'))
}

const feature = latent => {
  if (!(latent >= 0 && latent < N)) return [h('h1', {}, 'No such feature'), note(`Features are 0 to ${count(N - 1)}.`)]
  const patterns = features.patterns[latent]
  const strongest = textsOf(latent).slice(0, 5)
  const near = [...latents.near.subarray(latent * 5, latent * 5 + 5)].filter(place => place >= 0)
  const step = by => (latent + by + N) % N
  return [
    h('div', {class: 'head'},
      h('h1', {dir: 'auto'}, nameOf(latent)),
      h('span', {class: 'controls'},
        h('a', {href: `#f/${step(-1)}`, rel: 'prev', class: 'button', 'aria-label': 'Previous feature'}, '←'),
        h('a', {href: `#f/${step(1)}`, rel: 'next', class: 'button', 'aria-label': 'Next feature'}, '→'),
        pinButton(latent), exportButtons(`feature-${latent}`, () => textsOf(latent).map(([place, s]) => ({activation: Number(fixed(activation(latent, s), 3)), ...textRecord(place)}))))),
    note(`Feature ${latent}`, ownLabel(latent) && features.label[latent] ? ` · label by words: ${features.label[latent]}` : '',
      ` · fires on ${plural(features.n_texts[latent], 'text')}, ${percent(density(latent))} · largest activation ${fixed(latents.largest[latent])}`,
      features.label[latent] && ` · ${SOURCES[column('label_source', latent) ?? 'keywords'] ?? column('label_source', latent)}`),
    features.status[latent] !== 'labelled' && note(index.has_texts || features.status[latent] === 'dead' ? {dead: 'It never fires on these texts.', rare: 'It fires on too few texts for a label.', wordless: 'No word tells its texts from others.'}[features.status[latent]] ?? '' : 'There are no texts that could give it a label.'),
    h('div', {class: 'split side'},
      h('div', {class: 'stack'},
        strongest.length > 0 && card('Where it is strongest, and what else fires there', h('ul', {class: 'plain-list'},
          strongest.map(([place, s]) => textEntry(place, {latent, step: s, patterns, others: 5})))),
        strongest.length > 0 && deciles(latent),
        near.length > 0 && card('Near misses', note('Texts whose embedding lies close to its direction, and on which it is silent; among those in this page.'),
          h('ul', {class: 'plain-list'}, near.map(place => textEntry(place, {patterns, others: 3})))),
        ownBox(latent)),
      h('div', {class: 'stack'},
        card('Keywords', keywordChips(latent)),
        card('How well the label holds', scoreTable(latent)),
        features.n_texts[latent] > 0 && card('Activations', histogram(latent), note('Texts by activation; heights are square roots, so that small bars show.')),
        related('Nearest features', features.nearest[latent].map((other, i) => [other, fixed(features.nearest_cosine[latent][i])]), 'Cosine of decoder directions.',
          features.nearest[latent].length > 0 && h('a', {href: `#c/${latent}~${features.nearest[latent][0]}`}, 'Compare with the nearest')),
        related('Fires together with', features.fires_with[latent].map((other, i) => [other, `× ${fixed(features.fires_with_lift[latent][i], 1)}`]), 'How many times as often as by chance.'),
        familyTree(latent),
        features.direction_words?.[latent]?.length > 0 && card('Nearest words', h('p', {dir: 'auto'}, features.direction_words[latent].join(', ')), note('Words whose own embedding points the way of its direction.')),
        card('On the map', featureMap({chosen: latent})))),
  ]
}
