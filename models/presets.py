"""The essay's experiments as options: what it says of them, and sensible values for the rest.

"The Unreasonable Effectiveness of Recurrent Neural Networks" (Karpathy 2015) names sizes, dropout
and batches of some experiments; char-rnn's ``train.lua`` has the program's defaults. What neither
says stays open here and is decided like ``auto``'s: AdamW, the rate by the width, a cosine. Knows
no torch: the server checks with the same presets that the worker plans with.
"""

from dataclasses import fields, replace

from models.options import PresetName, TrainingOptions

# What the essay says of its Paul Graham model, and lets stand for the others.
_ESSAY = TrainingOptions(
    network="lstm", embedding_size=0, ngram_orders=0, batch_size=100, sequence_length=100
)

PRESETS: dict[PresetName, TrainingOptions] = {
    "auto": TrainingOptions(),
    # train.lua of char-rnn, commit 6f9487a. Its gradient is of a loss summed over time, so what
    # it clips at 5 is 5 / 50 of ours, which is the mean.
    "char-rnn": TrainingOptions(
        network="lstm",
        num_layers=2,
        hidden_size=128,
        embedding_size=0,
        ngram_orders=0,
        dropout=0.0,
        batch_size=50,
        sequence_length=50,
        optimizer="rmsprop",
        learning_rate=2e-3,
        schedule="char-rnn",
        grad_clip=5.0,
        clip="elements",
        weight_decay=0.0,
        ema_decay=0.0,
        initialisation="uniform",
        max_epochs=50,
        evaluate_every=1000,
        patience=0,
    ),
    # About 1 MB of essays: "2 layers of 512", dropout 0.5, batches of 100 with BPTT of 100.
    "paul-graham": replace(
        _ESSAY, num_layers=2, hidden_size=512, dropout=0.5, max_epochs=50, patience=8
    ),
    # 4.4 MB: "a 3-layer RNN with 512 hidden nodes on each layer", a few hours.
    "shakespeare": replace(
        _ESSAY, num_layers=3, hidden_size=512, dropout=0.5, max_epochs=30, patience=8
    ),
    # Hutter's 100 MB, the first 96 of them to train on; several models, of which it names none.
    "wikipedia": replace(
        _ESSAY, num_layers=3, hidden_size=512, dropout=0.1, max_epochs=5, patience=8
    ),
    # 16 MB of algebraic geometry: "a multilayer LSTM".
    "latex": replace(_ESSAY, num_layers=3, hidden_size=512, dropout=0.2, max_epochs=20, patience=8),
    # 474 MB of C: "several as large as fits on my GPU 3-layer LSTMs", about 10 million parameters.
    "linux": replace(_ESSAY, num_layers=3, hidden_size=700, dropout=0.1, max_epochs=5, patience=8),
    # 8,000 names, one a line; of the network it says nothing.
    "names": TrainingOptions(network="lstm", embedding_size=0, ngram_orders=0),
    # War and Peace: of the network it says nothing; samples after 100, 300, 500, 700, 1200 and
    # 2000 iterations, which is what ``sample_at`` is by default. 2×512 as for Paul Graham.
    "warpeace": replace(
        _ESSAY, num_layers=2, hidden_size=512, dropout=0.5, max_epochs=50, patience=8
    ),
}


def with_preset(asked: TrainingOptions) -> TrainingOptions:
    """Options as asked for, and those of their preset that were left open."""
    preset = PRESETS[asked.preset]
    left_open = [f.name for f in fields(asked) if getattr(asked, f.name) is None]
    if asked.max_steps is not None and "max_epochs" in left_open:
        # A number of steps means so many, whatever passes that is.
        left_open.remove("max_epochs")
    return replace(asked, **{name: getattr(preset, name) for name in left_open})
