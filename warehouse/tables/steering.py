"""Tables: features found for a concept, and text generated while features are edited."""

import pyarrow as pa

from warehouse.tables.declarations import (
    COLLECTION,
    LAYER,
    Column,
    Rule,
    Table,
    boolean,
    float64,
    int32,
    int64,
    score,
    string,
)

SAE = Column("sae", string, "key of the SAE; of one that lies in a folder, its name and the hash of its weights")
SITE = Column("site", string, "site that it reads: resid_post, mlp_out, attn_out or attn_z")
FEATURE = Column("feature_id", int32, "index of the feature", minimum=0)
STEERING = Column("steering", string, "key of the steering: prompts, edits and settings")
PROMPT = Column("prompt_number", int32, "number of the prompt", minimum=0)
SAMPLE = Column(
    "sample",
    int32,
    "0: greedy; 1 and up: drawn at the temperature, edited and unedited with the same random numbers",
    minimum=0,
)


def share(name: str, meaning: str, *, nullable: bool = False) -> Column:
    """A number between 0 and 1."""
    return Column(name, float64, meaning, nullable=nullable, minimum=0, maximum=1)


# fmt: off
TABLES = (
    Table(
        "feature_finds",
        "a feature that was found for a concept on half of the texts, and measured on the other half",
        (
            COLLECTION,
            Column("search", string, "key of the search: texts, SAEs and settings"),
            Column("concept", string, "the phrase, or the name of the texts"),
            Column("origin", string, "templates: texts made of the phrase; files: a user's texts"),
            Column("tokens", string, "tokens that count: all (but the first and special ones), or elsewhere (outside the phrase)"),
            Column("reduction", string, "max or mean over the tokens of a text"),
            SAE,
            LAYER,
            SITE,
            FEATURE,
            Column("rank", int32, "rank by auroc_chosen", minimum=1),
            share("auroc_chosen", "AUROC on the texts that it was chosen on, ties half: too high"),
            *score("auroc", "AUROC on texts that did not choose it, ties half; interval by template, or by text of a user's"),
            share("p", "chance that the best feature of the null reaches this AUROC, (1 + as good) / (1 + searches)", nullable=True),
            Column("null_kind", string, "other phrases: the same search for each; permuted labels: for the same texts"),
            Column("n_null", int64, "searches of the null", minimum=0),
            share("null_auroc_high", "95th percentile of the AUROCs of the null's best features", nullable=True),
            share("baseline_auroc", "AUROC of the presence of the best token, chosen and measured on the same halves", nullable=True),
            Column("n_with", int64, "texts with the concept that measure", minimum=1),
            Column("n_without", int64, "texts without it that measure", minimum=1),
            Column("n_with_chosen", int64, "texts with the concept that choose", minimum=1),
            Column("n_without_chosen", int64, "texts without it that choose", minimum=1),
            Column("n_features", int64, "features searched, of all SAEs together", minimum=1),
            share("share_with", "share of n_with texts on which it is active"),
            share("share_without", "share of n_without texts on which it is active"),
            Column("mean_with", float64, "mean over texts with the concept of its activation on them", minimum=0),
            Column("mean_without", float64, "mean over texts without it", minimum=0),
            share("auroc_elsewhere", "AUROC of its activations on tokens outside the phrase; NULL if not every text names it", nullable=True),
            share("share_on_phrase", "of the texts with the concept on which it is active, those where it fires most on the phrase; NULL as auroc_elsewhere", nullable=True),
            share("auroc_own_words", "AUROC against texts with a single word of the phrase; NULL of one word, and of a user's texts", nullable=True),
            Column("n_cut", int64, "texts that were cut", minimum=0),
            Column("max_tokens", int32, "tokens that a text is cut to", unit="tokens", minimum=2),
            Column("seed", int64, "of halves and permutations"),
        ),
        ("collection", "search", "sae", "feature_id"),
        ("collection",),
        rules=(
            Rule(
                "ranks are 1, 2, 3 ... of each search",
                "rank",
                """select collection, search, sae, feature_id, rank from feature_finds
                qualify rank <> row_number() over (partition by collection, search order by rank)""",
            ),
        ),
    ),
    Table(
        "steering_runs",
        "one prompt and sample: what the model says with and without edits of features",
        (
            COLLECTION,
            STEERING,
            PROMPT,
            SAMPLE,
            Column("prompt", string, "the prompt"),
            Column("n_prompt_tokens", int64, "its tokens, BOS included", unit="tokens", minimum=1),
            Column("edits", string, "JSON list, an edit each: sae, layer, site, feature_id, how (to, add, scale, ablate), amount, unit, maximum"),
            Column("saes", pa.list_(string), "keys of the edited SAEs, an edit each"),
            Column("layers", pa.list_(int32), "edited layers", as_long_as="saes"),
            Column("feature_ids", pa.list_(int32), "edited features", as_long_as="saes"),
            Column("edited_tokens", string, "all, prompt or generated; never the first token nor special ones"),
            Column("text_unedited", string, "completion of the unedited model"),
            Column("text_edited", string, "completion of the edited model"),
            Column("n_tokens_unedited", int64, "generated tokens", unit="tokens", minimum=1),
            Column("n_tokens_edited", int64, "generated tokens", unit="tokens", minimum=1),
            Column("ended_unedited", boolean, "false where the limit of new tokens cut it off"),
            Column("ended_edited", boolean, "false where the limit of new tokens cut it off"),
            Column("kl_prompt", float64, "mean over the prompt's tokens but the first of KL(unedited || edited) of their predictions; NULL of a prompt of one token", unit="nats", nullable=True, minimum=-1e-3),
            Column("kl_continuation", float64, "the same over the tokens of the unedited completion", unit="nats", minimum=-1e-3),
            Column("log_p_unedited", float64, "mean log-probability of a token of text_unedited in the unedited model, at temperature 1", unit="nats", maximum=1e-3),
            Column("log_p_unedited_in_edited", float64, "the same text in the edited model", unit="nats", maximum=1e-3),
            Column("log_p_edited", float64, "mean log-probability of a token of text_edited in the edited model", unit="nats", maximum=1e-3),
            Column("log_p_edited_in_unedited", float64, "the same text in the unedited model", unit="nats", maximum=1e-3),
            share("repetition_unedited", "share of runs of 4 tokens of text_unedited that occurred before in it; NULL of fewer tokens", nullable=True),
            share("repetition_edited", "the same of text_edited", nullable=True),
            *score("kl_text", "mean KL(unedited || edited) of next tokens on held-out text, all tokens edited, in nats", maximum=None),
            Column("kl_text_random", float64, "mean of kl_text over equally large moves along random directions; NULL without draws", unit="nats", nullable=True),
            Column("n_random", int64, "draws of random directions", minimum=0),
            Column("n_text_tokens", int64, "tokens of held-out text behind kl_text", unit="tokens", minimum=0),
            Column("n_text_documents", int64, "documents behind kl_text", minimum=0),
            Column("temperature", float64, "of samples from 1 on", minimum=0),
            Column("max_new_tokens", int32, "limit of generated tokens", unit="tokens", minimum=1),
            Column("seed", int64, "of drawn tokens and random directions"),
            Column("model", string, "name of the model"),
            Column("dtype", string, "precision that it was run in"),
        ),
        ("collection", "steering", "prompt_number", "sample"),
        ("collection",),
        rules=(
            Rule(
                "sample 0 is there for every prompt",
                "sample",
                """select collection, steering, prompt_number, min(sample) as sample from steering_runs
                group by all having min(sample) > 0""",
            ),
        ),
    ),
    Table(
        "steering_readings",
        "an edited feature's activation on one token of a prompt and what was generated behind it",
        (
            COLLECTION,
            STEERING,
            PROMPT,
            SAMPLE,
            Column("text", string, "unedited: the unedited completion, read in the unedited model; edited: the edited one, in the edited model"),
            Column("edit", int32, "number of the edit in edits", minimum=0),
            SAE,
            LAYER,
            FEATURE,
            Column("position", int32, "of the token, counted from the prompt's first", minimum=0),
            Column("token_id", int32, "id of the token", minimum=0),
            Column("token", string, "text of the token"),
            Column("is_generated", boolean, "false for tokens of the prompt"),
            Column("is_edited", boolean, "whether the edit applies to this token"),
            Column("before", float64, "activation as the residual arrives", minimum=0),
            Column("after", float64, "activation that the SAE's encoder reads behind the edit; NULL in the unedited model", nullable=True, minimum=0),
        ),
        ("collection", "steering", "prompt_number", "sample", "text", "edit", "position"),
        ("collection",),
        rules=(
            Rule(
                "what is not edited reads the same before and after",
                "after",
                """select collection, steering, prompt_number, sample, text, edit, position from steering_readings
                where not is_edited and abs(after - before) > 1e-3 * (1 + before)""",
            ),
            Rule(
                "edited texts alone are read behind an edit",
                "after",
                """select collection, steering, prompt_number, sample, text, edit, position from steering_readings
                where (text = 'edited') <> (after is not null)""",
            ),
        ),
    ),
)
