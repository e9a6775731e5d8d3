-- what a judge was asked, how it went and what it cost: a row for each judge, purpose and outcome
--
-- A call that several labellings share counts once. n_requests: repeated ones included; cached answers are none. cost: by the prices
-- of the settings, NULL without. modes: how the server was asked for the schema; usual_reason: of what was rejected or failed.
with calls as (
    select * from llm_calls
    qualify row_number() over (partition by collection, judge, call order by made_at, labelling) = 1
),

final as (
    select
        collection,
        judge,
        purpose,
        status,
        count(*) as n_calls,
        sum(n_attempts)::bigint as n_requests,
        sum(prompt_tokens)::bigint as prompt_tokens,
        sum(completion_tokens)::bigint as completion_tokens,
        sum(cost) as cost,
        avg(seconds) as mean_seconds,
        string_agg(distinct mode, ', ' order by mode) as modes,
        mode(reason) as usual_reason
    from calls
    group by collection, judge, purpose, status
)

select * from final
order by collection, judge, purpose, status
