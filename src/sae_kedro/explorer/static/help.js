// #h: what the numbers mean, and keys.

const MEANINGS = [
  ['Feature', 'A latent of the sparse autoencoder: a direction in the space of embeddings. A text’s embedding is a sum of a few of them, how much of each is its activation, and a rest that is not explained.'],
  ['Label and keywords', 'Words that part the texts of a feature from others on one half of the texts. A label says what its texts have in common, not what the model means by it; where its score is low, trust the texts.'],
  ['AUROC of a label', 'On the other half of the texts: how often a text on which the feature fires has more of the keywords than one on which it does not. .5 is chance. Beside it stand the label of another feature, which should be near chance, and that of the nearest feature, which should be lower. The interval holds 95 % of what other texts of the same kind would give.'],
  ['Density', 'The share of all texts of the corpus on which a feature fires.'],
  ['Near misses', 'Texts that lie close to the direction of a feature and on which it is silent: what it does not stand for, or what it has missed.'],
  ['Share of a cosine', 'Two embeddings are two sums, and their cosine is the sum of all products of a part of one with a part of the other. A feature gets all of the product with itself and half of each other one that it takes part in: its Shapley value. Shares add up to the cosine.'],
  ['What all texts share', 'The mean of the corpus, which the autoencoder adds to each text. It makes any two texts closer than chance.'],
  ['Not explained by the SAE', 'What the sum of features misses. Where it is large, the bars say little.'],
  ['Family', 'A more frequent feature and rarer ones that fire where it does, linked where they fire together more often than by chance.'],
  ['Map', 'Features in two dimensions by t-SNE of their directions. What lies close together is alike; distances across the map mean nothing.'],
]
const KEYS = [['/', 'search'], ['←  →', 'previous and next feature'], ['↑  ↓', 'move in a list'], ['p', 'pin a feature'], ['o', 'overview'], ['?', 'this page'], ['Esc', 'leave a field, or go back to the overview']]

const help = () => [
  h('h1', {}, 'What the numbers mean'),
  h('div', {class: 'columns wide-columns'}, MEANINGS.map(([title, told]) => card(title, h('p', {}, told)))),
  card('Keys', h('dl', {class: 'keys-list'}, KEYS.map(([key, does]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, does)]))),
  note(`sae_kedro ${index.version} · SAE ${index.sae_sha256.slice(0, 12)}`),
]
