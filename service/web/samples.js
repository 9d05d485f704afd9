// Three jobs on data that comes with the service: an empty server is fun at once.

const dense = (units, activation) => ({ kind: "dense", units, activation });
const conv = (filters) => ({ kind: "conv2d", filters, kernel_size: 3, padding: "same", activation: "relu" });

const digits = {
  type: "train",
  name: "digits",
  spec: {
    dataset: { sample: "digits", target: "label", validation: 0.15 },
    network: {
      layers: [
        conv(16), conv(32), { kind: "max_pool2d", pool_size: 2 }, { kind: "flatten" },
        { kind: "dropout", rate: 0.3 }, dense(64, "relu"), dense(10, "softmax"),
      ],
    },
    loss: { kind: "cross_entropy" },
    optimizer: { kind: "adam", learning_rate: 0.002, schedule: { kind: "cosine" } },
    training: { epochs: 30, batch_size: 32, seed: 1, augmentation: [{ kind: "noise", deviation: 0.1 }] },
    metrics: ["accuracy"],
  },
};

const iris = {
  type: "train",
  name: "iris",
  spec: {
    dataset: { sample: "iris", target: "species", validation: 0.2 },
    network: { layers: [dense(16, "relu"), dense(3, "softmax")] },
    loss: { kind: "cross_entropy" },
    optimizer: { kind: "adam", learning_rate: 0.01 },
    training: { epochs: 100, batch_size: 16, seed: 1 },
    metrics: ["accuracy"],
  },
};

const text = {
  type: "ngram",
  name: "python-text",
  spec: {
    dataset: { sample: "python_reference", validation: 0.05 },
    order: 5,
    tokenizer: { kind: "word" },
    sentences: "paragraph",
  },
};

/** Title, what one gets, and the job. */
export const SAMPLES = [
  { icon: "✎", title: "Read handwriting", about: "A convolutional network on 8 × 8 digits. Then draw your own.", job: digits },
  { icon: "✿", title: "Name a flower", about: "A small network on the iris table. Move the sliders, see it decide.", job: iris },
  { icon: "¶", title: "Continue a text", about: "A 5-gram model of the Python reference. Type, and it goes on.", job: text },
];
