"""What each stage is for, in words, and its line of PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.config import RunConfig
from engine.models import registry


@dataclass(frozen=True)
class About:
    """A stage: where the documents have it, its line of PyTorch, its purpose, and what happens underneath."""

    document: str
    code: str
    purpose: str
    underneath: str


BEFORE = About(
    document="document 000: steps 1 to 3; document 004: m.parameters()",
    code="optimizer = torch.optim.AdamW(model.parameters(), lr=lr)\nfor step in range(max_steps):",
    purpose="The model, its optimizer and the settings are there. Nothing of this step has happened yet.",
    underneath=(
        "model.parameters() yields every parameter once; the optimizer keeps references to these very tensors, and "
        "whatever its rule remembers of each (AdamW: two moments) from its first update on."
    ),
)
STAGES_ABOUT = {
    "batch": About(
        document="document 000: step 4; document 004: line 1",
        code='inputs, targets = get_batch("train")',
        purpose="Get something to learn from: a few windows of text, and for each position the token that follows.",
        underneath=(
            "Random start positions are drawn; the inputs are T tokens from there on, the targets are the same window "
            "one token later. Nothing is computed from the model yet."
        ),
    ),
    "forward": About(
        document="document 000: step 5; document 004: line 2",
        code="logits, _ = model(inputs)",
        purpose="Let the model say what it expects: a score for every possible next token, at every position.",
        underneath=(
            "Each operation computes its result and, because the weights require gradients, leaves a note (grad_fn) of "
            "how to go back through it. The scores are not probabilities yet."
        ),
    ),
    "loss": About(
        document="document 000: step 6; document 004: line 2",
        code="loss = F.cross_entropy(logits.view(B * T, C), targets.view(B * T))",
        purpose="Say in one number how much the right tokens surprised the model.",
        underneath=(
            "Softmax turns scores into probabilities, the logarithm of the right token's probability is taken with a "
            "minus, and the mean over all positions is the loss. It is the last node of the recorded graph."
        ),
    ),
    "backward": About(
        document="document 000: step 7; document 004: line 4",
        code="loss.backward()",
        purpose="Find the slope of the loss in every single weight.",
        underneath=(
            "Autograd walks the recorded graph from the loss back to the weights, applies the chain rule at each node, "
            "and adds what arrives at a weight to its .grad. The weights themselves do not move."
        ),
    ),
    "measure": About(
        document="not in the documents: this loop looks before it clears",
        code="grad_norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in model.parameters()]))",
        purpose="Read how long the whole gradient is, and copy what the charts show.",
        underneath="The norms are read from .grad; nothing is changed. A huge norm is the first sign of trouble.",
    ),
    "guard": About(
        document="not in the documents: this loop's own care",
        code="allowed = torch.isfinite(loss) and torch.isfinite(grad_norm)",
        purpose="Keep an update that would ruin the weights from happening.",
        underneath=(
            "One infinity or NaN in a gradient would spread to every weight that it touches. So the update is withheld "
            "when the loss or the norm is not finite, and the run says at which step."
        ),
    ),
    "update": About(
        document="document 000: step 8; document 004: line 5",
        code="optimizer.step()",
        purpose="Move every weight a little, to where the loss should be lower.",
        underneath=(
            "The optimizer reads each .grad and changes the weight in place. AdamW first updates two running means for "
            "each weight, of the slope and of its square, and moves it by lr times the one over the root of the other: "
            "about lr where batches agree on the slope, far less where they do not."
        ),
    ),
    "observe": About(
        document="document 004: line 6, which prints the loss",
        code="change = (weight - weight_before).norm() / weight_before.norm()",
        purpose="Look at what the update did, now and then at the validation loss and a sample.",
        underneath="Copies are compared and a few batches are run without gradients. Nothing here moves the training.",
    ),
    "reset": About(
        document="document 000: step 9; document 004: line 3",
        code="optimizer.zero_grad(set_to_none=True)",
        purpose="Forget this batch's gradients, so that the next batch starts from none.",
        underneath=(
            "backward() adds to .grad and never replaces it. Clearing may happen anywhere after the update and before "
            "the next backward(): document 004 clears just before backward(), this loop at the end, as document 000."
        ),
    ),
}
PURPOSE = {
    "batch": "Get something to learn from: here the few examples there are, the same ones in every step.",
    "forward": "Let the model say what it expects for each example.",
    "loss": "Say in one number how far the outputs are from what is right.",
    "observe": "Look at what the update did.",
}
UNDERNEATH = {
    "batch": "Nothing is drawn by chance: with so few numbers every batch is all of them.",
    "forward": (
        "Each operation computes its result and, because the weights require gradients, leaves a note (grad_fn) of how "
        "to go back through it."
    ),
    "loss": "Each output is compared with its target, and the mean over all of them is the loss.",
}


SGD = {
    None: "model.parameters() yields every parameter once; the optimizer keeps references to these very tensors.",
    "update": "The optimizer reads each .grad and takes lr times it off the weight, in place. SGD remembers nothing.",
}


MUON = "Hidden matrices move by Muon: their momentum, made orthogonal by Newton and Schulz. The rest are AdamW's."


def about(stage: str | None, config: RunConfig) -> About:
    """The words for a stage (None: before the first) of a run with `config`."""
    words = BEFORE if stage is None else STAGES_ABOUT[stage]
    if config.optimizer == "sgd" and stage in SGD:
        words = replace(words, code=words.code.replace("AdamW", "SGD"), underneath=SGD[stage])
    if config.optimizer == "muon" and stage == "update":
        words = replace(words, underneath=f"{MUON} {words.underneath}")
    if stage is None:
        return words
    model = registry.find(config.model)
    words = replace(words, code=model.code.get(stage, words.code))
    if model.learns_from == "text":
        return words
    return replace(
        words,
        purpose=PURPOSE.get(stage, words.purpose),
        underneath=UNDERNEATH.get(stage, words.underneath),
    )
