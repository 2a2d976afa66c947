// Bars, a histogram and a forest plot.

const KINDS = {
  both: 'in both', first: 'in the first', second: 'in the second', query: 'in the query', common: 'what all texts share',
  residual: 'not explained by the SAE', rest: '',
}

// Bars about a common zero: [{name, value, kind, latent}]
const signedBars = (terms, {describe = () => null, onpoint = null} = {}) => {
  const low = Math.min(0, ...terms.map(term => term.value))
  const high = Math.max(0, ...terms.map(term => term.value))
  const span = high - low || 1
  return h('ul', {class: 'bars'}, terms.map(term => h('li', {
    class: `bar-row ${term.kind ?? ''}`,
    onmouseenter: onpoint && (() => onpoint(term)), onfocusin: onpoint && (() => onpoint(term)),
    onmouseleave: onpoint && (() => onpoint(null)), onfocusout: onpoint && (() => onpoint(null)),
  },
  h('span', {class: 'bar-name'}, term.latent !== null && term.latent !== undefined ? featureLink(term.latent) : h('span', {class: 'plain'}, term.name),
    describe(term)),
  h('span', {class: 'track'}, h('i', {
    class: term.value < 0 ? 'against' : 'for',
    style: {left: `${100 * (Math.min(0, term.value) - low) / span}%`, width: `${100 * Math.abs(term.value) / span}%`},
  }), low < 0 && h('s', {style: {left: `${-100 * low / span}%`}})),
  h('b', {class: 'num'}, fixed(term.value, 3)))))
}

const histogram = latent => {
  const bins = index.bins
  const counts = [...latents.histogram.subarray(latent * bins, (latent + 1) * bins)]
  const top = Math.max(1, ...counts)
  const width = 300
  const height = 90
  const drawn = svg('svg', {viewBox: `0 0 ${width} ${height + 18}`, class: 'histogram', role: 'img',
    'aria-label': `Histogram of activations up to ${fixed(latents.largest[latent])}, on ${count(features.n_texts[latent])} texts`})
  counts.forEach((n, bin) => {
    const tall = n && Math.max(1.5, height * Math.sqrt(n / top))
    const bar = svg('rect', {x: bin * width / bins + 1, y: height - tall, width: width / bins - 2, height: tall, class: 'hbar'})
    const from = latents.largest[latent] * bin / bins
    bar.append(svg('title', {}, `${count(n)} texts from ${fixed(from)} to ${fixed(from + latents.largest[latent] / bins)}`))
    drawn.append(bar)
  })
  drawn.append(svg('line', {x1: 0, x2: width, y1: height + .5, y2: height + .5, class: 'axis'}))
  const label = (x, anchor, text) => { const t = svg('text', {x, y: height + 14, 'text-anchor': anchor}); t.textContent = text; drawn.append(t) }
  label(0, 'start', '0')
  label(width, 'end', fixed(latents.largest[latent]))
  return drawn
}

// A line from low to high with a point, on a scale of logarithms about 1
const interval = (value, low, high, bound) => {
  const at = x => 100 * (Math.log(Math.min(Math.max(x, 1 / bound), bound)) / Math.log(bound) + 1) / 2
  if (value === null) return h('span', {class: 'forest'})
  const [from, to] = [at(low ?? value), at(high ?? bound)]
  return h('span', {class: 'forest', 'aria-hidden': 'true'}, h('s'),
    h('u', {style: {left: `${from}%`, width: `${Math.max(.5, to - from)}%`}}), h('i', {style: {left: `${at(value)}%`}}))
}
