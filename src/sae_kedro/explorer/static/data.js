// What the page holds: an index that is read at once, and blocks that are inflated when they are needed.

const index = JSON.parse(byId('index').textContent)
const ARRAYS = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, float32: Float32Array,
}

const fromBase64 = text => {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text)
  const raw = atob(text)
  const bytes = new Uint8Array(raw.length)
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i)
  return bytes
}

const inflate = async name => {
  const element = byId(name)
  const stream = new Blob([fromBase64(element.textContent)]).stream().pipeThrough(new DecompressionStream('gzip'))
  element.remove()
  return new Response(stream)
}

const readJson = async name => (await inflate(name)).json()

const readArrays = async name => {
  const buffer = await (await inflate(name)).arrayBuffer()
  const found = {}
  let start = 0
  for (const [key, type, length] of index.arrays[name]) {
    const Kind = ARRAYS[type]
    found[key] = new Kind(buffer, start, length)
    start += Math.ceil(length * Kind.BYTES_PER_ELEMENT / 4) * 4
  }
  return found
}

const N = index.dict_size
const SIZE = index.act_size
let features = null // columns of the features' table, by name
let latents = null // x, y, largest, histogram, bounds, near
let corpus = null // the texts that are here, and their codes
let groups = null // columns of the contrast's table
let vectors = null // embeddings of the first texts, and decoder directions

const loadFeatures = async () => {
  const [columns, arrays, rows] = await Promise.all([readJson('features'), readArrays('latents'), readJson('groups')])
  latents = arrays
  groups = rows.latent ? rows : null
  features = columns
}

const loadCorpus = async () => {
  const [words, packed] = await Promise.all([readJson('texts'), readArrays('codes')])
  const n = packed.rows.length
  const starts = new Uint32Array(n + 1)
  for (let i = 0; i < n; i++) starts[i + 1] = starts[i] + packed.counts[i]
  const active = new Uint32Array(starts[n])
  const firsts = new Uint32Array(N + 1)
  for (let i = 0; i < n; i++) {
    let latent = 0
    for (let e = starts[i]; e < starts[i + 1]; e++) {
      latent += packed.low[e] + 256 * packed.high[e]
      active[e] = latent
      firsts[latent + 1]++
    }
  }
  for (let latent = 0; latent < N; latent++) firsts[latent + 1] += firsts[latent]
  const next = firsts.slice()
  const owners = new Uint32Array(active.length)
  const strengths = new Uint8Array(active.length)
  for (let i = 0; i < n; i++) {
    for (let e = starts[i]; e < starts[i + 1]; e++) {
      const at = next[active[e]]++
      owners[at] = i
      strengths[at] = packed.values[e]
    }
  }
  const places = new Map()
  packed.rows.forEach((row, place) => places.set(row, place))
  corpus = {n, rows: packed.rows, places, texts: words.texts, cut: words.cut, starts, active, values: packed.values, firsts, owners, strengths}
}

let vectorsComing = null
const loadVectors = () => vectorsComing ??= (async () => {
  const [ours, its] = await Promise.all([readArrays('vectors'), readArrays('directions')])
  vectors = {...ours, ...its, n: ours.steps.length}
})()

// --- Features

const nameOf = latent => ownLabel(latent) || features?.label[latent] || `latent ${latent}`
const column = (name, latent) => features[name] ? features[name][latent] : null
const density = latent => features.n_texts[latent] / index.n_texts
const activation = (latent, step) => step / 255 * latents.largest[latent]

// The texts of a latent, the strongest first: [place, step, place, step, ...] as pairs
const textsOf = latent => {
  const found = []
  for (let at = corpus.firsts[latent]; at < corpus.firsts[latent + 1]; at++) found.push([corpus.owners[at], corpus.strengths[at]])
  return found.sort((a, b) => b[1] - a[1] || a[0] - b[0])
}

// What fires on a text, the strongest share of its own largest first
const firingOn = place => {
  const found = []
  for (let e = corpus.starts[place]; e < corpus.starts[place + 1]; e++) found.push([corpus.active[e], corpus.values[e]])
  return found.sort((a, b) => b[1] - a[1] || a[0] - b[0])
}

const decileOf = (latent, step) => {
  const width = index.deciles - 1
  let decile = 0
  while (decile < width && step < latents.bounds[latent * width + decile]) decile++
  return decile
}

const textAt = place => corpus.texts ? corpus.texts[place] : `row ${count(corpus.rows[place])}`
const isCut = place => corpus.cut[place] !== undefined

// --- Words: forms of one word are alike, as in sae_kedro.interpretation.keywords

const covers = (part, other) => part.endsWith('*')
  ? !other.startsWith('*') && other.replace(/\*+$/, '').startsWith(part.slice(0, -1))
  : part.startsWith('*') && !other.endsWith('*') && other.replace(/^\*+/, '').endsWith(part.slice(1))

const alike = (a, b) => {
  if (a === b) return true
  if (a.includes('*') || b.includes('*')) return covers(a, b) || covers(b, a)
  let shared = 0
  while (shared < a.length && shared < b.length && a[shared] === b[shared]) shared++
  return shared >= 3 && Math.max(a.length, b.length) - shared <= Math.min(4, shared)
}

const WORD = /[\p{L}\p{N}_]+/gu

// Cut a text into [piece, hit]: a word is hit where a pattern is like it, or like it and the next word
const pieces = (text, patterns) => {
  const words = [...text.matchAll(WORD)].map(found => ({word: found[0].toLowerCase(), start: found.index, end: found.index + found[0].length}))
  const double = patterns.filter(pattern => pattern.includes(' '))
  const single = double.length ? patterns.filter(pattern => !pattern.includes(' ')) : patterns
  const hit = words.map(({word}) => single.some(pattern => alike(pattern, word)))
  if (double.length) words.forEach(({word}, i) => {
    if (i + 1 < words.length && double.some(pattern => alike(pattern, `${word} ${words[i + 1].word}`))) hit[i] = hit[i + 1] = true
  })
  const found = []
  let end = 0
  words.forEach((word, i) => {
    if (!hit[i]) return
    if (word.start > end) found.push([text.slice(end, word.start), false])
    found.push([text.slice(word.start, word.end), true])
    end = word.end
  })
  if (end < text.length) found.push([text.slice(end), false])
  return found
}

// --- Embeddings: in 8 bits, of the first texts; of others, what their features add up to

const hasVector = place => place < vectors.n

const direction = latent => {
  const found = new Float32Array(SIZE)
  const step = vectors.direction_steps[latent]
  for (let d = 0; d < SIZE; d++) found[d] = step * vectors.directions[latent * SIZE + d]
  return found
}

const dot = (a, b) => {
  let sum = 0
  for (let d = 0; d < a.length; d++) sum += a[d] * b[d]
  return sum
}

// {total, common, weights: Map latent -> weight, exact}: a text of norm 1 as a sum, as in sae_kedro.interpretation.parts
const sumOf = place => {
  const exact = hasVector(place)
  const spread = exact ? vectors.spread[place] : 1
  const shift = exact ? vectors.shift[place] : 0
  const weights = new Map()
  for (let e = corpus.starts[place]; e < corpus.starts[place + 1]; e++) {
    const latent = corpus.active[e]
    weights.set(latent, index.scale * spread * activation(latent, corpus.values[e]))
  }
  const common = vectors.base.map(value => spread * value + shift)
  const total = new Float32Array(SIZE)
  if (exact) {
    const step = vectors.steps[place]
    for (let d = 0; d < SIZE; d++) total[d] = step * vectors.vectors[place * SIZE + d]
    return {total, common, weights, exact}
  }
  total.set(common)
  for (const [latent, weight] of weights) {
    const row = direction(latent)
    for (let d = 0; d < SIZE; d++) total[d] += weight * row[d]
  }
  const length = Math.sqrt(dot(total, total)) || 1
  for (const latent of weights.keys()) weights.set(latent, weights.get(latent) / length)
  return {total: total.map(value => value / length), common: common.map(value => value / length), weights, exact}
}

// The product of two sums, shared out among latents; what is left is the residual, so that all of it adds up
const explainPlaces = (a, b) => {
  const u = sumOf(a)
  const v = a === b ? u : sumOf(b)
  const terms = []
  let explained = 0
  for (const latent of new Set([...u.weights.keys(), ...v.weights.keys()])) {
    const row = direction(latent)
    const first = u.weights.get(latent) ?? 0
    const second = v.weights.get(latent) ?? 0
    const value = (first * dot(row, v.total) + second * dot(row, u.total)) / 2
    explained += value
    terms.push({kind: first && second ? 'both' : first ? 'first' : 'second', latent, value, first, second})
  }
  const common = (dot(u.common, v.total) + dot(v.common, u.total)) / 2
  const cosine = dot(u.total, v.total)
  terms.push({kind: 'common', latent: null, value: common}, {kind: 'residual', latent: null, value: cosine - explained - common})
  terms.sort((x, y) => Math.abs(y.value) - Math.abs(x.value))
  return {cosine, terms, exact: u.exact && v.exact}
}

const nearestTo = (total, n, but) => {
  const found = []
  for (let place = 0; place < vectors.n; place++) {
    if (place === but) continue
    let sum = 0
    for (let d = 0, at = place * SIZE; d < SIZE; d++, at++) sum += total[d] * vectors.vectors[at]
    found.push([place, sum * vectors.steps[place]])
  }
  return found.sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, n)
}
