"""What each stage has to show: the queries behind `ato show` and the tables of its flow."""

STAGE_QUERIES = {
    "collect": "select * exclude (settings) from collections where collection = '{key}'",
    "saes": "select * exclude (collection, path, weights_hash) from saes where collection = '{key}' order by layer",
    "features": """select sae, count(*) as features, count(*) filter (n_active = 0) as dead,
        avg(activation_rate) as mean_rate, max(max_activation) as max_activation
        from feature_stats where collection = '{key}' group by sae order by sae""",
    "operators": """select source_layer, leap, target_layer, position_policy, method, alpha, rank, r2_test, r2_weighted, r2_whitened,
        r2_update, skill, cosine from operators where collection = '{key}' order by all""",
    "explain": """select sae, feature_id, description, explainer, score, alignment, aligned
        from explanations where collection = '{key}' order by all""",
    "causal": """select source_layer, target_layer, method, intervention, position_set, feature_id, n_sequences,
        delta_log_ppl, delta_log_ppl_low, delta_log_ppl_high, kl
        from causal_summary where collection = '{key}' order by all""",
    "evaluate": "select * exclude (collection) from transport_map where collection = '{key}' order by all",
}


STAGES_DONE = """select stage, count(*) as parts, sum(seconds) as seconds, sum(bytes)::bigint as bytes,
    if(bool_and(quality = 'passed'), 'passed', 'failed') as quality
    from stage_runs where collection = ? group by stage order by min(started_at)"""
"""What was done on a collection, a row a stage."""
