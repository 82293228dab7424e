"""The terms of the field as they are used here: what each means and why it matters, in two sentences."""

from __future__ import annotations

from urllib.parse import quote

DOCUMENTS = (
    "The documents, numbered 000 to 004, are five short teaching texts about training small models. Loopscope brings "
    "what they explain on stage; nobody needs to have read them."
)
TEXT: dict[str, str] = {
    "corpus": "A text that a model learns from. What is not in it the model cannot know, and its quirks are learnt "
    "along with its language.",
    "token": "The unit that a model reads and writes: here a character, or a piece of a word. The smaller the unit, "
    "the more tokens a word takes and the smaller the table of units.",
    "tokenizer": "What cuts a text into tokens and joins tokens to text again. Model and tokenizer belong together, "
    "since a token's number means nothing to another one.",
    "byte-level BPE": "A tokenizer that starts from the 256 bytes and joins the most frequent pair of tokens again "
    "and again. Any text can be written with it, and frequent words end up as one token.",
    "vocab_size": "How many different tokens there are, also written V or C. Guessing among them costs ln V nats, and "
    "the first and last tables of a model have so many rows.",
    "split": "The parts into which a text is cut: training, validation and test. Only what a model has not been "
    "trained on can tell whether it has learnt or memorized.",
    "validation": "The part of a text that is looked at while training, and never trained on. Its loss shows when "
    "training begins to memorize, so it decides when to stop.",
    "test": "The part of a text that is kept for one measurement at the end. What is looked at often is fitted to, "
    "even without training, and the test part stays out of that.",
    "block_size": "How many tokens a model sees at once, also called context length or T. A bigram uses the last one "
    "only, a GPT all of them.",
    "window": "A stretch of block_size tokens of the text. Each of its positions is one example, since each has a "
    "token that comes next.",
    "batch": "The windows that one step learns from together, B of them. More windows make the gradient less noisy "
    "and the step slower.",
    "inputs": "The token ids that a model is given, of shape (B, T), called xb or idx in the documents. They are the "
    "question of each example.",
    "targets": "The token ids that are right, of shape (B, T), called yb in the documents: the same windows one token "
    "later. Without them a model can predict but not learn.",
    "one-hot": "A row of zeros with a single 1 at the right token. As a target it gives the same loss as the token's "
    "number, and takes V times the memory.",
}
MODEL: dict[str, str] = {
    "parameters": "The numbers that training changes, also called weights and biases. How many there are bounds what "
    "a model can hold, and decides how much memory it takes.",
    "embedding": "A table with one row of numbers for each token; looking a token up means taking its row. Tokens "
    "that are used alike end up with similar rows.",
    "bigram": "A model that predicts the next token from the last one alone, with one table. It is the smallest "
    "language model, and has a floor that no training can break.",
    "GPT": "A model that looks back at many tokens through attention, in several blocks. It goes below a bigram's "
    "floor because what came earlier tells more about what comes next.",
    "attention": "Each position takes a weighted average of itself and earlier ones, with weights that depend on "
    "what stands there. This is how a GPT moves information from one token to another.",
    "head": "One of several attentions that work side by side in a block. Each can look for something else, such as "
    "the token before or the start of a line.",
    "causal mask": "What keeps attention from looking at later tokens: their weights are 0. Without it the model "
    "would see the answer that it is asked for.",
    "block": "An attention and a small network, each added to what came in. A GPT is a stack of blocks, and each one "
    "refines what the one below has made.",
    "position embedding": "A table with one row for each place in the window, added to the token's row. Attention "
    "by itself takes the tokens before as a heap without an order.",
    "layer norm": "Brings the numbers of each token to mean 0 and variance 1, then scales them. It keeps deep models "
    "trainable, since no layer has to follow the size of what comes in.",
    "dropout": "Sets a random share of the activations to 0 while training, and none while evaluating. The model "
    "cannot lean on single numbers then, and memorizes less.",
    "n_layer": "How many blocks a GPT has, one above the other. More of them can compute more in a row, and take more "
    "time and memory.",
    "n_head": "How many attention heads a block has. They share n_embd between them, so more heads are narrower heads.",
    "n_embd": "The width of a GPT: how many numbers it keeps for each token. Parameters grow with its square.",
    "logits": "The scores that a model gives to all tokens, of any size and sign. They are not probabilities yet, and "
    "only their differences count.",
    "softmax": "Turns scores into probabilities: e to the power of each, divided by the sum of all. A token whose "
    "score is larger than another's by ln 2 is twice as likely as that other one.",
    "forward pass": "Computing the outputs from the inputs. Each operation is recorded on the way, so that the "
    "backward pass can follow it back.",
}
TRAINING: dict[str, str] = {
    "run": "One training of one model, from its first weights to its end. Everything on a chart belongs to a run, and "
    "one that starts from the same seed and settings repeats it exactly.",
    "step": "One update of the parameters by the optimizer, counted from 1; iteration is another word for it. Step 0 "
    "is the untrained model.",
    "stage": "One of the nine parts of a step: batch, forward, loss, backward, measure, guard, update, observe, "
    "reset. On the Step page each can be made by itself.",
    "max_steps": "How many steps a run makes, called iterations on the slider. Too few leave the model unfinished, "
    "and too many on a short text make it memorize.",
    "epoch": "One pass over all windows of the training part. A step sees one batch only, so an epoch has many steps.",
    "tokens_seen": "How many tokens a run has been trained on, repeats counted. It compares runs of different batch "
    "sizes more fairly than steps do.",
    "loss": "How surprised the model is by the right tokens: the mean of −ln p, in nats per token. Training makes it "
    "smaller, and everything else follows from that.",
    "cross-entropy": "The loss of predicted probabilities against what came: −ln of the probability of the right "
    "token. It punishes confident mistakes most, since −ln of a small number is large.",
    "NLL": "Negative log-likelihood, the same quantity as cross-entropy when the right answer is one token. PyTorch's "
    "graph shows it as NllLoss behind a LogSoftmax.",
    "nat": "The unit of a loss with the natural logarithm; a bit is 0.693 nats. A loss of 1 nat means a probability "
    "of about 37 % for the right token.",
    "bits_per_char": "The loss in bits for each character of text: the loss per token ÷ ln 2 ÷ the characters in a "
    "token, on average. It compares models with different tokenizers, which losses per token do not.",
    "perplexity": "e to the power of the loss: among how many equally likely tokens the model is as good as guessing. "
    "A bigram at its floor on a text still guesses among about ten characters.",
    "entropy ladder": "Three losses by counting alone: guessing, knowing how often each token comes, and knowing what "
    "follows what. They tell what a loss means on this text.",
    "gradient": "The slope of the loss in each parameter: how the loss would change if that number grew a little. It "
    "points uphill, so an update goes the other way.",
    "backward pass": "Computing all gradients by following the recorded operations from the loss back to the "
    "parameters. It costs about twice a forward pass, however many parameters there are.",
    "autograd": "PyTorch's record of operations, and what follows it backwards. Each tensor that was computed from "
    "parameters knows its own operation as grad_fn.",
    "zero_grad": "Clears the gradients; backward adds to what is there. Cleared anywhere before backward is right, "
    "between backward and update nothing is learnt.",
    "grad_norm": "The length of the whole gradient, before clipping. A jump to ten times its level is often the first "
    "sign that the learning rate is too high.",
    "gradient clipping": "Shortens a gradient that is longer than a bound, and keeps its direction. It saves a run "
    "from a few wild batches, and hides that the learning rate is too high.",
    "optimizer": "The rule that turns gradients into an update of the parameters. The same gradient moves the weights "
    "quite differently under SGD and under AdamW.",
    "SGD": "Stochastic gradient descent: each parameter moves by the learning rate times its slope. Small slopes move "
    "little then, so its learning rate has to fit the model.",
    "AdamW": "An optimizer that divides the running mean of a parameter's slopes by their running size. It moves by "
    "about the learning rate where the slopes of all batches agree, as at first, and by far less where they do not.",
    "moment": "A running mean that AdamW keeps for each parameter, of the slope and of its square; the two take twice "
    "the weights' memory. Both begin at 0, and bias correction makes up for that in the first steps.",
    "lr": "The learning rate: how far one update moves. Too low wastes time, and too high makes updates undo each "
    "other.",
    "schedule": "How the learning rate goes over the steps: a warm-up from almost 0, a plateau or half a cosine, and a "
    "fall. In that fall at the end the weights settle.",
    "Muon": "An optimizer for the matrices inside a network: it moves a matrix by its momentum, turned so that all of "
    "its directions have the same size. Rare directions then move as far as common ones.",
    "patience": "How many validation losses in a row may fail to be the lowest before a run stops by itself. Off, it "
    "trains to its last step.",
    "weight decay": "A pull of all weights towards 0, a little at each step. It keeps weights that the data does not "
    "need from growing.",
    "update_ratio": "How far one update moved the weights, compared with their size: ‖Δw‖ ÷ ‖w‖. For deep networks "
    "about a thousandth is usual.",
    "overfitting": "Learning the training text by heart instead of what is general in it. It shows as a validation "
    "loss that rises while the training loss still falls.",
    "diverged": "The loss or a weight was about to become infinite or undefined, so the update was withheld. The "
    "usual reason is a learning rate that is too high.",
    "seed": "Where the random numbers of a run start. The same seed and settings on the same machine give the same "
    "losses to the last digit.",
    "snapshot": "All that the next step depends on: weights, moments, and the state of the random numbers. From it a "
    "step can be repeated, or a copy can go another way.",
    "fine-tuning": "Going on with a trained model on another text with the same vocabulary. It starts from a lower "
    "loss than random weights do, and forgets some of the text before.",
    "train() and eval()": "The two modes of a model: dropout works in the first and rests in the second. Neither "
    "touches the recording of operations, which is what no_grad switches off.",
    "no_grad": "Tells PyTorch to record no operations. Evaluating and sampling take less memory and time with it.",
}
SAMPLING_AND_ANALYSIS: dict[str, str] = {
    "sample": "Text that a model writes: a token is drawn from its probabilities, appended, and the next one "
    "predicted. It shows what a loss cannot, and proves nothing by itself.",
    "temperature": "Scores are divided by it before softmax when sampling. Below 1 the likely tokens win more often, "
    "above 1 the text gets wilder.",
    "top_k": "When sampling, only the k likeliest tokens stay in the draw. It cuts off the long tail of tokens that "
    "are each unlikely and together are not.",
    "greedy": "Always taking the likeliest token instead of drawing. The text is the same every time, and soon "
    "repeats itself.",
    "prompt": "The text that a sample starts with. The model can only take it in as far as it sees back.",
    "max_new_tokens": "How many tokens a sample adds to its prompt. Each one costs a forward pass.",
    "KL divergence": "How many nats more a prediction costs than the true probabilities would. For a bigram it is the "
    "loss less its floor, so 0 means that nothing is left to learn.",
    "cosine similarity": "The cosine of the angle between two rows: 1 is the same direction, 0 is none in common, −1 "
    "is opposite. It compares what rows say, whatever their length.",
    "principal components": "The directions along which rows differ most, found from their covariance. Two of them "
    "make a picture of a table, and their share of the variance says how much it leaves out.",
    "analogy": "Arithmetic with rows, such as King − Man + Woman. The result is nearest to some word, seldom equal to "
    "it.",
    "least squares": "Choosing a line so that the squares of its misses have the smallest sum. For a few points it "
    "can be computed at once, which shows where gradient descent must arrive.",
    "residual": "What is left of a point after the line's answer is taken away. Residuals with a pattern say that "
    "another form fits better, and without one that it may be noise.",
    "loss surface": "The loss drawn over two parameters. Its slope is the gradient, and its curvature bounds the "
    "learning rate that still converges.",
    "audience link": "The address of the page that shows the board and nothing else. Whoever opens it watches, and "
    "cannot touch the run.",
}
GROUPS: dict[str, dict[str, str]] = {
    "Text": TEXT,
    "Model": MODEL,
    "Training": TRAINING,
    "Looking": SAMPLING_AND_ANALYSIS,
}
TERMS: dict[str, str] = {name: told for group in GROUPS.values() for name, told in group.items()}


def glossary_link(name: str) -> str:
    """A link that looks `name` up in the Glossary, in a new tab; KeyError for a term that is not explained."""
    assert TERMS[name]
    return f"[Glossary](glossary?search={quote(name)})"


def anchor(name: str) -> str:
    """The anchor of a term on the Glossary page."""
    kept = "".join(c.lower() if c.isalnum() else "-" for c in name)
    return "term-" + "-".join(part for part in kept.split("-") if part)


def search(words: str) -> dict[str, dict[str, str]]:
    """The terms that contain all of `words`, ignoring case, by group; matches in the name come first."""
    wanted = words.casefold().split()
    kept: dict[str, dict[str, str]] = {}
    for group, terms in GROUPS.items():
        hits = {n: t for n, t in terms.items() if all(word in f"{n} {t}".casefold() for word in wanted)}
        by_name = sorted(hits, key=lambda name: not any(word in name.casefold() for word in wanted))
        if hits:
            kept[group] = {name: hits[name] for name in (by_name if wanted else hits)}
    return kept
