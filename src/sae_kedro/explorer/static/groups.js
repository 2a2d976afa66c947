// #g: what sets groups of texts apart.

const times = ratio => ratio === null ? '–' : ratio >= 100 ? count(Math.round(ratio)) : fixed(ratio, ratio < 1 ? 2 : 1)

const groupState = {group: null, confirmed: true}

const groupsView = () => {
  if (!groups) return [h('h1', {}, 'Groups'), note('No groups were set against each other. Run ', h('code', {}, 'kedro run --pipelines contrast'), ' with a label column, then ', h('code', {}, 'interpret'), ' again: this page then shows what sets them apart.')]
  const names = [...new Set(groups.group)].sort((a, b) => String(a).localeCompare(String(b)))
  groupState.group ??= String(names[0])
  const rows = groups.latent.map((_, i) => i).filter(i => String(groups.group[i]) === groupState.group && (groups.confirmed[i] || !groupState.confirmed))
    .sort((a, b) => Math.abs(groups.z[b]) - Math.abs(groups.z[a]))
  const bound = 10 ** Math.ceil(Math.log10(Math.min(1000, Math.max(2, ...rows.slice(0, 200).flatMap(i => [groups.or_hi[i], 1 / groups.or_lo[i]]).filter(x => x && Number.isFinite(x))))))
  const select = h('select', {'aria-label': 'Group', onchange: () => { groupState.group = select.value; render() }}, names.map(name => h('option', {value: String(name), selected: String(name) === groupState.group}, String(name))))
  const only = h('input', {type: 'checkbox', id: 'confirmed', checked: groupState.confirmed, onchange: () => { groupState.confirmed = only.checked; render() }})
  const record = i => Object.fromEntries(Object.entries(groups).map(([name, cells]) => [name, cells[i]]))
  const n = rows.length ? [groups.n_a[rows[0]], groups.n_b[rows[0]]] : null
  return [
    h('h1', {}, 'What sets groups apart'),
    note('Features that fire more often, or more strongly, in a group than in the rest, texts of like length compared. Confirmed: found in one half of the texts, and again in the other, where rates and intervals are measured. It says that they go together, not why.'),
    h('div', {class: 'card'},
      h('div', {class: 'head'}, h('h2', {dir: 'auto'}, groupState.group), h('span', {class: 'controls'}, select, h('span', {}, only, h('label', {for: 'confirmed'}, ' confirmed only')), exportButtons('groups', () => rows.map(record)))),
      n && note(`${count(n[0])} in the group, ${count(n[1])} in the rest. The line is the 95 % interval of the odds ratio, from 1/${bound} to ${bound}; the mark in the middle is 1.`),
      rows.length === 0 && note('Nothing is confirmed.'),
      growing(rows, i => {
        const latent = groups.latent[i]
        const told = h('span', {class: 'num', title: `q ${groups.q[i] < .001 ? '< .001' : fixed(groups.q[i], 3)}`},
          `${percent(groups.rate_a[i])} `, h('span', {class: 'soft'}, `against ${percent(groups.rate_b[i])}`))
        const examples = later({}, 'texts', () => h('ul', {class: 'plain-list'}, textsOf(latent).slice(0, 6).map(([place, step]) => textEntry(place, {latent, step, patterns: features.patterns[latent]}))))
        return h('li', {class: `grow-row ${groups.confirmed[i] ? '' : 'hollow'}`},
          h('div', {class: 'grow'}, featureLink(latent), h('span', {class: 'soft words', dir: 'auto'}, features.keywords[latent] ?? ''), groups.warning[i] && h('span', {class: 'warn'}, `beware: ${groups.warning[i]}`)),
          told, h('span', {class: 'num', title: `95 % interval ${fixed(groups.or_lo[i])} to ${fixed(groups.or_hi[i])}`}, `odds × ${times(groups.odds_ratio[i])}`),
          interval(groups.odds_ratio[i], groups.or_lo[i], groups.or_hi[i], bound), examples)
      }, 40, 'ul', {class: 'plain-list forest-list keys'})),
  ]
}
